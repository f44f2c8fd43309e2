"""The nuanced reward (equation 4): matches, partial credit, and penalties for false positives, collapse and format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

from chexreason.answers.parser import Answer
from chexreason.errors import above, at_least, share
from chexreason.labels import in_order
from chexreason.rewards.scored import Scorer


@dataclass(frozen=True)
class NuancedReward:
    """Equation 4; every number is in the paper's points unless its name says share."""

    COUNTS_TOKENS: ClassVar[bool] = False  # no completion is too short for it: none needs a tokenizer to be scored

    name: str
    exact_match: float
    recall: float
    precision: float
    false_positive: float  # per false positive, whatever the label
    false_positive_frequency: float  # more for a label that a share of 1 of the training set carries
    window: int  # predictions that are looked back on
    dominance: float  # share of the window above which a label counts as dominant
    excess_repetition: float  # per prediction of a dominant label above that share
    collapse: float  # when a prediction carries a dominant label
    invalid_label: float
    duplicate: float
    extraneous: float  # text outside the blocks
    unreadable: float  # the blocks are not as the grammar wants them
    unit: float  # points that count as 1 in training; scores and logs stay in points

    def __post_init__(self) -> None:
        above(0, unit=self.unit)
        at_least(1, window=self.window)
        share(dominance=self.dominance)
        at_least(0, **{one.name: getattr(self, one.name) for one in fields(self) if one.type == "float"})

    def scorer(self, grammar: str, frequencies: Mapping[str, float]) -> Scorer:
        """Scores completions in order, remembering the last `window` predictions."""
        return NuancedScorer(self, grammar, frequencies)


class NuancedScorer(Scorer):
    """Equation 4 for one grammar and one training set's label frequencies; `memory` is the window."""

    def parts(self, answer: Answer, truth: set[str], num_tokens: int, uncertain: set[str]) -> dict[str, float]:
        settings, predicted = self.reward, set(answer.labels)
        shared = truth & predicted
        return {
            "match": settings.exact_match * (truth == predicted and answer.well_formed),
            "recall": settings.recall * len(shared) / len(truth) if truth else 0.0,
            "precision": settings.precision * len(shared) / len(predicted) if predicted else 0.0,
            "false_positives": 0.0 - sum(self._false_positive(label) for label in in_order(predicted - truth)),
            "collapse": 0.0 - self._collapse(answer),
            "format": 0.0 - self._format(answer),
        }

    def _false_positive(self, label: str) -> float:
        weight = self.reward.false_positive_frequency * self.frequencies.get(label, 0.0)
        return self.reward.false_positive + weight

    def _collapse(self, answer: Answer) -> float:
        """What this prediction costs for repeating a label that dominates a full window, itself included."""
        settings = self.reward
        self.memory.append(list(answer.labels))
        del self.memory[: -settings.window]
        if len(self.memory) < settings.window:
            return 0.0
        allowed = settings.dominance * settings.window
        counts = [sum(label in predicted for predicted in self.memory) for label in answer.labels]
        return sum(settings.collapse + settings.excess_repetition * (count - allowed) for count in counts if count > allowed)

    def _format(self, answer: Answer) -> float:
        settings = self.reward
        return (
            settings.invalid_label * len(answer.unknown)
            + settings.duplicate * len(answer.duplicates)
            + settings.extraneous * bool(answer.extraneous)
            + settings.unreadable * (not answer.well_formed)
        )
