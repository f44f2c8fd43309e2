"""The parser: from what a model wrote to the answer it gave.

The strict parse, for rewards, requires what equation 3 requires of a valid output. The tolerant parse, for evaluation, finds
the answer in any tags that the model uses and passes it to the readers (`reading`). Neither reads a label that the model did
not claim, crashes, or takes more than linear time.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from chexreason.answers.grammars import ANY_TAG, BRACES, Grammar, grammar_named
from chexreason.answers.lexicon import CLAIMING, DENYING, FILLERS, MAYBE, NO, OPEN, SOUND
from chexreason.answers.synonyms import NAMES
from chexreason.answers.terms import DENIED_AFTER, DENIED_BEFORE, OPEN_AFTER, OPEN_BEFORE, OPEN_LATER, OPEN_LISTS
from chexreason.labels import FINDINGS, NO_FINDING, in_order

# Why no answer could be read.
EMPTY = "empty"  # nothing was written, or nothing in the solution block
NO_THINK = "no_think"  # no reasoning block
NO_SOLUTION = "no_solution"  # no solution block after the reasoning
REPEATED = "repeated_block"  # a marker occurs more than once
UNCLOSED = "unclosed"  # a block was begun and not ended
TRUNCATED = "truncated"  # the text breaks off inside the reasoning or a marker, or at the token limit in an open block
NO_VALID_LABEL = "no_valid_label"  # the solution claims none of the 14 findings

_FINDINGS = frozenset(FINDINGS)
_TERMS = frozenset((*DENIED_BEFORE, *DENIED_AFTER, *OPEN_BEFORE, *OPEN_LISTS, *OPEN_AFTER, *OPEN_LATER))
_FRAMING = NO | MAYBE | CLAIMING | OPEN | FILLERS | (DENYING - SOUND) | _TERMS  # words that no label's name has
_ALL = SOUND | {"all", "everything", "entirely", "completely"}
_BULLETS = frozenset({"- ", "* ", "\u2022 "})
_EXAMPLE = re.compile(r"(?i)\b(?:for example|for instance|example|the format is|would look like)\b")
_NO_IMAGE = re.compile(
    r"(?i)\bno image\b|\b(?:cannot|can't|(?:un|not )able to) (?:see|view|access|open) (?:the|an|any|your) (?:image|x-?ray|film)"
)
_ITEM_END = re.compile(r"(?i)[,\n]|(?<=[a-z][.!?])(?<!\bvs\.)(?<!\betc\.)(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bdr\.)(?<!approx\.) ")
_ENTITY = re.compile(r"&#?\w{2,8};")
_EDGES = " .*_\"'`()[]"


@dataclass(frozen=True)
class Answer:
    """What the parser read from a completion."""

    labels: tuple[str, ...] = ()  # claimed findings, once each, in CheXpert's order
    unknown: tuple[str, ...] = ()  # items that claim no finding
    duplicates: tuple[str, ...] = ()  # findings claimed again, once per repetition
    negated: tuple[str, ...] = ()  # findings that are denied
    thoughts: str = ""  # the reasoning
    extraneous: str = ""  # text outside the blocks
    failure: str | None = None  # why no answer could be read
    well_formed: bool = False  # the blocks are as the grammar wants them, whatever the solution says
    how: str | None = None  # how it was read: list, table, json or prose; None where nothing was claimed


def parse(text: str, grammar: str, finished: bool = True) -> Answer:
    """Tolerant parse, for evaluation: the answer that a reader would take from `text`.

    `finished` is false where the token limit, and not the model, ended the text.
    """
    rule = grammar_named(grammar)
    if not text.strip():
        return Answer(failure=EMPTY)
    text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    if rule.loosely is not ANY_TAG or rule.markers is None:
        left = _without_thinking(text)
        if not left.strip():
            return Answer(thoughts=text, failure=EMPTY if "end_think" in _tags(text) else TRUNCATED)
        text = left
    if rule.markers is None and _tags(text).isdisjoint(("answer", "end_answer")):
        whole = text if finished else _whole_items(text)
        return _read_loosely(whole, Answer()) if whole.strip() else Answer(failure=TRUNCATED)
    body, found = _blocks_loosely(text, rule, finished)
    around = found.extraneous
    if _EXAMPLE.search(around) and _NO_IMAGE.search(around):  # an example, as no image was seen
        return replace(found, failure=NO_VALID_LABEL)
    return found if found.failure else _read_loosely(rule.loosely.sub("\n", body), found)  # a stray marker is no word


def parse_strict(text: str, grammar: str) -> Answer:
    """Strict parse, for rewards (equation 3): exactly one reasoning block, then exactly one solution block."""
    markers = grammar_named(grammar).markers
    if not text.strip():
        return Answer(failure=EMPTY)
    if markers is None:
        return _read_exactly(text, Answer())
    failure = _broken(text, markers)
    if failure:
        return Answer(extraneous=text, failure=failure)
    opened, closed, begun, ended = markers
    before, _, rest = text.partition(opened)
    thoughts, _, rest = rest.partition(closed)
    between, _, rest = ("", "", rest) if closed == begun else rest.partition(begun)
    body, _, after = rest.partition(ended)
    return _read_exactly(body, Answer(thoughts=thoughts.strip(), extraneous=_joined(before, between, after)))


def _broken(text: str, markers: tuple[str, str, str, str]) -> str | None:
    """The first thing that is wrong with the blocks of `text`."""
    opened, closed, begun, ended = markers
    if opened not in text:
        return NO_THINK
    if any(text.count(marker) > 1 for marker in markers):
        return REPEATED
    at_opened, at_closed, at_begun, at_ended = (text.find(marker) for marker in markers)
    if at_closed < at_opened:
        if at_begun > at_opened:
            return UNCLOSED
        return TRUNCATED if at_ended < at_opened else NO_SOLUTION
    if at_begun < at_closed:
        return TRUNCATED if _breaks_off(text, begun) else NO_SOLUTION
    if at_ended < at_begun:
        return TRUNCATED if _breaks_off(text, ended) else UNCLOSED
    return None


def _breaks_off(text: str, marker: str) -> bool:
    """Whether `text` ends in the middle of `marker`."""
    return any(text.endswith(marker[:length]) for length in range(2, len(marker)))


def _blocks_loosely(text: str, rule: Grammar, finished: bool) -> tuple[str, Answer]:
    """The body of the last non-empty solution block after the reasoning, and the text around it."""
    markers = list(rule.loosely.finditer(text))
    ends = [at for at, marker in enumerate(markers) if marker.lastgroup == "end_think"]
    first, last = (ends[0], ends[-1]) if ends else (-1, -1)
    outside, thinking = [], False  # text in the reasoning is no answer, but a draft or a quotation of the prompt
    for at, marker in enumerate(markers):
        if marker.lastgroup in ("think", "end_think"):
            thinking = marker.lastgroup == "think" and at < last
        elif at > first and not thinking:
            outside.append(marker)
    # A block that is reopened before it was closed ends there.
    blocks = [pair for pair in zip_longest(outside, outside[1:]) if pair[0].lastgroup == "answer"]
    opened = next((marker for marker in markers if marker.lastgroup == "think"), None)
    closed = markers[first] if ends else blocks[0][0] if blocks and rule is BRACES else None
    if not blocks:
        thinks_on = opened and not closed and not (rule is BRACES and outside)
        cut = thinks_on or not finished or _breaks_off(text, rule.markers[2] if rule.markers else "")
        if closed and not cut:  # no tag begins the answer: it is what follows the thinking
            left, more = text[markers[last].end() :], markers[last + 1 :]
            if left.strip() and all(marker.lastgroup != "think" for marker in more):
                return left, Answer(thoughts=text[opened.end() if opened else 0 : closed.start()].strip())
        return "", Answer(extraneous=text, failure=TRUNCATED if cut else NO_SOLUTION)
    holding = [(begun, ended) for begun, ended in blocks if (ended or finished) and _between(text, begun, ended).strip()]
    begun, ended = (holding or blocks)[-1]
    reasoned_from = opened.end() if opened and opened.end() <= begun.start() else 0
    reasoned_to = closed.start() if closed else begun.start() if opened else 0
    found = Answer(
        thoughts=text[reasoned_from:reasoned_to].strip(" \t\r\n,\"'"),
        extraneous=_joined(
            text[: opened.start()] if reasoned_from and opened else "",
            text[closed.end() : begun.start()] if closed else "" if opened else text[: begun.start()],
            text[ended.end() :] if ended else "",
        ),
    )
    body = _between(text, begun, ended)
    whole = body if ended or finished else _whole_items(body)
    return whole, found if ended or whole.strip() else replace(found, failure=TRUNCATED if body.strip() else EMPTY)


def _between(text: str, begun: re.Match[str], ended: re.Match[str] | None) -> str:
    return text[begun.end() : ended.start() if ended else len(text)]


def _without_thinking(text: str) -> str:
    """`text` without its blocks of reasoning, whatever their tags; one that was never closed reaches to the end."""
    left, at, thinking = [], 0, False
    for marker in ANY_TAG.finditer(text):
        if marker.lastgroup == "think":
            if not thinking:
                left.append(text[at : marker.start()])
            thinking = True
        elif marker.lastgroup == "end_think":
            left, at, thinking = left if thinking else [], marker.end(), False
    return "".join(left) + ("" if thinking else text[at:])


def _tags(text: str) -> set[str | None]:
    return {marker.lastgroup for marker in ANY_TAG.finditer(text)}


def _whole_items(body: str) -> str:
    """`body` without its last item or sentence, which the token limit may have cut."""
    return body[: max((end.start() for end in _ITEM_END.finditer(body)), default=0)]


def _joined(*parts: str) -> str:
    return " ".join(part.strip() for part in parts if part.strip())


def _read_exactly(body: str, found: Answer) -> Answer:
    """Items that are CheXpert's own names; nothing else is a label."""
    items = [item for part in body.split("\n") for item in map(str.strip, part.split(",")) if item]
    labels = [item for item in items if item in _FINDINGS]
    unknown = [item for item in items if item not in _FINDINGS]
    if any(map(_frames, unknown)):
        labels = []
    return _answer(found, labels, unknown)


