"""The pipeline's order: groups after one another, the steps of a group side by side, what is inherited and handed on."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from chexreason.run import _inherited, _root
from chexreason.runs import Run
from chexreason.stages import pipeline


class Launcher:
    """Stands where run.py executes a line: remembers the lines, and how many ran at a time."""

    def __init__(self, together: int = 1, fails: str = "") -> None:
        self.lines: list[list[str]] = []
        self.barrier = threading.Barrier(together, timeout=5)
        self.fails = fails

    def __call__(self, words: list[str], inherited: list[str]) -> Path:
        self.lines.append([*inherited, *words])
        if "side" in words[-1]:
            self.barrier.wait()
        if self.fails and self.fails in words:
            raise RuntimeError(self.fails)
        return Path("runs") / words[-1].replace("=", "-")


def study(tmp_path: Path, launcher: Launcher, steps: list[object], at_once: int = 2, inherited: tuple[str, ...] = ()) -> Run:
    settings = pipeline.Settings("pipeline", list(inherited), at_once, list(steps))
    return Run(settings=settings, folder=tmp_path, seed=0, launch=launcher)


def test_groups_come_in_order_and_hand_their_folders_on(tmp_path: Path) -> None:
    launcher = Launcher()
    run = study(tmp_path, launcher, ["stage=a", ["stage=b", "stage=c"], "stage=d stage.runs={runs}"])
    done = pipeline.execute(run)
    assert launcher.lines[0] == ["stage=a"] and sorted(launcher.lines[1:3]) == [["stage=b"], ["stage=c"]]
    assert launcher.lines[3] == ["stage=d", "stage.runs=[runs/stage-a,runs/stage-b,runs/stage-c]"]
    assert list(done["runs"]) == ["stage=a", "stage=b", "stage=c", "stage=d stage.runs={runs}"]


def test_steps_of_a_group_run_at_the_same_time(tmp_path: Path) -> None:
    pipeline.execute(study(tmp_path, Launcher(together=2), [["stage=side1", "stage=side2"]]))  # else the barrier breaks


def test_one_at_a_time_where_that_is_asked(tmp_path: Path) -> None:
    with pytest.raises(threading.BrokenBarrierError):
        launcher = Launcher(together=2)
        launcher.barrier = threading.Barrier(2, timeout=0.2)
        pipeline.execute(study(tmp_path, launcher, [["stage=side1", "stage=side2"]], at_once=1))


def test_a_failing_step_lets_its_neighbours_end_and_stops_what_comes_after(tmp_path: Path) -> None:
    launcher = Launcher(fails="stage=b")
    with pytest.raises(RuntimeError, match="stage=b"):
        pipeline.execute(study(tmp_path, launcher, [["stage=b", "stage=c"], "stage=d"]))
    assert sorted(launcher.lines) == [["stage=b"], ["stage=c"]]


def test_every_step_gets_what_the_command_line_said(tmp_path: Path) -> None:
    launcher = Launcher()
    pipeline.execute(study(tmp_path, launcher, ["stage=a", "stage=b"], inherited=("seed=3", "model=phantom_qwen")))
    assert launcher.lines == [["seed=3", "model=phantom_qwen", f"stage={name}"] for name in "ab"]


def test_a_step_inherits_only_what_it_does_not_say() -> None:
    said = {_root(word) for word in ("stage=evaluate", "dataset=phantom_nih", "seed=0")}
    assert _inherited(["seed=3", "model.dtype=float32", "dataset.split=all", "hydra.verbose=true"], said) == [
        "model.dtype=float32"
    ]
