"""Lines: headings, tables, lists, values on the line below a name. What is none of them goes to the prose reader."""

from __future__ import annotations

import re
from dataclasses import replace

from chexreason.answers import items, prose, records, tables
from chexreason.answers.headings import heading, is_place, is_plain_heading, words_of
from chexreason.answers.items import EDGES
from chexreason.answers.mentions import Mention
from chexreason.answers.records import STATUS_KEYS
from chexreason.answers.spelling import mended
from chexreason.answers.values import DENSE, DENSITIES, MAYBE, NO, SOUND, decides, named, share, status
from chexreason.labels import NO_FINDING

_NEXT_NUMBER = re.compile(r"\s(?=\(?\d{1,2}[.)]\s*[A-Za-z])")  # "1. Edema 2. Fracture"
_FIRST, _SECOND = re.compile(r"(?<!\w)\(?1[.)]\s"), re.compile(r"\s\(?2[.)]\s")  # in a line that numbers its parts
_ANSWERED = re.compile(  # "Q: edema? A: yes", or the answer on the line below
    r"\?\s*(?:a|ans|answer)\s?[:.]\s*|\?[ \t]*\n\s*(?=(?:yes|no|present|absent)\s*(?:[,.;:!\n]|\Z))", re.IGNORECASE
)
_LOOKED = re.compile(r"\b(?:look|check|search|screen|evaluat|assess)\w* for\b", re.IGNORECASE)
_REST = re.compile(r"\b(?:other|further|additional|remaining|else|rest)\b", re.IGNORECASE)  # than what stands above
_ASKED = re.compile(  # "Is there any edema on this film? Yes" is "edema? Yes"
    r"\b(?:(?:is|are|was|were|do|does|did|can|could|has|have) "
    r"(?:(?:there|the|this|these|you|we|one|it|image|film|x-?ray|cxr|chest|"
    r"radiograph|patient|show|see|have|demonstrate|reveal|contain|identify|any|an?|evidence of|signs? of) ){0,8})?"
    rf"({items.NAME.pattern})(?: (?:present|visible|seen|evident|noted|identified|there|shown|here|on|in|this|the|film|image|"
    r"x-?ray|cxr|radiograph|patient)){0,8}\s?\?",
    re.IGNORECASE,
)
_CONTINUED = re.compile(r"\n\s{0,8}(?=(?:and|or|nor)\s)", re.IGNORECASE)  # a line that goes on with the one before
_PLUS, _MINUS = re.compile(r"^\s*\+\s*\w", re.M), re.compile(r"^\s*[-\u2212]\s*(?=\w)", re.M)  # no bullets, where both are
_BETWEEN, _CELL = re.compile(r"[\s,;#|\[\]()\"']+"), re.compile(r"[^\s,;|\[\]()\"']+")
_COMMA = re.compile(r"[,;]|\bbut\b")
_TURN = re.compile(r"\b(?:but|however)\b", re.IGNORECASE)
_CLAUSE = re.compile(r";|(?<!vs)(?<!\sdr)(?!(?<=\bno)\.\s+\d)\.\s+|\.\Z|(?<=\])\s+(?=\[[a-z]{4})", re.I)  # not "no. 5"


def read(text: str) -> list[Mention]:
    """What the lines of `text` say, in their order. Linear in the length of `text`."""
    begin, found = records.written(text)
    if found:
        return (read(text[:begin]) if begin else []) + found
    scope: bool | None = True  # what the last heading makes of the lines under it
    whole = _CONTINUED.sub(" ", mended(text))
    if "?" in whole:
        whole = _ANSWERED.sub("? ", _ASKED.sub(r"\1?", whole))
    if _PLUS.search(whole):
        whole = _MINUS.sub("(-) ", whole)
    lines = _paired(_sections(_cells(_columns([line for line in whole.split("\n") if line.strip(EDGES + "-=")]))))
    at = 0
    while at < len(lines):
        line = lines[at]
        if "|" in line and len(items.PAIR.findall(line)) > 1:
            line = line.replace("|", ",")
        elif items.PAIR.match(_bare(line)) and not any(map(named, line.split("|"))):  # "Edema: absent | Confidence: 0.9"
            line = line.partition("|")[0]
        if "|" in line:
            rows = at
            while rows < len(lines) and "|" in lines[rows]:  # the rows of one table
                rows += 1
            found += [_under(scope, mention) for mention in tables.read(lines[at:rows])]
            at = rows
            continue
        at += 1
        bare = _bare(line)
        if not bare:
            continue
        said = _heading(bare, lines[at] if at < len(lines) else None, bool(items.BULLET.match(line)))
        if said != "":
            scope = said  # type: ignore[assignment]
            continue
        one = _FIRST.search(line)
        numbered = items.NUMBERED.match(line) or one and _SECOND.search(line, one.end())
        splitter = _NEXT_NUMBER if numbered else items.NEXT_MARK if items.MARK.match(line) else None
        said = scope
        for row in splitter.split(line) if splitter else [line]:
            if row.endswith(":") and not _names_a_finding(row):  # "Impression: 1. Edema 2. Fracture"
                said = heading(row) if scope is True else scope
            found += _line(row, said)
    return found


