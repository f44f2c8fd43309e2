"""What a group shares is computed once, and nothing else changes: rollouts, log-probabilities, gradients, whole runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from chexreason.models.encoding import encode, token_types
from chexreason.prompts import messages
from chexreason.training.packing import groups, masks, packed
from chexreason.training.rollouts import RolloutTrainer
from tests.training.conftest import film, watched

MAKE = Callable[..., RolloutTrainer]


def rollout(trainer: RolloutTrainer) -> dict[str, Any]:
    trainer.model.train()
    torch.manual_seed(3)
    return trainer._generate_and_score_completions([trainer.train_dataset[index // 4] for index in range(8)])


def scored(trainer: RolloutTrainer, made: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities and entropies of a rollout's completions."""
    ids = torch.cat([made["prompt_ids"], made["completion_ids"]], dim=1)
    real = torch.cat([made["prompt_mask"], made["completion_mask"]], dim=1)
    extra = {key: made[key] for key in ("pixel_values", "image_grid_thw", "num_images", token_types(made)) if key in made}
    length = made["completion_ids"].shape[1]
    found = trainer._get_per_token_logps_and_entropies(
        trainer.model, ids, real, length, batch_size=4, compute_entropy=True, **extra
    )
    return found[0], found[1]


def cut(made: dict[str, Any]) -> dict[str, Any]:
    """The rollout with completions of many lengths, as if they had ended by themselves."""
    lengths = torch.tensor([12, 3, 7, 1, 5, 12, 2, 9])[:, None]
    return made | {"completion_mask": (torch.arange(made["completion_ids"].shape[1])[None] < lengths).long()}


