"""The frozen vision tower computes forward only, also where gradient checkpointing asks for every embedding's gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from trl import SFTConfig, SFTTrainer

from chexreason.models.loading import add_lora, load_model
from chexreason.models.processors import load_processor
from chexreason.training.collator import TraceCollator
from chexreason.training.rollouts import RolloutTrainer
from tests.training.conftest import rows


def backward_calls(model: torch.nn.Module) -> dict[str, int]:
    """Counts, from now on, how often backward runs through modules of the vision tower and of the language model."""
    calls = {"vision": 0, "language": 0}

    def counting(part: str) -> Callable[..., None]:
        def count(*_: Any) -> None:
            calls[part] += 1

        return count

    for name, module in model.named_modules():
        if not list(module.children()):
            part = "language" if "language_model" in name or "lm_head" in name else "vision"
            module.register_full_backward_hook(counting(part))
    return calls


def test_sft_runs_no_backward_through_the_tower(awkward: Any, tmp_path: Path) -> None:
    traces = rows(2)
    trainer = SFTTrainer(
        model=add_lora(load_model(awkward), 0, rank=4, alpha=8, dropout=0.1),
        args=SFTConfig(
            output_dir=str(tmp_path),
            max_steps=1,
            per_device_train_batch_size=2,
            gradient_checkpointing=True,
            max_length=None,
            remove_unused_columns=False,
            report_to="none",
            use_cpu=True,
            bf16=False,
        ),
        train_dataset=traces.with_transform(lambda batch: completed(rows(2)[batch["number"]])),
        processing_class=(processor := load_processor(awkward)),
        data_collator=TraceCollator(processor),
    )
    calls = backward_calls(trainer.model)
    trainer.train()
    assert calls["language"] > 0 == calls["vision"]


def completed(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Studies with a trace to learn."""
    return batch | {"completion": [[{"role": "assistant", "content": "<solution>Edema</solution>"}] for _ in batch["prompt"]]}


@pytest.mark.parametrize("reentrant", [True, False])
def test_grpo_runs_no_backward_through_the_tower(grpo: Callable[..., RolloutTrainer], reentrant: bool) -> None:
    trainer = grpo(max_steps=1, gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    calls = backward_calls(trainer.model)
    trainer.train()
    assert calls["language"] > 0 == calls["vision"]


def test_gradients_are_those_of_a_tower_that_computes_backward_too(awkward: Any) -> None:
    """What is left out changed nothing."""
    processor = load_processor(awkward)
    trace = {**rows(1)[0], "completion": [{"role": "assistant", "content": "Clear."}]}
    batch = TraceCollator(processor)([trace])

    def gradients(frozen: bool) -> torch.Tensor:
        model = add_lora(load_model(awkward), 0, rank=4, alpha=8, dropout=0.0)
        if not frozen:
            del model.get_base_model().base_model.get_image_features  # the method of the class is underneath
            model.enable_input_require_grads()
        model(**batch).loss.backward()
        return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])

    one, other = gradients(True), gradients(False)
    assert one.norm() > 0 and torch.allclose(one, other, atol=1e-7)
