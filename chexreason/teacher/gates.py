"""The gates that a trace must pass before a model may learn from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chexreason.answers.grammars import ANY_TAG, grammar_named
from chexreason.answers.parser import parse_strict
from chexreason.errors import at_least
from chexreason.teacher.leaks import leak

_WORD = re.compile(r"\w+(?:['’-]\w+)*")


@dataclass(frozen=True)
class Refusal:
    """The gate that a trace failed, and why."""

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
        slip = leak(answer.thoughts)
        if slip:
            return Refusal("leak", slip)
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