def test_rollouts_are_those_of_the_plain_trainer(grpo: MAKE) -> None:
    plain, shared = rollout(grpo()), rollout(grpo(shared=True))
    assert shared["pixel_values"].tolist() == [0, 0, 0, 0, 4, 4, 4, 4]
    for key in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", token_types(plain)):
        assert torch.equal(plain[key], shared[key]), key
    assert torch.allclose(plain["advantages"], shared["advantages"])
    assert torch.allclose(plain["ref_per_token_logps"], shared["ref_per_token_logps"], atol=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_log_probabilities_and_entropies_are_the_plain_ones(grpo: MAKE, awkward: Any, attention: str) -> None:
    weights = replace(awkward, attention=attention)
    plain, shared = grpo(weights=weights), grpo(weights=weights, shared=True)
    one, other = scored(plain, cut(rollout(plain))), scored(shared, cut(rollout(shared)))
    assert one[0].abs().sum() > 0
    for wanted, found in zip(one, other, strict=True):
        assert (wanted - found).abs().max() < 1e-5


def test_bfloat16_differs_no_more_than_its_own_rounding(grpo: MAKE, awkward: Any) -> None:
    exact, rounded = grpo(), replace(awkward, dtype="bfloat16")
    plain, shared = grpo(weights=rounded), grpo(weights=rounded, shared=True)
    made = cut(rollout(plain))
    wanted, found = scored(plain, made)[0], scored(shared, cut(rollout(shared)) | {"completion_ids": made["completion_ids"]})[0]
    own = (scored(exact, made | {"pixel_values": made["pixel_values"].float()})[0] - wanted).abs().max()
    assert own > 0 and (wanted - found).abs().max() < 2 * own


def gradients(trainer: RolloutTrainer, made: dict[str, Any]) -> torch.Tensor:
    trainer.model.zero_grad()
    torch.manual_seed(5)
    log_probs, entropies = scored(trainer, made)
    (log_probs * torch.randn_like(log_probs) + entropies * 0.1).sum().backward()
    return torch.cat([weight.grad.flatten() for weight in trainer.model.parameters() if weight.grad is not None])


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_in_float64_are_the_plain_ones(
    grpo: MAKE, awkward: Any, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = replace(awkward, dtype="float64")
    plain, shared = (grpo(weights=weights, shared=kind, gradient_checkpointing=checkpointing) for kind in (False, True))
    for trainer in (plain, shared):
        trainer.model.double()
        if checkpointing:
            trainer.model.gradient_checkpointing_enable({"use_reentrant": False})
    # The families' norms and positions are computed in float32 whatever the weights are: not here, or it would hide errors.
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    monkeypatch.setattr(torch, "float32", torch.float64)
    one, other = gradients(plain, cut(rollout(plain))), gradients(shared, cut(rollout(shared)))
    assert one.dtype == torch.float64 and one.norm() > 0
    assert (one - other).abs().max() < 1e-8 * max(1, float(one.abs().max()))


def test_a_whole_run_ends_where_the_plain_one_does(grpo: MAKE) -> None:
    """Also where the micro-batches hold less than a group, and without a second pass for the old log-probabilities."""

    def course(shared: bool, **options: Any) -> tuple[torch.Tensor, list[dict[str, float]]]:
        trainer = grpo(shared=shared, max_steps=3, logging_steps=1, **options)
        trainer.train()
        adapter = [value for name, value in trainer.model.state_dict().items() if "lora_" in name and ".ref." not in name]
        return torch.cat([value.flatten() for value in adapter]), trainer.state.log_history[:3]

    for options in ({}, {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}):
        plain, shared = course(False, **options), course(True, **options)
        for one, other in zip(plain[1], shared[1], strict=True):
            for key in ("loss", "grad_norm", "balance/advantage"):  # TRL logs the others as means of its micro-batches' means
                assert one[key] == pytest.approx(other[key], abs=2e-4), key
        assert plain[1][1]["kl"] > 0, "the second step on a rollout is off-policy"
        assert torch.allclose(plain[0], shared[0], atol=2e-4)


def test_the_tower_sees_each_film_once(grpo: MAKE) -> None:
    trainer = grpo(shared=True, max_steps=4)
    seen = watched(trainer.model)
    trainer.train()
    assert sum(seen) == 2, "two studies, each in several rollouts"


def test_a_store_that_is_full_drops_what_was_used_least_recently(grpo: MAKE) -> None:
    trainer = grpo(shared=True)
    store = trainer.features
    assert store is not None
    first = store.films([film(0)])[0]
    store.limit_bytes = 2 * first.nbytes
    store.films([film(1)])
    assert store.films([film(0)])[0] is first
    store.films([film(2)])
    assert store.films([film(0)])[0] is first and store.bytes <= store.limit_bytes


def test_features_are_the_towers_and_inputs_the_processors(grpo: MAKE) -> None:
    trainer = grpo(shared=True)
    store = trainer.features
    assert store is not None
    processor = trainer.processing_class
    texts = [processor.apply_chat_template(messages(words), tokenize=False, add_generation_prompt=True) for words in "ab"]
    wanted = encode(processor, texts, [film(0), film(1)])
    inputs, films = store.encode(texts, [film(0), film(1)])
    assert all(torch.equal(inputs[key], wanted[key]) for key in inputs)
    asked = [wanted["pixel_values"]] + ([wanted["image_grid_thw"]] if "image_grid_thw" in wanted else [])
    features = store.model.base_model.get_image_features(*asked, return_dict=True).pooler_output
    assert all(torch.allclose(film.features, one, atol=1e-5) for film, one in zip(films, features, strict=True))


def test_a_packed_row_shows_each_completion_the_prompt_and_itself() -> None:
    row = packed(torch.tensor([1, 2, 3]), [torch.tensor([4, 5]), torch.tensor([6])])
    assert row.ids.tolist() == [1, 2, 3, 4, 5, 3, 6]
    assert row.labels.tolist() == [-100, -100, 4, 5, -100, 6, -100]
    assert row.positions.tolist() == [0, 1, 2, 3, 4, 2, 3]
    config = SimpleNamespace(layer_types=["sliding_attention", "full_attention"], sliding_window=2)
    image = torch.tensor([1, 1, 0, 0, 0, 0, 0]).bool()
    seen = {kind: [row.nonzero().flatten().tolist() for row in mask[0, 0]] for kind, mask in masks(row, image, config).items()}
    assert seen["full_attention"] == [[0, 1], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4], [0, 1, 5], [0, 1, 5, 6]]
    assert seen["sliding_attention"] == [[0, 1], [0, 1], [1, 2], [2, 3], [3, 4], [1, 5], [5, 6]]


def test_groups_are_runs_of_equals_and_not_too_long() -> None:
    found = [(part.start, part.stop) for part in groups([0, 0, 0, 3, 3, 0], 2)]
    assert found == [(0, 2), (2, 3), (3, 5), (5, 6)]
