"""The three sites' loaders on small folders in the published layouts."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from chexreason.data.images import read_image
from chexreason.data.records import COLUMNS, StudyTable, describe, ignored_sets, label_sets, readable
from chexreason.data.sites.chexpert import Chexpert
from chexreason.data.sites.mimic import Mimic
from chexreason.data.sites.nih import Nih
from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS

from .layouts import chexpert, mimic, nih, states, write_image, write_rows

IMAGES = [
    ("d1", "10000032", "50414267", "PA", "train"),
    ("d2", "10000032", "50414267", "LATERAL", "train"),
    ("d3", "11000011", "51000000", "AP", "train"),
    ("d4", "12000012", "52000000", "AP", "test"),
]
LABELS = {"50414267": {"Edema": "1.0", "Pneumonia": "-1.0"}, "51000000": {"Fracture": "0.0"}, "52000000": {}}


@pytest.fixture
def mimic_root(tmp_path: Path) -> Path:
    return mimic(tmp_path / "mimic-cxr-jpg", IMAGES, LABELS)


def test_mimic_joins_images_to_study_labels_and_leaves_out_other_views(mimic_root: Path) -> None:
    table = Mimic(root=str(mimic_root)).load()
    assert list(table.records["path"]) == [
        "files/p10/p10000032/s50414267/d1.jpg",
        "files/p11/p11000011/s51000000/d3.jpg",
    ]
    assert list(table.records["patient"]) == ["10000032", "11000011"] and list(table.records["view"]) == ["PA", "AP"]
    assert table.excluded == {"view LATERAL": 1}
    assert label_sets(table) == [["Edema"], []]
    assert len(Mimic(root=str(mimic_root), split="all").load().records) == 3


@pytest.mark.parametrize("column", ["Edema", "split", "labelled", "path", "table"])
def test_what_a_joined_metadata_table_repeats_of_others_does_not_count(column: str, mimic_root: Path) -> None:
    apart = Mimic(root=str(mimic_root)).load()
    table = mimic_root / "mimic-cxr-2.0.0-metadata.csv.gz"
    pd.read_csv(table, dtype=str).assign(**{column: "0.0"}).to_csv(table, index=False)
    pd.testing.assert_frame_equal(Mimic(root=str(mimic_root)).load().records, apart.records)


def test_the_uncertain_policy_decides_what_uncertain_means(mimic_root: Path) -> None:
    table = Mimic(root=str(mimic_root)).load()
    assert label_sets(table, "positive")[0] == ["Edema", "Pneumonia"]
    assert label_sets(table, "ignore")[0] == ["Edema"] and ignored_sets(table, "ignore") == [["Pneumonia"], []]
    assert ignored_sets(table, "negative") == [[], []]
    with pytest.raises(ValueError, match="negative, positive, ignore"):
        label_sets(table, "maybe")


def test_mimic_radiologist_labels_rename_airspace_opacity(mimic_root: Path) -> None:
    names = ["Airspace Opacity" if finding == "Lung Opacity" else finding for finding in FINDINGS]
    path = mimic_root / "mimic-cxr-2.1.0-test-set-labeled.csv"
    write_rows(path, ("study_id", *names), [("52000000", *states({"Lung Opacity": 1.0}))])
    table = Mimic(root=str(mimic_root), labels="radiologist", split="test").load()
    assert label_sets(table) == [["Lung Opacity"]]
    assert table.excluded == {f"study has no row in {path.name}": 3}


def test_an_illegal_label_and_a_misspelt_column_are_named(mimic_root: Path) -> None:
    path = mimic_root / "mimic-cxr-2.0.0-chexpert.csv.gz"
    write_rows(path, ("study_id", *FINDINGS), [("50414267", *states({"Edema": 2})), ("51000000", *states({}))])
    with pytest.raises(ChexReasonError, match=r"chexpert.csv.gz, row 2: illegal label: Edema is 2"):
        Mimic(root=str(mimic_root)).load()
    write_rows(path, ("study_id", "Oedema", *[f for f in FINDINGS if f != "Edema"]), [])
    with pytest.raises(ChexReasonError, match="no column 'Edema'"):
        Mimic(root=str(mimic_root)).load()


def test_missing_images_stop_the_load_or_are_counted(mimic_root: Path) -> None:
    (mimic_root / "files/p10/p10000032/s50414267/d1.jpg").unlink()
    with pytest.raises(ChexReasonError, match=r"metadata.csv.gz, row 2: missing image"):
        Mimic(root=str(mimic_root)).load()
    table = Mimic(root=str(mimic_root), missing="skip").load()
    assert len(table.records) == 1 and table.excluded["image file is missing"] == 1


def test_unreadable_images_stop_a_run_before_it_works_or_are_counted(mimic_root: Path) -> None:
    image = mimic_root / "files/p10/p10000032/s50414267/d1.jpg"
    image.write_bytes(image.read_bytes()[:200])
    table = Mimic(root=str(mimic_root)).load()
    with pytest.raises(ChexReasonError, match=r"(?s)row 2: unreadable image: .*d1.jpg.*dataset.missing=skip"):
        readable(table, "fail", read_image)
    left = readable(table, "skip", read_image)
    assert len(left.records) == len(table.records) - 1 and left.excluded["image cannot be read"] == 1


def test_an_empty_set_after_filtering_says_what_left_it_empty(mimic_root: Path) -> None:
    with pytest.raises(ChexReasonError, match="no record is left. Left out: view AP: 1, view LATERAL: 1, view PA: 1"):
        Mimic(root=str(mimic_root), views=["LL"]).load()


@pytest.mark.parametrize("site", [Mimic, Chexpert, Nih])
def test_a_missing_root_says_how_to_get_it_and_what_shows_the_same(site: type, tmp_path: Path) -> None:
    with pytest.raises(ChexReasonError, match=r"(?s)get the data:.*dataset=phantom_"):
        site(root=str(tmp_path / "nowhere")).load()


def test_chexpert_prefix_of_either_release_is_taken_off(tmp_path: Path) -> None:
    rows = [("patient00001/study1/view1_frontal.jpg", "AP", {"Edema": 1.0, "No Finding": ""})]
    root = chexpert(tmp_path / "data", "train", rows, prefix="CheXpert-v1.0-small")
    record = Chexpert(root=str(root), split="train").load().records.iloc[0]
    assert (record["path"], record["patient"]) == ("train/patient00001/study1/view1_frontal.jpg", "patient00001")


def published_test(root: Path, studies: int, second_frontal: int, laterals: int) -> list[str]:
    names = [f"test/patient{n:05d}/study1/view1_frontal.jpg" for n in range(studies)]
    names += [f"test/patient{n:05d}/study1/view2_frontal.jpg" for n in range(second_frontal)]
    names += [f"test/patient{n:05d}/study1/view3_lateral.jpg" for n in range(laterals)]
    write_image(root / names[0])
    for name in names[1:]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(root / names[0], root / name)
    return names


@pytest.mark.parametrize("keyed", ["Path", "Study"])
def test_the_published_test_set_gives_518_frontal_images(tmp_path: Path, keyed: str) -> None:
    root = tmp_path / "CheXpert-v1.0"
    names = published_test(root, 500, 18, 150)
    zero = dict.fromkeys(FINDINGS, 0.0)
    if keyed == "Path":
        write_rows(root / "test_labels.csv", ("Path", *FINDINGS), [(name, *states(zero)) for name in names])
    else:
        studies = [(f"CheXpert-v1.0/test/patient{n:05d}/study1", *states(zero)) for n in range(500)]
        write_rows(root / "groundtruth.csv", ("Study", *FINDINGS), studies)
    table = Chexpert(root=str(root), split="test").load()
    assert len(table.records) == 518 and table.excluded == {"view lateral": 150}
    assert table.noted["all 14 labels are zero"] == 518
    assert table.records["study"].nunique() == 500


def test_all_zero_records_are_kept_dropped_or_relabelled(tmp_path: Path) -> None:
    rows = [
        ("patient1/study1/view1_frontal.jpg", "AP", dict.fromkeys(FINDINGS, 0.0)),
        ("patient2/study1/view1_frontal.jpg", "AP", dict.fromkeys(FINDINGS, 0.0) | {"Edema": 1.0}),
        ("patient3/study1/view1_frontal.jpg", "AP", dict.fromkeys(FINDINGS, 0.0) | {"Support Devices": 1.0}),
    ]
    root = str(chexpert(tmp_path / "c", "valid", rows))
    kept = Chexpert(root=root, split="valid").load()
    assert label_sets(kept) == [[], ["Edema"], ["Support Devices"]]
    assert kept.noted == {"all 14 labels are zero": 1, "Support Devices alone without No Finding": 1}
    relabelled = label_sets(Chexpert(root=root, split="valid", all_zero="relabel").load())
    assert relabelled == [["No Finding"], ["Edema"], ["No Finding", "Support Devices"]]
    dropped = Chexpert(root=root, split="valid", all_zero="drop").load()
    assert label_sets(dropped) == [["Edema"]]
    assert dropped.excluded == {"all 14 labels are zero": 1, "all labels but Support Devices are zero": 1}


def test_a_contradicting_no_finding_is_noted(tmp_path: Path) -> None:
    rows = [("patient1/study1/view1_frontal.jpg", "AP", {"No Finding": 1.0, "Edema": 1.0})]
    table = Chexpert(root=str(chexpert(tmp_path / "c", "train", rows)), split="train").load()
    assert table.noted == {"No Finding beside a positive finding": 1} and label_sets(table) == [["Edema"]]


NIH = [
    ("00000001_000.png", "Mass|Nodule|Effusion", 1, "PA", "test"),
    ("00000001_001.png", "Infiltration", 1, "AP", "test"),
    ("00000002_000.png", "Pleural_Thickening", 2, "PA", "test"),
    ("00000003_000.png", "No Finding", 3, "PA", "train_val"),
]


@pytest.mark.parametrize("sex", ["Patient Gender", "Patient Sex"])
def test_nih_names_become_findings(tmp_path: Path, sex: str) -> None:
    root = str(nih(tmp_path / "nih", NIH, sex))
    table = Nih(root=root).load()
    assert label_sets(table) == [["Lung Lesion"], [], ["Pleural Other"]]
    assert table.noted == {"all its findings lie outside those scored": 1}
    assert list(table.records["path"])[:2] == [
        "images_001/images/00000001_000.png",
        "images_002/images/00000001_001.png",
    ]
    assert set(table.records["sex"]) == {"M"} and set(table.records["age"]) == {58.0}
    ten = Nih(root=root, findings=[*table.findings, "Pleural Effusion"]).load()
    assert label_sets(ten)[0] == ["Lung Lesion", "Pleural Effusion"]
    assert table.records["Fracture"].isna().all()
    assert len(Nih(root=root, outside="drop").load().records) == 2


def test_the_nih_draw_is_seeded_and_independent_of_row_order(tmp_path: Path) -> None:
    rows = [(f"{n:08d}_000.png", "Edema", n, "PA", "test") for n in range(40)]
    one = Nih(root=str(nih(tmp_path / "one", rows)), draw=10).load()
    shutil.rmtree(tmp_path / "one")
    two = Nih(root=str(nih(tmp_path / "two", rows[::-1])), draw=10).load()
    other = Nih(root=str(tmp_path / "two"), draw=10, draw_seed=1).load()
    names = [{path.rsplit("/")[-1] for path in table.records["path"]} for table in (one, two, other)]
    assert len(names[0]) == 10 and names[0] == names[1] != names[2]
    assert one.excluded == {"not drawn (draw 10, seed 0)": 30}
    with pytest.raises(ChexReasonError, match="only 40 images"):
        Nih(root=str(tmp_path / "two"), draw=41).load()


def test_an_unknown_nih_name_is_refused(tmp_path: Path) -> None:
    root = nih(tmp_path / "nih", [("00000001_000.png", "Edema|Dextrocardia", 1, "PA", "test")])
    with pytest.raises(ChexReasonError, match=r"row 2: illegal label: 'Dextrocardia'"):
        Nih(root=str(root)).load()


def test_the_parquet_export_is_read_and_its_images_decode(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    write_image(tmp_path / "x.png", 3)
    content = (tmp_path / "x.png").read_bytes()
    names = ["No Finding", "Atelectasis", "Mass"]
    features = {"labels": {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "Sequence"}}
    columns = {
        "image": [{"bytes": content, "path": None}] * 3,
        "labels": [[0], [1, 2], [2]],
        "Patient ID": [7, 8, 9],
        "View Position": ["PA", "AP", "PA"],
        "Patient Gender": ["M", "F", "F"],
        "Patient Age": [40, 50, 60],
    }
    meta = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pyarrow.table(columns).replace_schema_metadata(meta)
    (tmp_path / "hub/data").mkdir(parents=True)
    parquet.write_table(table, tmp_path / "hub/data/test-00000-of-00001.parquet", row_group_size=2)
    loaded = Nih(root=str(tmp_path / "hub")).load()
    assert label_sets(loaded) == [["No Finding"], ["Lung Lesion", "Atelectasis"], ["Lung Lesion"]]
    assert loaded.records["path"].iloc[2] == "data/test-00000-of-00001.parquet#2"
    assert read_image(loaded.root / loaded.records["path"].iloc[2]).size == (32, 24)


def export(root: Path, labels: list[Any], **more: Any) -> Path:
    """The hub's export of a film for each of `labels`; `more`: other columns, None for one that is not there."""
    import pyarrow
    import pyarrow.parquet as parquet

    contents = []
    for number in range(len(labels)):
        write_image(root / "x.png", number)
        contents.append((root / "x.png").read_bytes())
    names = {"feature": {"names": ["No Finding", "Atelectasis", "Mass"], "_type": "ClassLabel"}}
    columns = {
        "image": [{"bytes": content, "path": None} for content in contents],
        "label": labels,
        "Patient ID": list(range(len(labels))),
        "View Position": ["PA"] * len(labels),
    }
    table = pyarrow.table({name: column for name, column in (columns | more).items() if column is not None})
    meta = {"huggingface": json.dumps({"info": {"features": {"label": names}}})}
    (root / "data").mkdir()
    parquet.write_table(table.replace_schema_metadata(meta), root / "data/test-0.parquet")
    return root


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([[0], [1, 99]], "'99' is not one of NIH's names"),
        ([[0], [-1]], "'-1' is not one of NIH's names"),  # and not the last of them
        ([[0.0], [1.5]], "'1.5' is not one of NIH's names"),
        ([["No Finding"], ["mass"]], "'mass' is not one of NIH's names. Did you mean 'Mass'?"),
        *[([[0], cell], "Finding Labels is empty, or a name in it; NIH") for cell in ([], [None], None)],
    ],
)
def test_a_cell_of_an_export_that_names_no_finding_is_a_problem_with_its_row(
    labels: list[Any], said: str, tmp_path: Path
) -> None:
    (problem,) = Nih(root=str(export(tmp_path, labels))).read().problems
    assert describe(problem).startswith(f"data/test-0.parquet, row 2: illegal label: {said}")


