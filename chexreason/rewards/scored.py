"""What every reward returns (a number, the parts it is made of, and the answer it was given for), and what all share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from chexreason.answers.parser import Answer, parse_strict


@dataclass(frozen=True)
class Scored:
    """A completion's reward; `parts` add up to it."""

    reward: float
    parts: dict[str, float]
    answer: Answer


@dataclass
class Scorer(ABC):
    """A reward made ready for one grammar and one training set, in which findings have these frequencies (shares of 1).

    `memory` is all that a score depends on besides its arguments: earlier predictions, oldest first. It is plain JSON and
    belongs in a training checkpoint; a reward that looks at one completion at a time leaves it empty.
    """

    reward: Any
    grammar: str
    frequencies: Mapping[str, float]
    memory: list[list[str]] = field(default_factory=list)

    def __call__(self, completion: str, labels: Collection[str], num_tokens: int, uncertain: Collection[str] = ()) -> Scored:
        """The reward of one completion of `num_tokens` tokens, about a study with these positive labels.

        `uncertain`: the findings that the labels neither affirm nor deny; the paper's rewards take them for negative.
        """
        answer = parse_strict(completion, self.grammar)
        parts = self.parts(answer, set(labels), num_tokens, set(uncertain))
        return Scored(sum(parts.values()), parts, answer)

    @abstractmethod
    def parts(self, answer: Answer, truth: set[str], num_tokens: int, uncertain: set[str]) -> dict[str, float]:
        """The parts of the reward by name; they may be negative."""
