"""What a plan says before anything is made, and what a folder's manifest says afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chexreason.data import integrity
from chexreason.errors import ChexReasonError
from chexreason.runs import files, folders
from chexreason.runs.config import compose
from chexreason.runs.execute import execute
from chexreason.runs.plan import plan
from chexreason.stages import metrics as metrics_stage
from tests.manifests import complete
from tests.runs.conftest import EVALUATE, Command, made_alone, name, planned


def test_an_evaluation_of_another_film_is_not_reused(tmp_path: Path, command: Command) -> None:
    one = planned(tmp_path / "runs", *EVALUATE)
    for run in one.every():
        made_alone(run)
    film = tmp_path / "films" / "a.png"
    files.write_text(film, "film")
    integrity.note_films(one.folder, film.parent, [film.name])
    words = [*EVALUATE, f"runs={tmp_path / 'runs'}"]
    assert "reused" in command(*words).stderr
    files.write_text(film, "another")
    assert f"no: {film} is not what its run read there" in command(*words, "dry_run=true").stdout
    done = command(*words)
    assert done.returncode == 1 and f"{film} is not what its run read there" in done.stderr and "force=true" in done.stderr


def test_a_dry_run_names_folder_and_missing_runs_and_makes_nothing(tmp_path: Path, command: Command) -> None:
    said = command(*EVALUATE, "checkpoint=grpo", "dry_run=true", f"runs={tmp_path / 'runs'}").stdout.splitlines()
    assert said[0] == f"folder:   {tmp_path / 'runs' / name(tmp_path, *EVALUATE, 'checkpoint=grpo')}"
    assert said[1] == "complete: no"
    missing = [line.removeprefix("missing:  ").split("-")[0] for line in said if line.startswith("missing:")]
    assert sorted(missing) == ["curate", "grpo", "phantom", "sft", "standin", "teach"]
    assert not (tmp_path / "runs").exists()


def costs(tmp_path: Path, *words: str) -> str:
    said = planned(tmp_path, "model=medgemma", "model.weights=org/none", *words).describe()
    return "\n".join(line for line in said if line.startswith("costs:"))


def test_a_plan_says_what_the_teacher_the_disk_and_the_gpu_would_cost(tmp_path: Path) -> None:
    words = ["stage=sft", "prompt=reasoning_a", "stage.parents.traces='stage=teach stage.budget=30'"]
    assert costs(tmp_path, *words) == (
        "costs:    gemini: 2,000 to 6,000 requests, each of at most 8,192 tokens read and 8,192 written; money: 30.00 at most, "
        "enough for replies of 476 tokens at the first attempt\n"  # (30 / 2,000 - 8,192 x 1.25 / 10^6) / (10 / 10^6)
        "costs:    disk: 2 GB (1 runs of a model); GPU hours: not known before the first runs"
    )
    files.write_json(
        tmp_path / "sft-1" / folders.MANIFEST,
        complete("sft", config={"model": {"name": "medgemma"}}, wall_seconds=5400.0),
    )
    assert "GPU hours: 1.5, by earlier runs" in costs(tmp_path, *words)
    fewer = ["stage=teach", "prompt=reasoning_a", "stage.parents.curated='stage=curate dataset=mimic stage.sizes.sft=10'"]
    said = costs(tmp_path, *fewer, "teacher.output_price=20")
    assert "gemini: 10 to 30 requests" in said
    assert f"money: {30 * (8192 * 1.25 + 8192 * 20) / 1e6:.2f} at most" in said, "a budget that cannot be spent is no cost"


def test_labels_alone_and_drawn_films_cost_nothing_of_anybody(tmp_path: Path) -> None:
    assert costs(tmp_path, "stage=teach", "prompt=only_label") == ""
    assert not [line for line in planned(tmp_path, "stage=grpo").describe() if line.startswith("costs:")]


LINES = [{"id": "a", "labels": ["Edema"], "predicted": ["Edema"]}]


def metrics(runs: Path, file: Path, *words: str) -> list[str]:
    return ["stage=metrics", f"stage.input={file}", f"runs={runs}", "tracker=none", *words]


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    return files.write_text(tmp_path / "answers.jsonl", files.as_lines(LINES))


def test_a_run_whose_parent_holds_something_else_now_is_made_again(tmp_path: Path) -> None:
    """The parent's outputs as the manifest names them, not its recipe alone, are what a run stands on."""
    line = ["stage=curate", f"runs={tmp_path}", "stage.sizes={sft: 8, rl: 4, validation: 4}", "make_missing=true"]
    small = ["stage.mimic_studies=40", "stage.mimic_laterals=2", "stage.chexpert_train=2", "stage.chexpert_valid=2"]
    small += ["stage.chexpert_test=2", "stage.nih_images=4"]
    line.append(f"dataset.made_by='stage=phantom seed=0 {' '.join(small)}'")
    folder = execute(compose(line), line)
    assert planned(tmp_path, *line).is_complete
    parent = tmp_path / files.read_json(folder / folders.MANIFEST)["parents"]["dataset"]
    manifest = files.read_json(parent / folders.MANIFEST)
    files.write_json(parent / folders.MANIFEST, manifest | {"outputs": manifest["outputs"] | {"signs.jsonl": "other"}})
    assert not planned(tmp_path, *line).is_complete


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("stage=metrics stage.input=nowhere", "nowhere: there is no such file"),
        ("stage=metrics stage.input=/dev/null", "/dev/null: this is neither a file nor a folder"),
        ("stage=metrics stage.input=none.jsonl", "none.jsonl, line 1: no JSON object"),
        ("stage=metrics stage.input=none.jsonl stage.against=nowhere", "nowhere: there is no such file"),
        ("stage=score stage.input=none.jsonl", "none.jsonl, line 1: no JSON object"),
        ("stage=predict stage.input=folder make_missing=true", "no JPEG, PNG or DICOM file in this folder"),
        ("stage=curate dataset=chexpert dataset.table=none.jsonl", "there is no column"),
        ("stage=inspect stage.only=none.jsonl", "needs a complete run"),
        ("stage=report", "there is nothing to report"),
        ("stage=rerun stage.run=folder", "name the folder of a run"),
        ("--multirun stage=metrics stage.input=none.jsonl stage.resamples=8,9", "none.jsonl, line 1: no JSON object"),
        ("--multirun stage=sft seed=-1,-2", "seed=-2: a number from 0"),
        ("experiment=table5,table6 seed=-1", "seed=-1: a number from 0"),
    ],
)
def test_what_fails_before_it_works_leaves_nothing_and_says_why_in_its_last_line(
    words: str, why: str, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "none.jsonl").write_text("no predictions\n")
    monkeypatch.chdir(tmp_path)
    done = command(*words.split(), "runs=new/runs", "tracker=none")
    assert done.returncode == 1 and why in done.stderr.strip().splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "none.jsonl"]


