"""stage=inspect finds what is wrong in a dataset and says where."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pandas as pd
import pytest

from chexreason.data.sites.chexpert import Chexpert
from chexreason.data.sites.mimic import Mimic
from chexreason.data.sites.nih import Nih
from chexreason.data.sites.padchest import Padchest
from chexreason.data.sites.published import Published
from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS
from chexreason.runs.files import read_json
from chexreason.runs.folders import Run
from chexreason.stages import inspect
from tests.data.layouts import chexpert, mimic, nih, write_image
from tests.data.test_named_sites import padchest

FRONTAL = "study1/view1_frontal.jpg"


def run(tmp_path: Path, split: str = "train", dataset: Published | None = None) -> Run:
    folder = tmp_path / "runs/inspect"
    folder.mkdir(parents=True, exist_ok=True)
    settings = inspect.Settings("inspect", images=True, only=None, workers=1, output=str(tmp_path / "out"))
    return Run(settings, folder, dataset=dataset or Chexpert(root=str(tmp_path / "c"), split=split))


def test_a_sound_dataset_passes_and_its_test_split_is_registered(tmp_path: Path) -> None:
    chexpert(tmp_path / "c", "train", [(f"patient1/{FRONTAL}", "AP", {"Edema": 1.0})])
    chexpert(tmp_path / "c", "test", [(f"patient2/{FRONTAL}", "AP", {})])
    assert inspect.execute(run(tmp_path, "test")) == {"records": 2, "images_read": 2, "problems": 0}
    assert len(pd.read_csv(tmp_path / "runs/test-sets/chexpert.csv", comment="#")) == 1
    assert "no problem found" in (tmp_path / "out/report.md").read_text()


def test_nothing_left_to_read_fails_and_says_why(tmp_path: Path) -> None:
    chexpert(tmp_path / "c", "train", [(f"patient1/{FRONTAL}", "", {})])
    with pytest.raises(ChexReasonError, match="no record is left. Left out: view lateral: 1"):
        inspect.execute(run(tmp_path))
    assert "no record is left" in (tmp_path / "out/report.md").read_text()
    (tmp_path / "c/train.csv").write_text((tmp_path / "c/train.csv").read_text().splitlines()[0] + "\n")
    with pytest.raises(ChexReasonError, match="the tables have no rows"):
        inspect.execute(run(tmp_path))


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (["Path"], "no record is left. Left out: none; the tables have no rows"),
        (None, "has none of train.csv"),
        (["Path,AP/PA", f"CheXpert-v1.0/train/patient3/{FRONTAL},LL"], "no record is left. Left out: view LL: 1"),
    ],
)
def test_a_split_that_is_asked_for_and_has_nothing_fails_though_others_are_sound(
    table: list[str] | None, why: str, tmp_path: Path
) -> None:
    chexpert(tmp_path / "c", "valid", [(f"patient1/{FRONTAL}", "AP", {})])
    chexpert(tmp_path / "c", "train", [(f"patient3/{FRONTAL}", "AP", {})])
    rows = [line + "," * 14 if number else ",".join([line, *FINDINGS]) for number, line in enumerate(table or [])]
    (tmp_path / "c/train.csv").write_text("\n".join(rows)) if table else (tmp_path / "c/train.csv").unlink()
    inspect.execute(run(tmp_path, "valid"))
    with pytest.raises(ChexReasonError, match=f"1 problems; .*nothing in dataset.split=train: .*{why}"):
        inspect.execute(run(tmp_path))
    assert "nothing in dataset.split=train" in (tmp_path / "out/report.md").read_text()


def test_what_no_split_is_asked_of_or_official_passes_and_an_unknown_one_fails_whatever_the_site(tmp_path: Path) -> None:
    root = str(mimic(tmp_path / "m", [("d1", "10000032", "50414267", "PA", "train")], {"50414267": {}}))
    inspect.execute(run(tmp_path, dataset=Mimic(root=root, split="all")))
    with pytest.raises(ChexReasonError, match="nothing in dataset.split=test: .*MIMIC-CXR-JPG has train"):
        inspect.execute(run(tmp_path, dataset=Mimic(root=root, split="test")))
    root = str(nih(tmp_path / "n", [("00000001_000.png", "Edema", 1, "PA", "train_val")]))
    with pytest.raises(ChexReasonError, match="nothing in dataset.split=test: .*NIH ChestX-ray14 has train_val"):
        inspect.execute(run(tmp_path, dataset=Nih(root=root)))
    inspect.execute(
        run(tmp_path, dataset=Padchest(root=str(padchest(tmp_path / "p", [("1.png", "PA", "Physician", "['normal']")]))))
    )


def test_an_image_that_its_reader_does_not_survive_is_a_problem_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chexpert(tmp_path / "c", "train", [(f"patient{number}/{FRONTAL}", "AP", {}) for number in range(4)])
    chexpert(tmp_path / "c", "valid", [(f"patient9/{FRONTAL}", "AP", {})])
    monkeypatch.setattr(inspect, "look", _die_of_patient2)
    with pytest.raises(ChexReasonError, match="1 problems; .*train.csv, row 4: unreadable image: .*patient2.*was ended"):
        inspect.execute(run(tmp_path))
    assert read_json(tmp_path / "out/summary.json")["images_read"] == 4


look = inspect.look


def _die_of_patient2(file: str) -> tuple[str, str]:
    if "patient2" in file:
        os.kill(os.getpid(), signal.SIGKILL)
    return look(file)


def test_a_patient_spelt_in_two_ways_is_found_in_two_splits(tmp_path: Path) -> None:
    chexpert(tmp_path / "c", "train", [(f"patient00001/{FRONTAL}", "AP", {})])
    chexpert(tmp_path / "c", "valid", [(f"patient1/{FRONTAL}", "AP", {})])
    with pytest.raises(ChexReasonError, match="patient in two splits: patient patient1: valid and train"):
        inspect.execute(run(tmp_path))


def test_every_problem_is_listed_with_its_row(tmp_path: Path) -> None:
    root = tmp_path / "c"
    patients = [f"patient{n}/{FRONTAL}" for n in range(5)]
    rows = [(name, "AP", {"Edema": 3.0} if number == 4 else {}) for number, name in enumerate(patients)]
    chexpert(root, "train", rows)
    chexpert(root, "valid", [(patients[0], "AP", {}), (f"patient9/{FRONTAL}", "AP", {})])
    (root / "train" / patients[1]).unlink()
    (root / "train" / patients[2]).write_bytes((root / "train" / patients[2]).read_bytes()[:200])
    (root / "valid" / f"patient9/{FRONTAL}").write_bytes((root / "train" / patients[3]).read_bytes())
    with pytest.raises(ChexReasonError, match="5 problems; see"):
        inspect.execute(run(tmp_path))
    found = pd.read_csv(tmp_path / "out/problems.csv")
    assert list(found[["table", "row", "kind"]].itertuples(index=False, name=None)) == [
        ("train.csv", 3, "missing image"),
        ("train.csv", 4, "unreadable image"),
        ("train.csv", 6, "illegal label"),
        ("valid.csv", 2, "patient in two splits"),
        ("valid.csv", 3, "same image in two splits"),
    ]
    assert json.loads((tmp_path / "out/summary.json").read_text())["problems"]["missing image"] == 1
    assert "train.csv, row 4: unreadable image" in (tmp_path / "out/report.md").read_text()
    write_image(root / "train" / patients[1])
