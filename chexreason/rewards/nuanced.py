"""The nuanced reward (equation 4): matches, partial credit, and penalties for false positives, collapse and format."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from chexreason.completion import EMPTY, NO_VALID_LABEL, Answer, parse_strict
from chexreason.rewards.scored import Scored, Scorer


@dataclass(frozen=True)
class NuancedReward:
    """Equation 4; every number is in the paper's points unless its name says share."""

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
    unreadable: float  # no solution can be read

    def scorer(self, grammar: str, frequencies: Mapping[str, float]) -> Scorer:
        """A function that scores completions in order, remembering the last `window` predictions."""
        return NuancedScorer(self, grammar, dict(frequencies))


@dataclass
class NuancedScorer:
    """Scores completions one after another; `recent` is its only state, and belongs into a checkpoint."""

    reward: NuancedReward
    grammar: str
    frequencies: dict[str, float]
    recent: deque[tuple[str, ...]] = field(default_factory=deque)

    def __call__(self, completion: str, labels: Collection[str], num_tokens: int) -> Scored:
        answer = parse_strict(completion, self.grammar)
        truth, predicted = set(labels), set(answer.labels)
        shared = truth & predicted
        settings = self.reward
        parts = {
            "match": settings.exact_match * (truth == predicted and answer.failure is None),
            "recall": settings.recall * len(shared) / len(truth) if truth else 0.0,
            "precision": settings.precision * len(shared) / len(predicted) if predicted else 0.0,
            "false_positives": -sum(self._false_positive(label) for label in predicted - truth),
            "collapse": -self._collapse(answer),
            "format": -self._format(answer),
        }
        return Scored(sum(parts.values()), parts, answer)

    def _false_positive(self, label: str) -> float:
        weight = self.reward.false_positive_frequency * self.frequencies.get(label, 0.0)
        return self.reward.false_positive + weight

    def _collapse(self, answer: Answer) -> float:
        """What this prediction costs for repeating a label that dominates a full window, itself included."""
        settings = self.reward
        self.recent.append(answer.labels)
        if len(self.recent) > settings.window:
            self.recent.popleft()
        if len(self.recent) < settings.window:
            return 0.0
        allowed = settings.dominance * settings.window
        penalty = 0.0
        for label in answer.labels:
            count = sum(label in predicted for predicted in self.recent)
            if count > allowed:
                penalty += settings.collapse + settings.excess_repetition * (count - allowed)
        return penalty

    def _format(self, answer: Answer) -> float:
        settings = self.reward
        penalty = settings.invalid_label * len(answer.unknown) + settings.duplicate * len(answer.duplicates)
        if answer.extraneous:
            penalty += settings.extraneous
        if answer.failure not in (None, EMPTY, NO_VALID_LABEL):
            penalty += settings.unreadable
        return penalty
