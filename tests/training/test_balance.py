"""What beta weighs against: advantages in units of the reward, beside beta times the KL, and a warning where nothing clips."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra.utils import instantiate

from chexreason.errors import ChexReasonError
from chexreason.rewards.scored import Scorer
from chexreason.runs.config import as_dict, check, choice_names, compose
from chexreason.training.rollouts import ADVANTAGE, WEIGHTED_KL, RolloutTrainer
from chexreason.training.selection import CLIPPED, ClipWatch


def rollout(trainer: RolloutTrainer) -> dict[str, Any]:
    trainer.model.train()
    torch.manual_seed(3)
    return trainer._generate_and_score_completions([trainer.train_dataset[index // 4] for index in range(8)])


def test_advantages_are_in_units_and_rewards_are_logged_in_points(grpo: Callable[..., RolloutTrainer]) -> None:
    points, units = grpo(), grpo({"unit": 150})
    raw, divided = rollout(points)["advantages"], rollout(units)["advantages"]
    assert raw.abs().sum() > 0 and torch.allclose(raw / 150, divided)
    assert points._metrics["train"]["reward"] == units._metrics["train"]["reward"]


def test_advantages_that_are_divided_by_their_spread_have_no_unit(grpo: Callable[..., RolloutTrainer]) -> None:
    plain, units = grpo(scale_rewards="group"), grpo({"unit": 150}, scale_rewards="group")
    assert torch.equal(rollout(plain)["advantages"], rollout(units)["advantages"])


def test_both_sides_of_the_balance_are_logged(grpo: Callable[..., RolloutTrainer]) -> None:
    trainer = grpo({"unit": 2}, max_steps=2, logging_steps=1)
    trainer.train()
    for entry in trainer.state.log_history[:2]:
        assert entry[ADVANTAGE] > 0
        assert entry[WEIGHTED_KL] == pytest.approx(0.15 * entry["kl"])
    assert trainer.state.log_history[1][WEIGHTED_KL] > 0


@pytest.mark.parametrize("name", choice_names("reward"))
def test_the_best_completion_earns_one_unit(name: str) -> None:
    reward = instantiate(compose(["stage=grpo", f"reward={name}"]).reward)
    best = "<think>" + "word " * 400 + "</think><solution>Edema</solution>"
    assert Scorer(reward, "tags", {"Edema": 0.3})(best, ["Edema"], 400).reward / reward.unit == pytest.approx(1)
    with pytest.raises(ChexReasonError, match=r"reward\.unit=0.*above 0"):
        check(as_dict(compose(["stage=grpo", f"reward={name}", "reward.unit=0"])))


def notes(clipped: list[float]) -> list[str]:
    """What the watch says of a run whose rollouts had two steps each, these shares of their tokens clipped."""
    said: list[str] = []
    watch = ClipWatch(0.15, 0.22, said.append)
    state = SimpleNamespace(log_history=[], global_step=0)
    for step, share in enumerate(clipped):
        state.global_step = step
        state.log_history.append({CLIPPED: share} | ({"reward": 0.0} if step % 2 == 0 else {}))
        watch.on_log(None, state, None)
    return said


def test_clipping_that_never_acts_is_said_once() -> None:
    assert notes([0.0] * 38) == []
    (note,) = notes([0.0] * 100)
    assert "0.85 and 1.22" in note and "stage.learning_rate" in note
    assert notes([0.0] * 10 + [0.01] + [0.0] * 89) == []
