"""Tables of cells between bars: a status cell decides, and a confidence only where there is no status."""

from __future__ import annotations

import re
from dataclasses import replace

from chexreason.answers import items, lexicon, prose
from chexreason.answers.headings import heading, is_place
from chexreason.answers.lexicon import DENYING, FILLERS, GROUPS, MAYBE, NAME_KEYS, NO, NUMBER_KEYS, OPEN, PLACES, QUALIFIERS
from chexreason.answers.mentions import Mention, together, under
from chexreason.answers.values import is_sound, named, named_beside, share, status, verdict, words_of
from chexreason.labels import NO_FINDING

# Titles of columns whose cells give a finding's status, and of columns whose cells give its certainty.
_STATUS = lexicon.STATUS_KEYS.union("yes/no y/n label interpretation pred call says above".split())
_TELLING = frozenset("present absent positive negative seen detected observed visible identified".split())
_EITHER = re.compile(r"\b(?:0 ?/ ?1|1 ?/ ?0)\b|\u662f\u5426")
_RANKS = frozenset(  # nothing of this film
    "rank ranking order priority prior previous previously baseline history criterion criteria definition definitions "
    "look".split()
)
_GRADES = frozenset("grade severity stage degree".split())
_PRESENT, _ABSENT = frozenset("present positive yes".split()), frozenset("absent negative no".split())
_CHOICES = NO | MAYBE | lexicon.SEEN | DENYING | lexicon.CHOSEN | _PRESENT | frozenset("ruled in out abnormal presence".split())
_LAST_WORD = frozenset("consensus final adjudicated majority revised".split())  # of several readers or looks
_SUBJECTS = NAME_KEYS | {f"{key}s" for key in NAME_KEYS}
_AREAS = lexicon.SIDES | lexicon.ANATOMY | frozenset("upper middle mid lower ap pa frontal lateral view".split())
_WHERE = (PLACES | QUALIFIERS | FILLERS) - lexicon.SURE - lexicon.VERBS
_EMPTY = frozenset({"", "n/a", "na", "null"})
_BLANK = _EMPTY | {"-", "--", "\u2013", "\u2014", "none", "nil"}


def read(lines: list[str]) -> list[Mention]:
    """What the rows of one table say; each of `lines` holds a bar."""
    rows = [[cell.replace("[?]", "").strip() or cell.strip() for cell in _framed(line).split("|")] for line in lines]
    rows = [row for row in rows if not all(set(cell) <= set("-:= ") and len(cell) != 1 for cell in row)]  # rules between rows
    if not rows:
        return []
    columns = [index for index, cell in enumerate(rows[0]) if named(cell)]
    if len(columns) > 1 and len(rows) > 1 and not any(map(named, rows[1])):  # findings as columns
        choices = [row for row in rows[1:] if 0 not in columns and _is_choice(row[0], words_of(row[0]))]
        return [
            Mention(name, named(name), under(not choices or _meaning(row[0]), verdict(cell, named(name))), "table")
            for row in choices or rows[1:2]
            for index, (name, cell) in enumerate(zip(rows[0], row, strict=False))
            if index in columns
        ]
    head = rows.pop(0) if len(rows) > 1 and _is_head(rows[0]) else []
    if sum(title.casefold() in GROUPS for title in head) > 1:  # "P | A"
        head = [GROUPS.get(title.casefold(), title) for title in head]
    return [mention for row in rows for mention in _row(row, head)]


def _framed(line: str) -> str:
    """A row without the bars around it; an empty cell stays, but not the doubled bars of "||Finding||Status||"."""
    line = line.strip()
    line = line.replace("||", "|") if line.startswith("||") and line.endswith("||") else line
    return line.removeprefix("|").removesuffix("|")


def is_delimited(lines: list[str], sign: str) -> bool:
    """Whether `sign` divides a table: names of columns first, then rows of as many cells that begin with a finding."""
    head, *rows = [[cell.strip() for cell in line.split(sign)] for line in lines]
    kinds = [len(cell.split()) < 5 and words_of(cell) & (_STATUS | NUMBER_KEYS) for cell in head[1:]]
    return (
        len(head) > 1
        and all(kinds)
        and all(len(row) == len(head) and named(row[0]) and not named_beside(row[1]) for row in rows)
    )