@pytest.mark.parametrize("labels", [[0, 2], [[0.0], [2.0]], ["No Finding", "Mass"], [["No Finding"], ["Mass"]]])
def test_an_export_may_hold_numbers_or_names_one_or_several(labels: list[Any], tmp_path: Path) -> None:
    assert label_sets(Nih(root=str(export(tmp_path, labels))).load()) == [["No Finding"], ["Lung Lesion"]]


def test_an_export_that_is_cut_off_or_lacks_a_column_is_named(tmp_path: Path) -> None:
    root = export(tmp_path / "a", [[0]], **{"View Position": None})
    with pytest.raises(ChexReasonError, match="test-0.parquet: there is no column 'View Position'"):
        Nih(root=str(root)).load()
    file = export(tmp_path / "b", [[0]]) / "data/test-0.parquet"
    for content in (file.read_bytes()[:-40], b"version https://git-lfs.github.com/spec/v1\n", b""):
        file.write_bytes(content)
        with pytest.raises(ChexReasonError, match="test-0.parquet is no whole parquet file .*; get it again"):
            Nih(root=str(tmp_path / "b")).load()


def test_a_table_alone_needs_no_images_and_keeps_its_paths(tmp_path: Path) -> None:
    rows = [("CheXpert-v1.0-small/train/patient1/study1/view1_frontal.jpg", "Male", 4, "Frontal", "PA", *states({}))]
    write_rows(tmp_path / "t.csv", ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS), rows)
    table = Chexpert(table=str(tmp_path / "t.csv"), root="nowhere").load()
    assert list(table.records["path"]) == [rows[0][0]] and not table.images
    joined = pd.DataFrame([{"dicom_id": "d", "subject_id": "10", "study_id": "5", "ViewPosition": "AP"}])
    joined.assign(**dict.fromkeys(FINDINGS, 1.0)).to_csv(tmp_path / "m.csv", index=False)
    assert list(Mimic(table=str(tmp_path / "m.csv")).load().records["patient"]) == ["10"]


@pytest.mark.parametrize("value", ["yes", "1", 2.0, 0.7, True])
def test_labels_that_are_no_states_are_refused_and_not_read_as_negative(value: object) -> None:
    frame = pd.DataFrame({**dict.fromkeys(COLUMNS), **dict.fromkeys(FINDINGS, 0.0)}, index=[0])
    assert StudyTable("mine", Path(), FINDINGS, frame).records.shape == (1, len(COLUMNS))
    with pytest.raises(ChexReasonError, match="^mine: Edema has values other than 1.0"):
        StudyTable("mine", Path(), FINDINGS, frame.assign(Edema=value))
    with pytest.raises(ChexReasonError, match="^mine: its records lack the columns patient, view$"):
        StudyTable("mine", Path(), FINDINGS, frame.drop(columns=["patient", "view"]))
