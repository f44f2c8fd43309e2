"""The output grammars, one for each format, and the tags that models put their thinking and their answers in.

Sections 3.2, 3.2.2 and 4.1 of the paper: tags `<think>...</think><solution>...</solution>`, braces `{analysis: ...,
conclusion: ...}`, or the labels alone. `<think>...</think><answer>...</answer>` is what NV-Reason-CXR publishes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from chexreason.errors import ChexReasonError
from chexreason.labels import in_order

# The tags that models put their thinking and their answers in, blanks, quotes and bars between their parts; Gemma's
# <unused94>, Mistral's [THINK], Kimi's triangles and gpt-oss's channels among them. A marker's kind is the name of its group.
_G = r"[\s\"'*|]*+"
_THINKING = "(?:think|thinking|thought|thoughts|reasoning|reason|analysis|scratchpad|reflection|rationale|cot|inner_monologue)"
_ANSWERING = "(?:solution|answer|final_answer|final_solution|response|(?<=[</])(?:labels|final|output|predictions|result))"
ANY_TAG = re.compile(
    r"(?i)[<\[\u25c1](?:"
    rf"(?P<think>{_G}(?:(?:begin|start)_(?:of_)?)?(?:\w{{1,8}}:)?(?:{_THINKING}|unused94){_G}[>\]\u25b7]"
    rf"|\|channel\|?>\s*+(?:analysis|commentary|thought)\b)"
    rf"|(?P<end_think>{_G}(?:/{_G}|end_(?:of_)?)(?:\w{{1,8}}:)?{_THINKING}{_G}[>\]\u25b7]"
    rf"|{_G}(?:/{_G})?unused95{_G}>|\|channel\|>\s*+final\b|channel\|>)"
    rf"|(?P<answer>{_G}(?:begin_(?:of_)?)?{_ANSWERING}{_G}[>\]])"
    rf"|(?P<end_answer>{_G}(?:/{_G}|end_(?:of_)?){_ANSWERING}{_G}[>\]]))"
)
# What a marker of braces begins with is looked for first, in either case, and elsewhere nothing is tried: half the time.
_ANY_BRACE = re.compile(
    r"[{}cC](?i:(?P<think>(?<=\{)[\s\"'*]*+analysis[\s\"'*]*+:)|(?P<answer>(?<=c)onclusion[\s\"'*]*+:)|(?P<end_answer>(?<=\})))"
)


@dataclass(frozen=True)
class Grammar:
    """A format, by the markers that begin and end its two blocks; braces end the one and begin the other with one marker.

    Strictly, each marker occurs exactly once and in this order.
    """

    name: str
    template: str
    markers: tuple[str, str, str, str] | None = None  # None: the whole completion is the list of labels, without reasoning
    loosely: re.Pattern[str] = ANY_TAG  # the markers that a tolerant parse looks for; no part of a text is ever scanned twice

    def write(self, thoughts: str, labels: list[str]) -> str:
        """A completion of this grammar, labels in CheXpert's order."""
        return self.template.format(thoughts=thoughts, labels=", ".join(in_order(labels)))


TAGS = Grammar(
    "tags", "<think>{thoughts}</think>\n<solution>{labels}</solution>", ("<think>", "</think>", "<solution>", "</solution>")
)
BRACES = Grammar(
    "braces", "{{analysis: {thoughts}, conclusion: {labels}}}", ("{analysis:", "conclusion:", "conclusion:", "}"), _ANY_BRACE
)
LABELS = Grammar("labels", "{labels}")
ANSWER = Grammar(
    "answer", "<think>{thoughts}</think>\n<answer>{labels}</answer>", ("<think>", "</think>", "<answer>", "</answer>")
)
GRAMMARS = {grammar.name: grammar for grammar in (TAGS, BRACES, LABELS, ANSWER)}


def grammar_named(name: str) -> Grammar:
    """The grammar that a prompt names."""
    if name not in GRAMMARS:
        raise ChexReasonError(f"prompt.grammar={name!r}: one of {', '.join(GRAMMARS)} is wanted")
    return GRAMMARS[name]