def _is_head(row: list[str]) -> bool:
    """Whether a row names columns: no findings, and beside a name that is no column's no values but such ("Present")."""
    values = [cell for cell in row[1:] if status(cell) is not None and words_of(cell).isdisjoint(_PRESENT | NO)]
    named_column = not row[0] or not words_of(row[0]).isdisjoint(_SUBJECTS)
    return not any(map(named_beside, row)) and (named_column or not values) and not is_place(row[0])


def _meaning(title: str) -> bool | None:
    """What a yes or a tick in a column means: True (present), False (the column is for absent findings), or None (neither)."""
    words = words_of(title)
    asks = words & _STATUS and words.isdisjoint(NO | MAYBE) or words & _PRESENT and words & _ABSENT or _EITHER.search(title)
    return True if asks else heading(title)


def _status_under(title: str, cell: str) -> bool | None:
    """What a status says below a title, which may turn it round; "present" and "absent" need none that is understood."""
    said, words = status(cell), words_of(title)
    if words == {"absent"}:
        return None if said is None else not said
    told = not words_of(cell).isdisjoint(_TELLING) and words.isdisjoint(NO | MAYBE | DENYING | OPEN)
    return said if told else under(_meaning(title), said)


def _row(row: list[str], head: list[str]) -> list[Mention]:
    lead = words_of(row[0])  # "Negative | edema, fracture"
    if len(row) == 2 and named(row[0]) is None and (lead & (NO | MAYBE | _PRESENT) or lead and status(row[0])):
        return [replace(one, claimed=heading(row[0]), how="table") for one in items.read(row[1]) or () if one.claimed]
    row = [*row, *[""] * (len(head) - len(row))]
    if len(head) > 1 and any("," in cell for cell in row) and all(_is_choice(title, words_of(title)) for title in head):
        listed = [(heading(title), one) for title, cell in zip(head, row, strict=False) for one in items.read(cell) or ()]
        return [replace(one, claimed=under(meant, one.claimed), how="table") for meant, one in listed]  # "Present | Absent"
    titles = [*head, *[""] * (len(row) - len(head))]  # a column without a title claims
    text, part = " | ".join(row), any(map(is_place, row))
    at = [index for index, cell in enumerate(row) if (name := named(cell)) and not (part and name == NO_FINDING)]
    at = [index for index in at if not is_sound(row[index])] or at  # "Cardiomegaly | normal"
    stated = [index for index in at if named(row[index]) == NO_FINDING and words_of(titles[index]) & (_STATUS - NAME_KEYS)]
    at = [index for index in at if index not in stated] or at  # "Edema | No finding" below "Finding | Status"
    if not at:
        seen = prose.read(" ".join(row)) if is_place(row[0]) else []  # "Heart | enlarged"
        return [one for one in seen if one.finding != NO_FINDING] or [Mention(text, None, None, "table")]
    beside = [(words_of(title), cell) for index, (title, cell) in enumerate(zip(titles, row, strict=False)) if index not in at]
    sure = [cell for words, cell in beside if words & NUMBER_KEYS and cell.casefold() not in _BLANK]
    decided = len(sure) == 1 or any(  # several say how sure each of several names is
        words & (_STATUS | MAYBE) and (status(cell) is not None or not words_of(cell).isdisjoint(MAYBE))
        for words, cell in beside
    )
    findings = {named(row[index]) for index in at}
    if len(findings) > 1 and not decided and (head or len(at) == sum(map(bool, row))):  # names, each under what its column says
        return [Mention(row[index], named(row[index]), heading(titles[index]), "table") for index in at]
    finding = named(row[at[0]])
    rest = [
        (title, words_of(title), cell)
        for index, (title, cell) in enumerate(zip(titles, row, strict=False))
        if index != at[0] and not (index < at[0] and cell.strip(".").isdigit())  # a number of the row
    ]
    known = _STATUS | NUMBER_KEYS | _GRADES | NO | MAYBE
    last = head and at[0] == len(row) - 1 == len(head) - 1  # "Step | Seen | Label"
    if not rest or last and not any(words & known for _, words, _ in rest):
        return [Mention(text, finding, heading(titles[at[0]]), "table")]
    claimed = _by_columns(rest, finding) if head else _by_cells([cell for *_, cell in rest], finding)
    return [Mention(text, finding, claimed, "table")]


