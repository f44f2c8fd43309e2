"""Checkpoints to resume from: complete ones only, so that a resumed run ends where an uninterrupted one would.

The trainer saves weights, optimizer, schedule, random state and its history. Saved here besides: the reward's window and
whether training was over. A log entry is written before each checkpoint, so that no logged mean covers steps on both sides of
it. A run that is told to end saves one more checkpoint first.
"""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from transformers import Trainer, TrainerCallback, TrainerState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from chexreason.runs.files import read_json, to_disk, write_json
from chexreason.runs.folders import CHECKPOINTS
from chexreason.runs.identity import sha256_of
from chexreason.runs.processes import GRACE

STATE = "trainer_state.json"
WHOLE = "whole.json"  # written last to a checkpoint, with the digests of all other files


class Checkpoints(TrainerCallback):
    """Completes each checkpoint with the reward's `memory`; the last callback of a trainer, so nothing comes after it.

    `every`: optimizer steps between checkpoints within an epoch, besides those that the trainer's own strategy asks for.
    """

    def __init__(self, memory: list[Any] | None = None, every: int | None = None):
        self.memory, self.every = [] if memory is None else memory, every

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step:
            self.memory[:] = read_json(_folder(args, state) / WHOLE)["memory"]

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.every and state.global_step % self.every == 0 and _within_epoch(state, control):
            control.should_save = True
        control.should_log |= control.should_save

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_log |= control.should_save

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            folder = _folder(args, state)
            to_disk(folder)
            files = {path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.is_file()}
            write_json(folder / WHOLE, {"over": control.should_training_stop, "memory": self.memory, "files": files})


class Ending(TrainerCallback):
    """While it trains, a run that is told to end (SIGTERM) does so after one more checkpoint, at the next step with which one
    can be resumed; comes after Checkpoints. Of processes that train together, one that is told is enough.

    `rollout`: optimizer steps made on one rollout, which cannot be resumed halfway.
    """

    def __init__(self, rollout: int):
        self.rollout, self.told = rollout, False

    def __enter__(self) -> None:
        self.before = signal.signal(signal.SIGTERM, self._tell)

    def __exit__(self, failed: Any, *_: Any) -> None:
        signal.signal(signal.SIGTERM, self.before)
        if self.told and not failed:
            signal.raise_signal(signal.SIGTERM)

    def _tell(self, *_: Any) -> None:
        self.told = True
        if hasattr(signal, "alarm"):
            signal.signal(signal.SIGALRM, self.before)
            signal.alarm(GRACE)

    def _agreed(self) -> bool:
        return bool(reduce(torch.tensor(float(self.told), device=PartialState().device)))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self.rollout == 0 and _within_epoch(state, control) and self._agreed():
            control.should_save = control.should_log = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._agreed():
            signal.signal(signal.SIGTERM, self.before)
            signal.raise_signal(signal.SIGTERM)


def _within_epoch(state: Any, control: Any) -> bool:
    """An epoch's last step is saved after its evaluation, which a resumed run would otherwise leave out."""
    return state.epoch % 1 != 0 and not control.should_training_stop


def _folder(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint in a run's folder that can be trusted, and whose best checkpoint so far can be, too.

    What a kill or a full disk left unfinished is removed; what has changed since it was written is named and kept aside.
    """
    whole = {}
    for path in (folder / CHECKPOINTS).glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        if not (path / WHOLE).is_file():
            shutil.rmtree(path)
        elif changed := _changed(path):
            aside = path.with_name(f"damaged-{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
            print(f"{path}: {changed} is not as it was saved; kept as {aside.name}, not used", file=sys.stderr, flush=True)
        else:
            whole[path.name] = path
    best = {name: read_json(path / STATE)["best_model_checkpoint"] for name, path in whole.items()}
    usable = [path for name, path in whole.items() if best[name] is None or Path(best[name]).name in whole]
    return max(usable, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _changed(checkpoint: Path) -> str | None:
    """A file of a checkpoint that has changed since it was saved, if there is one."""
    try:
        saved = read_json(checkpoint / WHOLE)["files"].items()
    except (ValueError, TypeError, KeyError, AttributeError):
        return WHOLE
    held = ((name, checkpoint / name, digest) for name, digest in saved)
    return next((name for name, file, digest in held if not file.is_file() or sha256_of(file) != digest), None)


def epochs_before(checkpoint: Path | None) -> int:
    """Number of completed epochs at `checkpoint`."""
    return int(read_json(checkpoint / STATE)["epoch"]) if checkpoint else 0


def train(trainer: Trainer, checkpoint: Path | None, rollout: int = 1) -> None:
    """Train from `checkpoint` on, if there is one; where training was over by then, take its result.

    `rollout`: optimizer steps made on one rollout.
    """
    if checkpoint is None or not read_json(checkpoint / WHOLE)["over"]:
        ending = Ending(rollout)
        trainer.add_callback(ending)
        with ending:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        return
    trainer.state = TrainerState.load_from_json(str(checkpoint / STATE))
    trainer.model.load_adapter(trainer.state.best_model_checkpoint or str(checkpoint), "default", is_trainable=True)


def mean_loss(history: list[dict[str, Any]]) -> float:
    """Mean training loss over all optimizer steps, also those before an interruption, from a trainer's logged means."""
    total, before = 0.0, 0
    for entry in history:
        if "loss" in entry:
            total += entry["loss"] * (entry["step"] - before)
            before = entry["step"]
    return total / max(1, before)