def _frames(item: str) -> bool:
    """Whether an item is not just a name but changes the meaning of names beside it: "Absent:", "No Edema", "All clear"."""
    words = _words(item)
    if ":" in item or "?" in item or len(words) > 4 or " ".join(words) in _FRAMING:
        return True
    return not _FRAMING.isdisjoint(words) or (bool(words) and _ALL.issuperset(words))


def _words(item: str) -> list[str]:
    return [word.strip(_EDGES) for word in item.casefold().replace("-", " ").split()]


def _read_loosely(body: str, found: Answer) -> Answer:
    """Read claims and denials as a human reader would."""
    plain = _plain_list(body)
    if plain is not None:
        return _answer(found, plain, how="list")
    labels, unknown, negated = [], [], []
    from chexreason.answers import reading  # a strict parse, or composing a reward, does not need it

    mentions = reading.read(body)
    for mention in mentions:
        if mention.finding is None or mention.claimed is None:
            unknown.append(mention.text)
        elif mention.claimed:
            labels.append(mention.finding)
        else:
            negated.append(mention.finding)
    return _answer(found, labels, unknown, negated, reading.weakest(mentions))


def _plain_list(body: str) -> list[str] | None:
    """A list of nothing but names, bulleted or not: by far the most frequent answer, hence a fast path."""
    names = []
    for item in body.replace("\n", ",").split(","):
        item = item.strip()
        if item[:2] in _BULLETS:
            item = item[2:].lstrip()
        if item:
            finding = NAMES.get(item.casefold())
            if finding is None or (finding == NO_FINDING and item != NO_FINDING):
                return None
            names.append(finding)
    return names


def _answer(
    found: Answer, claimed: list[str], unknown: Sequence[str] = (), negated: Sequence[str] = (), how: str = "list"
) -> Answer:
    labels: list[str] = []
    duplicates: list[str] = []
    for finding in claimed:
        (duplicates if finding in labels else labels).append(finding)
    failure = None if labels else NO_VALID_LABEL if unknown or negated else EMPTY
    return Answer(
        tuple(in_order(labels)),
        tuple(unknown),
        tuple(duplicates),
        tuple(negated),
        found.thoughts,
        found.extraneous,
        failure,
        well_formed=True,
        how=how if labels else None,
    )
