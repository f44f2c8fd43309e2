"""Lines: headings, tables, lists, values on the line below a name. What is none of them goes to the prose reader."""

from __future__ import annotations

import re
from dataclasses import replace

from chexreason.answers import items, prose, tables
from chexreason.answers.headings import heading, is_place, is_plain_heading
from chexreason.answers.items import EDGES
from chexreason.answers.mentions import Mention
from chexreason.answers.values import MAYBE, decides, named, status
from chexreason.labels import NO_FINDING

_NEXT_NUMBER = re.compile(r"\s(?=\(?\d{1,2}[.)]\s*[A-Za-z])")  # "1. Edema 2. Fracture"
_CONTINUED = re.compile(r"\n\s{0,8}(?=(?:and|or|nor)\s)", re.IGNORECASE)  # a line that goes on with the one before
_CLAUSE = re.compile(r";|(?<!vs)(?<!\bno)(?<!\sdr)\.\s+|\.\Z", re.IGNORECASE)


def read(text: str) -> list[Mention]:
    """What the lines of `text` say, in their order. Linear in the length of `text`."""
    found: list[Mention] = []
    scope: bool | None = True  # what the last heading makes of the lines under it
    whole = _CONTINUED.sub(" ", text)
    lines = _paired([line for line in whole.split("\n") if line.strip(EDGES + "-=")])
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
        said = _heading(bare, lines[at] if at < len(lines) else None)
        if said != "":
            scope = said  # type: ignore[assignment]
            continue
        splitter = _NEXT_NUMBER if items.NUMBERED.match(line) else items.NEXT_MARK if items.MARK.match(line) else None
        for row in splitter.split(line) if splitter else [line]:
            found += _line(row, scope)
    return found


def _heading(line: str, below: str | None) -> bool | None | str:
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
        and not items.BULLET.match(line)
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
            names[i] and not names[i + 1] and decides(bare[i + 1]) and not _other(bare[i + 1], names[i])
            for i in range(0, len(lines), 2)
        )
    )
    paired: list[str] = []
    at = 0
    while at < len(lines):
        beside = (
            at + 1 < len(lines)
            and names[at]
            and not names[at + 1]
            and (alternate or bare[at].endswith(":") and decides(bare[at + 1]))
        )
        if beside and not bare[at + 1].endswith(":"):
            paired.append(f"{bare[at].rstrip(':')}: {bare[at + 1]}")
            at += 2
        else:
            paired.append(lines[at])
            at += 1
    return paired


def _other(line: str, finding: str | None) -> bool:
    return any(named(name) != finding for name in items.NAME.findall(line))


def _bare(line: str) -> str:
    """A line without bullet, number and quotation marks."""
    line = line.strip(EDGES.replace("[", "").replace("]", "").replace("#", ""))
    return items.unmarked(line).strip()


def _line(line: str, scope: bool | None) -> list[Mention]:
    """What one line says, clause by clause."""
    found: list[Mention] = []
    for clause in _clauses(_bare(line)):
        if not clause.strip(EDGES):
            continue
        head, colon, tail = clause.partition(":")
        if not colon and is_place(clause.partition(" - ")[0]):  # "Heart - Cardiomegaly"
            head, colon, tail = clause.partition(" - ")
        said = scope
        if colon and named(head) is None and not items.read(head) and not _names_a_finding(head):
            inner = heading(head)
            said = inner if scope is True else scope
            if not tail.strip(EDGES):
                scope = said
                continue
            sentence, clause, place = clause, tail, is_place(head)
        else:
            sentence, place = clause, False
        mentions = items.read(clause)
        if mentions is None:
            mentions = prose.read(sentence)
            mentions = mentions or [Mention(clause.strip(), None, None, "prose")]
        elif (
            found
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


def _clauses(line: str) -> list[str]:
    """The sentences of a line; what stands in parentheses divides none."""
    whole = items.ASIDE.sub(lambda aside: "x" * len(aside.group()), line)
    starts, ends = [0], []
    for end in _CLAUSE.finditer(whole):
        ends.append(end.start())
        starts.append(end.end())
    return [line[start:end] for start, end in zip(starts, [*ends, len(line)], strict=True)]


def _under(scope: bool | None, mention: Mention) -> Mention:
    if scope is True or mention.claimed is not True:
        return mention
    return replace(mention, claimed=scope)
