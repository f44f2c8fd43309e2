"""Converts a teacher's reply to a completion: harmless differences in form are corrected before the gates judge it.

A difference is harmless if it changes neither the reasoning nor the labels: a code fence around the whole answer, a full stop
after the labels, or reasoning that a server's parser or the model separated (in another field, thought parts, other tags).
"""

from __future__ import annotations

import re

from chexreason.answers.grammars import ANY_TAG, grammar_named
from chexreason.answers.parser import parse_strict
from chexreason.teacher.reply import Reply

_TAGS = {"think": "<think>", "end_think": "</think>"}
_STOP = re.compile(r"[.。](?=\s*(?:,|\n|$))")


def completion(reply: Reply, grammar: str) -> str | None:
    """`reply` in the form of `grammar`; unchanged if it is well-formed or its faults are not harmless ones."""
    if reply.text is None:
        return None
    markers, text = grammar_named(grammar).markers, _unfenced(reply.text)
    if markers is None or _is_sound(text, grammar):
        return text
    blocks, answer = _thinking(text)
    if markers[0] not in answer:  # otherwise the preceding thoughts were only a plan
        thoughts = blocks[-1] if blocks else (reply.thoughts or "").strip()
        answer = _with_reasoning(thoughts, answer, *markers[:3])
    answer = _without_full_stops(answer, *markers[2:])
    return answer if _is_sound(answer, grammar) else text


def _is_sound(text: str, grammar: str) -> bool:
    read = parse_strict(text, grammar)
    return read.failure is None and not read.extraneous and not read.unknown


def _unfenced(text: str) -> str:
    """`text` without the code fence around the whole of it."""
    whole = text.strip()
    if not (whole.startswith("```") and whole.endswith("```") and whole.count("```") == 2):
        return text
    language, _, rest = whole[3:-3].partition("\n")
    return rest.strip() if re.fullmatch(r"[\w+-]*\s*", language) else whole[3:-3].strip()


def _thinking(text: str) -> tuple[list[str], str]:
    """The blocks of thinking that `text` begins with, in whatever tags, and what follows them.

    The first tag of a pair may stand in a server's chat template and not in the reply.
    """
    blocks: list[str] = []
    text = text.replace("<unused94>thought", "<unused94>")  # MedGemma's
    rest = ANY_TAG.sub(lambda tag: _TAGS.get(str(tag.lastgroup), tag.group()), text).strip()
    while True:
        inside, closed, after = rest.partition("</think>")
        if not closed or not (inside.startswith("<think>") or (not blocks and "<think>" not in inside)):
            return blocks, rest
        blocks.append(inside.removeprefix("<think>").strip())
        rest = after.lstrip()


def _with_reasoning(thoughts: str, answer: str, opened: str, closed: str, begin: str) -> str:
    """`answer`, which has a solution and no reasoning, with these thoughts before it."""
    before, found, rest = answer.partition(begin)
    if not thoughts or not found or before.strip(" \n{,"):
        return answer
    if closed == begin:
        return f"{opened} {thoughts}, {begin}{rest}"
    return f"{opened}{thoughts}{closed}\n{begin}{rest}"


def _without_full_stops(text: str, begin: str, end: str) -> str:
    """`text` without full stops after its labels and after its last block."""
    before, found, rest = text.partition(begin)
    labels, ended, after = rest.partition(end)
    if not (found and ended):
        return text
    return before + begin + _STOP.sub("", labels) + end + ("" if after.strip() == "." else after)
