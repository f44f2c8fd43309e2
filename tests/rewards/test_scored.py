"""A reward of one's own: one dataclass, which a YAML file names as its `_target_`."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan

import pytest

from chexreason.answers.parser import Answer
from chexreason.errors import ChexReasonError
from chexreason.rewards.scored import Scorer
from chexreason.runs.config import group
from chexreason.runs.imports import NAMED
from chexreason.training.reward_function import RewardFunction


@dataclass(frozen=True)
class NewsReward:
    """What is right and was not said the last time."""

    name: str
    wrong: float
    unit: float

    def parts(self, answer: Answer, truth: set[str], num_tokens: int, uncertain: set[str], scorer: Scorer) -> dict[str, float]:
        said = set(scorer.memory.pop()) if scorer.memory else set()
        scorer.memory.append(list(answer.labels))
        predicted = set(answer.labels)
        return {"news": float(len(predicted & truth - said)), "wrong": -self.wrong * len(predicted - truth - uncertain)}


def test_a_reward_of_ones_own_is_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAMED, __name__)
    reward = group("reward", {"_target_": f"{__name__}.NewsReward", "name": "news", "wrong": 0.5, "unit": 2})
    function = RewardFunction(reward, "tags", {}, special_ids=[])
    wrote = [[{"content": f"<think>t</think><solution>{said}</solution>"}] for said in ("Edema", "Edema, Fracture", "Fracture")]
    logged: dict[str, float] = {}
    rewards = function(wrote, [[0]] * 3, [["Edema"]] * 3, [[], [], ["Fracture"]], log_metric=logged.__setitem__)
    assert rewards == [1.0, -0.5, 0.0]
    assert logged["rewards/news"] == 1 / 3 and function.score.memory == [["Fracture"]]


@dataclass(frozen=True)
class OddReward:
    """What people's own may give."""

    name: str
    gives: object

    def parts(self, answer: Answer, truth: set[str], num_tokens: int, uncertain: set[str], scorer: Scorer) -> object:
        return self.gives


@pytest.mark.parametrize("gives", [{"a": nan}, {"a": inf}, {"a": "much"}, {"a": [1]}, {"a": None}, "text", None, 1.0, [1.0]])
def test_what_is_no_finite_number_by_name_is_no_reward(gives: object) -> None:
    with pytest.raises(ChexReasonError, match="^reward=odd: parts.. gave .*; finite numbers by name are wanted"):
        Scorer(OddReward("odd", gives), "labels", {})("Edema", [], 1)


def test_parts_keep_their_names_and_are_plain_numbers() -> None:
    import numpy as np

    score = Scorer(OddReward("odd", {"a": np.float32(0.5), "b": True}), "labels", {})
    assert score("Edema", [], 1).parts == {"a": 0.5, "b": 1.0} and type(score("", [], 1).parts["a"]) is float
    score.reward = OddReward("odd", {"c": 1})
    with pytest.raises(ChexReasonError, match="gave {'c': 1.0}; finite numbers of a, b by name"):
        score("Edema", [], 1)
