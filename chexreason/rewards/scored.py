"""What a reward gives (a number, the parts that it is made of, and the answer that it was given for), and how it is asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import Any

from chexreason.answers.parser import Answer, parse_strict
from chexreason.errors import ChexReasonError


@dataclass(frozen=True)
class Scored:
    """A completion's reward; `parts` add up to it."""

    reward: float
    parts: dict[str, float]
    answer: Answer


@dataclass
class Scorer:
    """A reward made ready for one grammar and one training set, in which findings have these frequencies (shares of 1).

    `reward`: the dataclass of its settings, among them `name` and `unit`. Its method `parts(answer, truth, num_tokens,
    uncertain, scorer)` gives the parts of one completion's reward by name; they may be negative. `scorer` is this one, for
    rewards that ask for frequencies or memory. One that never looks at `num_tokens` says `COUNTS_TOKENS = False`.

    `memory` is all that a score depends on besides its arguments: earlier predictions, oldest first. It is plain JSON and
    belongs in a training checkpoint; a reward that looks at one completion at a time leaves it empty.
    """

    reward: Any
    grammar: str
    frequencies: Mapping[str, float]
    memory: list[list[str]] = field(default_factory=list)
    names: Collection[str] = ()  # of the parts

    def __call__(self, completion: str, labels: Collection[str], num_tokens: int, uncertain: Collection[str] = ()) -> Scored:
        """The reward of one completion of `num_tokens` tokens, about a study with these positive labels.

        `uncertain`: the findings that the labels neither affirm nor deny; the paper's rewards take them for negative.
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
