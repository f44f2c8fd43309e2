"""How a heading (of a section, a column, a JSON key) affects what follows it."""

from __future__ import annotations

import re

from chexreason.answers.lexicon import (
    CHOSEN,
    CLAIMING,
    DENYING,
    FILLERS,
    LIKELINESS,
    MAYBE,
    NO,
    NOT_CLAIMED,
    OPEN,
    PLACES,
    SOUND,
)
from chexreason.answers.values import SINCE, share, status, words_of

_UNDONE = frozenset(f"un{word}" for word in CLAIMING | CHOSEN) - MAYBE  # "Unselected"
# What a heading in a language without spaces says where something is shown.
_SHOWN = re.compile("标签|显示|提示|发现|结论|诊断|答|结果|包括|如下|所見|診断|結果|소견|진단")
_FRAME = frozenset(
    "q what which you my your our with from by as so thus therefore based provided given would can we all only".split()
)
_RULED_IN = re.compile(r"(?i)\bruled[ -]in\b")
_VALUED = re.compile(  # "Labels with value 0:", "-1:"
    r"(?i)(?:^[^\w\u2212-]{0,3}|\s(?=[-\u2212])"
    r"|\b(?:with (?:the )?(?:value|label|score)|valued?|marked|that are|equal to|set to|scored)(?: ?[:=])? ?)"
    r"([-\u2212]?[01])(?:\.0)?\W*$"
)
_CHOOSING = re.compile(r"\bI(?:'d|'ll| would| will)? (?:choose|select|pick|go with|opt for)\b(?! (?:from|between|among))")
_NOTED = re.compile(
    r"(?i)\bnote (?:that|the following)\b|\bhere(?:'s| is) (?:my|the|an) analysis\b"
    r"|\b(?:evaluat|assess|review|check|consider|look|go)\w*(?: at| through| over)? (?:each|every)\b"
    r"[\w ]{0,20}\b(?:labels?|findings?)\b"
)
_EXCEPT = re.compile(r"(?i)\b(?:except(?: for)?|apart from|aside from|other than|save for)\W*\Z")  # "Nil except:"
_MIDDLING = frozenset("moderate medium intermediate".split())  # probability
_CHANGES = frozenset("change changes changed".split())


def heading(text: str) -> bool | None:
    """True where what follows is claimed, False where it is denied, None where it is neither."""
    text = _NOTED.sub("the following", _CHOOSING.sub("chosen", _RULED_IN.sub("confirmed", text))).rpartition(" but")[2]
    text = SINCE.sub("", text)
    words = words_of(text)
    if _SHOWN.search(text):
        return None if NOT_CLAIMED.search(text) else True
    if _EXCEPT.search(text):
        return True
    if words & LIKELINESS and words & _MIDDLING:
        return None
    if number := _VALUED.search(text):
        return {"0": False, "1": True}.get(number[1])
    bare = text.strip(" :")
    said = [status(bare.strip("-") or bare), share(bare)]
    if said != [None, None]:  # "0:", "Applies:", "5%:", "-:"
        return False not in said
    if not words.isdisjoint(NO) and not words.isdisjoint(_CHANGES):  # "No significant change:"
        return True
    if not words.isdisjoint(DENYING) or not words.isdisjoint(NO) or not words.isdisjoint(_UNDONE):
        return False
    if not words.isdisjoint(CHOSEN) and words.isdisjoint(MAYBE):
        return True
    words = words_of(text.rstrip(",").rpartition(",")[2])  # "considering the analysis, the answer is": the end of it decides
    if not words.isdisjoint(OPEN) or not words.isdisjoint(MAYBE):
        return None
    if not words.isdisjoint(CLAIMING) or not words.isdisjoint(PLACES):
        return True
    return True if FILLERS.union(_FRAME).issuperset(words) else None


def is_plain_heading(text: str) -> bool:
    """Whether a line without a colon is a heading all the same: "Absent", "There is no evidence of"."""
    words = words_of(text)
    denying = NO | (DENYING - SOUND)
    known = denying | MAYBE | CLAIMING | FILLERS | OPEN | _FRAME | {"out"}
    return (
        ":" not in text
        and 0 < len(words) <= 8
        and known.issuperset(words)
        and not words.isdisjoint(denying | MAYBE | CLAIMING | OPEN)
    )


def is_place(text: str) -> bool:
    """Whether a heading names a part of the chest: what is normal under it is no whole film."""
    return not words_of(text).isdisjoint(PLACES - {"chest", "thorax"})
