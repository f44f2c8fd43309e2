"""Which checkpoint of a GRPO run is kept as its best."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chexreason.training.selection import BEST, MACRO_F1, BestAdapter, CollapseWatch, chosen
from tests.training.test_collapse import HEALTHY, SETTINGS


def save(model: Any, folder: Path) -> None:
    """Which step the model is at."""
    folder.mkdir()
    (folder / "step").write_text(str(model.step))


def course(folder: Path, scores: list[float], rewards: list[float] | None = None, **options: Any) -> tuple[int, str | None]:
    """Train through checkpoints with these validation scores (or rewards); the last step and the step that was kept."""
    remaining = iter(scores)
    notes: list[str] = []
    watch = CollapseWatch(SETTINGS.collapse, notes.append)
    validate = (lambda model: {MACRO_F1: next(remaining)}) if rewards is None else None
    best = BestAdapter(folder, watch, save, validate, lambda values, step: None, options.get("patience"))
    state = SimpleNamespace(log_history=[{"step": 0, **HEALTHY}] * 10, global_step=0, is_world_process_zero=True)
    control = SimpleNamespace(should_save=True, should_training_stop=False)
    args, model = SimpleNamespace(save_steps=10), SimpleNamespace(step=0)
    for number in range(len(scores)):
        state.global_step = model.step = 10 * (number + 1)
        entry = {"step": state.global_step, **HEALTHY, **options.get("signs", {}).get(number, {})}
        state.log_history += [entry | ({"reward": rewards[number]} if rewards else {})] * 5
        best.on_step_end(args, state, control, model=model)
        best.on_save(args, state, control, model=model)
        if control.should_training_stop:
            break
    kept = folder / BEST / "step"
    return state.global_step, kept.read_text() if kept.exists() else None


def test_the_best_validation_macro_f1_is_kept_and_the_first_of_equals(tmp_path: Path) -> None:
    assert course(tmp_path, [0.2, 0.5, 0.3, 0.5]) == (40, "20")
    assert chosen(tmp_path) == {"step": 20, "by": MACRO_F1, "score": 0.5}
    assert [path.name for path in tmp_path.iterdir()] == [BEST]


def test_without_validation_the_reward_decides(tmp_path: Path) -> None:
    assert course(tmp_path, [0, 0, 0], rewards=[0.4, 0.6, 0.5]) == (30, "20")
    assert chosen(tmp_path) == {"step": 20, "by": "reward", "score": pytest.approx(0.6)}


def test_patience_ends_a_run_whose_validation_gets_no_better(tmp_path: Path) -> None:
    assert course(tmp_path, [0.2, 0.5, 0.4, 0.3, 0.9], patience=2) == (40, "20")


def test_a_policy_with_signs_of_collapse_is_never_the_best(tmp_path: Path) -> None:
    signs = {2: {"failure_rate": 0.8}}
    assert course(tmp_path, [0, 0, 0], rewards=[0.4, 0.5, 0.9], signs=signs) == (30, "20")
