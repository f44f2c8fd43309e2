"""Sites with names of their own: PadChest and VinDr-CXR in their published layouts, and their real tables."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pandas as pd
import pytest

from benches import readers
from chexreason.data.records import StudyTable, describe, label_sets
from chexreason.data.sites.named import NAMES, labelled, names_of
from chexreason.data.sites.padchest import Padchest
from chexreason.data.sites.vindr import ABSENT_FROM_BOXES, Vindr, by_reader
from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS
from chexreason.phantom.labelsets import real_table
from chexreason.runs.config import as_dict, compose, group

from .layouts import write_image, write_rows

PADCHEST = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
needs_tables = pytest.mark.skipif(real_table() is None, reason="torchxrayvision, which carries the tables, is not installed")


def real(name: str) -> str:
    table = real_table()
    assert table is not None
    return str(table.parent / name)


@pytest.mark.parametrize("site", ["padchest", "vindr", "openi"])
def test_every_name_says_how_it_matches_and_why(site: str) -> None:
    table = pd.read_csv(NAMES, keep_default_na=False)
    rows = table[table["site"] == site]
    assert set(rows["finding"]) <= {"", *FINDINGS} and rows["reason"].str.len().min() > 5
    assert set(rows["match"]) == {"exact", "approximate", "absent"} and rows["name"].is_unique
    assert ((rows["match"] == "absent") == (rows["finding"] == "")).all()
    assert len(names_of(site)) == len(rows)


@pytest.mark.parametrize("site", ["padchest", "vindr", "openi"])
def test_the_config_is_what_the_class_says(site: str) -> None:
    dataset = group("dataset", as_dict(compose((f"dataset={site}",)))["dataset"])
    assert tuple(dataset.findings) == labelled(names_of(site)) and dataset.split == "test" and dataset.agreement


def padchest(root: Path, rows: list[tuple[str, str, str, str]]) -> Path:
    """`rows`: (image, projection, labeller, labels)."""
    header = ("ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM")
    cells = [
        (image, "7", "20140915", f"s{image}", f"p{image}", "1930.0", "F", projection, method, f'"{labels}"')
        for image, projection, method, labels in rows
    ]
    write_rows(
        root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", (*header, "Projection", "MethodLabel", "Labels"), cells
    )
    for number, (image, *_) in enumerate(rows):
        write_image(root / "7" / image, number)
    return root


def test_a_padchest_film_of_which_nobody_says_what_it_shows_is_left_out_and_counted(tmp_path: Path) -> None:
    said = ["'unchanged'", "'suboptimal study', ' unchanged '", "'unchanged', 'normal'", "'suboptimal study', 'scoliosis'"]
    said += ["'unchanged', 'exclude'", "", "'pneumonia', 'unchanged'"]
    rows = [(f"{number}.png", "PA", "Physician", f"[{names}]") for number, names in enumerate(said)]
    table = Padchest(root=str(padchest(tmp_path, [*rows, ("9.png", "PA", "RNN_model", "['unchanged']")]))).load()
    assert dict(zip(table.records["path"], label_sets(table), strict=True)) == {
        "7/2.png": ["No Finding"],
        "7/3.png": [],
        "7/6.png": ["Pneumonia"],
    }
    assert table.excluded == {
        "not labelled by physician": 1,
        "without labels, or labelled exclude": 2,
        "labelled suboptimal study or unchanged alone: what is there is not said": 2,
    }


def test_padchest_lists_become_findings(tmp_path: Path) -> None:
    rows = [
        ("1.png", "PA", "Physician", "['laminar atelectasis', 'NSG tube ', 'scoliosis']"),
        ("2.png", "AP_horizontal", "Physician", "['normal']"),
        ("3.png", "L", "Physician", "['normal']"),
        ("4.png", "PA", "RNN_model", "['pneumonia']"),
        ("5.png", "PA", "Physician", "['scoliosis']"),
        ("6.png", "PA", "Physician", "['exclude']"),
    ]
    root = str(padchest(tmp_path, rows))
    table = Padchest(root=root).load()
    assert label_sets(table) == [["Atelectasis", "Support Devices"], ["No Finding"], []]
    assert table.records["path"].tolist() == ["7/1.png", "7/2.png", "7/5.png"] and set(table.records["age"]) == {84.0}
    assert set(table.records["split"]) == {"test"} and table.records["view"].tolist() == ["PA", "AP", "PA"]
    assert list(table.excluded.values()) == [1, 1, 1]
    assert label_sets(Padchest(root=root, labeller="network").load()) == [["Pneumonia"]]
    assert len(Padchest(root=root, outside="drop").load().records) == 2


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("['pnumonia']", "Did you mean 'pneumonia'"),
        ("pneumonia", "a list of names is wanted"),
        *((labels, "a list of names is wanted") for labels in ("[1]", "'pneumonia'", "[b'pneumonia']", "{'pneumonia': 0}")),
    ],
)
def test_a_padchest_label_that_cannot_be_read_is_a_problem_with_its_row(labels: str, said: str, tmp_path: Path) -> None:
    root = padchest(tmp_path, [("1.png", "PA", "Physician", labels)])
    (problem,) = Padchest(root=str(root)).read().problems
    assert ", row 2: illegal label: " in describe(problem) and said in describe(problem)


def vindr(root: Path, split: str, films: dict[str, list[set[str]]]) -> Path:
    """`films`: by image, what each reader names."""
    names = [name for name in names_of("vindr") if name != "Other disease"]
    rows = [
        (image, f"R{number}", *(int(name in said) for name in names))
        for image, readers in films.items()
        for number, said in enumerate(readers)
    ]
    write_rows(root / f"annotations/image_labels_{split}.csv", ("image_id", "rad_id", *names), rows)
    for number, image in enumerate(films):
        write_image(root / split / f"{image}.png", number)
    return root


def test_vindr_takes_what_enough_readers_name(tmp_path: Path) -> None:
    root = str(vindr(tmp_path, "train", {"a": [{"Edema"}, {"Edema", "Pneumonia"}, set()], "b": [{"No finding"}] * 3}))
    vindr(tmp_path, "test", {"c": [{"Rib fracture", "Lung tumor"}]})
    table = Vindr(root=root, split="train").load()
    assert label_sets(table) == [["Edema"], ["No Finding"]] and table.records["path"].tolist() == ["train/a.png", "train/b.png"]
    assert label_sets(Vindr(root=root, split="train", votes=1).load())[0] == ["Edema", "Pneumonia"]
    assert label_sets(Vindr(root=root, split="train", votes=3).load())[0] == []
    assert label_sets(Vindr(root=root).load()) == [["Lung Lesion", "Fracture"]], "one consensus row counts for all readers"
    assert len(Vindr(root=root, split="all").load().records) == 3


def test_each_vindr_film_is_found_whatever_its_own_format(tmp_path: Path) -> None:
    root = vindr(tmp_path, "test", {name: [{"Edema"}] for name in "abcd"})
    (root / "test/a.png").unlink()
    (root / "test/c.png").rename(root / "test/c.dicom")
    (root / "test/d.png").rename(root / "test/d.jpeg")
    table = Vindr(root=str(root), missing="skip").load()
    assert table.records["path"].tolist() == ["test/b.png", "test/c.dicom", "test/d.jpeg"]
    assert table.excluded == {"image file is missing": 1}


def test_a_vindr_table_without_a_mark_that_can_be_read_is_problems_with_their_rows(tmp_path: Path) -> None:
    root = vindr(tmp_path, "train", {"a": [{"Edema"}]})
    table = root / "annotations/image_labels_train.csv"
    table.write_text(table.read_text().replace(",0", ",False").replace(",1", ",True"))
    assert {problem.row for problem in Vindr(root=str(root), split="train").read().problems} == {2}


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("Rib fracture", "Rib Fracture", "no column 'Rib fracture'. Did you mean 'Rib Fracture'"),
        ("Nodule/Mass", "Nodule-Mass", "no column 'Nodule/Mass'"),
        ("COPD", "Rib-fracture", "column 'Rib-fracture' is not one of VinDr's names. Did you mean 'Rib fracture'"),
        ("COPD", "Lung cavity", "2 columns 'Lung cavity'"),
    ],
)
def test_a_vindr_column_that_is_misspelt_or_there_twice_is_named(was: str, becomes: str, said: str, tmp_path: Path) -> None:
    table = vindr(tmp_path, "train", {"a": [{"Edema"}]}) / "annotations/image_labels_train.csv"
    table.write_text(table.read_text().replace(f",{was},", f",{becomes},"))
    with pytest.raises(ChexReasonError, match=re.escape(said)):
        Vindr(root=str(tmp_path), split="train").load()


def test_a_vindr_reading_of_nobody_or_given_twice_is_a_problem_with_its_row(tmp_path: Path) -> None:
    table = vindr(tmp_path, "train", {"a": [{"Edema"}, set(), set()]}) / "annotations/image_labels_train.csv"
    text = table.read_text()
    table.write_text(text.replace("a,R1", "a,").replace("a,R2", "a,R0"))
    found = [describe(problem) for problem in Vindr(root=str(tmp_path), split="train").read().problems]
    assert any("row 3: illegal id: rad_id is blank" in line for line in found)
    assert any("row 4: duplicate image: a is listed twice" in line for line in found)


def test_two_names_of_one_finding_are_one_vote(tmp_path: Path) -> None:
    root = str(vindr(tmp_path, "train", {"a": [{"Lung tumor", "Nodule/Mass"}, set(), set()]}))
    assert label_sets(Vindr(root=root, split="train").load()) == [[]]


def test_what_a_vindr_table_does_not_label_cannot_be_scored_by_it(tmp_path: Path) -> None:
    boxes = [("a", "Cardiomegaly", "R1"), ("a", "Cardiomegaly", "R2"), ("a", "No finding", "R3"), ("b", "Cardiomegal", "R1")]
    write_rows(tmp_path / "train.csv", ("image_id", "class_name", "rad_id"), boxes)
    with pytest.raises(ChexReasonError, match="has no Edema, Pneumonia, Fracture: leave them out"):
        Vindr(table=str(tmp_path / "train.csv")).load()
    (problem,) = Vindr(table=str(tmp_path / "train.csv"), findings=["Cardiomegaly"]).read().problems
    assert describe(problem) == (
        "train.csv, row 5: illegal label: 'Cardiomegal' is not one of VinDr's names. Did you mean 'Cardiomegaly'?"
    )
    write_rows(tmp_path / "train.csv", ("image_id", "class_name", "rad_id"), boxes[:3])
    table = Vindr(table=str(tmp_path / "train.csv"), findings=["Cardiomegaly"]).load()
    assert label_sets(table) == [["Cardiomegaly"]] and table.records[list(ABSENT_FROM_BOXES)].isna().all(axis=None)


def counts(table: StudyTable) -> dict[str, int]:
    return {finding: int((table.records[finding] == 1.0).sum()) for finding in table.findings}


@needs_tables
def test_vindr_counts_are_those_of_the_real_table() -> None:
    findings = [finding for finding in labelled(names_of("vindr")) if finding not in ABSENT_FROM_BOXES]
    table = Vindr(table=real("vinbigdata-train.csv.gz"), findings=findings).load()
    raw = pd.read_csv(real("vinbigdata-train.csv.gz")).drop_duplicates(["image_id", "class_name", "rad_id"])
    votes = raw.groupby(["class_name", "image_id"]).size()
    agreed = (votes >= 2).groupby("class_name").sum()
    same = {"Nodule/Mass": "Lung Lesion", "Pleural thickening": "Pleural Other", "Pleural effusion": "Pleural Effusion"}
    same |= {"No finding": "No Finding"} | {finding: finding for finding in findings if finding in agreed}
    assert counts(table) == {finding: int(agreed[name]) for name, finding in same.items()} | {}
    assert len(table.records) == 15_000 and counts(table)["No Finding"] == 10_606


@needs_tables
def test_padchest_counts_are_those_of_the_real_table() -> None:
    table = Padchest(table=real(PADCHEST)).load()
    raw = pd.read_csv(real(PADCHEST), usecols=["Projection", "MethodLabel", "Labels"])
    raw = raw[(raw["MethodLabel"] == "Physician") & raw["Projection"].isin(["PA", "AP", "AP_horizontal"])]
    given = [{name.strip() for name in ast.literal_eval(cell)} - {""} for cell in raw["Labels"].fillna("[]")]
    told = [names for names in given if names and "exclude" not in names]
    given = [names for names in told if names - {"unchanged", "suboptimal study"}]
    assert len(told) == 26_373 and len(table.records) == len(given) == 25_550
    assert table.excluded["labelled suboptimal study or unchanged alone: what is there is not said"] == 1_202, "in all views"
    lesions = {name for name, one in names_of("padchest").items() if one.finding == "Lung Lesion"}
    expected = {"Pneumonia": {"pneumonia", "atypical pneumonia"}, "Lung Lesion": lesions, "Cardiomegaly": {"cardiomegaly"}}
    found = counts(table)
    assert {finding: found[finding] for finding in expected} == {
        finding: sum(bool(names & kinds) for names in given) for finding, kinds in expected.items()
    }
    assert (found["No Finding"], found["Support Devices"], found["Fracture"]) == (8_925, 1_984, 759)


def test_what_each_reader_names_and_how_well_they_agree_as_counted_by_hand(tmp_path: Path) -> None:
    both, effusion = {"Cardiomegaly", "Pleural effusion"}, {"Pleural effusion"}
    films = {
        "a": [both, {"Cardiomegaly"}, {"Cardiomegaly"}],
        "b": [{"No finding"}] * 3,
        "c": [effusion, effusion, {"Cardiomegaly"}],
    }
    table = vindr(tmp_path, "train", films) / "annotations/image_labels_train.csv"
    said = by_reader(table)
    assert said["a"] == [["Cardiomegaly", "Pleural Effusion"], ["Cardiomegaly"], ["Cardiomegaly"]] and len(said["c"]) == 3
    heart, effusion_row = (readers.FINDINGS.index(name) for name in ("Cardiomegaly", "Pleural Effusion"))
    majority = readers.rates(readers.against(said, other=False), resamples=50)
    # Cardiomegaly, on a: all three find it, the third on c too. Effusion, on c: found, but on a too; found; missed.
    assert majority[heart][0] == pytest.approx((1 + 1 + 2 / 3) / 3)
    assert majority[effusion_row][0] == pytest.approx((2 / 3 + 1 + 0) / 3)
    pairs = readers.rates(readers.against(said, other=True), resamples=50)
    assert pairs[heart][0] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3) and pairs[effusion_row][0] == pytest.approx((2 / 3) / 3)
    assert all(low <= value <= high for value, low, high in [*majority, *pairs])


@needs_tables
def test_the_majority_of_the_real_readers_is_what_the_loader_reads() -> None:
    table = readers.table()
    said = by_reader(table)
    assert len(said) == 15_000 and {len(one) for one in said.values()} == {3}
    loaded = Vindr(table=str(table), findings=list(readers.FINDINGS)).load()
    films = dict(zip(loaded.records["path"], label_sets(loaded), strict=True))
    assert {film: readers.majority(one) for film, one in said.items()} == films
