"""The pipeline's order: steps after one another, the lines of a step side by side, what is inherited and handed on."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from chexreason.errors import ChexReasonError
from chexreason.run import _inherited, _root, missing_runs, plan_run
from chexreason.runs import files
from chexreason.runs import folders as runs
from chexreason.runs.config import CONF, compose, expand
from chexreason.runs.folders import Run
from chexreason.stages import pipeline

REPORT = "stage=report stage.runs={runs}"


class Launcher:
    """Stands where run.py executes a line: remembers the lines, and how many ran at a time."""

    def __init__(self, together: int = 1, fails: str = "") -> None:
        self.lines: list[list[str]] = []
        self.barrier = threading.Barrier(together, timeout=5)
        self.fails = fails

    def __call__(self, words: Sequence[str], inherited: Sequence[str]) -> Path:
        self.lines.append([*inherited, *words])
        if "side" in words[0]:
            self.barrier.wait()
        if self.fails and self.fails in words:
            raise ChexReasonError(f"{self.fails} broke")
        return Path("runs") / words[0].replace("=", "-")

    def ahead(self, words: Sequence[str], inherited: Sequence[str]) -> dict[str, str]:
        """Each line makes its own run, and the first of those that stand on it a run of stage=common."""
        if "cannot" in words[0]:
            raise ChexReasonError(f"{words[0]}: no weights\nand how to get them")
        return {"shared": "common", words[0]: words[0].removeprefix("stage=")} if "there" not in words[0] else {}


def study(
    tmp_path: Path,
    launcher: Launcher,
    steps: dict[str, list[str]],
    at_once: int = 2,
    inherited: tuple[str, ...] = (),
    independent: bool = False,
    plan_only: bool = False,
) -> Run:
    settings = pipeline.Settings("pipeline", list(inherited), at_once, independent, steps, REPORT, plan_only)
    return Run(settings=settings, folder=tmp_path / "pipeline", launch=launcher, ahead=launcher.ahead)


def test_steps_come_in_order_and_hand_their_folders_to_the_report(tmp_path: Path) -> None:
    launcher = Launcher()
    done = pipeline.execute(
        study(tmp_path, launcher, {"one": ["stage=a"], "two": ["stage=b", "stage=c"], "three": ["stage=d"]})
    )
    assert launcher.lines[0] == ["stage=a"] and sorted(launcher.lines[1:3]) == [["stage=b"], ["stage=c"]]
    assert launcher.lines[3] == ["stage=d"]
    assert launcher.lines[4] == ["stage=report", "stage.runs=[runs/stage-a,runs/stage-b,runs/stage-c,runs/stage-d]"]
    assert list(done["runs"]) == ["stage=a", "stage=b", "stage=c", "stage=d", "report"]


def test_lines_of_a_step_run_at_the_same_time(tmp_path: Path) -> None:
    pipeline.execute(study(tmp_path, Launcher(together=2), {"one": ["stage=side1", "stage=side2"]}))  # else the barrier breaks


def test_one_at_a_time_where_that_is_asked(tmp_path: Path) -> None:
    launcher = Launcher(together=2)
    launcher.barrier = threading.Barrier(2, timeout=0.2)
    with pytest.raises(ChexReasonError, match="2 lines failed"):
        pipeline.execute(study(tmp_path, launcher, {"one": ["stage=side1", "stage=side2"]}, at_once=1))


def test_a_failing_line_lets_its_neighbours_end_and_stops_what_comes_after(tmp_path: Path) -> None:
    launcher = Launcher(fails="stage=b")
    with pytest.raises(ChexReasonError, match=r"(?s)1 lines failed.*stage=b broke"):
        pipeline.execute(study(tmp_path, launcher, {"one": ["stage=b", "stage=c"], "two": ["stage=d"]}))
    assert sorted(launcher.lines) == [["stage=b"], ["stage=c"]]


def test_independent_lines_go_on_past_a_failure_and_the_rest_is_reported(tmp_path: Path) -> None:
    launcher = Launcher(fails="stage=b")
    with pytest.raises(ChexReasonError, match="1 lines failed"):
        pipeline.execute(study(tmp_path, launcher, {"one": ["stage=b", "stage=c"], "two": ["stage=d"]}, independent=True))
    assert sorted(launcher.lines[:3]) == [["stage=b"], ["stage=c"], ["stage=d"]]
    assert launcher.lines[3:] == [["stage=report", "stage.runs=[runs/stage-c,runs/stage-d]"]]


def complete(tmp_path: Path, stage: str, seconds: float, **config: dict[str, str]) -> None:
    manifest = {"status": "complete", "finished": "2026", "stage": stage, "wall_seconds": seconds, "config": config}
    files.write_json(tmp_path / f"{stage}-{seconds}" / runs.MANIFEST, manifest)


def test_the_plan_comes_first_with_the_time_that_earlier_runs_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seconds in (200.0, 400.0):
        complete(tmp_path, "a", seconds)
    launcher = Launcher()
    run = study(tmp_path, launcher, {"one": ["stage=a", "stage=b", "stage=there"]}, plan_only=True)
    assert pipeline.execute(run) == {"to_make": {"common": 1, "a": 1, "b": 1}}
    said = capsys.readouterr().err
    assert "3 lines, 1 of them complete; to make: 1 common, 1 a, 1 b" in said
    assert "about 2 min to go" in said, "300 s, two at once"
    assert "no common, b has run here yet" in said
    assert launcher.lines == []


def test_a_small_model_says_nothing_of_the_time_that_a_large_one_takes(tmp_path: Path) -> None:
    complete(tmp_path, "sft", 60.0, model={"name": "small"})
    complete(tmp_path, "sft", 7200.0, model={"name": "large"})
    assert "about 1 min to go" in pipeline.Work(tmp_path, 1, {"line": {"recipe": "sft of small"}}).plan()
    assert "about 120 min to go" in pipeline.Work(tmp_path, 1, {"line": {"recipe": "sft of large"}}).plan()


def test_progress_counts_lines_and_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stage, seconds in (("a", 60.0), ("b", 1200.0), ("common", 60.0)):
        complete(tmp_path, stage, seconds)
    pipeline.execute(study(tmp_path, Launcher(), {"one": ["stage=a"], "two": ["stage=b"]}, at_once=1))
    said = [line for line in capsys.readouterr().err.splitlines() if "so far" in line]
    assert said[0] == "[pipeline] done: stage=a; 1 of 2 lines, 0 min so far; about 20 min to go, by earlier runs", (
        "what both share is made"
    )
    assert said[1] == "[pipeline] done: stage=b; 2 of 2 lines, 0 min so far"


def test_a_line_that_cannot_run_is_said_in_the_plan_and_stops_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launcher = Launcher(fails="stage=cannot")
    with pytest.raises(ChexReasonError, match="1 lines failed"):
        pipeline.execute(study(tmp_path, launcher, {"one": ["stage=cannot", "stage=d"]}, independent=True))
    assert "cannot run: stage=cannot\n    stage=cannot: no weights\n" in capsys.readouterr().err
    assert launcher.lines[-1] == ["stage=report", "stage.runs=[runs/stage-d]"]
    with pytest.raises(ChexReasonError, match="no weights"):
        pipeline.execute(study(tmp_path, Launcher(), {"one": ["stage=cannot", "stage=d"]}))


def test_every_line_gets_what_the_command_line_said(tmp_path: Path) -> None:
    launcher = Launcher()
    pipeline.execute(study(tmp_path, launcher, {"one": ["stage=a", "stage=b"]}, inherited=("seed=3", "model=phantom_qwen")))
    assert launcher.lines[:2] == [["seed=3", "model=phantom_qwen", f"stage={name}"] for name in "ab"]


def test_a_line_inherits_only_what_it_does_not_say() -> None:
    said = {_root(word) for word in ("stage=evaluate", "dataset=phantom_nih", "seed=0")}
    assert _inherited(["seed=3", "model.dtype=float32", "dataset.split=all", "hydra.verbose=true"], said) == [
        "model.dtype=float32"
    ]


def test_a_line_with_commas_is_the_lines_of_its_sweep() -> None:
    assert expand("stage=evaluate prompt=a,b stage.runs=[x,y] seed=1,2") == [
        f"stage=evaluate prompt={prompt} 'stage.runs=[x,y]' seed={seed}" for prompt in "ab" for seed in (1, 2)
    ]


def test_the_plan_counts_each_run_once_with_what_it_stands_on(tmp_path: Path) -> None:
    words = ["stage=evaluate", "stage.checkpoint=sft", "dataset=phantom_validation", "make_missing=true", f"runs={tmp_path}"]
    first = missing_runs(compose(words), words)[1]
    made = [f"{stage} of phantom_gemma" for stage in ("evaluate", "sft", "standin")] + ["curate", "phantom", "teach"]
    assert sorted(first.values()) == sorted(made)
    other = [word.replace("phantom_validation", "phantom_nih") for word in words]
    both = first | missing_runs(compose(other), other)[1]
    assert sorted(both.values()) == sorted([*made, "evaluate of phantom_gemma"])
    assert not any(tmp_path.iterdir()), "to plan is not to make"


@pytest.mark.parametrize("world", ["phantom", "clinical"])
@pytest.mark.parametrize("experiment", sorted(path.stem for path in (CONF / "experiment").glob("*.yaml")))
def test_every_line_of_every_experiment_composes(experiment: str, world: str, tmp_path: Path) -> None:
    words = [f"experiment={experiment}", f"world={world}", f"runs={tmp_path}"]
    stage = plan_run(compose(words), words).order["stage"]
    assert f"world={world}" in stage["inherited"] and "make_missing=true" in stage["inherited"]
    for line in {line for lines in stage["steps"].values() for line in lines}:
        compose([*stage["inherited"], *shlex.split(line)])
