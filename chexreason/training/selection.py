"""When a GRPO run ends, and which checkpoint is its best (Table 4, "Best F1-Score"; the last one is "Maximum").

By macro-F1 of greedy answers to a curate run's validation set, where the run has one as a parent: of the training site or,
for early stopping that minds transfer, of another. Without one, by the mean reward since the checkpoint before.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from chexreason.runs.files import PARTIAL, read_json, write_json
from chexreason.training.collapse import Collapse, beyond

BEST = "adapter_best"
CHOICE = "choice.json"
MACRO_F1 = "validation/macro_f1"
CLIPPED = "clip_ratio/region_mean"  # share of tokens whose ratio is clipped


@dataclass(eq=False)
class CollapseWatch(TrainerCallback):
    """Says when a warning begins and ends, and stops training, with a last checkpoint, where the policy has collapsed."""

    settings: Collapse
    note: Callable[[str], None]
    warned: bool = False

    def calm(self, state: Any) -> bool:
        """Whether all signs are within the warning limits."""
        return not beyond(state.log_history, self.settings.warn, self.settings.window)

    def collapsed(self, state: Any) -> str | None:
        """Why the policy has collapsed, if it has."""
        return "; ".join(beyond(state.log_history, self.settings.stop, self.settings.window)) or None

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if "reward" not in state.log_history[-1]:
            return
        warnings = beyond(state.log_history, self.settings.warn, self.settings.window)
        if bool(warnings) != self.warned:
            self.warned = bool(warnings)
            self.note(f"step {state.global_step}: " + ("; ".join(warnings) or "within all limits again"))
        reason = self.collapsed(state)
        if reason:
            self.note(f"step {state.global_step}: the policy has collapsed: {reason}")
            control.should_training_stop = control.should_save = True


@dataclass(eq=False)
class ClipWatch(TrainerCallback):
    """Notes, once, if clipping did not act in the first 20 rollouts: the policy then hardly changes during a rollout."""

    low: float
    high: float
    note: Callable[[str], None]

    ROLLOUTS, LEAST = 20, 1e-5  # of completions' tokens

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        rollouts = sum("reward" in entry for entry in state.log_history)
        shares = [entry[CLIPPED] for entry in state.log_history if CLIPPED in entry]
        if rollouts != self.ROLLOUTS or "reward" not in state.log_history[-1] or sum(shares) > self.LEAST * len(shares):
            return
        self.note(
            f"step {state.global_step}: clipping has not acted in {rollouts} rollouts (ratios stay within "
            f"{1 - self.low:g} and {1 + self.high:g}): the policy hardly moves on a rollout; raise stage.learning_rate or "
            "stage.steps_per_rollout if it learns too slowly"
        )


@dataclass(eq=False)
class BestAdapter(TrainerCallback):
    """Validates at every checkpoint and keeps the adapter of the best one at which the policy showed no sign of collapse."""

    folder: Path
    watch: CollapseWatch
    save: Callable[[Any, Path], None]
    validate: Callable[[Any], dict[str, float]] | None
    log: Callable[[dict[str, float], int], None]
    patience: int | None

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if not (self.validate and control.should_save):
            return
        measured = self.validate(model)
        state.log_history.append({**measured, "step": state.global_step})  # before the state is saved
        self.log(measured, state.global_step)
        scores = [entry[MACRO_F1] for entry in state.log_history if MACRO_F1 in entry]
        if self.patience is not None and len(scores) - 1 - scores.index(max(scores)) >= self.patience:
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        asked = state.global_step % args.save_steps == 0 or control.should_training_stop  # not one more, for a run told to end
        if not (state.is_world_process_zero and asked):
            return
        score = self._score(state, args.save_steps)
        before = chosen(self.folder)
        if score is None or not self.watch.calm(state) or (before and before["score"] >= score):
            return
        partial = self.folder / f"{BEST}{PARTIAL}"
        shutil.rmtree(partial, ignore_errors=True)
        self.save(model, partial)
        write_json(partial / CHOICE, {"step": state.global_step, "by": self._by, "score": score})
        shutil.rmtree(self.folder / BEST, ignore_errors=True)
        partial.rename(self.folder / BEST)

    @property
    def _by(self) -> str:
        return MACRO_F1 if self.validate else "reward"

    def _score(self, state: Any, save_steps: int) -> float | None:
        recent = [entry for entry in state.log_history if entry["step"] > state.global_step - save_steps]
        values = [entry[self._by] for entry in recent if self._by in entry]
        return None if not values else values[-1] if self.validate else sum(values) / len(values)


def chosen(folder: Path) -> dict[str, Any] | None:
    """The best checkpoint so far of the run in `folder`, its criterion, and its score."""
    path = folder / BEST / CHOICE
    return read_json(path) if path.is_file() else None
