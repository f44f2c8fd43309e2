"""The real label tables of CheXpert and NIH, as torchxrayvision carries them; counts from the data sets' own papers."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

from chexreason.data.records import StudyTable, label_sets
from chexreason.data.sites.chexpert import Chexpert
from chexreason.data.sites.nih import Nih
from chexreason.labels import FINDINGS
from chexreason.stages.curate import teachable
from tests.policy import consistent

SPEC = importlib.util.find_spec("torchxrayvision")
pytestmark = pytest.mark.skipif(SPEC is None, reason="torchxrayvision, which carries the tables, is not installed")


def real(name: str) -> Path:
    assert SPEC is not None and SPEC.origin
    return Path(SPEC.origin).parent / "data" / name


@pytest.fixture(scope="module")
def chexpert() -> StudyTable:
    return Chexpert(table=str(real("chexpert_train.csv.gz"))).load()


@pytest.fixture(scope="module")
def nih() -> StudyTable:
    return Nih(table=str(real("Data_Entry_2017_v2020.csv.gz")), split="all").load()


def test_chexpert_views_and_patients(chexpert: StudyTable) -> None:
    assert len(chexpert.records) + sum(chexpert.excluded.values()) == 223_414
    assert chexpert.excluded == {"view lateral": 32_387, "view LL": 16, "view RL": 1}
    assert chexpert.records["view"].value_counts().to_dict() == {"AP": 161_590, "PA": 29_420}
    assert chexpert.records["patient"].nunique() == 64_534


def test_chexpert_label_states_are_those_of_the_table(chexpert: StudyTable) -> None:
    raw = pd.read_csv(real("chexpert_train.csv.gz"))
    raw = raw[raw["AP/PA"].isin(["AP", "PA"]) & (raw["Frontal/Lateral"] == "Frontal")]
    for state in (1.0, 0.0, -1.0):
        counted = (raw[list(FINDINGS)] == state).sum()
        assert counted.equals((chexpert.records[list(FINDINGS)] == state).sum())
    assert (raw[list(FINDINGS)].isna().to_numpy() == chexpert.records[list(FINDINGS)].isna().to_numpy()).all()
    assert not (chexpert.records["No Finding"] == 0).any()  # 1.0 or blank, never 0
    assert sum(map(len, label_sets(chexpert))) == int((raw[list(FINDINGS)] == 1.0).sum().sum())


def test_every_no_finding_is_taught_and_what_no_answer_fits_is_left_out(chexpert: StudyTable) -> None:
    normal = chexpert.records["No Finding"] == 1.0
    assert normal.sum() == 16_970 and (normal & (chexpert.records["Support Devices"] == 1.0)).sum() == 7_420
    taught = teachable(chexpert)
    assert (taught.records["No Finding"] == 1.0).sum() == 16_970
    assert all(consistent(labels) for labels in label_sets(taught))
    left_out = {reason.partition(":")[0]: count for reason, count in taught.excluded.items() if "view" not in reason}
    assert left_out == {"no positive label": 7_764, "Support Devices alone": 5_278}


def test_no_finding_never_stands_beside_a_pathology(chexpert: StudyTable) -> None:
    assert "No Finding beside a positive finding" not in chexpert.noted
    assert chexpert.noted["No Finding beside Support Devices"] == 7_420


def test_nih_counts_are_the_published_ones(nih: StudyTable) -> None:
    assert len(nih.records) == 112_120 and nih.records["patient"].nunique() == 30_805
    assert nih.records["view"].value_counts().to_dict() == {"PA": 67_310, "AP": 44_810}
    counts = (nih.records[list(FINDINGS)] == 1.0).sum()
    published = {
        "No Finding": 60_361,
        "Atelectasis": 11_559,
        "Pneumothorax": 5_302,
        "Consolidation": 4_667,
        "Pleural Other": 3_385,
        "Cardiomegaly": 2_776,
        "Edema": 2_303,
        "Pneumonia": 1_431,
        "Pleural Effusion": 13_317,
    }
    assert {finding: int(counts[finding]) for finding in published} == published


def test_nih_lesions_and_outside_images_as_the_raw_table_counts_them(nih: StudyTable) -> None:
    names = pd.read_csv(real("Data_Entry_2017_v2020.csv.gz"))["Finding Labels"].str.split("|")
    lesions = sum(bool({"Mass", "Nodule"} & set(found)) for found in names)
    assert int((nih.records["Lung Lesion"] == 1.0).sum()) == lesions
    elsewhere = {"Infiltration", "Effusion", "Emphysema", "Fibrosis", "Hernia"}
    outside = sum(set(found) <= elsewhere for found in names)
    assert nih.noted == {"all its findings lie outside those scored": outside}
