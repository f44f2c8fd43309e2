"""Hydra's multiruns: what is said before and after, failures that stop no other job, and a second start."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from chexreason.runs import files, folders
from chexreason.runs.config import CONF, compose
from chexreason.runs.sweep import _product
from tests.manifests import complete
from tests.runs.conftest import Command, alone

LINE = {"id": "a", "patient": "1", "labels": ["Edema"], "predicted": ["Edema"]}


def sweep(runs: Path, *words: str, stage: str = "metrics") -> list[str]:
    return ["--multirun", *words, f"stage={stage}", f"runs={runs}", "tracker=none"]


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, Path]:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    files.write_text(good, files.as_lines([LINE]))
    files.write_text(bad, "not json\n")
    return good, bad


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_job_that_fails_is_recorded_and_named_and_the_others_go_on(
    tmp_path: Path, inputs: tuple[Path, Path], launcher: str, command: Command
) -> None:
    runs = tmp_path / "runs"
    words = sweep(runs, f"stage.input={inputs[1]},{inputs[0]}", f"hydra/launcher={launcher}")
    start = alone if launcher == "joblib" else command
    done = start(*words)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "[study] 2 jobs, 0 complete; to make: 2 metrics" in done.stderr and "1 of 2 done" in done.stderr
    assert "bad.jsonl, line 1: no JSON object" in done.stderr.strip().splitlines()[-1], "the last line says what was wrong"
    found = {folder.name: folders.read_manifest(folder) for folder in runs.glob("metrics-*")}
    assert sorted(manifest["status"] for manifest in found.values() if manifest) == ["complete", "failed"]
    files.write_text(inputs[1], files.as_lines([LINE | {"id": "b"}]))
    again = start(*words)
    assert again.returncode == 0 and "2 jobs, 1 complete; to make: 1 metrics" in again.stderr and "reused" in again.stderr


def test_what_no_job_can_have_is_said_once_before_any_starts(tmp_path: Path, command: Command) -> None:
    done = command(*sweep(tmp_path / "runs", f"stage.input={tmp_path / 'nowhere'}", "seed=1,2", "dry_run=true"))
    assert done.returncode == 0
    assert "2 of 2 jobs cannot run: stage.input=" in done.stderr and done.stderr.count("there is no such file") == 1
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_fails_where_a_job_is_mistyped_as_the_sweep_would(tmp_path: Path, command: Command) -> None:
    done = command("--multirun", "stage=sft", "stage.epochs=1,-1", "dry_run=true", f"runs={tmp_path}")
    assert done.returncode == 1 and "1 of 2 jobs cannot run: stage.epochs=-1.0" in done.stderr


def test_jobs_that_did_not_finish_are_listed_as_a_shell_takes_them(tmp_path: Path, command: Command) -> None:
    done = command(*sweep(tmp_path / "runs", f"stage.input={tmp_path / 'nowhere'}", "seed=1,2", "stage.labels=[a b,c]"))
    lines = [shlex.split(line) for line in done.stderr.splitlines() if line.startswith("  stage.input=")]
    assert len(lines) == 2 and all(r"stage.labels=[a\ b,c]" in words for words in lines), "which Hydra takes for a b"


def test_what_every_job_lacks_is_said_once_and_none_is_tried(tmp_path: Path, command: Command) -> None:
    lacking = "evaluate dataset=nih,chexpert model=medgemma,qwen model.weights=org/none scale.gpu_gigabytes=0".split()
    stage, *words = lacking
    done = command(*sweep(tmp_path / "runs", *words, f"dataset.root={tmp_path / 'no'}", stage=stage))
    assert done.returncode == 1 and "failed:" not in done.stderr and not (tmp_path / "runs").exists()
    assert "4 of 4 jobs did not finish" in done.stderr
    for site in ("NIH ChestX-ray14", "CheXpert"):
        said = f"{site}: there is no folder {tmp_path / 'no'}"
        assert f"  2 of 4 jobs cannot run: {said}" in done.stderr and f"\n2 jobs: {said}" in done.stderr
        assert said in done.stderr.strip().splitlines()[-1] and done.stderr.count(said) == 3, "before, after, in the last line"


def test_what_some_jobs_lack_is_not_repeated_by_each(tmp_path: Path, inputs: tuple[Path, Path], command: Command) -> None:
    missing = ",".join(str(tmp_path / name) for name in ("no1", "no2"))
    done = command(*sweep(tmp_path / "runs", f"stage.input={inputs[0]},{missing}", "stage.resamples=50,60"))
    assert done.returncode == 1 and "4 of 6 jobs did not finish" in done.stderr
    assert done.stderr.count("what it lacks is listed above") == 4
    for name in ("no1", "no2"):
        said = f"stage.input={tmp_path / name}: there is no such file"
        assert f"  2 of 6 jobs cannot run: {said}" in done.stderr and f"\n2 jobs: {said}" in done.stderr
        assert done.stderr.count(said) == 2, "before and after"


def test_the_disk_that_is_wanted_is_said_once_for_all_jobs(tmp_path: Path, command: Command) -> None:
    words = ("dataset=phantom_nih", "stage.limit=1,2", "scale.run_gigabytes=1e9", "dry_run=true")
    said = command(*sweep(tmp_path / "runs", *words, stage="evaluate")).stderr
    assert "2e+09 GB are wanted for the runs to be made" in said and said.count("GB are wanted") == 1
    assert "cannot run" not in said


def test_jobs_that_run_each_time_fail_as_others_do_and_write_over_none(tmp_path: Path, command: Command) -> None:
    line = {"id": 1, "completion": "Edema", "labels": ["Edema"], "num_tokens": 9}
    file = files.write_text(tmp_path / "c.jsonl", files.as_lines([line]))
    words = ["stage=score", "--multirun", "reward=hard,nuanced", f"runs={tmp_path / 'runs'}", "tracker=none"]
    done = command(*words, f"stage.input={tmp_path / 'nowhere.jsonl'}")
    assert done.returncode == 1 and "2 of 2 jobs did not finish" in done.stderr
    done = command(*words, f"stage.input={file}", f"stage.output={tmp_path / 'o.jsonl'}")
    assert done.returncode == 1 and "2 jobs would write over each other" in done.stderr.strip().splitlines()[-1]
    done = command(*words, f"stage.input={file}", f"'stage.output={tmp_path}/${{reward.name}}.jsonl'".strip("'"))
    assert done.returncode == 0 and (tmp_path / "hard.jsonl").exists() and (tmp_path / "nuanced.jsonl").exists(), done.stderr


def test_the_time_to_expect_is_said_only_where_it_is_known(tmp_path: Path, inputs: tuple[Path, Path], command: Command) -> None:
    words = sweep(tmp_path, f"stage.input={inputs[0]}", "stage.resamples=50,60", "dry_run=true")
    assert " min" not in command(*words).stderr
    config = {"stage": {"name": "metrics"}, "seed": 0}
    files.write_json(tmp_path / "metrics-1" / folders.MANIFEST, complete("metrics", config=config, wall_seconds=600.0))
    assert "about 20 min, by earlier runs" in command(*words).stderr


def test_a_job_whose_output_was_changed_since_is_not_done(tmp_path: Path, inputs: tuple[Path, Path], command: Command) -> None:
    words = sweep(tmp_path / "runs", f"stage.input={inputs[0]}", "stage.resamples=50,60")
    assert command(*words).returncode == 0
    changed = next((tmp_path / "runs").glob("metrics-*"))
    files.write_json(changed / "metrics.json", {})
    done = command(*words)
    assert done.returncode == 1 and "1 of 2 jobs did not finish" in done.stderr
    assert f"{changed / 'metrics.json'} is not what its run left there" in done.stderr.strip().splitlines()[-1]
    assert command(*words, "force=true").returncode == 0


def test_a_sweep_over_whatever_choices_there_are_is_foreseen(
    tmp_path: Path, inputs: tuple[Path, Path], command: Command
) -> None:
    words = sweep(tmp_path, f"stage.input={inputs[0]}", "reward=glob(*)", "dry_run=true", stage="score")
    assert "[study] 3 jobs, 0 complete; to make: 3 score" in command(*words).stderr


def test_hydras_sweeper_says_which_jobs_it_will_make() -> None:
    """By a method of its own that Hydra does not document (1.3.8): where it goes, a sweep is foreseen in another way."""
    from hydra.utils import get_class

    sweeper = compose(["stage=report"], with_hydra=True).hydra.sweeper
    assert hasattr(get_class(sweeper._target_), "split_arguments")
    jobs = _product(sweeper, ["stage=sft,grpo", "seed=range(2)", "runs=x"])
    assert jobs == [[f"stage={stage}", f"seed={seed}", "runs=x"] for stage in ("sft", "grpo") for seed in (0, 1)]


def test_a_missing_parent_is_the_reason_whatever_failed_before(tmp_path: Path, command: Command) -> None:
    one = ("stage=evaluate", "dataset=phantom_nih", f"runs={tmp_path}")
    missing = [line.split()[-1] for line in command(*one, "dry_run=true").stdout.splitlines() if line.startswith("missing:")]
    for name in missing:
        failed = complete(name.partition("-")[0], recipe="") | {"status": "interrupted", "error": "interrupted"}
        files.write_json(tmp_path / name / folders.MANIFEST, failed)
    said = command("--multirun", *one[:1], "dataset=phantom_nih,phantom_chexpert", *one[2:]).stderr
    assert missing and "add make_missing=true" in said and "needs a complete run in" in said.strip().splitlines()[-1]


@pytest.mark.parametrize("word", [["sft"], ["--stage", "sft"], ["--stage=sft"]])
def test_a_word_without_its_key_is_answered_with_the_right_one(word: list[str], command: Command) -> None:
    done = command(*word)
    assert done.returncode == 1 and "Did you mean stage=sft?" in done.stderr.strip().splitlines()[-1]


def test_any_launcher_takes_the_place_of_the_experiments_own(tmp_path: Path, command: Command) -> None:
    line = ("experiment=figure2", f"runs={tmp_path / 'runs'}", "dry_run=true")
    for more in (["hydra/launcher=basic"], ["hydra/launcher=joblib"], ["hydra.launcher.n_jobs=1"]):
        done = command(*line, *more)
        assert done.returncode == 0 and "[figure2] 1 jobs" in done.stderr, done.stderr


def test_several_experiments_are_one_sweep_of_all_their_jobs(
    tmp_path: Path, inputs: tuple[Path, Path], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The jobs of each, each with what its experiment sets; one that fails stops no other, of its own experiment or not."""
    own = tmp_path / "own" / "experiment"
    own.mkdir(parents=True)
    for name, params in {
        "one": f"stage.input: {inputs[1]},{inputs[0]}",
        "two": f"stage.input: {inputs[0]}\n      stage.resamples: 100,200",
    }.items():
        (own / f"{name}.yaml").write_text(
            f"# @package _global_\ndefaults:\n  - _sweep\n  - override /stage: metrics\nsweep:\n  name: {name}\n"
            f"hydra:\n  sweeper:\n    params:\n      {params}\n"
        )
    runs = tmp_path / "elsewhere"
    monkeypatch.setenv("PYTHONPATH", str(CONF.parent))
    monkeypatch.chdir(tmp_path)
    words = ["--config-dir", str(own.parent), "experiment=one,two", f"runs={runs}", "tracker=none"]
    planned = command(*words, "dry_run=true")
    assert planned.returncode == 0 and "4 jobs, 0 complete" in planned.stderr and not runs.exists()
    done = alone(*words)
    assert done.returncode == 1 and "of 4 done" in done.stderr and done.stderr.count("failed: ") == 1
    assert "bad.jsonl, line 1: no JSON object" in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "runs").exists(), "Hydra's own folder of the jobs is that of the runs"
    found = [manifest for folder in runs.glob("metrics-*") if (manifest := folders.read_manifest(folder))]
    assert {one["experiment"] for one in found} == {"one", "two"}
    failed = [one for one in found if one["status"] != "complete"]
    assert len(failed) == 1 and failed[0]["config"]["stage"]["input"] == str(inputs[1])
    # A report that cannot be made hides nothing; and the same command makes again only what failed.
    again = command(*words, "sweep.show=[table1]", "hydra/launcher=basic")
    assert again.stderr.count("reused ") == 3 and "1 of 4 jobs did not finish" in again.stderr
    assert "there is nothing to report" in again.stderr