def _by_columns(cells: list[tuple[str, frozenset[str], str]], finding: str | None) -> bool | None:
    """What a row says by the names of its columns, each cell with its column's title and the words of that."""
    cells = [cell for cell in cells if not cell[1] & _RANKS and "against" not in cell[1]]
    choices = [(title, cell) for title, words, cell in cells if _is_choice(title, words)]
    if len(choices) > 1:  # "Present | Absent | Uncertain", one of them ticked
        ticked = [
            title for title, cell in choices if cell.casefold() not in _BLANK and False not in (status(cell), share(cell))
        ]
        return _meaning(ticked[0]) if len(ticked) == 1 else None
    sides = [verdict(cell, finding) for _, words, cell in cells if words and words <= _AREAS and cell.casefold() not in _EMPTY]
    if len(sides) > 1 and None not in sides:
        return True in sides
    grades = [cell for _, words, cell in cells if words & _GRADES and cell.isdecimal()]
    if grades:
        return int(grades[0][:9]) > 0
    for deciding in (_LAST_WORD, _STATUS):
        for title, words, cell in cells:
            meant = deciding is _LAST_WORD or _meaning(title)
            if meant is None or meant is False and cell.casefold() in _BLANK:
                continue
            if words & deciding and not words & (NUMBER_KEYS | lexicon.REMARK_KEYS):
                return under(meant, verdict(cell, finding) if cell.casefold() not in _EMPTY else None)
    plain = {_status_under(title, cell) for title, words, cell in cells if not words & NUMBER_KEYS and status(cell) is not None}
    if plain:
        return plain.pop() if len(plain) == 1 else None  # two readers who disagree
    numbers = [
        None if number is False and not words.isdisjoint(NO) else number and words.isdisjoint(NO)  # "P(absent)"
        for _, words, cell in cells
        if words & NUMBER_KEYS and (number := share(cell)) is not None
    ]
    if numbers:
        return numbers[0] or None
    remarks = [
        None
        if words & NO
        else status(cell)
        if words & NUMBER_KEYS
        else verdict(cell, finding)  # a moderate likelihood is a doubt
        for _, words, cell in cells
        if cell.casefold() not in _BLANK and (words & (NUMBER_KEYS | NO) or not _located(cell))
    ]
    if not remarks:
        return True if any(_located(cell) for *_, cell in cells) else None
    return together(remarks)


def _is_choice(title: str, words: frozenset[str]) -> bool:
    """Whether a column is one of several of which a row ticks one: "Present", "Not seen", "P(absent)", "+"."""
    of = words - NUMBER_KEYS
    return bool(of) and _CHOICES.issuperset(of) or not words and status(title) is not None


def _by_cells(cells: list[str], finding: str | None) -> bool | None:
    """What a row says without a header: its first plain yes or no, else its last number, else its remarks."""
    filled = [cell for cell in cells if cell.casefold() not in _BLANK]
    plain = next((said for cell in filled if (said := status(cell)) is not None), None)
    if plain is not None:
        return plain
    if any(MAYBE.issuperset(cell.casefold().split()) for cell in filled):
        return None
    numbers = [number for cell in reversed(filled) if (number := share(cell)) is not None]
    if numbers:
        return numbers[0] or None
    if not cells or cells[-1].casefold() in _BLANK:
        return None
    remarks = [verdict(cell, finding) for cell in filled if not _located(cell)]
    return together(remarks)


def _located(cell: str) -> bool:
    """Whether a cell says where something is, and nothing else."""
    words = words_of(cell)
    return words <= _WHERE and not words.isdisjoint(PLACES | QUALIFIERS)
