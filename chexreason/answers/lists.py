"""Lines: headings, tables, lists, values on the line below a name. What is none of them goes to the prose reader."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

from chexreason.answers import items, prose, records, tables
from chexreason.answers.headings import heading, is_place, is_plain_heading
from chexreason.answers.items import EDGES, names_a_finding
from chexreason.answers.layout import arranged, bare_line
from chexreason.answers.lexicon import ANATOMY, LOOKED_AT, MAYBE, NO, PLACES, QUALIFIERS, SEEN, SIGNS, SOUND, VERBS, YES
from chexreason.answers.mentions import Mention, under
from chexreason.answers.spelling import mended
from chexreason.answers.terms import NOT_IN_PROSE
from chexreason.answers.values import concluded, named, status, words_of
from chexreason.labels import FINDINGS, NO_FINDING

_NEXT_NUMBER = re.compile(r"\s(?=\(?\d{1,2}[.)]\s*[A-Za-z])")  # "1. Edema 2. Fracture"
_FIRST, _SECOND = re.compile(r"(?<!\w)\(?1[.)]\s"), re.compile(r"\s\(?2[.)]\s")  # in a line that numbers its parts
_LOOKED = re.compile(r"(?i)\b(?:look|check|search|screen|evaluat|assess)\w* for\b")
_REFUSED = re.compile(  # "I cannot tell which of these is present": what follows is none of its answers
    r"(?i)\b(?:unable|cannot|can't|can not|not able|not possible|impossible)\b.{0,40}"
    r"\b(?:determine|tell|say|know|decide|assess|identify)\b.{0,30}\b(?:which|what|whether|if)\b"
)
_DASH = re.compile(r"\s[-\u2013\u2014=]\s")
_TOLD = SIGNS | QUALIFIERS - PLACES - ANATOMY | YES | SEEN  # in a sentence on a finding that is there
_COMMA = re.compile(r"[,;]|\bbut\b")
_ABOVE = (
    r"(?:of )?(?:the above(?: findings| labels| conditions)?|these|those|them|which"
    r"|(?:the|these|those) (?:findings|labels|conditions|criteria))"
)
_BE = r"(?:is|are|was|were)"
_SEEN = r"(?:present|seen|visible|identified|detected|found|evident|confirmed|shown|met|fits?|apply|applies)"
_NONE_ABOVE = re.compile(  # "None of these is seen", "Both are absent"
    rf"(?i)(?:none|neither)(?: {_ABOVE})(?: {_BE})?(?: {_SEEN})?|neither {_BE} {_SEEN}"
    rf"|(?:all|both|they|{_ABOVE}|all {_ABOVE})(?: (?:{_BE}|has|have))?(?: (?:all|now|both|since))*"
    rf" (?:absent|negative|ruled out|excluded|resolved|cleared|gone|not {_SEEN})"
    rf"|(?:i|we) (?:do not|don't|cannot|can't) (?:see|confirm|identify|find|detect) any {_ABOVE}"
)
_NOT_SEEN = re.compile(rf"(?i)not {_SEEN}")
_OPEN_ABOVE = re.compile(
    rf"(?i)(?:all|both|they|all {_ABOVE})(?: {_BE})?(?: only)? (?:uncertain|possible|doubtful|unclear|cannot be excluded)"
)
_MOST = 100  # most mentions that a line may refer back to
_ONLY = re.compile(r"(?i)\bonly\b|\ball (?:are|were) (?:absent|negative)\b.{0,9}\bexcept\b")
_IN_IMAGE = re.compile(r"(?i) (?:in|on) (?:the|this) (?:image|film|radiograph|x-?ray)\W*\Z")
_CLAUSE = re.compile(  # not "no. 5"
    r"(?i);|(?<!vs)(?<!\sdr)(?<!\be\.g)(?<!\bi\.e)(?!(?<=\bno)\.\s+\d)\.\s+|\.\Z|(?<=\])\s+(?=\[[a-z]{4})"
)


def read(text: str) -> list[Mention]:
    """What the lines of `text` say, in their order. Linear in the length of `text`."""
    text = records.separated(text)
    begin, found = records.written(text)
    if found:
        return (read(text[:begin]) if begin else []) + found
    scope: bool | None = True  # the status that the last heading gives to the lines under it
    lines, at = arranged(mended(text)), 0
    while at < len(lines):
        line = lines[at]
        if "|" in line and (len(items.PAIR.findall(line)) > 1 or _are_items(line.strip(" |").split("|"))):
            line = line.replace("|", ",")
        elif items.PAIR.match(bare_line(line)) and not any(map(named, line.split("|"))):  # "Edema: absent | Confidence: 0.9"
            line = line.strip(" |").partition("|")[0]
        if "|" in line:
            rows = at
            while rows < len(lines) and "|" in lines[rows]:  # the rows of one table
                rows += 1
            found += [replace(mention, claimed=under(scope, mention.claimed)) for mention in tables.read(lines[at:rows])]
            at = rows
            continue
        at += 1
        bare = bare_line(line)
        if not bare:
            continue
        if found and scope is True and (above := _of_above(bare, found)) is not found:
            found = above
            if not names_a_finding(bare):
                continue
        if _REFUSED.search(bare) and not names_a_finding(bare):
            scope = None
            continue
        if _is_heading(bare, lines[at] if at < len(lines) else None, bool(items.BULLET.match(line))):
            scope = heading(bare)
            below = itertools.takewhile(
                lambda one: not one.endswith(":"), (bare_line(lines[row]) for row in range(at, len(lines)))
            )
            if scope is None and not words_of(bare).isdisjoint(LOOKED_AT) and all(map(items.is_told, below)):
                scope = True  # each with what was found
            continue
        one = _FIRST.search(line)
        numbered = items.NUMBERED.match(line) or one and _SECOND.search(line, one.end())
        boxes = items.MARK.match(line) and items.NEXT_MARK.search(line)  # "(x) Edema ( ) Fracture"
        splitter = items.NEXT_MARK if boxes else _NEXT_NUMBER if numbered else None
        said = scope
        for row in splitter.split(line) if splitter else [line]:
            if row.endswith(":") and not names_a_finding(row):  # "Impression: 1. Edema 2. Fracture"
                said = heading(row) if scope is True else scope
            found += _line(row, said)
    return found


def _are_items(cells: list[str]) -> bool:
    """Whether each of several cells names one finding and says something of it: "Edema 8/10 | Fracture 2/10"."""
    return len(cells) > 1 and all(len(items.NAME.findall(cell)) == 1 and not named(cell) for cell in cells)


def _of_above(line: str, found: list[Mention]) -> list[Mention]:
    """`found` as changed by a line about all that was named above it; `found` itself if the line says nothing about that."""
    bare = _IN_IMAGE.sub("", line.strip(" .!()-=>:*"))
    if line.rstrip().endswith(":") or len(found) > _MOST:  # a heading, over what is below it; no list, but one that never ends
        return found
    pointed = line.lstrip().startswith(":") and status(bare) is False  # "=> all absent", "-> none"
    if pointed or _NONE_ABOVE.fullmatch(bare) or line.rstrip().endswith(".") and _NOT_SEEN.fullmatch(bare):
        return [replace(one, claimed=False) if one.claimed else one for one in found]
    if _OPEN_ABOVE.fullmatch(bare):
        return [replace(one, claimed=None) if one.claimed else one for one in found]
    named_again = {named(name) for name in items.NAME.findall(line)} if _ONLY.search(line) else set()
    if named_again and named_again <= {one.finding for one in found if one.claimed}:
        return [replace(one, claimed=False) if one.claimed and one.finding not in named_again else one for one in found]
    return found


def _is_heading(line: str, below: str | None, bulleted: bool) -> bool:
    """Whether a line is a heading of the lines under it."""
    if line.rstrip(" :").casefold() in NOT_IN_PROSE and (line.endswith(":") or below and names_a_finding(below)):  # "Normal"
        return True
    if line.endswith(":"):
        return named(line[:-1]) is None and not names_a_finding(line)
    if below is None or line.endswith(".") or named(line) is not None or names_a_finding(line):
        return False
    over = items.BULLET.match(below) and not bulleted and not line.endswith(",") and len(line.split()) <= 8
    return is_plain_heading(line) or bool(over)


def _line(line: str, scope: bool | None) -> list[Mention]:
    """What one line says, clause by clause."""
    found: list[Mention] = []
    carried: bool | None = scope  # the status that a heading in the line gives to what follows, up to a full stop
    for clause, goes_on in _clauses(bare_line(line)):
        if not clause.strip(EDGES):
            continue
        carried = carried if goes_on else scope
        if found and (above := _of_above(clause, found)) is not found:
            found = above
            if not names_a_finding(clause):
                continue
        first = items.NAME.search(clause)
        cut = clause.rfind(":", 0, first.start()) if first else -1  # "Findings: heart: cardiomegaly"
        head, colon, tail = (clause[:cut], ":", clause[cut + 1 :]) if cut > 0 else clause.partition(":")
        dashed = _DASH.split(clause, maxsplit=1)
        if not colon and len(dashed) > 1 and (is_place(dashed[0]) or is_plain_heading(dashed[0])):  # "Heart - Cardiomegaly"
            (head, tail), colon = dashed, ":"
        before, after = items.split(clause)
        if not colon and "?" not in clause and named(before):  # "Edema \u2014 the vessels are sharp"
            head, tail = before, after
            colon = ":" if tail else ""
        said = carried
        bare = items.ASIDE.sub("", head)  # "From the list (Edema, Fracture), I choose: Edema"
        name = named(head) if colon else None
        normal = name == NO_FINDING and named(tail.partition(",")[0])  # "Normal: pneumothorax, fracture"
        if colon and (normal or name is None and not names_a_finding(bare)):
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
        if {one.finding for one in mentions if one.claimed}.issuperset(FINDINGS):  # the prompt's list
            mentions = [replace(one, claimed=None) for one in mentions]
        if place:
            mentions = [replace(one, claimed=None) if one.finding == NO_FINDING else one for one in mentions]
        found += [replace(mention, claimed=under(said, mention.claimed)) for mention in mentions]
    return found


def _explained(clause: str) -> list[Mention] | None:
    """A name with a plain yes, no or maybe that is then explained: "Edema: no, the vessels are sharp"; else None."""
    head, value = items.split(clause)
    finding = named(head) if value else None
    first, comma, rest = value.partition(",")
    claimed = status(first)
    if not finding or not comma or concluded(value) is not None:
        return None
    if claimed is None and MAYBE.isdisjoint(first.casefold().split()):
        return None
    if claimed is not True:  # the reason for a denial claims no finding
        turn = prose.TURN.search(rest)
        rest = rest[turn.end() :] if turn else ""
    beside = [mention for mention in prose.read(rest) if mention.finding != finding]
    return [Mention(clause.strip(), finding, claimed, "list"), *beside]


def _described(head: str, value: str, finding: str) -> list[Mention]:
    """A name followed by a sentence: "Edema: the vessels are sharp". What the sentence says of that finding decides."""
    said = prose.read(value)
    own = [mention.claimed for mention in said if mention.finding == finding]
    words = words_of(value)
    first = words_of(prose.TURN.split(value)[-1] if prose.TURN.search(value) else _COMMA.split(value)[0])
    if (end := concluded(value)) is not None:
        claimed: bool | None = end
    elif own:
        claimed = True if True in own else own[0]
    elif finding == NO_FINDING and not SOUND.isdisjoint(words) and not any(one.claimed for one in said):
        claimed = True
    elif not MAYBE.isdisjoint(words) or _LOOKED.search(value):
        claimed = None
    else:
        told = _TOLD if words & VERBS else _TOLD | QUALIFIERS  # "3rd rib, left"
        claimed = False if not first.isdisjoint(NO) else None if not first.isdisjoint(SOUND) or words.isdisjoint(told) else True
    return [Mention(head.strip(), finding, claimed, "prose"), *(one for one in said if one.finding != finding)]


def _clauses(line: str) -> list[tuple[str, bool]]:
    """The clauses of a line, and whether each follows a semicolon; separators within parentheses are ignored."""
    whole = items.ASIDE.sub(lambda aside: "x" * len(aside.group()), line)
    starts, ends, on = [0], [], [False]
    for end in _CLAUSE.finditer(whole):
        ends.append(end.start())
        starts.append(end.end())
        on.append(end.group() == ";")
    return [(line[start:end], goes_on) for start, end, goes_on in zip(starts, [*ends, len(line)], on, strict=True)]
