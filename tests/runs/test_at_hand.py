"""What a run lacks is said beforehand, in one list: weights, data, images, a key, a GPU, a place to write."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from chexreason.data.sites import published
from chexreason.errors import ChexReasonError
from chexreason.runs import files, machine
from chexreason.runs.config import compose
from chexreason.runs.execute import execute
from chexreason.runs.plan import Plan, plan
from tests.data import layouts
from tests.runs.conftest import EVALUATE, made_alone, planned, weights


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
    assert lack.endswith("leave them out:   dataset.missing=skip")
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