def test_a_fault_of_ours_is_kept_where_its_message_points_to(
    tmp_path: Path, answers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_stage.predictions, "summary", None)
    with pytest.raises(ChexReasonError, match="error.txt"):
        execute(compose(line := metrics(tmp_path / "runs", answers)), line)
    assert "Traceback" in next((tmp_path / "runs").glob("*/error.txt")).read_text()


def test_runs_of_another_version_are_recognised_and_named(
    tmp_path: Path, answers: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = execute(compose(metrics(tmp_path, answers)), metrics(tmp_path, answers))
    old = files.read_json(folder / folders.MANIFEST) | {"schema": 1}
    files.write_json(folder / folders.MANIFEST, old)
    assert folders.is_of_another_version(folder) and not folders.is_complete(folder)
    from chexreason.report import study

    assert "another version" in study.read([folder]).problems[0]
    with pytest.raises(ChexReasonError, match="another version of chexreason made it"):
        execute(compose([line := "stage=rerun", f"stage.run={folder}", f"runs={tmp_path}"]), [line])
    with pytest.raises(ChexReasonError, match="nothing to report"):
        execute(compose(["stage=report", f"runs={tmp_path}"]), ["stage=report"])
    assert f"left out: 1 runs that another version of chexreason made, such as {folder.name}" in capfd.readouterr().err


def test_a_read_only_runs_folder_can_be_read(tmp_path: Path, answers: Path) -> None:
    line = metrics(tmp_path / "runs", answers)
    folder = execute(compose(line), line)
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    for path in (tmp_path / "runs", folder):
        path.chmod(0o500)
    try:
        assert execute(compose(line), line) == folder
    finally:
        for path in (tmp_path / "runs", folder):
            path.chmod(0o700)


def test_a_manifest_that_lacks_what_others_read_of_it_is_none(tmp_path: Path) -> None:
    whole = complete("sft")
    for left_out in whole:
        files.write_json(tmp_path / left_out / folders.MANIFEST, {key: whole[key] for key in whole if key != left_out})
        assert folders.read_manifest(tmp_path / left_out) is None, left_out
    assert list(folders.complete_runs(tmp_path)) == []


@pytest.mark.parametrize("odd", ["with blank, k=v {x} #1 $x übung", "it's", 'say "it\'s"\\', r"${runs} ${oc.env:HOME} \\${x}"])
def test_a_report_on_runs_in_a_folder_of_any_name(tmp_path: Path, odd: str) -> None:
    from chexreason.runs import sweep
    from chexreason.runs.overrides import quoted

    runs = tmp_path / odd
    words = ["stage=curate", f"runs={quoted(str(runs))}"]
    cfg = compose(words)
    assert cfg.runs == str(runs) and {one.folder.parent for one in plan(cfg, words).every()} == {runs}
    folder = runs / "sft-1"
    config = {"model": {"name": "m", "paper_name": None}, "prompt": {"name": "p"}, "stage": {}, "seed": 0}
    files.write_json(folder / folders.MANIFEST, complete("sft", config=config, device="CPU", peak_memory_bytes={"main": 1}))
    files.write_text(folder / "log.jsonl", files.as_lines([{"step": 1, "loss": 1.0, "mean_token_accuracy": 0.5}]))
    sweep.report(cfg, [folder], ["figure1"])
    (made,) = runs.glob("report-*")
    assert json.loads((made / folders.MANIFEST).read_text())["status"] == "complete"


def test_a_runs_folder_whose_name_is_no_utf8_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(ChexReasonError, match=r"runs=.*x\\udcff/runs: this name is no UTF-8"):
        planned(Path(os.fsdecode(os.fsencode(tmp_path) + b"/x\xff/runs")), "stage=curate")


@pytest.mark.parametrize("below", ["", "runs"])
def test_a_runs_folder_that_is_or_lies_in_a_file_is_refused(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ChexReasonError, match=f"runs=.*: {tmp_path}/file is a file"):
        planned(tmp_path / "file" / below, "stage=curate")


def test_a_name_that_would_lead_out_of_the_runs_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ChexReasonError, match="dataset.name="):
        planned(tmp_path, "stage=curate", "dataset.name=../..")


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ({"base_model_name_or_path": "phantom_qwen"}, True),
        ({"base_model_name_or_path": "google/medgemma-1.5-4b-it"}, True),
        ({"base_model_name_or_path": "phantom_gemma"}, False),
        ({"base_model_name_or_path": "/elsewhere/phantom_qwen"}, False),  # nobody knows what lay there
        ({"base_model_name_or_path": None}, False),
        ({}, False),
    ],
)
def test_an_adapter_of_another_model_is_refused_by_what_it_says(
    said: dict[str, str | None], refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEDGEMMA_15", raising=False)
    files.write_json(tmp_path / "adapter" / "adapter_config.json", said)
    files.write_text(tmp_path / "adapter" / "adapter_model.safetensors", "")
    words = [*EVALUATE, "model=phantom_gemma", "checkpoint.name=own", f"checkpoint.adapter={tmp_path / 'adapter'}"]
    lacks = planned(tmp_path / "runs", *words).lacking
    assert [
        lack for lack in lacks if f"trained for {said.get('base_model_name_or_path')}, and model=phantom_gemma" in lack
    ] == (list(lacks) if refused else [])
    assert bool(lacks) == refused


def test_a_terminal_that_cannot_show_a_folders_name_ends_no_run_with_an_error(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "chexreason.run", "stage=curate", "dry_run=true", f"runs='{tmp_path / 'Übung'}'"]
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0 and r"\xdcbung" in done.stdout, done.stderr
