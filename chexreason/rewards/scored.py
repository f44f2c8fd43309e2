"""What every reward returns: a number, the parts it is made of, and the answer it was given for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from chexreason.answers.parser import Answer


@dataclass(frozen=True)
class Scored:
    """A completion's reward; `parts` add up to it."""

    reward: float
    parts: dict[str, float]
    answer: Answer


class Scorer(Protocol):
    """A reward made ready for one grammar and one training set.

    `memory` is all that a score depends on besides its arguments: earlier predictions, oldest first. It is plain JSON and
    belongs in a training checkpoint; a reward that looks at one completion at a time leaves it empty. `uncertain` are
    the findings that the labels neither affirm nor deny; the paper's rewards take them for negative.
    """

    memory: list[list[str]]

    def __call__(
        self, completion: str, labels: Collection[str], num_tokens: int, uncertain: Collection[str] = ()
    ) -> Scored: ...


def jaccard(truth: Collection[str], predicted: Collection[str]) -> float:
    """|Y and Y^| / |Y or Y^|; 1 for two empty sets, which agree that nothing is there.

    Curation leaves no study without a positive label, so the empty truth occurs in other people's files only.
    """
    union = set(truth) | set(predicted)
    return len(set(truth) & set(predicted)) / len(union) if union else 1.0
