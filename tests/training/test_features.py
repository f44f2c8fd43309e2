"""SFT and answers through the feature store: the same batches, losses and words as with pixels, and the tower once a film."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from trl import SFTConfig, SFTTrainer

from chexreason.data.cache import FEATURES, Entries, feature_entries
from chexreason.models.features import TRIED, FeatureStore, ImageFeatures
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


def same(films: list[ImageFeatures], others: list[ImageFeatures]) -> bool:
    """To the bit, in all that the language model is given."""
    parts = [[(one.features, one.grid, *one.deeper) for one in some] for some in (films, others)]
    pairs = [pair for one, other in zip(*parts, strict=True) for pair in zip(one, other, strict=True)]
    return all(one is other is None or torch.equal(one, other) for one, other in pairs)


def test_another_run_finds_what_one_has_computed_alone_or_in_any_company(awkward: Any, tmp_path: Path) -> None:
    model, processor = load_model(awkward), load_processor(awkward)
    alone = [FeatureStore(model, processor).films([film(number)])[0] for number in range(3)]
    first = FeatureStore(model, processor, feature_entries(tmp_path)).films([film(number) for number in range(3)])
    again = load_model(awkward)
    seen = watched(again)
    found = FeatureStore(add_lora(again, 0, rank=4, alpha=8, dropout=0.0), processor, feature_entries(tmp_path))
    assert same(found.films([film(2), film(0), film(1)]), [first[2], first[0], first[1]]) and not seen
    assert same(first, alone)
    assert not same(found.films([film(0)]), found.films([film(3)])) and sum(seen) == 1


@pytest.mark.parametrize("change", ["tower", "dtype", "processor", "threads"])
def test_what_depends_on_something_else_is_not_found(change: str, awkward: Any, tmp_path: Path) -> None:
    FeatureStore(load_model(awkward), load_processor(awkward), feature_entries(tmp_path)).films([film(0)])
    model, processor, threads = load_model(awkward), load_processor(awkward), torch.get_num_threads()
    if change == "tower":
        weight = next(weight for name, weight in model.named_parameters() if "vision_tower" in name or "visual" in name)
        with torch.no_grad():
            weight.view(-1)[-1] += 1e-3
    elif change == "dtype":
        model.to(torch.bfloat16)
    elif change == "processor":
        processor.image_processor.image_mean = [0.1, 0.2, 0.3]
    seen = watched(model)
    torch.set_num_threads(threads + (change == "threads"))
    try:
        FeatureStore(model, processor, feature_entries(tmp_path)).films([film(0)])
    finally:
        torch.set_num_threads(threads)
    assert sum(seen) == 1


def test_what_is_damaged_is_computed_again(awkward: Any, tmp_path: Path) -> None:
    model, processor = load_model(awkward), load_processor(awkward)
    wanted = FeatureStore(model, processor, feature_entries(tmp_path)).films([film(0)])
    (entry,) = tmp_path.rglob("*.safetensors")
    whole = entry.read_bytes()
    for damaged in (b"", whole[:-1], bytes(len(whole)), whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]):
        entry.write_bytes(damaged)
        assert same(FeatureStore(model, processor, feature_entries(tmp_path)).films([film(0)]), wanted)
        assert entry.stat().st_size == len(whole)


class Slow(Entries):
    """As on a network that is busy."""

    def load(self, kind: str, name: str) -> bytes | None:
        time.sleep(0.05)
        return super().load(kind, name)


@pytest.mark.parametrize("awkward", ["gemma3"], indirect=True)
def test_where_reading_takes_longer_than_computing_it_is_left_and_said(
    awkward: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, processor = load_model(awkward), load_processor(awkward)
    many = [film(0).rotate(5 * number) for number in range(TRIED + 2)]
    FeatureStore(model, processor, feature_entries(tmp_path)).films(many)
    for entries, computed in ((feature_entries(tmp_path), 0), (Slow(tmp_path / FEATURES, "computed anew"), 2)):
        again = load_model(awkward)
        seen = watched(again)
        FeatureStore(again, processor, entries).films(many)
        assert sum(seen) == computed
    assert capsys.readouterr().err.count("takes longer than computing them; computed anew") == 1
