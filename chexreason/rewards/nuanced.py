"""The nuanced reward (equation 4): matches, partial credit, and penalties for false positives, collapse and format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

from chexreason.answers.parser import Answer
from chexreason.errors import at_least, share
from chexreason.labels import in_order
from chexreason.rewards.scored import Scorer


@dataclass(frozen=True)
class NuancedReward:
    """Equation 4; every number is in the paper's points unless its name says share.

    Its memory holds the last `window` predictions.
    """

    COUNTS_TOKENS: ClassVar[bool] = False  # length does not matter, so scoring needs no tokenizer

    name: str
    exact_match: float
    recall: float
    precision: float
    false_positive: float  # per false positive, whatever the label
    false_positive_frequency: float  # in addition, times the label's frequency in the training set
    window: int  # predictions that are looked back on
    dominance: float  # share of the window above which a label counts as dominant
    excess_repetition: float  # per prediction of a dominant label above that share
    collapse: float  # when a prediction carries a dominant label
    invalid_label: float
    duplicate: float
    extraneous: float  # text outside the blocks
    unreadable: float  # the blocks are not as the grammar wants them
    unit: float

    def __post_init__(self) -> None:
        at_least(1, window=self.window)
        share(dominance=self.dominance)
        at_least(0, **{one.name: getattr(self, one.name) for one in fields(self) if one.type == "float"})

    def parts(self, answer: Answer, truth: set[str], num_tokens: int, uncertain: set[str], scorer: Scorer) -> dict[str, float]:
        predicted = set(answer.labels)
        shared = truth & predicted
        return {
            "match": self.exact_match * (truth == predicted and answer.well_formed),
            "recall": self.recall * len(shared) / len(truth) if truth else 0.0,
            "precision": self.precision * len(shared) / len(predicted) if predicted else 0.0,
            "false_positives": 0.0 - self._false_positives(predicted - truth, scorer.frequencies),
            "collapse": 0.0 - self._collapse(answer, scorer.memory),
            "format": 0.0 - self._format(answer),
        }

    def _false_positives(self, wrong: set[str], frequencies: Mapping[str, float]) -> float:
        shares = (frequencies.get(label, 0.0) for label in in_order(wrong))
        return sum(self.false_positive + self.false_positive_frequency * share for share in shares)

    def _collapse(self, answer: Answer, memory: list[list[str]]) -> float:
        """The penalty for repeating a label that dominates a full window; the window includes this prediction."""
        memory.append(list(answer.labels))
        del memory[: -self.window]
        if len(memory) < self.window:
            return 0.0
        allowed = self.dominance * self.window
        counts = [sum(label in predicted for predicted in memory) for label in answer.labels]
        return sum(self.collapse + self.excess_repetition * (count - allowed) for count in counts if count > allowed)

    def _format(self, answer: Answer) -> float:
        return (
            self.invalid_label * len(answer.unknown)
            + self.duplicate * len(answer.duplicates)
            + self.extraneous * bool(answer.extraneous)
            + self.unreadable * (not answer.well_formed)
        )
