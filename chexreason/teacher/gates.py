"""The gates that a trace must pass before a model may learn from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chexreason.answers.grammars import ANY_TAG, grammar_named
from chexreason.answers.parser import parse_strict
from chexreason.errors import at_least

# What a teacher lets slip that was told the labels. Each is matched as whole words, any blank or hyphen between them. What
# a radiologist may well write stays allowed: "the provided radiograph", "given the volume loss", "labelled AP portable".
LEAKS: tuple[str, ...] = (
    r"ground truth", r"answer key", r"as (?:was |were )?(?:provided|instructed|told)", r"as given(?! above)",
    r"(?:the|these|those|all) (?:given|provided|supplied|established|confirmed|stated) "
    r"(?:findings?|diagnos[ei]s|conclusions?|answers?|solution|impression|information|list)",
    r"(?:given|provided|supplied|specified|assigned|known|target|correct|expected|reference|confirmed|annotated|true|actual|"
    r"required|requested) labels?",
    r"(?:correct|expected|known|given|provided) (?:answers?|solution)",
    r"(?:labels?|findings|diagnos[ei]s|answers?) (?:that )?(?:(?:is|are|was|were|have been|has been) )?"
    r"(?:given|provided|supplied|told) (?:to me|in the|for this|for the|here|already|beforehand|above)",
    r"labels (?:provided|given|supplied|say|state|tell|indicate|suggest|mention|list|include|confirm|require|are known)",
    r"(?:according to|consistent with|in line with|agree(?:s|ing)? with|match(?:es|ing)?|per|based on|because of|supports?) "
    r"(?:the|these|my|all) labels?",
    r"(?:i|we) (?:was|were|am|are|have been|had been) (?:told|given|provided|informed|instructed|asked|supplied)",
    r"(?:you|the user) (?:gave|have given|provided|have provided|told|said|asked|want|established)",
    r"the user", r"the student", r"established (?:findings?|for this film)",
    r"(?:the|this|my|your) (?:prompt|request|task|instructions?) "
    r"(?:says?|states?|lists?|mentions?|asks?|gives?|tells?|requires?)",
    r"(?:in|from|by) (?:the|this|my|your) (?:prompt|request|instructions?)",
    r"(?:annotations?|dataset|data set) (?:says?|states?|lists?|indicates?|labels?|gives?|tells?)",
    r"as if (?:reasoning |thinking |reading )?independently", r"without (?:being told|knowing the (?:labels?|answers?))",
    r"pretend(?:ing)? (?:not|that|to)",
)  # fmt: skip
_LEAK = re.compile(r"\b(?:" + "|".join(LEAKS).replace(" ", r"[\s-]+") + r")\b", re.IGNORECASE)
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


@dataclass(frozen=True)
class Refusal:
    """Which gate a trace failed, and on what."""

    gate: str  # no_answer | grammar | labels | leak | length | repetition; declined: the service does not take the study
    detail: str

    def __str__(self) -> str:
        return f"{self.gate}: {self.detail}"


@dataclass
class Gates:
    """Bounds for the reasoning, in words; `repeated_words` in a row that occur twice are a repetition."""

    least_words: int
    most_words: int
    repeated_words: int

    def __post_init__(self) -> None:
        at_least(0, gates__least_words=self.least_words)
        at_least(max(1, self.least_words), gates__most_words=self.most_words)
        at_least(1, gates__repeated_words=self.repeated_words)

    def refuse(self, completion: str | None, labels: Sequence[str], grammar: str) -> Refusal | None:
        """The first gate that `completion` fails as a trace for a study with these labels, or None."""
        if completion is None:
            return Refusal("no_answer", "nothing was written")
        answer = parse_strict(completion, grammar)
        if answer.failure is not None:
            return Refusal("grammar", answer.failure)
        if answer.extraneous:
            return Refusal("grammar", "text outside the blocks")
        if list(answer.labels) != list(labels) or answer.unknown or answer.duplicates:
            return Refusal("labels", "they differ from the ground truth")
        if grammar_named(grammar).markers is None:
            return None
        tag = ANY_TAG.search(answer.thoughts)
        if tag:
            return Refusal("grammar", f"{tag.group()} in the reasoning")
        leak = _LEAK.search(answer.thoughts)
        if leak:
            return Refusal("leak", " ".join(leak.group().split()).lower())
        words = _WORD.findall(answer.thoughts.casefold())
        if not self.least_words <= len(words) <= self.most_words:
            return Refusal("length", f"{len(words)} words")
        repeated = repetition(words, self.repeated_words)
        return Refusal("repetition", repeated) if repeated else None


def repetition(words: Sequence[str], count: int) -> str | None:
    """The first `count` words in a row that occur twice, or None."""
    seen: set[tuple[str, ...]] = set()
    for start in range(len(words) - count + 1):
        run = tuple(words[start : start + count])
        if run in seen:
            return " ".join(run)
        seen.add(run)
    return None
