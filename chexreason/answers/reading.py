"""The tolerant readers, one after the other: objects (JSON), then lines, of which some are tables, lists, or prose."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chexreason.answers import lists, markup, objects
from chexreason.answers.mentions import Mention
from chexreason.answers.values import over_threshold
from chexreason.labels import NO_FINDING, SUPPORT_DEVICES

_ANSWER = r"(?:answers?|labels?|lists?|predictions?|solution|output|verdict|selections?|choices?|decision)"
_FINAL = re.compile(  # where a writer says what the answer is, after all that was said before
    rf"(?i)(?:^|\n)(?:this|the) (?:image|film|radiograph|x-?ray|cxr) shows ?:[ *_]*"
    rf"|(?:^|\n)[ *_]*final[ *_]*:[ *_]*"
    rf"|\b(?:(?:final|correct)[ _]{_ANSWER}|(?:corrected|revised|updated)[ _](?:{_ANSWER}|\w{{5,14}})|correct(?:ion|ed))"
    r"(?:\(s\))?[ *_]*(?:[:=\n]|->|(?:is|are|would be|should be)\b)[ *_:]*"
)
_ANSWER_LINE = re.compile(r"(?i)(?:^|\n|[.!?] )[ *_#]*(?:answer|response|labels?)[ *_]*:[ *_]*")
_CORRECTION = re.compile(
    r"(?i)\b(?:(?:wait|hmm+|actually|on (?:second thought|closer (?:inspection|look)|reflection|re-?review)|i was wrong"
    r"|my mistake|(?:correction|addendum|erratum|amendment)(?=:))\b"
    r"|(?:(?<=\n)|(?<=[.;] ))(?:I'll |I will |I'd |let's |let me |so )?(?=(?:scratch|strike|drop|remove|delete|omit|discard)\b)"
    r"|let me (?:re-?consider|re-?check|re-?evaluate|re-?examine|double[- ]check|correct)\b)"
)
_ROLE = re.compile(r"(?i)(?:^|\n)[ *_]*(?:assistant|model|ai|bot)[ *_]*:[ *_]*|\A\s*(?:user|human)\s*:")
_END = re.compile(r"<\|(?:endoftext|end_of_text|im_end|eot_id|end)\|>|<end_of_turn>|<eos>|</s>")
_HEAD = re.compile(r"(?i)(?:<s>|<start_of_turn>|<\|\w+\|>|\s)*(user|human|system|assistant|model)(?:<\|\w+\|>|:)?\s")
_USER = re.compile(r"(?i)\n[ *_]*(?:user|human)[ *_]*:")  # from here on it talks to itself
_WITHDRAWN = re.compile(
    r"(?i)\W*(?:no|nope|that(?:'s| is) (?:wrong|not right|incorrect))(?:\s*[,.;:!?\u2014](?!\s*(?:not?|without)\b)|\W*\Z)"
)
_CHOSEN = re.compile(  # "the most likely labels are ...": of all that one may say, this is what is said
    r"(?i)\bmost (?:likely|probable|plausible) (?=(?:answers?|labels?|findings?|class(?:es)?) ?(?::|is\b|are\b|includes?\b))"
)
_NOTHING = re.compile(r"(?i)\W*(?:none|nothing|n/a)\W*")
_WEAKEST_FIRST = ("prose", "table", "json", "list")
# "The heart looks large, but this is normal", "There is a pneumothorax. On second look, it is a skin fold".
_SECOND_LOOK = r"(?:no|actually|wait|in fact|on (?:a )?(?:second|closer|further) (?:look|inspection|review|thought)),?"
_IT = r"\s(?:which|this|it|that)"
_BUT_IT_IS = (
    rf"(?:[,;]?\s(?:but|yet|however,?|though)(?:{_IT})?|[,;]{_IT}|\.\sthis(?=\sturned)"
    rf"|[.,;](?:\s(?:but|however,?))?(?:\s{_SECOND_LOOK}){{1,3}}(?:{_IT}|\sthe heart(?: size)?|\sthe mediastinum)?)"
    r"\s(?:is|are|was|remains?|turned out to be)\s"
    r"(?:(?:actually|in fact|still|just|only|likely|an?)\s|[\w ]{3,40}? and is\s){0,3}"
)
_TAKEN_BACK = re.compile(
    rf"(?i)(\b(?:enlarged|widened|prominent|large|big|wide)\b[^.,;\n]{{0,30}}?)"
    rf"{_BUT_IT_IS}(?:normal|within normal(?: limits)?)\b"
    rf"|{_BUT_IT_IS}(?:an? )?(?:skin fold|artifact|artefact|nipple shadow)\b"
)


def read(body: str) -> list[Mention]:
    """What the body of an answer claims, denies and leaves open, in its order.

    If a finding is claimed, a statement that the film is normal, in other words than CheXpert's own, applies to the rest of it.
    """
    text = _CHOSEN.sub("", _ROLE.sub("\n", _USER.split(_own_turn(over_threshold(markup.unfenced(body))))[0]))
    finals, answers = list(_FINAL.finditer(text)), list(_ANSWER_LINE.finditer(text))
    if not finals and answers and (len(answers) == 1 or _CORRECTION.search(text, 0, answers[-1].start())):
        finals = answers
    last = text[finals[-1].end() :] if finals else ""  # a final answer is all of the answer
    if _NOTHING.fullmatch(last):
        return []
    found = _read(last)
    takes_back = finals and "correction" in finals[-1].group().casefold() and not any(mention.claimed for mention in found)
    if takes_back or not any(mention.finding for mention in found):
        found = _read(text)
    if any(mention.claimed and mention.finding not in (None, NO_FINDING, SUPPORT_DEVICES) for mention in found):
        own = NO_FINDING.casefold()
        found = [one for one in found if one.finding != NO_FINDING or one.how != "prose" and own in one.text.casefold()]
    denied = {mention.finding for mention in found if mention.claimed is False and mention.how != "prose"}
    # A bare name that is denied elsewhere claims nothing.
    return [one for one in found if one.claimed is False or one.how != "list" or one.text not in denied]


def _own_turn(text: str) -> str:
    """The model's own first turn, if end-of-turn markers show that it went on to write other speakers' turns."""
    turns = [turn for turn in _END.split(text) if turn.strip()]
    if len(turns) < 2:
        return text
    heads = [_HEAD.match(turn) for turn in turns]
    own = [
        turn[head.end() if head else 0 :]
        for turn, head in zip(turns, heads, strict=True)
        if head is None or head[1].casefold() in ("assistant", "model")
    ]
    return own[0] if own else text


def _read(text: str) -> list[Mention]:
    found = objects.read(text)
    if found is not None:
        return found
    found = []
    # What is denied after a second thought was not said before it.
    for part in _CORRECTION.split(_TAKEN_BACK.sub(r"\1 is not present", text)):
        if found and _WITHDRAWN.match(part):  # "Edema. Wait, no."
            found = []
        said = lists.read(markup.plain(part))
        denied = {mention.finding for mention in said if mention.claimed is not True}
        normal = any(mention.claimed and mention.finding == NO_FINDING for mention in said)
        found = [mention for mention in found if not normal and mention.finding not in denied] + said
    return found


def weakest(mentions: Sequence[Mention]) -> str:
    """How the claims were read; if in several ways, the least reliable one."""
    used = {mention.how for mention in mentions if mention.claimed}
    return next((how for how in _WEAKEST_FIRST if how in used), "list")
