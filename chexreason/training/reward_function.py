"""A reward as TRL's trainer calls it, by one process or by several that share a run."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from accelerate import PartialState
from accelerate.utils import gather_object

from chexreason.rewards.scored import Scorer
from chexreason.training.collapse import signs


class RewardFunction:
    """A reward in the form that TRL calls, its parts and the signs of collapse logged one by one.

    `special_ids`: tokens that are no part of a completion's text (the end of the turn), nor of its length |t|.
    """

    def __init__(self, reward: Any, grammar: str, frequencies: dict[str, float], special_ids: Collection[int]):
        self.__name__ = reward.name
        self.special_ids = frozenset(special_ids)
        self.score = Scorer(reward, grammar, frequencies)

    def __call__(
        self,
        completions: list[list[dict[str, str]]],
        completion_ids: list[list[int]],
        labels: list[list[str]],
        uncertain: list[list[str]],
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        lengths = [sum(token not in self.special_ids for token in ids) for ids in completion_ids]
        # A reward may remember earlier answers: each process scores those of all, in the same order, and keeps its own.
        everyones = gather_object(list(zip(texts, labels, lengths, uncertain, strict=True)))
        first = PartialState().process_index * len(texts)
        scored = [self.score(*one) for one in everyones][first : first + len(texts)]
        for part in scored[0].parts:
            log_metric(f"rewards/{part}", sum(one.parts[part] for one in scored) / len(scored))
        for name, value in signs(texts, [one.answer for one in scored]).items():
            log_metric(name, value)
        return [one.reward for one in scored]
