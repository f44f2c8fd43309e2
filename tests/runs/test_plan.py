"""What a plan says before anything is made, and what a folder's manifest says afterwards."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chexreason.data import integrity
from chexreason.data.sites import published
from chexreason.errors import ChexReasonError
from chexreason.runs import files, folders, machine
from chexreason.runs.config import compose
from chexreason.runs.execute import execute
from chexreason.runs.plan import Plan, plan
from chexreason.stages import metrics as metrics_stage
from tests.data import layouts
from tests.manifests import complete
from tests.runs.conftest import EVALUATE, Command, made_alone, name, planned, weights


@pytest.mark.parametrize("site", ["mimic", "chexpert", "nih", "padchest", "vindr"])
def test_weights_and_data_that_are_not_at_hand_are_said_in_one_list(site: str, tmp_path: Path) -> None:
    words = ["stage=evaluate", "checkpoint=base", "model=medgemma", "model.weights=org/none", f"dataset={site}"]
    words.append("scale.gpu_gigabytes=0")
    absent = planned(tmp_path, *words, f"dataset.root={tmp_path / 'nowhere'}").every_lack()
    assert len(absent) == 2 and sum("org/none" in lack for lack in absent) == 1
    assert sum(f"no folder {tmp_path / 'nowhere'} (dataset.root)" in lack and "get the data" in lack for lack in absent) == 1
    (tmp_path / "here").mkdir()
    empty = planned(tmp_path, *words, f"dataset.root={tmp_path / 'here'}").every_lack()
    assert len(empty) == 2 and sum(f"{tmp_path / 'here'} (dataset.root) holds no " in lack for lack in empty) == 1


@pytest.mark.parametrize(
    ("site", "there", "lack"),
    [
        ("chexpert", "train.csv", "has none of test_labels.csv"),
        ("nih", "Data_Entry_2017_v2020.csv", "lacks train_val_list.txt or test_list.txt"),
        ("mimic", "mimic-cxr-2.1.0-metadata.csv.gz", "-split.csv"),
        ("vindr", "image_labels_train.csv", "image_labels_test.csv"),
        ("openi", "indiana_reports.csv", "projection"),
    ],
)
def test_labels_and_lists_of_the_split_that_a_folder_lacks_are_said_beforehand(
    site: str, there: str, lack: str, tmp_path: Path
) -> None:
    files.write_text(tmp_path / "root" / there, "")
    line = ["stage=inspect", f"dataset={site}", "dataset.split=test", f"dataset.root={tmp_path / 'root'}"]
    (said,) = planned(tmp_path / "runs", *line).every_lack()
    assert lack in said and str(tmp_path / "root") in said
    if site == "chexpert":  # whose download holds no test set
        assert "CheXlocalize has them: https://" in said and "aimi.stanford.edu/datasets/chexpert" not in said
        (absent,) = planned(tmp_path / "runs", *line[:-1], f"dataset.root={tmp_path / 'nowhere'}").every_lack()
        assert "CheXlocalize has them: https://" in absent


@pytest.mark.parametrize(("site", "how"), [("chexpert", "CheXlocalize"), ("nih", "nihcc.app.box.com")])
def test_images_of_a_test_set_that_are_not_there_are_counted_beforehand(site: str, how: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    if site == "chexpert":
        layouts.chexpert(root, "test", [(f"patient{n}/study1/view1_frontal.jpg", "AP", {"Edema": 1}) for n in range(5)])
        (root / "test.csv").rename(root / "test_labels.csv")
    else:
        layouts.nih(root, [(f"{n:08d}_000.png", "Edema", n, "PA", "test" if n else "train_val") for n in range(6)])
    line = ["stage=evaluate", "model=medgemma", f"dataset={site}", f"dataset.root={root}", f"runs={tmp_path / 'runs'}"]
    line += ["dataset.draw=4"] if site == "nih" else []

    def said(*more: str) -> list[str]:
        published.ANSWERED.clear()  # as another process would begin
        lacks = plan(compose([*line, *more]), [*line, *more]).every_lack()
        return [lack for lack in lacks if "images are not there" in lack]

    assert said() == []
    films = sorted(root.rglob("*.jpg")) + sorted(root.rglob("*.png"))
    for film in films:
        film.unlink()
    wanted = 4 if site == "nih" else 5
    (lack,) = said()
    assert f": {wanted} of {wanted} images are not there: " in lack and how in lack and str(root) in lack
    assert said("dataset.missing=skip") == [] and said(f"dataset.table={next(root.glob('*.csv'))}") == []
    assert plan(compose(["stage=inspect", *line[2:]]), ["stage=inspect", *line[2:]]).every_lack() == [], "it lists them all"


@pytest.mark.parametrize("words", ["stage=teach", "stage=sft", "stage=grpo", "stage=evaluate dataset=validation"])
def test_images_of_curated_sets_are_looked_for_once_they_are_known(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [(f"d{n}", str(10000000 + n), str(50000000 + n), "AP", "train") for n in range(30)]
    root = layouts.mimic(tmp_path / "data", images, {study: {"Edema": 1.0} for _, _, study, _, _ in images})
    monkeypatch.setenv("MIMIC_CXR_JPG", str(root))
    curated = ["stage=curate", "dataset=mimic", f"runs={tmp_path / 'runs'}"]
    line = [*words.split(), "model=medgemma", curated[-1]]

    def said() -> list[str]:
        return [lack for lack in plan(compose(line), line).every_lack() if "images are not there" in lack]

    assert said() == []
    execute(compose(curated), curated)
    if words == "stage=sft":
        made_alone(plan(compose(line), line).parents["traces"])
    assert said() == []
    for film in root.rglob("*.jpg"):
        film.unlink()
    (lack,) = said()
    assert "30 of 30 images are not there" in lack and f"runs={tmp_path / 'runs'} force=true" in lack
    again = shlex.split(lack.partition("get them:")[2].partition("#")[0])[3:]
    with pytest.raises(ChexReasonError, match=r"30 of their 30 images are not in (?s:.*)wget -c -x"):
        execute(compose(again), again)
    assert said() == [], "nothing is known of them until they are drawn"


def test_a_label_table_that_is_not_there_is_said_beforehand(tmp_path: Path) -> None:
    for site in ("chexpert", "nih", "mimic", "vindr", "padchest", "openi"):
        (said,) = planned(tmp_path, "stage=inspect", f"dataset={site}", f"dataset.table={tmp_path}/no.csv").every_lack()
        assert f"dataset.table={tmp_path}/no.csv: there is no such file" in said, site


def shown(monkeypatch: pytest.MonkeyPatch, folder: Path, mebibytes: str) -> None:
    """Have nvidia-smi show GPUs of this memory."""
    folder.mkdir(exist_ok=True)
    tool = files.write_text(folder / "nvidia-smi", f"#!/bin/sh\nprintf '{mebibytes}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    machine.gpu_gigabytes.cache_clear()


def test_all_that_a_clinical_run_lacks_is_in_one_list_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    shown(monkeypatch, tmp_path / "bin", "16384\\n24576\\n")
    line = ["stage=evaluate", "model=medgemma", "checkpoint=grpo", "dataset=nih", "engine=vllm", f"dataset.root={tmp_path}/no"]
    line.append("scale.run_gigabytes=1e9")
    wanted = {  # what is missing, and how to get it
        "there is no folder .*/no ": "export NIH_CHEST_XRAY14=FOLDER",
        "there is no folder .*mimic-cxr-jpg ": "export MIMIC_CXR_JPG=FOLDER",
        "its weights .google/medgemma-4b-it. are neither": "hf auth login",
        "environment variable GEMINI_API_KEY, which is not set": "export GEMINI_API_KEY=",
        "are under the PhysioNet .* and teacher=gemini would send them": "teacher.data_use_agreement=",
        "a GPU with 40 GB, and the largest GPU here has 26 GB": "scale.gpu_gigabytes=0",
        "engine=vllm needs vLLM": r"pip install 'chexreason\[vllm\]'",
        "3e.09 GB are wanted for the runs to be made, and .* are free": "runs=FOLDER",  # SFT, GRPO, evaluation
    }
    lacks = planned(tmp_path / "runs", *line).every_lack()
    assert len(lacks) == len(wanted), lacks
    for what, how in wanted.items():
        assert sum(bool(re.search(f"(?s){what}.*{how}", lack)) for lack in lacks) == 1, what
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    shown(monkeypatch, tmp_path / "bin", "81559\\n")
    line += ["scale.run_gigabytes=0", "engine=transformers", "teacher.data_use_agreement='another'"]
    now = planned(tmp_path / "runs", *line).every_lack()
    assert len(now) == 4 and sum("names another: 'another'" in lack for lack in now) == 1
    taught = planned(tmp_path / "runs", "stage=teach", "model=medgemma", "dataset=mimic", "dataset.agreement=null").every_lack()
    assert sum("dataset=mimic names no data-use agreement" in lack and "set dataset.agreement" in lack for lack in taught) == 1


def test_training_asks_for_a_gpu_and_one_without_a_figure_is_taken_at_its_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for told, kind, asks in (("", "sft", True), ("[N/A]\\n", "sft", False), ("", "evaluate", False)):
        shown(monkeypatch, tmp_path / "bin", told)
        lacks = planned(tmp_path / "runs", f"stage={kind}", "model=medgemma").every_lack()
        assert any("a GPU with 40 GB" in lack for lack in lacks) == asks, (told, kind)


def test_vllm_rollouts_of_several_processes_are_refused_where_they_would_be_made(tmp_path: Path) -> None:
    words = ["model=medgemma", "engine=vllm", "processes=2", "checkpoint=grpo"]
    for line in (["stage=grpo", *words], ["stage=evaluate", *words]):
        assert any("with engine=vllm, one process" in lack for lack in planned(tmp_path, *line).every_lack())
    assert not any("one process" in lack for lack in planned(tmp_path, "stage=sft", *words).every_lack())


def made(wanted: Plan) -> None:
    """Let `wanted` and all that it stands on pass for complete."""
    for one in wanted.missing():
        made_alone(one)


def test_processes_that_cannot_share_an_update_are_a_lack_of_the_training_that_is_to_be_made(tmp_path: Path) -> None:
    line = [*EVALUATE, "checkpoint=sft", "processes=3"]
    lacks = planned(tmp_path, *line).every_lack()
    assert len(lacks) == 1 and "processes=3 share stage.accumulation=1 of stage=sft: a multiple of 3 is wanted" in lacks[0]
    made(planned(tmp_path, *line).parents["checkpoint"])
    assert planned(tmp_path, *line).every_lack() == [] and not planned(tmp_path, *line).is_complete


def test_who_asks_for_labels_alone_needs_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    line = ["stage=teach", "model=medgemma", f"dataset.root={tmp_path}"]
    for table in ("metadata", "split"):
        files.write_text(tmp_path / f"mimic-cxr-2.1.0-{table}.csv", "")
    files.write_text(tmp_path / "mimic-cxr-2.0.0-chexpert.csv.gz", "")
    assert any("GEMINI_API_KEY" in lack for lack in planned(tmp_path, *line).every_lack())
    assert planned(tmp_path, *line, "prompt=only_label").every_lack() == []


@pytest.mark.parametrize("maker", ["stage=sft model=phantom_qwen", "stage=curate"])
def test_a_checkpoint_is_of_the_model_that_answers(maker: str, tmp_path: Path) -> None:
    evaluated = [*EVALUATE, "checkpoint=sft", f"checkpoint.made_by='{maker}'"]
    trained = ["stage=grpo", f"stage.parents.policy='{maker}'"]  # which refuses a run of another stage by itself
    for words in (evaluated, *([trained] if "sft" in maker else [])):
        assert any("makes no checkpoint of model=phantom_gemma" in lack for lack in planned(tmp_path, *words).every_lack())


def test_each_models_folder_may_be_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, model in (("MEDGEMMA", "medgemma"), ("QWEN25_VL", "qwen"), ("NV_REASON", "nv_reason")):
        monkeypatch.setenv(variable, str(tmp_path / model))
        weights(tmp_path / model, model)
        lacks = planned(tmp_path / "runs", "stage=evaluate", f"model={model}", "dataset=chexpert").every_lack()
        assert not any("weights" in lack for lack in lacks), lacks
        for nowhere in ("./models/no", "models/of/somebody", "-1"):
            monkeypatch.setenv(variable, nowhere)
            lacks = planned(tmp_path / "runs", "stage=evaluate", f"model={model}", "dataset=chexpert").every_lack()
            assert any(f"model.weights={nowhere}: there is no such folder" in lack for lack in lacks), lacks


def test_weights_of_another_family_are_said_beforehand(tmp_path: Path) -> None:
    files.write_text(tmp_path / "q" / "config.json", '{"model_type": "qwen2_5_vl"}')
    for model, fits in (("medgemma", False), ("qwen", True)):
        lacks = planned(tmp_path, "stage=sft", f"model={model}", f"model.weights={tmp_path / 'q'}").every_lack()
        assert any("holds a qwen2_5_vl" in lack for lack in lacks) is not fits


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


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4000000000\n"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "holds no config.json"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "holds no tokenizer.json"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "so not an image processor"),
        (lambda folder: (folder / "model.safetensors").unlink(), "so not weights"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "cannot be read"),
        (lambda folder: (folder / "model.safetensors").write_text(POINTER), "git lfs pull"),
        (lambda folder: os.truncate(file := folder / "model.safetensors", file.stat().st_size - 1), "safetensors is cut short"),
        (
            lambda folder: files.write_json(
                folder / "model.safetensors.index.json", {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
            ),
            "names model-2.safetensors, which is not there",
        ),
        (lambda folder: (folder / "model.safetensors.index.json").write_text("{"), "cannot be read"),
        (lambda folder: None, None),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "pytorch_model.bin is a pickle"),
    ],
)
def test_weights_that_are_not_whole_are_said_beforehand(
    damage: Callable[[Path], object], said: str | None, tmp_path: Path
) -> None:
    word = weights(tmp_path / "m", "one")
    damage(tmp_path / "m")
    lacks = planned(tmp_path, "stage=sft", "model=medgemma", word).every_lack()
    found = [lack for lack in lacks if "model.weights=" in lack]
    assert not found if said is None else found and said in found[0], found


@pytest.mark.parametrize("stage", ["curate", "inspect", "predict", "export"])
def test_an_output_that_can_be_no_folder_is_said_beforehand(stage: str, tmp_path: Path) -> None:
    file = files.write_text(tmp_path / "file", "")
    line = [f"stage={stage}", *(["checkpoint=sft"] if stage == "export" else [])]
    line += [f"stage.input={file}"] if stage == "predict" else []
    for place in (file, file / "below"):
        assert any("is a file" in lack for lack in planned(tmp_path, *line, f"stage.output={place}").every_lack())
    assert not any("output" in lack for lack in planned(tmp_path, *line, f"stage.output={tmp_path / 'a' / 'b'}").every_lack())


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
    from chexreason.runs.explain import quoted

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


def test_a_name_that_would_lead_out_of_the_runs_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ChexReasonError, match="dataset.name="):
        planned(tmp_path, "stage=curate", "dataset.name=../..")


def test_a_terminal_that_cannot_show_a_folders_name_ends_no_run_with_an_error(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "chexreason.run", "stage=curate", "dry_run=true", f"runs='{tmp_path / 'Übung'}'"]
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0 and r"\xdcbung" in done.stdout, done.stderr
