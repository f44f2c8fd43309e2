"""The result of a reward (its value, its parts, and the answer it was given for), and the interface of rewards."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import Protocol

from chexreason.answers.parser import Answer, parse_strict
from chexreason.errors import ChexReasonError


@dataclass(frozen=True)
class Scored:
    """A completion's reward; `parts` add up to it."""

    reward: float
    parts: dict[str, float]
    answer: Answer


class Reward(Protocol):
    """A reward: a dataclass of its settings. One that never looks at `num_tokens` says `COUNTS_TOKENS = False`."""

    name: str
    unit: float  # the points that count as 1 in training, above 0; scores and logs stay in points

    def parts(self, answer: Answer, truth: set[str], num_tokens: int, uncertain: set[str], scorer: Scorer) -> dict[str, float]:
        """The parts of one completion's reward by name, in points; they may be negative.

        Args:
            answer: what was read from it, strictly.
            truth: the study's positive labels.
            num_tokens: its length |t|, the end of the turn aside.
            uncertain: findings that the labels neither affirm nor deny; the paper's rewards take them for negative.
            scorer: the caller, for rewards that use label frequencies or remember earlier answers.
        """


@dataclass
class Scorer:
    """A reward set up for one grammar and one training set, in which findings have these frequencies (shares of 1).

    `memory` is the only state that a score depends on: earlier predictions, oldest first. It is plain JSON and belongs in a
    training checkpoint; a reward that considers one completion at a time leaves it empty.
    """

    reward: Reward
    grammar: str
    frequencies: Mapping[str, float]
    memory: list[list[str]] = field(default_factory=list)
    names: Collection[str] = ()  # of the parts

    def __call__(self, completion: str, labels: Collection[str], num_tokens: int, uncertain: Collection[str] = ()) -> Scored:
        """The reward of one completion of `num_tokens` tokens, about a study with these positive labels.

        `uncertain`: as in `Reward.parts`.
        """
        answer = parse_strict(completion, self.grammar)
        parts = self.reward.parts(answer, set(labels), num_tokens, set(uncertain), self)
        try:
            parts = {name: float(value) for name, value in parts.items()}
            total = sum(parts.values())
        except (AttributeError, TypeError, ValueError):
            total = nan
        if not isfinite(total) or (self.names and parts.keys() != self.names):
            of = f" of {', '.join(self.names)}" if self.names else ""
            raise ChexReasonError(f"reward={self.reward.name}: parts() gave {parts}; finite numbers{of} by name are wanted")
        self.names = self.names or parts.keys()
        return Scored(total, parts, answer)
