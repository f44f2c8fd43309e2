"""What SFT and GRPO share around TRL's trainers: examples, the run's log, and where to resume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from PIL import Image
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from chexreason.tracking import Log

ADAPTER, CHECKPOINTS = "adapter", "checkpoints"


def with_images(rows: list[dict[str, Any]], root: Path, read: Callable[[Path], Image.Image]) -> Dataset:
    """Rows with a `path` column as a dataset whose `image` is read, from `root`, when a row is asked for."""

    def add_images(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return batch | {"image": [read(root / path) for path in batch["path"]]}

    return Dataset.from_list(rows).with_transform(add_images)


class RunLog(TrainerCallback):
    """Writes what a trainer logs to the run's log."""

    def __init__(self, log: Log):
        self.log = log

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.log.rewind(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if state.is_world_process_zero and logs:
            self.log({"epoch": state.epoch or 0.0, **logs}, state.global_step)


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


def last_checkpoint(folder: Path) -> str | None:
    """The checkpoint that an interrupted run in `folder` left, if any."""
    checkpoints = folder / CHECKPOINTS
    return get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None


def on_gpu() -> bool:
    """Whether training runs on a GPU; the trainers take bf16 from the model's configured dtype."""
    return torch.cuda.is_available()
