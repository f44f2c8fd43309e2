"""Tables of cells between bars: a status cell decides, and a confidence only where there is no status."""

from __future__ import annotations

from dataclasses import replace

from chexreason.answers import items, prose
from chexreason.answers.headings import PLACES, heading, is_place
from chexreason.answers.mentions import Mention, together
from chexreason.answers.records import REMARK_KEYS, SIDES, STATUS_KEYS
from chexreason.answers.values import (
    FILLERS,
    MAYBE,
    NO,
    NUMBER_KEYS,
    QUALIFIERS,
    SURE,
    VERBS,
    is_sound,
    named,
    named_beside,
    share,
    status,
    verdict,
    words_of,
)
from chexreason.labels import NO_FINDING

# What columns are called whose cells say whether a finding is there, and whose cells say how sure that is.
_STATUS = STATUS_KEYS.union("yes/no y/n label interpretation".split())
_RANKS = frozenset(  # nothing of this film
    "rank ranking order priority prior previous previously history criterion criteria definition definitions look".split()
)
_GRADES = frozenset("grade severity stage degree".split())
_PRESENT = frozenset("present positive yes".split())
_WHERE = (PLACES | QUALIFIERS | FILLERS) - SURE - VERBS
_BLANK = frozenset({"", "-", "--", "\u2013", "\u2014", "n/a", "na", "none", "nil", "null"})


def read(lines: list[str]) -> list[Mention]:
    """What the rows of one table say; each of `lines` holds a bar."""
    rows = [[_plain(cell) for cell in line.strip().strip("|").split("|")] for line in lines]
    rows = [row for row in rows if not all(set(cell) <= set("-:= ") and len(cell) != 1 for cell in row)]  # rules between rows
    if not rows:
        return []
    columns = [index for index, cell in enumerate(rows[0]) if named(cell)]
    if len(columns) > 1 and len(rows) > 1 and not any(map(named, rows[1])):  # findings as columns
        cells = {index: rows[1][index] if index < len(rows[1]) else "" for index in columns}
        return [
            Mention(rows[0][index], named(rows[0][index]), verdict(cells[index], named(rows[0][index])), "table")
            for index in columns
        ]
    head = rows.pop(0) if len(rows) > 1 and _is_head(rows[0]) else []
    return [mention for row in rows for mention in _row(row, head)]


def _plain(cell: str) -> str:
    """A cell without a coloured sign beside its words."""
    return cell.replace("[?]", "").strip() or cell.strip()


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
    """Whether a row names columns: no findings, and no values but those that are names of columns too ("Present")."""
    values = [cell for cell in row[1:] if status(cell) is not None and words_of(cell).isdisjoint(_PRESENT | NO)]
    return not any(map(named, row)) and not values and not is_place(row[0])


def _row(row: list[str], head: list[str]) -> list[Mention]:
    if len(row) == 2 and named(row[0]) is None and words_of(row[0]) & (NO | MAYBE | _PRESENT):  # "Negative | edema, fracture"
        return [replace(one, claimed=heading(row[0]), how="table") for one in items.read(row[1]) or () if one.claimed]
    titles = [*head, *[""] * (len(row) - len(head))]  # a column without a title claims
    text, part = " | ".join(row), any(map(is_place, row))
    at = [index for index, cell in enumerate(row) if (name := named(cell)) and not (part and name == NO_FINDING)]
    at = [index for index in at if not is_sound(row[index])] or at  # "Cardiomegaly | normal"
    if not at:
        seen = prose.read(" ".join(row)) if is_place(row[0]) else []  # "Heart | enlarged"
        return [one for one in seen if one.finding != NO_FINDING] or [Mention(text, None, None, "table")]
    decided = any(
        words_of(title) & _STATUS and (status(cell) is not None or not words_of(cell).isdisjoint(MAYBE))
        for index, (title, cell) in enumerate(zip(titles, row, strict=False))
        if index not in at
    )
    if len(at) > 1 and not decided and (head or len(at) == sum(map(bool, row))):  # names, each under what its column says
        return [Mention(row[index], named(row[index]), heading(titles[index]), "table") for index in at]
    finding = named(row[at[0]])
    rest = [
        (words_of(title), cell)
        for index, (title, cell) in enumerate(zip(titles, row, strict=False))
        if index != at[0] and not (index < at[0] and cell.strip(".").isdigit())  # a number of the row
    ]
    known = _STATUS | NUMBER_KEYS | _GRADES | NO | MAYBE
    last = head and at[0] == len(row) - 1 == len(head) - 1  # "Step | Seen | Label"
    if not rest or last and not any(words & known for words, _ in rest):
        return [Mention(text, finding, heading(titles[at[0]]), "table")]
    claimed = _by_columns(rest, finding) if head else _by_cells([cell for _, cell in rest], finding)
    return [Mention(text, finding, claimed, "table")]


def _by_columns(cells: list[tuple[frozenset[str], str]], finding: str | None) -> bool | None:
    """What a row says by the names of its columns."""
    cells = [(words, cell) for words, cell in cells if not words & _RANKS and "against" not in words]
    choices = [(words, cell) for words, cell in cells if words and ((NO | MAYBE).issuperset(words) or words <= _PRESENT)]
    if len(choices) > 1:  # "Present | Absent | Uncertain", one of them ticked
        ticked = [words for words, cell in choices if cell.casefold() not in _BLANK and status(cell) is not False]
        return heading(" ".join(ticked[0])) if len(ticked) == 1 else None
    sides = [verdict(cell, finding) for words, cell in cells if words and words <= SIDES]
    if len(sides) > 1 and None not in sides:
        return True in sides
    grades = [cell for words, cell in cells if words & _GRADES and cell.isdigit()]
    if grades:
        return int(grades[0][:9]) > 0
    for words, cell in cells:
        if words & _STATUS and not words & (NUMBER_KEYS | REMARK_KEYS):
            return verdict(cell, finding) if cell.casefold() not in ("", "n/a", "na", "null") else None
    for words, cell in cells:
        if words and words <= NO and status(cell) is not None:  # a column of what is absent
            return not status(cell)
    plain = {said for words, cell in cells if not words & NUMBER_KEYS and (said := status(cell)) is not None}
    if plain:
        return plain.pop() if len(plain) == 1 else None  # two readers who disagree
    numbers = [number for words, cell in cells if words & NUMBER_KEYS and (number := share(cell)) is not None]
    if numbers:
        return numbers[0] or None
    remarks = [
        status(cell) if words & NUMBER_KEYS else verdict(cell, finding)  # a moderate likelihood is a doubt
        for words, cell in cells
        if cell.casefold() not in _BLANK and (words & NUMBER_KEYS or not _located(cell))
    ]
    if not remarks:
        return True if any(_located(cell) for _, cell in cells) else None
    return together(remarks)


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
