"""SFT and answers through the feature store: the same batches, losses and words as with pixels, and the tower once a film."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from trl import SFTConfig, SFTTrainer

from chexreason.models.features import FeatureStore
from chexreason.models.generation import Generator, Sampling
from chexreason.models.loading import add_lora, load_model
from chexreason.models.processors import load_processor
from chexreason.prompts import Prompt
from chexreason.training.collator import TraceCollator
from tests.training.conftest import INSTRUCTION, film, rows, watched
from tests.training.test_frozen_vision import completed


def traces(count: int) -> list[dict[str, Any]]:
    """Traces of several lengths, after prompts of several lengths."""
    found = []
    for number in range(count):
        words = "<think>" + "dense " * number + "</think>\n<solution>Edema</solution>"
        found.append({**rows(count)[number], "completion": [{"role": "assistant", "content": words}]})
    return found


def test_a_batch_is_that_of_trl_but_for_the_pixels(awkward: Any) -> None:
    model, processor = load_model(awkward), load_processor(awkward)
    plain = TraceCollator(processor)(traces(3))
    stored = TraceCollator(processor, FeatureStore(model, processor))(traces(3))
    for name in ("input_ids", "attention_mask", "labels", *(name for name in plain if "token_type" in name)):
        assert torch.equal(plain[name], stored[name]), name
    assert "pixel_values" not in stored and (plain["labels"] != -100).any(1).all()


def test_sft_learns_the_same_and_the_tower_sees_each_film_once(awkward: Any, tmp_path: Path) -> None:
    def course(shared: bool) -> tuple[list[float], int]:
        model, processor = add_lora(load_model(awkward), 0, rank=4, alpha=8, dropout=0.0), load_processor(awkward)
        seen = watched(model)
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=str(tmp_path),
                num_train_epochs=2,
                per_device_train_batch_size=2,
                gradient_checkpointing=True,
                learning_rate=1e-3,
                logging_steps=1,
                max_length=None,
                remove_unused_columns=False,
                report_to="none",
                use_cpu=True,
                bf16=False,
                seed=0,
            ),
            train_dataset=rows(4).with_transform(lambda batch: completed(rows(4)[batch["number"]])),
            processing_class=processor,
            data_collator=TraceCollator(processor, FeatureStore(model, processor) if shared else None),
        )
        trainer.train()
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry], sum(seen)

    (plain, often), (shared, once) = course(False), course(True)
    assert shared == pytest.approx(plain, abs=1e-4) and plain[0] > plain[-1]
    assert (often, once) == (8, 4)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0, top_p=0.9, seed=2)])
def test_answers_are_the_same_and_asked_again_cost_no_tower(awkward: Any, sampling: Sampling) -> None:
    model, processor = load_model(awkward).eval(), load_processor(awkward, padding_side="left")
    prompt = Prompt("test", "labels", "", "", INSTRUCTION)
    plain = Generator(model, processor, prompt, 8, sampling)
    stored = Generator(model, processor, prompt, 8, sampling, FeatureStore(model, processor))
    wanted = plain([film(0), film(1)])
    seen = watched(model)
    assert stored([film(0), film(1)]) == wanted == stored([film(0), film(1)])
    assert sum(seen) == 2
