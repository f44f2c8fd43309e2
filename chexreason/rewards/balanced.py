"""A reward for transfer between sites (not in the paper): equation 3 with all findings of equal total weight in training.

    r = sum of w(l) over Y and Y^ / sum of w(l) over Y or Y^, less the length penalty of equation 3; 0 where t is not valid
    w(l) = max(f(l), rarest) ** -power, f(l) being the share of training studies that carry finding l

Jaccard similarity pays for a label in proportion to how often it occurs, so a policy gains most from the training site's
common labels: its labelling habits. With power 1 every finding has the same total weight over the training set, as it has
in macro-F1; with power 0 this is equation 3. Findings that the training labels call uncertain are left out of both sets:
naming them is neither rewarded nor penalised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chexreason.answers.parser import Answer
from chexreason.errors import above, at_least, share
from chexreason.labels import in_order
from chexreason.rewards.scored import Scorer


@dataclass(frozen=True)
class BalancedReward:
    """`power` and `rarest` shape the weights above; `min_tokens` and `length_penalty` are equation 3's."""

    name: str
    power: float
    rarest: float
    min_tokens: int
    length_penalty: float
    unit: float

    def __post_init__(self) -> None:
        above(0, rarest=self.rarest)
        share(rarest=self.rarest)
        at_least(0, power=self.power, min_tokens=self.min_tokens, length_penalty=self.length_penalty)

    def parts(self, answer: Answer, truth: set[str], num_tokens: int, uncertain: set[str], scorer: Scorer) -> dict[str, float]:
        if not answer.well_formed:
            return {"weighted_jaccard": 0.0, "length": 0.0}
        truth, predicted = truth - uncertain, set(answer.labels) - uncertain
        union, shared = (self._weight(one, scorer.frequencies) for one in (truth | predicted, truth & predicted))
        return {
            "weighted_jaccard": shared / union if union else 1.0,
            "length": -self.length_penalty if num_tokens < self.min_tokens else 0.0,
        }

    def _weight(self, findings: set[str], frequencies: Mapping[str, float]) -> float:
        # In the findings' order: a set's own order differs between processes, and with it the sum's rounding.
        return sum(max(frequencies.get(one, 0.0), self.rarest) ** -self.power for one in in_order(findings))