def _columns(lines: list[str]) -> list[str]:
    """Lines with names over as many values, or values over names, as names with values: "Edema, Fracture" over "0, 1"."""
    found: list[str] = []
    for line in lines:
        above = found[-1] if found and "|" not in found[-1] + line else ""
        names, values = (items.NAME.findall(one) for one in (line, above))
        if len(names) > 1 and not values and not _BETWEEN.sub("", items.NAME.sub("", line)):
            names, values = names, _CELL.findall(above)
        elif len(values) > 1 and not names and not _BETWEEN.sub("", items.NAME.sub("", above)):
            names, values = values, _CELL.findall(line)
        else:
            names = []
        if (
            names
            and len(names) == len(values)
            and all(status(value) is not None or share(value) is not None for value in values)
        ):
            found[-1:] = [f"{name}: {value}" for name, value in zip(names, values, strict=True)]
        else:
            found.append(line)
    return found


def _cells(lines: list[str]) -> list[str]:
    """Lines with bars for whatever divides the cells of a table, and without the bars between headings of their own."""
    lines = [line.replace("\t", " | ") if "\t" in line.strip() else line for line in lines]
    sign = next((sign for sign in ";," if len(lines) > 1 and tables.is_delimited(lines, sign)), None)
    if sign:
        return [line.replace(sign, " | ") for line in lines]
    divided = []
    for line in lines:
        heads = [cell.partition(":") for cell in line.split("|")]
        headings = len(heads) > 1 and all(colon and not _names_a_finding(head) for head, colon, _ in heads)
        divided += line.split("|") if headings and sum(_names_a_finding(tail) for *_, tail in heads) > 1 else [line]
    return divided


def _heading(line: str, below: str | None, bulleted: bool) -> bool | None | str:
    """What a heading line makes of the lines under it; "" where `line` is no heading."""
    head = line.rstrip()
    if head.endswith(":"):
        return heading(head) if named(head[:-1]) is None and not _names_a_finding(head) else ""
    if below is None or named(head) is not None or _names_a_finding(head):
        return ""
    if is_plain_heading(head) and not head.endswith("."):
        return heading(head)
    if (
        items.BULLET.match(below)
        and not bulleted
        and not head.endswith(".")
        and not head.endswith(",")
        and len(head.split()) <= 8
    ):
        return heading(head)
    return ""


def _names_a_finding(text: str) -> bool:
    return bool(items.NAME.search(text))


def _paired(lines: list[str]) -> list[str]:
    """Lines with the value that stands on the line below a name set beside it: "Edema:" and "Absent" are "Edema: Absent"."""
    bare = [_bare(line).rstrip(" ?") for line in lines]
    names = [named(line.rstrip(":")) for line in bare]
    plain = len(lines) > 2 or len(lines) == 2 and (status(bare[1]) is not None or MAYBE.issuperset(bare[1].casefold().split()))
    alternate = (
        plain
        and len(lines) % 2 == 0
        and all(
            names[i] and names[i + 1] in (None, names[i]) and decides(bare[i + 1]) and not _other(bare[i + 1], names[i])
            for i in range(0, len(lines), 2)
        )
    )
    paired: list[str] = []
    at = 0
    while at < len(lines):
        beside = (
            at + 1 < len(lines)
            and names[at]
            and (not names[at + 1] or alternate)
            and (alternate or decides(bare[at + 1]) and (bare[at].endswith(":") or _hangs(lines[at], lines[at + 1])))
        )
        if beside and not bare[at + 1].endswith(":"):
            paired.append(f"{bare[at].rstrip(':')}: {bare[at + 1]}")
            at += 2
        else:
            paired.append(lines[at])
            at += 1
    return paired


def _sections(lines: list[str]) -> list[str]:
    """Lines with what stands below names that are headings beside them: a sentence, or the line that gives the verdict."""
    names = [named(_bare(line).rstrip(":")) for line in lines]
    heads = [at for at, name in enumerate(names) if name]
    if not heads or any(names[at + 1] for at in heads if at + 1 < len(lines)):
        return lines
    found = lines[: heads[0]]
    for at, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        block, name = lines[at + 1 : end], _bare(lines[at]).rstrip(":")
        verdicts = [
            value for key, colon, value in (_bare(line).partition(":") for line in block) if key.casefold() in STATUS_KEYS
        ]
        if len(verdicts) == 1 and status(verdicts[0]) is not None:
            found.append(f"{name}: {verdicts[0]}")
        elif block and _denies(block[0], names[at]):
            found += [f"{name}: {_bare(block[0])}", *block[1:]]
        else:
            found += lines[at:end]
    return found


