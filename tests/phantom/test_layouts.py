"""The three sites' tables as published: file names, column names, legal values."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd

from chexreason.labels import FINDINGS, NIH_NAMES
from chexreason.phantom.layouts import NihLabeller, write_chexpert, write_mimic, write_nih

EXACT = NihLabeller(misses=0.0, adds=0.0)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_mimic_has_the_published_files_paths_and_columns(tmp_path: Path) -> None:
    specs = write_mimic(tmp_path, 400, 20, 0.5, 256, rng())
    tables = {
        name: pd.read_csv(tmp_path / "mimic-cxr-jpg" / f"mimic-cxr-2.0.0-{name}.csv.gz")
        for name in ("metadata", "split", "chexpert", "negbio")
    }
    assert list(tables["split"]) == ["dicom_id", "study_id", "subject_id", "split"]
    assert {"dicom_id", "subject_id", "study_id", "ViewPosition", "Rows", "Columns"} <= set(tables["metadata"])
    for name in ("chexpert", "negbio"):
        assert list(tables[name]) == ["subject_id", "study_id", *sorted(FINDINGS)]  # MIMIC-CXR-JPG's order
        assert set(tables[name][list(FINDINGS)].stack().dropna().unique()) <= {-1.0, 0.0, 1.0}
    assert not tables["chexpert"].equals(tables["negbio"])
    assert tables["metadata"]["ViewPosition"].value_counts()["LATERAL"] == 20
    assert set(tables["split"]["split"]) == {"train", "validate", "test"}
    assert (tables["split"].groupby("subject_id")["split"].nunique() == 1).all()
    assert tables["chexpert"]["study_id"].is_unique and tables["chexpert"]["subject_id"].nunique() < 400
    images = [one for one in specs if re.fullmatch(r"files/p1\d/p1\d{7}/s5\d{7}/([0-9a-f]{8}-?){5}\.jpg", one.path)]
    assert len(images) == len(specs) == len({one.path for one in specs}) == 420


def test_chexperts_test_set_gives_518_frontal_images_of_500_studies(tmp_path: Path) -> None:
    specs = write_chexpert(tmp_path, 20, 10, 518, rng())
    root = tmp_path / "CheXpert-v1.0"
    labels, truth = pd.read_csv(root / "test_labels.csv"), pd.read_csv(root / "groundtruth.csv")
    assert list(labels) == ["Path", *FINDINGS] and list(truth) == ["Study", *FINDINGS]
    assert len(labels) == 668 and labels["Path"].str.contains("frontal").sum() == 518 and len(truth) == 500
    assert labels[list(FINDINGS)].isin([0, 1]).all(axis=None) and labels["Path"].is_unique
    by_study = truth.set_index("Study").loc[labels["Path"].str.rsplit("/", n=1).str[0], list(FINDINGS)]
    assert (by_study.to_numpy() == labels[list(FINDINGS)].to_numpy()).all()
    assert {f"CheXpert-v1.0/{one.path}" for one in specs if one.path.startswith("test/")} == set(labels["Path"])


def test_chexperts_training_table_has_the_published_header_and_states(tmp_path: Path) -> None:
    specs = write_chexpert(tmp_path, 300, 30, 10, rng())
    train = pd.read_csv(tmp_path / "CheXpert-v1.0" / "train.csv")
    assert list(train) == ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS]
    assert set(train["No Finding"].dropna()) == {1.0}  # 1 or blank, never 0
    assert (train[list(FINDINGS)] == -1).any(axis=None) and train[list(FINDINGS)].isna().any(axis=None)
    patients = {split: {one.patient for one in specs if one.path.startswith(split)} for split in ("train", "valid", "test")}
    assert sum(map(len, patients.values())) == len(set.union(*patients.values()))


def test_nih_has_the_published_header_lists_and_names(tmp_path: Path) -> None:
    specs = write_nih(tmp_path, 200, EXACT, rng())
    root = tmp_path / "nih-chest-xray14"
    with (root / "Data_Entry_2017_v2020.csv").open() as lines:
        header, *rows = csv.reader(lines)
    assert header[:7] == [
        "Image Index",
        "Finding Labels",
        "Follow-up #",
        "Patient ID",
        "Patient Age",
        "Patient Gender",
        "View Position",
    ]
    assert header[7:] == ["OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]"]
    assert (root / "test_list.txt").read_text().split() == [row[0] for row in rows]
    assert [one.path for one in specs] == [f"images_001/images/{row[0]}" for row in rows]
    for row, one in zip(rows, specs, strict=True):
        names = row[1].split("|")
        assert set(names) <= set(NIH_NAMES) and (names == ["No Finding"] or "No Finding" not in names)
        mapped = {NIH_NAMES[name].finding for name in names} - {None, "No Finding"}
        known = {name.finding for name in NIH_NAMES.values()} - {"No Finding"}
        assert mapped == set(one.findings) & known  # an exact labeller names what is drawn
        assert ("Infiltration" in names) == ("Lung Opacity" in one.findings)


def test_nihs_labeller_misses_and_adds_at_the_rates_asked_for(tmp_path: Path) -> None:
    def names(labeller: NihLabeller) -> list[set[str]]:
        write_nih(tmp_path, 2000, labeller, rng())
        table = pd.read_csv(tmp_path / "nih-chest-xray14" / "Data_Entry_2017_v2020.csv")
        return [set(cell.split("|")) - {"No Finding"} for cell in table["Finding Labels"]]

    exact = sum(map(len, names(EXACT)))
    missing = sum(map(len, names(NihLabeller(misses=0.2, adds=0.0))))
    adding = sum(map(len, names(NihLabeller(misses=0.0, adds=0.3))))
    assert abs(missing / exact - 0.8) < 0.04
    assert 0.2 * 2000 < adding - exact <= 0.35 * 2000  # some of what is added was there already
