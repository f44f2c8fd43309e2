"""The hard reward (equation 3): the right format or nothing, then the Jaccard similarity of the labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from chexreason.answers.parser import parse_strict
from chexreason.errors import above, at_least
from chexreason.rewards.scored import Scored, Scorer, jaccard


@dataclass(frozen=True)
class HardReward:
    """Equation 3. `min_tokens` is the length |t|, in tokens, below which `length_penalty` is taken off."""

    name: str
    min_tokens: int
    length_penalty: float
    unit: float  # points that count as 1 in training; scores and logs stay in points

    def __post_init__(self) -> None:
        above(0, unit=self.unit)
        at_least(0, min_tokens=self.min_tokens, length_penalty=self.length_penalty)

    def scorer(self, grammar: str, frequencies: Mapping[str, float]) -> Scorer:
        """Scores one completion at a time; label frequencies play no part in equation 3."""
        return HardScorer(self, grammar)


@dataclass
class HardScorer:
    """Equation 3 for one grammar.

    A well-formed answer without a valid label is valid in equation 3's sense: its Jaccard similarity says what it is worth.
    """

    reward: HardReward
    grammar: str
    memory: list[list[str]] = field(default_factory=list)

    def __call__(self, completion: str, labels: Collection[str], num_tokens: int, uncertain: Collection[str] = ()) -> Scored:
        answer = parse_strict(completion, self.grammar)
        match = jaccard(labels, answer.labels) if answer.well_formed else 0.0
        short = answer.well_formed and num_tokens < self.reward.min_tokens
        parts = {"jaccard": match, "length": -self.reward.length_penalty if short else 0.0}
        return Scored(sum(parts.values()), parts, answer)
