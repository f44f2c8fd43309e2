"""What SFT and GRPO share around TRL's trainers: examples with their images, the run's log, and a quiet terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from datasets import Dataset
from PIL import Image
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback

from chexreason.errors import ChexReasonError
from chexreason.runs.folders import CHECKPOINTS, Run
from chexreason.runs.tracking import Log

ADAPTER = "adapter"
Trl = TypeVar("Trl")


def shared_arguments(run: Run) -> dict[str, Any]:
    """The arguments that SFT and GRPO have in common, by TRL's names.

    On a GPU, bfloat16 weights train under autocast; on a CPU nothing is cast. Processes that train together share the
    accumulation, so that an update is made from as many examples as with one process.
    """
    settings, gpu = run.settings, torch.cuda.is_available()
    return {
        "output_dir": str(run.folder / CHECKPOINTS),
        "seed": run.seed,
        "num_train_epochs": settings.epochs,
        "learning_rate": settings.learning_rate,
        "per_device_train_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.accumulation // int(os.environ.get("WORLD_SIZE", "1")),
        "gradient_checkpointing": settings.gradient_checkpointing,
        "use_cpu": not gpu,
        "bf16": gpu and run.model.dtype == "bfloat16",
        "logging_steps": settings.logging_steps,
        "report_to": "none",  # the run's own log feeds the tracker
    }


def in_full(config: type[Trl], said: dict[str, Any], trainer: dict[str, Any]) -> Trl:
    """TRL's `config` (SFTConfig, GRPOConfig) with what the stage says, and the keys of its `trainer:` block by TRL's own names.

    Its names were checked when the config was composed (chexreason.training.keys).

    Raises:
        ChexReasonError: TRL takes no such value.
    """
    try:
        return config(**said, **trainer)
    except (TypeError, ValueError) as error:
        block = f"stage.trainer={trainer}" if trainer else "stage"
        why = " ".join(str(error).split())
        raise ChexReasonError(f"{block}: TRL's {config.__name__} refuses a value: {why}") from None


def with_images(rows: list[dict[str, Any]], read: Callable[[Path], Image.Image]) -> Dataset:
    """Rows with a `path` and the `root` that it is relative to as a dataset whose `image` is read when a row is asked for."""
    return _Examples.from_list(rows).with_transform(_WithImages(read))


class _Examples(Dataset):
    """A dataset whose columns are returned without the transform: asking for `length` must not decode every image."""

    def __getitem__(self, key: Any) -> Any:
        return Dataset.__getitem__(self.with_format(None) if isinstance(key, str) else self, key)


@dataclass(frozen=True)
class _WithImages:
    """Adds its images to a batch. No function inside another: datasets would hash all code that it could reach."""

    read: Callable[[Path], Image.Image]

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        files = [Path(root) / path for root, path in zip(batch["root"], batch["path"], strict=True)]
        return batch | {"image": [self.read(file) for file in files]}


SINCE_START = {"num_tokens", "eval_num_tokens", "train_loss"}  # TRL restarts these counters when a run is resumed


class RunLog(TrainerCallback):
    """Writes what a trainer logs to the run's log, except for values that an interruption would make wrong.

    `step_time`: mean seconds of an optimizer step since the last entry, evaluation and saving aside. GRPO logs its own.
    """

    def __init__(self, log: Log):
        self.log = log
        self.began, self.seconds = 0.0, list[float]()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.log.rewind(state.global_step)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.seconds.append(time.perf_counter() - self.began)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if state.is_world_process_zero and logs:
            kept = {key: value for key, value in logs.items() if key not in SINCE_START}
            if "loss" in kept and self.seconds:
                kept.setdefault("step_time", sum(self.seconds) / len(self.seconds))
                self.seconds.clear()
            self.log({"epoch": state.epoch or 0.0, **kept}, state.global_step)


def quiet_progress(trainer: Trainer) -> None:
    """Keep the progress bar, without the dictionaries that transformers prints between its frames."""
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(ProgressBar)


class ProgressBar(ProgressCallback):
    """transformers' progress bar; the numbers go to the run's log instead of the terminal."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if self.training_bar is not None and logs:
            shown = {key: logs[key] for key in ("loss", "eval_loss", "reward") if key in logs}
            self.training_bar.set_postfix({key: f"{float(value):.3f}" for key, value in shown.items()})
