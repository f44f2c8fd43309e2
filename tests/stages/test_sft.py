"""What SFT promises: loss on the assistant's tokens alone, the best checkpoint kept, every clinical setting the paper's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chexreason.data.images import read_image
from chexreason.models.loading import add_lora, load_model
from chexreason.models.processors import load_processor
from chexreason.runs import folders as runs
from chexreason.runs.config import as_dict, compose, group
from chexreason.runs.execute import execute_planned
from chexreason.runs.folders import CHECKPOINTS, Run
from chexreason.runs.groups import Model
from chexreason.stages import sft
from chexreason.training.trainer import with_images
from tests.stages.conftest import GRPO, SFT, STUDIES, execute, loaded, log


def settings(*overrides: str) -> sft.Settings:
    return group("stage", as_dict(compose(("stage=sft", *overrides)))["stage"])


def test_the_loss_falls_on_the_assistants_tokens_alone(tiny: Model, order: Callable[..., Path]) -> None:
    from trl import SFTTrainer

    run = loaded(order("masked", *SFT))
    examples = [sft.example(trace, run) for trace in sft.read_traces(run)]
    processor = load_processor(tiny)
    trainer = SFTTrainer(
        model=add_lora(load_model(tiny), 0, 4, 8, 0.0),
        args=sft.arguments(run),
        train_dataset=with_images(examples, read_image),
        eval_dataset=with_images(examples[:2], read_image),
        processing_class=processor,
    )
    batch = trainer.data_collator([trainer.train_dataset[index] for index in range(4)])
    assert int((batch["input_ids"] == trainer.model.config.image_token_id).sum()) > 0, "the prompt's image is there"
    for row, example in zip(batch["labels"], examples, strict=False):
        learnt = row[row != -100]
        assert trainer.model.config.image_token_id not in learnt
        text = processor.tokenizer.decode(learnt)
        assert text.startswith(example["completion"][0]["content"])
        rest = processor.tokenizer.decode(learnt, skip_special_tokens=True)
        assert rest.strip() == example["completion"][0]["content"], "and what ends the turn, and nothing else"


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_traces_can_be_grouped_by_length_and_no_image_is_read_to_know_it(tiny: Model, order: Callable[..., Path]) -> None:
    from trl import SFTTrainer

    run = loaded(order("grouped", *SFT, "+stage.trainer.train_sampling_strategy=group_by_length"))
    examples = [sft.example(trace, run) for trace in sft.read_traces(run)] * 8
    assert len({example["length"] for example in examples}) == 4
    read = list[Path]()
    trainer = SFTTrainer(
        model=add_lora(load_model(tiny), 0, 4, 8, 0.0),
        args=sft.arguments(run),
        train_dataset=with_images(examples, lambda path: read.append(path) or read_image(path)),
        eval_dataset=with_images(examples[:2], read_image),
        processing_class=load_processor(tiny),
    )
    read.clear()
    batches = [[examples[place]["length"] for place in batch] for batch in trainer.get_train_dataloader().batch_sampler]
    assert len(batches) == len(examples) / 2 and not read
    unlike = sum(first != second for first, second in batches)
    assert unlike < len(batches) / 3, "three of four are unlike where they are drawn"


def test_no_example_is_cut(order: Callable[..., Path]) -> None:
    run = loaded(order("whole", *SFT))
    assert sft.arguments(run).max_length is None


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_early_stopping_keeps_the_best_checkpoint(order: Callable[..., Path], tiny: Model) -> None:
    from chexreason.models.loading import adapter_digest, load_adapter

    wild = ["stage.learning_rate=20", "stage.schedule=constant"]  # sooner or later an epoch is worse than the one before
    folder = order("patient", *SFT, *wild, "stage.epochs=20", "stage.patience=1", "stage.save_steps=null")
    metrics = execute(folder)
    losses = {line["step"]: line["eval_loss"] for line in log(folder) if "eval_loss" in line}
    assert metrics["best_eval_loss"] == min(losses.values()) == losses[metrics["best_step"]]
    assert list(losses)[-2:] == [metrics["best_step"], metrics["steps"]], "one epoch of patience, then the end"
    kept = load_adapter(load_model(tiny), folder / "adapter")
    assert adapter_digest(kept) == metrics["digests"]["adapter"] != metrics["digests"]["adapter_at_start"]
    best = load_adapter(load_model(tiny), folder / CHECKPOINTS / f"checkpoint-{metrics['best_step']}")
    assert adapter_digest(best) == metrics["digests"]["adapter"]


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_figure_1_can_be_drawn_from_the_log(order: Callable[..., Path]) -> None:
    folder = order("logged", *SFT, "stage.epochs=1")
    execute(folder)
    losses = [line for line in log(folder) if "loss" in line]
    assert losses and all({"mean_token_accuracy", "step_time"} <= line.keys() for line in losses)
    assert any({"eval_loss", "eval_mean_token_accuracy"} <= line.keys() for line in log(folder))


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_two_processes_that_share_a_run_update_as_one_does(order: Callable[..., Path]) -> None:
    words = [*SFT, "stage.epochs=1", "stage.lora.dropout=0", "stage.logging_steps=1"]
    alone, shared = order("alone", *words), order("shared", *words)
    execute(alone)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*launcher, "-m", "chexreason.stages", str(shared)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert runs.is_complete(shared) and done.stderr.count("[sft] complete") == 1, "the first process alone keeps the records"
    losses = [[line["loss"] for line in log(folder) if "loss" in line] for folder in (alone, shared)]
    assert len(losses[0]) > 1 and losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_the_second_process_of_a_run_looks_at_nothing_that_the_first_may_be_writing(
    order: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = order("second", *SFT)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(sft, "execute", lambda run: {})
    monkeypatch.setattr(runs, "outputs", lambda folder: (folder / "gone").stat())
    assert execute_planned(folder) == 0
    monkeypatch.setattr(sft, "execute", lambda run: (folder / "gone").stat())
    assert execute_planned(folder) == 1 and f"{folder / 'gone'}: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
@pytest.mark.parametrize(("words", "place"), [(SFT, 3), (GRPO, 6)], ids=["sft", "grpo"])
def test_no_training_on_a_patient_of_a_test_set(order: Callable[..., Path], words: list[str], place: int) -> None:
    folder = order("refused", *words)
    held_out = folder.parent / "test-sets" / "held_out.csv"
    held_out.parent.mkdir()
    held_out.write_text(f"patient,path,site,sha256\np{place},{place}.png,here,\n")
    assert execute_planned(folder) == 1
    said = (folder / "error.txt").read_text()
    assert f"image {place}.png, patient p{place}" in said and "held_out" in said


def test_traces_of_several_sites_are_learnt_from_together(order: Callable[..., Path], data: Path) -> None:
    run = loaded(order("sites", *SFT, traces_other=data))
    assert len(sft.read_traces(run)) == 2 * STUDIES


def test_the_clinical_settings_are_the_papers() -> None:
    """Section 3.2.1."""
    found = settings("model=medgemma")
    assert (found.lora.rank, found.lora.alpha, found.lora.dropout) == (16, 32, 0.1)
    assert (found.epochs, found.patience, found.held_out) == (6, 2, 0.1)
    assert (found.learning_rate, found.schedule, found.warmup) == (5e-5, "cosine", 0.05)
    assert (found.weight_decay, found.clip_norm) == (0.01, 5.0)
    assert (found.batch_size, found.accumulation, found.gradient_checkpointing) == (1, 8, True)
    models = {name: as_dict(compose(("stage=sft", f"model={name}")))["model"] for name in ("medgemma", "qwen")}
    assert all(model["dtype"] == "bfloat16" for model in models.values())
    assert (models["medgemma"]["min_visual_tokens"], models["medgemma"]["max_visual_tokens"]) == (256, 256)
    assert (models["qwen"]["min_visual_tokens"], models["qwen"]["max_visual_tokens"]) == (256, 512)
    model = group("model", models["medgemma"] | {"dtype": "float32"})
    arguments = sft.arguments(Run(settings=found, folder=Path("nowhere"), model=model))
    assert (arguments.optim, arguments.load_best_model_at_end) == (
        "adamw_torch_fused",
        True,
    ) or arguments.optim == "adamw_torch"
    assert arguments.warmup_steps == 0.05 and arguments.get_warmup_steps(200) == 10


@pytest.mark.parametrize("held_out", [0.1, 0.5, 0.99])
def test_no_patient_is_on_both_sides(held_out: float) -> None:
    traces = [{"patient": f"p{number % 7}", "completion": str(number)} for number in range(30)]
    learnt, kept = sft.split_by_patient(traces, held_out, seed=3)
    assert len(learnt) + len(kept) == 30 and kept and learnt
    assert not {trace["patient"] for trace in learnt} & {trace["patient"] for trace in kept}
