"""Rollouts by another engine: each token is weighed by how likely the policy would have drawn it, and how far the two are apart
is logged. Real vLLM is such an engine in tests_real."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from chexreason.training.rollouts import RolloutTrainer

WRITTEN = [[201, 202, 203], [204, 205, 206, 207, 208], [209], [210, 211]]


class Told:
    """Writes the same completions whatever it is asked, and says that it drew them with the probabilities it was told."""

    def __init__(self, log_probabilities: Any = 0.0):
        self.log_probabilities, self.asked = log_probabilities, list[Any]()

    def __call__(self, policy: Any, update: int, prompt_ids: list[list[int]], images: list[Any]) -> Any:
        self.asked.append((policy, update, prompt_ids, images))
        told = torch.as_tensor(self.log_probabilities).expand(len(WRITTEN), 5)
        return WRITTEN, [row[: len(ids)].tolist() for row, ids in zip(told, WRITTEN, strict=True)]


def rollout(trainer: RolloutTrainer) -> dict[str, Any]:
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer._generate_and_score_completions([trainer.train_dataset[0]] * 4)


@pytest.mark.parametrize("shared", [False, True])
def test_what_another_engine_drew_is_weighed_by_the_policys_probability(
    grpo: Callable[..., RolloutTrainer], shared: bool
) -> None:
    def made(sampler: Told) -> tuple[RolloutTrainer, dict[str, Any]]:
        trainer = grpo(
            {"rollouts": sampler}, studies=1, shared=shared, beta=0.0, vllm_importance_sampling_mode="token_truncate"
        )
        return trainer, rollout(trainer)

    sampler = Told()
    trainer, batch = made(sampler)
    ((policy, update, prompts, images),) = sampler.asked
    assert policy is trainer.accelerator.unwrap_model(trainer.model) and update == 0
    assert prompts == [row[mask.bool()].tolist() for row, mask in zip(batch["prompt_ids"], batch["prompt_mask"], strict=True)]
    assert len(images) == 4 and all(image.size == (96, 96) for image in images)
    mask = batch["completion_mask"].bool()
    assert [row[real].tolist() for row, real in zip(batch["completion_ids"], mask, strict=True)] == WRITTEN

    own, losses = batch["old_per_token_logps"], {}
    for times in (1, 2, 10):  # as often as the sampler, the policy would have drawn a token
        trainer, batch = made(Told(own - math.log(times)))
        losses[times] = trainer.compute_loss(trainer.model, batch).item()
        logged = trainer._metrics["train"]
        assert logged["sampling/log_ratio"][0] == pytest.approx(math.log(times), abs=1e-5)
        assert logged["sampling/log_ratio_spread"][0] == pytest.approx(0.0, abs=1e-5)
    assert abs(losses[1]) > 1e-3 and losses[2] == pytest.approx(2 * losses[1], rel=1e-4)
    assert losses[10] == pytest.approx(3 * losses[1], rel=1e-4), "truncated: no token weighs more than three"

    wave = torch.tensor([0.0, 0.4, -0.4, 0.8, 0.2]).expand_as(own)
    trainer, _ = made(Told(own - wave))
    assert trainer._metrics["train"]["sampling/log_ratio_spread"][0] == pytest.approx(float(wave[mask].std()), rel=1e-4)


def test_training_on_it_starts_no_engine_of_trls_and_sends_each_update(grpo: Callable[..., RolloutTrainer]) -> None:
    sampler = Told(-3.0)
    trainer = grpo({"rollouts": sampler}, studies=1, shared=True, max_steps=4)
    trainer.train()
    assert [update for _, update, _, _ in sampler.asked] == [0, 2], "each rollout serves two steps"
    assert not hasattr(trainer, "vllm_generation")