def _denies(line: str, finding: str | None) -> bool:
    """Whether a line is a sentence that denies something, and nothing but `finding` or a sign of it."""
    if not line.rstrip().endswith(".") or words_of(line).isdisjoint(NO) or _REST.search(line) or is_plain_heading(line):
        return False
    named_in_it = {mention.finding for mention in prose.read(line)} - {finding}
    return not named_in_it or finding in DENSE and named_in_it <= DENSITIES


def _hangs(line: str, below: str) -> bool:
    """Whether a plain status stands as a bullet below a name without one."""
    return bool(items.BULLET.match(below)) and not items.BULLET.match(line) and status(_bare(below)) is not None


def _other(line: str, finding: str | None) -> bool:
    return any(named(name) != finding for name in items.NAME.findall(line))


def _bare(line: str) -> str:
    """A line without bullet, number and quotation marks."""
    line = line.strip(EDGES.replace("[", "").replace("]", "").replace("#", ""))
    return items.unmarked(line).strip()


def _line(line: str, scope: bool | None) -> list[Mention]:
    """What one line says, clause by clause."""
    found: list[Mention] = []
    carried: bool | None = scope  # what a heading in the line makes of what follows it up to a full stop
    for clause, goes_on in _clauses(_bare(line)):
        if not clause.strip(EDGES):
            continue
        carried = carried if goes_on else scope
        head, colon, tail = clause.partition(":")
        if not colon and is_place(clause.partition(" - ")[0]):  # "Heart - Cardiomegaly"
            head, colon, tail = clause.partition(" - ")
        said = carried
        bare = items.ASIDE.sub("", head)  # "From the list (Edema, Fracture), I choose: Edema"
        name = named(head) if colon else None
        normal = name == NO_FINDING and named(tail.partition(",")[0])  # "Normal: pneumothorax, fracture"
        if colon and (normal or name is None and not _names_a_finding(bare)):
            inner = heading(bare)
            said = carried = inner if scope is True else scope
            if not tail.strip(EDGES):
                scope = said
                continue
            sentence, clause, place = clause, tail, is_place(head)
        else:
            sentence, place = clause, False
        mentions = items.read(clause)
        if mentions is None:
            mentions = _explained(clause) or (_described(bare, tail, name) if name else None)
            mentions = prose.read(sentence) if mentions is None else mentions
            mentions = mentions or [Mention(clause.strip(), None, None, "prose")]
        elif (
            found
            and sentence is clause
            and len(mentions) == 1
            and mentions[0].finding is None
            and found[-1].claimed
            and mentions[0].claimed is not True
        ):
            found[-1] = replace(found[-1], claimed=mentions[0].claimed)
            continue
        if place:
            mentions = [replace(one, claimed=None) if one.finding == NO_FINDING else one for one in mentions]
        found += [_under(said, mention) for mention in mentions]
    return found


def _explained(clause: str) -> list[Mention] | None:
    """A name with a plain yes, no or maybe that is then explained: "Edema: no, the vessels are sharp"; else None."""
    head, value = items.split(clause)
    finding = named(head) if value else None
    first, comma, rest = (value or "").partition(",")
    claimed = status(first)
    if not finding or not comma or claimed is None and MAYBE.isdisjoint(first.casefold().split()):
        return None
    if claimed is not True:  # why it is not there is no finding
        turn = _TURN.search(rest)
        rest = rest[turn.end() :] if turn else ""
    beside = [mention for mention in prose.read(rest) if mention.finding != finding]
    return [Mention(clause.strip(), finding, claimed, "list"), *beside]


def _described(head: str, value: str, finding: str) -> list[Mention]:
    """A name that a sentence is said of: "Edema: the vessels are sharp". What the sentence says of that finding decides."""
    said = prose.read(value)
    own = [mention.claimed for mention in said if mention.finding == finding]
    words, first = words_of(value), words_of(_COMMA.split(value)[0])
    if own:
        claimed = True if True in own else own[0]
    elif not MAYBE.isdisjoint(words) or _LOOKED.search(value):
        claimed = None
    else:
        claimed = False if not first.isdisjoint(NO) else None if not first.isdisjoint(SOUND) else True
    return [Mention(head.strip(), finding, claimed, "prose"), *(one for one in said if one.finding != finding)]


def _clauses(line: str) -> list[tuple[str, bool]]:
    """The sentences of a line, and whether each goes on after a semicolon; what stands in parentheses divides none."""
    whole = items.ASIDE.sub(lambda aside: "x" * len(aside.group()), line)
    starts, ends, on = [0], [], [False]
    for end in _CLAUSE.finditer(whole):
        ends.append(end.start())
        starts.append(end.end())
        on.append(end.group() == ";")
    return [(line[start:end], goes_on) for start, end, goes_on in zip(starts, [*ends, len(line)], on, strict=True)]


def _under(scope: bool | None, mention: Mention) -> Mention:
    if scope is True or mention.claimed is not True:
        return mention
    return replace(mention, claimed=scope)
