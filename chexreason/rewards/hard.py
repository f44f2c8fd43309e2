"""The hard reward (equation 3): the right format or nothing, then the Jaccard similarity of the labels."""

from __future__ import annotations

from dataclasses import dataclass

from chexreason.answers.parser import Answer
from chexreason.errors import at_least
from chexreason.rewards.scored import Scorer


@dataclass(frozen=True)
class HardReward:
    """Equation 3. `min_tokens` is the length |t|, in tokens, below which `length_penalty` is taken off.

    A well-formed answer without a valid label is valid in equation 3's sense and is scored by its Jaccard similarity. That of
    two empty sets is 1, since they agree. (Curation leaves no study without a positive label, so an empty truth occurs only
    in files from elsewhere.)
    """

    name: str
    min_tokens: int
    length_penalty: float
    unit: float

    def __post_init__(self) -> None:
        at_least(0, min_tokens=self.min_tokens, length_penalty=self.length_penalty)

    def parts(self, answer: Answer, truth: set[str], num_tokens: int, uncertain: set[str], scorer: Scorer) -> dict[str, float]:
        if not answer.well_formed:
            return {"jaccard": 0.0, "length": 0.0}
        union, shared = truth.union(answer.labels), truth.intersection(answer.labels)
        return {
            "jaccard": len(shared) / len(union) if union else 1.0,
            "length": -self.length_penalty if num_tokens < self.min_tokens else 0.0,
        }
