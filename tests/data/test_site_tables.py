"""What is wrong in one site's own tables is a problem with its row."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from chexreason.data.records import describe, label_sets
from chexreason.data.sites.chexpert import Chexpert
from chexreason.data.sites.mimic import Mimic
from chexreason.data.sites.nih import Nih
from chexreason.data.sites.openi import Openi
from chexreason.data.sites.padchest import Padchest
from chexreason.data.sites.vindr import Vindr
from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS

from .layouts import (
    FRONTAL,
    IMAGES,
    NIH,
    chexpert,
    mimic,
    nih,
    problems,
    rewritten,
    states,
    table_of,
    write_image,
    write_rows,
)
from .test_named_sites import padchest


def test_an_nih_table_without_views_names_the_column(tmp_path: Path) -> None:
    root = nih(tmp_path, NIH)
    rewritten(table_of(root), lambda lines: [lines[0].replace("View Position", "ViewPosition"), *lines[1:]])
    with pytest.raises(ChexReasonError, match="no column 'View Position'. Did you mean 'ViewPosition'"):
        Nih(root=str(root)).load()


def test_patients_whose_numbers_a_spreadsheet_rounded_are_problems_with_their_row(tmp_path: Path) -> None:
    root = nih(tmp_path, [("00000001_000.png", "Edema", "8.4E+35", "PA", "test")])  # type: ignore[list-item]
    assert problems(Nih(root=str(root)).read()) == [
        "Data_Entry_2017_v2020.csv, row 2: illegal id: patient 8.4E+35 was rounded by a spreadsheet; take the published table"
    ]


@pytest.mark.parametrize("spelt", ["s50414267", "50414267.0"])
def test_a_study_id_in_another_form_is_a_problem_with_its_row(spelt: str, tmp_path: Path) -> None:
    root = mimic(tmp_path, IMAGES, {"50414267": {}, "51000000": {}})
    path = root / "mimic-cxr-2.0.0-chexpert.csv.gz"
    write_rows(path, ("subject_id", "study_id", *FINDINGS), [("10000032", spelt, *states({"Edema": 1.0}))])
    found = problems(Mimic(root=str(root)).read())
    assert found == [f"{path.name}, row 2: illegal id: study_id is {spelt}; a plain number is wanted, such as 50414267"]


@pytest.mark.parametrize("table", ["chexpert", "split"])
def test_tables_that_give_a_study_to_two_subjects_contradict_each_other(table: str, tmp_path: Path) -> None:
    root = mimic(tmp_path, IMAGES, {"50414267": {"Edema": 1.0}, "51000000": {}})
    path = root / f"mimic-cxr-2.0.0-{table}.csv.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    swapped = text.replace("50414267", "X").replace("51000000", "50414267").replace("X", "51000000")
    path.write_bytes(gzip.compress(swapped.encode()))
    found = problems(Mimic(root=str(root)).read())
    assert any(line.startswith(f"{path.name}, row 2: illegal id: ") and "in the metadata" in line for line in found)


@pytest.mark.parametrize("labels", ["chexpert", "radiologist"])
def test_a_study_of_two_subjects_takes_no_labels_of_another(labels: str, tmp_path: Path) -> None:
    images = [("d1", "10000032", "1", "PA", "test"), ("d2", "11000011", "1", "AP", "test")]
    root = mimic(tmp_path, images, {"1": {"Edema": 1.0}})
    rows = [("1", *states({"Edema": 1.0}))]
    write_rows(root / "mimic-cxr-2.1.0-test-set-labeled.csv", ("study_id", *FINDINGS), rows)
    found = problems(Mimic(root=str(root), labels=labels, split="test").read())
    said = "mimic-cxr-2.0.0-metadata.csv.gz, row 3: illegal id: subject_id of 1 is 11000011, in the metadata 10000032"
    assert said in found


def test_contradictions_are_told_in_the_order_of_the_columns(tmp_path: Path) -> None:  # and not in that of a set
    root = mimic(tmp_path, IMAGES, {"50414267": {}, "51000000": {}})
    path = root / "mimic-cxr-2.0.0-split.csv.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    path.write_bytes(gzip.compress(text.replace("50414267", "59999999").replace("10000032", "19999999").encode()))
    told = [line.split()[5] for line in problems(Mimic(root=str(root)).read()) if "in the metadata" in line]
    assert told == sorted(told, reverse=True) and set(told) == {"subject_id", "study_id"}


@pytest.mark.parametrize("split", ["", "Train"])
def test_a_mimic_split_that_is_none_is_a_problem_with_its_row(split: str, tmp_path: Path) -> None:
    root = mimic(
        tmp_path, [*IMAGES, ("d3", "12000012", "52000000", "PA", split)], {"50414267": {}, "51000000": {}, "52000000": {}}
    )
    name = "mimic-cxr-2.0.0-split.csv.gz"
    assert problems(Mimic(root=str(root)).read()) == [
        f"{name}, row 4: illegal split: {split!r}; one of train, validate, test is wanted"
    ]


@pytest.mark.parametrize(("there", "listed"), [("D1", "d1"), ("d1", "d1.jpg"), ("d1.dcm", "D1"), ("d1", "e7")])
def test_an_image_that_the_split_table_lacks_or_spells_otherwise_is_a_problem_with_its_row(
    there: str, listed: str, tmp_path: Path
) -> None:
    root = mimic(tmp_path, [(there, *IMAGES[0][1:]), IMAGES[1]], {"50414267": {}, "51000000": {}})
    path = root / "mimic-cxr-2.0.0-split.csv.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    path.write_bytes(gzip.compress(text.replace(f"\n{there},", f"\n{listed},").encode()))
    (said,) = problems(Mimic(root=str(root)).read())
    name = "mimic-cxr-2.0.0-metadata.csv.gz, row 2: image without a split: dicom_id"
    near = f", which has {listed}: one spelling is wanted" if listed != "e7" else ""
    assert said == f"{name} {there} is not in {path.name}{near}"
    with pytest.raises(ChexReasonError, match="row 2: image without a split"):
        Mimic(root=str(root)).load()


def test_an_nih_name_that_lost_its_zeros_is_a_problem_with_its_row(tmp_path: Path) -> None:
    root = nih(tmp_path, NIH)
    rewritten(table_of(root), lambda lines: [line.replace("00000002_000.png", "2_000.png") for line in lines])
    for split in ("test", "train_val", "all"):
        found = problems(replace(Nih(root=str(root)), split=split).read())
        assert found[0].startswith("Data_Entry_2017_v2020.csv, row 3: illegal image name: Image Index 2_000.png is not in ")
        assert "which has 00000002_000.png" in found[0]


def test_an_nih_list_that_is_empty_or_in_one_line_is_named(tmp_path: Path) -> None:
    root = nih(tmp_path, NIH)
    for text in ("", "\n"):
        (root / "test_list.txt").write_text(text)
        with pytest.raises(ChexReasonError, match="has train_val and 'all'; .*/test_list.txt, row 1: it names no image"):
            Nih(root=str(root)).load()
        assert len(Nih(root=str(root), split="train_val").load().records) == 1
    for sign in ",;":
        (root / "test_list.txt").write_text(f"00000001_000.png{sign}00000003_000.png\n")
        assert problems(Nih(root=str(root)).read())[0].startswith("test_list.txt, row 1: illegal image name: 00000001_000.png")


def test_a_side_that_is_neither_frontal_nor_lateral_is_a_problem_and_a_blank_one_is_the_file_names(tmp_path: Path) -> None:
    lateral = "patient1/study1/view2_lateral.jpg"
    root = chexpert(tmp_path, "train", [(FRONTAL, "AP", {"Edema": 1.0}), (lateral, "", {"Edema": 1.0})])
    text = (root / "train.csv").read_text()
    for side in ("lateral", "LAT", "Fronta1"):
        (root / "train.csv").write_text(text.replace(",Lateral,,", f",{side},PA,"))
        (said,) = problems(Chexpert(root=str(root)).read())
        assert said == f"train.csv, row 3: illegal view: Frontal/Lateral is {side}; Frontal or Lateral is wanted"
    (root / "train.csv").write_text(text.replace(",Lateral,,", ",,PA,").replace(",Frontal,", ",,"))
    table = Chexpert(root=str(root)).load()
    assert table.records["path"].tolist() == [f"train/{FRONTAL}"] and table.excluded == {"view lateral": 1}


@pytest.mark.parametrize("place", ["", "test/"])
def test_chexpert_test_tables_that_contradict_each_other_are_named_with_both_rows(place: str, tmp_path: Path) -> None:
    names = [f"test/patient{number}/study1/view1_frontal.jpg" for number in (1, 2)]
    for name in names:
        write_image(tmp_path / name)
    given = [states(dict.fromkeys(FINDINGS, 0.0) | {"Edema": 1.0})] * 2
    write_rows(
        tmp_path / "test_labels.csv", ("Path", *FINDINGS), [(name, *one) for name, one in zip(names, given, strict=True)]
    )
    for edema, count in (("1.0", 0), ("0.0", 1)):
        given = [states(dict.fromkeys(FINDINGS, 0.0) | {"Edema": one}) for one in ("1.0", edema)]
        studies = [(f"CheXpert-v1.0/{name.rpartition('/')[0]}", *one) for name, one in zip(names, given, strict=True)]
        write_rows(tmp_path / f"{place}groundtruth.csv", ("Study", *FINDINGS), studies[::-1])
        found = problems(Chexpert(root=str(tmp_path), split="test").read())
        assert len(found) == count
    assert found == [
        "test_labels.csv, row 3: two versions of a label: patient2/study1: Edema is another in groundtruth.csv, row 2; "
        "leave the right table there alone"
    ]


def test_a_padchest_study_that_a_spreadsheet_rounded_is_a_problem_with_its_row(tmp_path: Path) -> None:
    root = padchest(tmp_path, [("1.png", "PA", "Physician", "['normal']")])
    column = table_of(root).read_text().partition("\n")[0].split(",").index("StudyID")
    cells = table_of(root).read_text().splitlines()[1].split(",")
    cells[column] = "2.05E+37"
    rewritten(table_of(root), lambda lines: [lines[0], ",".join(cells)])
    assert "row 2: illegal id: study 2.05E+37 was rounded" in problems(Padchest(root=str(root)).read())[0]


def test_a_vindr_class_whose_number_and_name_differ_is_a_problem_and_numbers_alone_are_none(tmp_path: Path) -> None:
    write_image(tmp_path / "train/a.png")
    rows = [("a", "Cardiomegaly", 3, "R1"), ("a", "Cardiomegaly", 10, "R2"), ("a", "No finding", 14, "R3")]
    write_rows(tmp_path / "train.csv", ("image_id", "class_name", "class_id", "rad_id"), rows)
    site = Vindr(root=str(tmp_path), split="train", findings=["Cardiomegaly"])
    said = "train.csv, row 3: illegal label: class_id is 10, which is Pleural effusion, and class_name is Cardiomegaly"
    assert problems(site.read()) == [said]
    write_rows(tmp_path / "train.csv", ("image_id", "class_id", "rad_id"), [("a", 3, "R1")])
    with pytest.raises(ChexReasonError, match="no column 'class_name'"):
        site.load()


def test_openi_tags_that_commas_join_and_films_of_another_report_are_problems(tmp_path: Path) -> None:
    write_image(tmp_path / "images/1_IM-0001-4001.dcm.png")
    (tmp_path / "indiana_projections.csv").write_text("uid,filename,projection\n1,1_IM-0001-4001.dcm.png,Frontal\n")
    for tags, count in (("Calcinosis/trachea, carina/lymph nodes;Opacity/lung", 0), ("Cardiomegaly/mild,Opacity/lung", 1)):
        (tmp_path / "indiana_reports.csv").write_text(f'uid,MeSH\n1,"{tags}"\n')
        found = problems(Openi(root=str(tmp_path)).read())
        assert len(found) == count and all(one.startswith("indiana_reports.csv, row 2: illegal label: ") for one in found)
    (tmp_path / "indiana_reports.csv").write_text("uid,MeSH\n1,Opacity/lung\n2,normal\n")
    (tmp_path / "indiana_projections.csv").write_text("uid,filename,projection\n2,1_IM-0001-4001.dcm.png,Frontal\n")
    said = "indiana_projections.csv, row 2: illegal id: uid is 2, and 1_IM-0001-4001.dcm.png is of another report"
    assert said in problems(Openi(root=str(tmp_path)).read())


def test_a_side_that_the_files_name_contradicts_and_a_path_of_another_machine_are_problems(tmp_path: Path) -> None:
    root = chexpert(tmp_path, "train", [(FRONTAL, "AP", {"Edema": 1.0})])
    text = (root / "train.csv").read_text()
    (root / "train.csv").write_text(text.replace(",Frontal,", ",Lateral,"))
    said = "train.csv, row 2: illegal view: Frontal/Lateral is Lateral, and its file is called otherwise"
    assert problems(Chexpert(root=str(root)).read()) == [said]
    (root / "train.csv").write_text(text.replace(",AP/PA", ",Hospital").replace(",Frontal,", ",Lateral,"))
    assert problems(Chexpert(root=str(root)).read()) == [said], "where no projection is told, as well"
    (root / "train.csv").write_text(text.replace("CheXpert-v1.0/train", "D:\\\\data\\\\train"))
    assert "is refused; one below the dataset's root is wanted" in problems(Chexpert(root=str(root)).read())[0]


def test_a_path_that_names_no_patient_is_answered_with_what_would(tmp_path: Path) -> None:
    root = chexpert(tmp_path, "train", [(FRONTAL, "AP", {"Edema": 1.0})])
    text = (root / "train.csv").read_text()
    (root / "train.csv").write_text(text.replace("patient", "subject"))
    (root / "train" / "patient1").rename(root / "train" / "subject1")
    said = "train.csv, row 2: no patient: patientNNN/studyN/ in Path would tell it"
    assert problems(Chexpert(root=str(root)).read()) == [said]


def test_a_row_whose_labels_are_illegal_is_not_counted_as_one_without_labels(tmp_path: Path) -> None:
    rows = [(FRONTAL, "AP", {"Edema": "yes"}), (FRONTAL.replace("study1", "study2"), "AP", {})]
    root = chexpert(tmp_path, "train", rows)
    assert Chexpert(root=str(root)).read().noted["no label at all"] == 1


def test_a_split_of_a_joined_mimic_table_that_is_none_is_a_problem_with_its_row(tmp_path: Path) -> None:
    header = ("dicom_id", "subject_id", "split", *FINDINGS)
    write_rows(tmp_path / "t.csv", header, [(f"d{n}", n, split, *states({})) for n, split in enumerate(("train", "Train", ""))])
    assert [describe(problem) for problem in Mimic(table=str(tmp_path / "t.csv")).read().problems] == [
        f"t.csv, row {row}: illegal split: {split!r}; one of train, validate, test is wanted"
        for row, split in ((3, "Train"), (4, ""))
    ]


def test_an_image_in_two_mimic_splits_is_a_problem_with_both_rows(tmp_path: Path) -> None:
    root = mimic(tmp_path, [*IMAGES, ("d1", "10000032", "50414267", "PA", "test")], {"50414267": {}, "51000000": {}})
    assert "split.csv.gz, row 4: same image in two splits: d1: test, and train in row 2" in " ".join(
        problems(Mimic(root=str(root)).read())
    )


@pytest.mark.parametrize("method", ["Physican", "physician", ""])
def test_padchest_labels_by_nobody_are_a_problem_with_their_row(method: str, tmp_path: Path) -> None:
    root = padchest(tmp_path, [("1.png", "PA", "RNN_model", "['normal']"), ("2.png", "PA", method, "['normal']")])
    (said,) = problems(Padchest(root=str(root)).read())
    assert f"row 3: illegal labeller: MethodLabel is {method or 'blank'}; Physician or RNN_model is wanted" in said


@pytest.mark.parametrize("line", ["<!DOCTYPE html>", "00000001_00", "00000001_000", "00000001_000.PNG"])
def test_a_line_or_cell_that_names_no_nih_image_is_a_problem_with_its_row(line: str, tmp_path: Path) -> None:
    root = nih(tmp_path, NIH)
    (root / "test_list.txt").write_text(f"00000001_000.png\n\n{line}\n00000007_000.png\n")
    assert problems(Nih(root=str(root)).read()) == [
        f"test_list.txt, row 3: illegal image name: {line}; one such as 00000001_000.png is wanted"
    ]
    (root / "test_list.txt").write_text(line)  # and of the whole split nothing is left
    with pytest.raises(ChexReasonError, match="test_list.txt, row 1: illegal image name"):
        Nih(root=str(root)).load()
    root = nih(tmp_path, NIH)
    for cell in (line, ""):
        rewritten(table_of(root), lambda lines, cell=cell: [*lines, f"{cell}{lines[1][lines[1].index(',') :]}"])  # type: ignore[misc]
    said = [one for one in problems(Nih(root=str(root)).read()) if "illegal image name" in one]
    wanted = "one such as 00000001_000.png is wanted"
    place = "Data_Entry_2017_v2020.csv, row"
    assert said == [f"{place} 4: illegal image name: {line}; {wanted}", f"{place} 5: illegal image name: blank; {wanted}"]


@pytest.mark.parametrize("name", ["00000001-000.png", "0000001_00.png", "=cmd|x.png", "photo.png", "000000011_000.png"])
def test_an_nih_name_in_another_form_is_a_problem_with_its_row(name: str, tmp_path: Path) -> None:
    root = nih(tmp_path, [*NIH, ("00000003_000.png", "Mass", 3, "PA", "test")])
    rewritten(table_of(root), lambda lines: [*lines[:3], lines[3].replace("00000003_000.png", name)])
    said = f"Data_Entry_2017_v2020.csv, row 4: illegal image name: {name}; one such as 00000001_000.png is wanted"
    for split in ("test", "all"):
        assert said in problems(Nih(root=str(root), split=split).read())


def test_an_nih_patient_who_is_not_that_of_the_name_is_a_problem_with_its_row(tmp_path: Path) -> None:
    for patient, count in ((2, 0), ("00000002", 0), (3, 1)):
        root = nih(tmp_path / str(patient), [NIH[0], ("00000002_000.png", "Mass", patient, "PA", "test")])  # type: ignore[list-item]
        said = "Data_Entry_2017_v2020.csv, row 3: illegal id: Patient ID is 3, and 00000002_000.png is of another patient"
        assert problems(Nih(root=str(root)).read()) == count * [said]


def test_one_nih_name_of_two_films_is_a_problem_and_a_copy_is_none(tmp_path: Path) -> None:
    root = nih(tmp_path, NIH)
    film = root / "images_001/images/00000001_000.png"
    (root / "images").mkdir()
    (root / "images" / film.name).write_bytes(film.read_bytes())
    assert len(Nih(root=str(root)).load().records) == 1
    write_image(root / "images" / film.name, 77)
    (said,) = problems(Nih(root=str(root)).read())
    assert said.startswith("Data_Entry_2017_v2020.csv, row 2: duplicate image: images/00000001_000.png and images_001/")


def test_nih_ages_are_years_whatever_their_unit(tmp_path: Path) -> None:
    ages = {"058Y": 58.0, "58": 58.0, "006M": 0.5, "020D": 20 / 365.25, "026W": 26 * 7 / 365.25, "Y58": None}
    root = nih(tmp_path, [(f"{n:08d}_000.png", "Edema", n, "PA", "test") for n in range(len(ages))])
    given = iter(ages)
    rewritten(table_of(root), lambda lines: [lines[0], *(line.replace("058Y", next(given)) for line in lines[1:])])
    found = Nih(root=str(root)).load().records["age"]
    assert [None if age != age else age for age in found] == pytest.approx(list(ages.values()))


@pytest.mark.parametrize("label", ["", "Edema||Mass"])
def test_an_empty_nih_label_is_a_problem_with_its_row(label: str, tmp_path: Path) -> None:
    root = nih(tmp_path, [("00000001_000.png", label, 1, "PA", "test")])
    assert problems(Nih(root=str(root)).read())[0].startswith("Data_Entry_2017_v2020.csv, row 2: illegal label: Finding Labels")


def test_an_unknown_nih_label_comes_with_the_nearest(tmp_path: Path) -> None:
    root = nih(tmp_path, [("00000001_000.png", "pleural thickening", 1, "PA", "test")])
    assert "Did you mean 'Pleural_Thickening'?" in problems(Nih(root=str(root)).read())[0]


def test_nih_lists_may_name_folders_and_an_image_in_both_is_a_problem(tmp_path: Path) -> None:
    root = nih(tmp_path, NIH)
    for encoding in ("utf-8", "utf-16"):
        (root / "test_list.txt").write_text("images_001/images/00000001_000.png\r\n", encoding=encoding)
        assert label_sets(Nih(root=str(root)).load()) == [["Edema"]]
    (root / "test_list.txt").write_text("images\\00000001_000.png\n\n00000002_000.png\n")
    assert problems(Nih(root=str(root)).read()) == [
        "test_list.txt, row 3: same image in two splits: 00000002_000.png is in train_val_list.txt too"
    ]


def test_an_nih_image_in_neither_list_is_counted_and_lists_of_other_images_are_named(tmp_path: Path) -> None:
    root = nih(tmp_path, [*NIH, ("00000003_000.png", "Mass", 3, "PA", "test")])
    (root / "test_list.txt").write_text("00000001_000.png\n")
    assert Nih(root=str(root)).load().excluded == {"in neither of train_val_list.txt and test_list.txt": 1}
    for name in ("test_list.txt", "train_val_list.txt"):
        (root / name).write_text(f"{len(name):08d}_000.png\n")
    with pytest.raises(ChexReasonError, match="test_list.txt.: none of their lines is an image .* such as 00000001_000.png"):
        Nih(root=str(root)).load()


def test_of_two_versions_of_a_table_the_newest_is_read(tmp_path: Path) -> None:
    root = nih(tmp_path / "nih", NIH)
    old = (root / "Data_Entry_2017_v2020.csv").read_text().replace("Edema", "Mass")
    for name in ("Data_Entry_2017.csv", "Data_Entry_2017_v2020 (1).csv", "Data_Entry_2017_v2020 - Copy.csv"):
        (root / name).write_text(old)
    assert label_sets(Nih(root=str(root)).load()) == [["Edema"]]
    root = mimic(tmp_path / "m", IMAGES, {"50414267": {"Edema": 1.0}, "51000000": {}})
    (root / "mimic-cxr-2.0.0-chexpert.csv.gz").rename(root / "mimic-cxr-2.10.0-chexpert.csv.gz")
    write_rows(root / "mimic-cxr-2.9.0-chexpert.csv", ("study_id", *FINDINGS), [])
    assert label_sets(Mimic(root=str(root)).load()) == [["Edema"], []]
    assert Mimic(root=str(root)).load().noted["tables of versions 2.0.0 and 2.10.0 beside each other"] == 2


def test_chexpert_is_found_in_the_folders_that_it_is_downloaded_in(tmp_path: Path) -> None:
    rows = [(f"patient0000{number}/study1/view1_frontal.jpg", "AP", {"Edema": 1.0}) for number in (1, 2)]
    root = chexpert(tmp_path, "train", rows)
    chexpert(root, "valid", [("patient64541/study1/view1_frontal.jpg", "PA", {})])
    places = ["CheXpert-v1.0 batch 2 (train 1)", "CheXpert-v1.0 batch 3 (train 2)", "CheXpert-v1.0 batch 1 (validate & csv)"]
    for place, old in zip(places, ["train/patient00001", "train/patient00002", "valid"], strict=True):
        (root / place).mkdir()
        (root / old).rename(root / place / Path(old).name)
    (root / "train").rmdir()
    for table in ("train.csv", "valid.csv"):
        (root / table).rename(root / places[2] / table)
    assert list(Chexpert(root=str(root), split="all").load().records["path"]) == [
        f"{places[0]}/patient00001/study1/view1_frontal.jpg",
        f"{places[1]}/patient00002/study1/view1_frontal.jpg",
        f"{places[2]}/valid/patient64541/study1/view1_frontal.jpg",
    ]
