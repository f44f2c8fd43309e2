"""Tables as people have them: what cannot be trusted is a problem with its row, and no message is longer than a screen."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from chexreason.data import tables
from chexreason.data.records import describe, label_sets
from chexreason.data.sites.chexpert import Chexpert
from chexreason.data.sites.mimic import Mimic
from chexreason.data.sites.nih import Nih
from chexreason.data.sites.openi import Openi
from chexreason.data.sites.padchest import Padchest
from chexreason.data.sites.published import Published
from chexreason.data.sites.vindr import Vindr
from chexreason.errors import ChexReasonError

from .layouts import (
    FRONTAL,
    HEADER,
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
from .test_named_sites import padchest, vindr
from .test_openi import openi


def test_rows_with_too_few_or_too_many_fields_are_named_by_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('\ufeffa,b ,c\n1,"x\ny",3\n\n1,2\n1,2,3,4\nNA,,07\n', encoding="utf-8")
    frame, found = tables.read_table(path, ("a", "b"))
    assert frame["c"].tolist() == ["3", "07"] and frame["row"].tolist() == [3, 7]
    assert frame["a"].isna().tolist() == [False, True] and frame["b"].tolist()[0] == "x\ny"
    assert [describe(problem) for problem in found] == [
        "t.csv, row 5: wrong number of fields: 2 fields, where the header has 3",
        "t.csv, row 6: wrong number of fields: 4 fields, where the header has 3",
    ]


def test_rows_that_stray_quotation_marks_made_one_are_a_problem_and_a_wrapped_cell_is_none(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a,b,c\n1,"x\ny, z",3\n2,"M,3\n3,F,3\n4,M",5\n6,M,7\n')
    frame, found = tables.read_table(path, ("a",))
    assert frame["a"].tolist() == ["1", "6"] and [(problem.row, problem.kind) for problem in found] == [(6, tables.FIELDS)]
    assert "quotation mark" in found[0].detail


def test_a_row_that_the_tables_end_leaves_open_is_a_problem_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for cut in ("\"['a', 'b", '"', '"x\n', '"x\r\n', '"x\n\n\n'):
        path.write_bytes(f"a,b\n1,\"['c']\"\n2,{cut}".encode())
        frame, found = tables.read_table(path, ("a",))
        assert frame["a"].tolist() == ["1"] and frame["b"].tolist() == ["['c']"]
        assert [(problem.kind, problem.row) for problem in found] == [(tables.FIELDS, 3 + max(0, cut.count("\n") - 1))]
        assert "in row 3 is not closed" in found[0].detail, "where it opens"
    path.write_text('a,b\n1,"x\n"')
    assert tables.read_table(path, ("a",))[1] == ()


SITES: dict[str, Callable[[Path], Published]] = {
    "mimic": lambda root: Mimic(root=str(mimic(root, IMAGES, {"50414267": {}, "51000000": {}}))),
    "chexpert": lambda root: Chexpert(root=str(chexpert(root, "train", [(FRONTAL, "AP", {"Edema": 1.0})]))),
    "nih": lambda root: Nih(root=str(nih(root, NIH))),
    "padchest": lambda root: Padchest(root=str(padchest(root, [("1.png", "PA", "Physician", "['normal']")]))),
    "vindr": lambda root: Vindr(root=str(vindr(root, "test", {"c": [{"Edema"}]}))),
    "openi": lambda root: Openi(root=openi(root, "tables")),
}


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:1],
        lambda lines: [lines[0], *(f"{line},x" for line in lines[1:])],
        lambda lines: [lines[0], "," * lines[0].count(",")],
    ],
    ids=["header alone", "a field too many", "blank row"],
)
def test_a_table_with_no_row_that_can_be_used_is_refused(
    change: Callable[[list[str]], list[str]], site: str, tmp_path: Path
) -> None:
    dataset = SITES[site](tmp_path)
    rewritten(table_of(tmp_path), change)
    dataset.read()
    with pytest.raises(ChexReasonError, match="no record is left|wrong number of fields|row 2"):
        dataset.load()


@pytest.mark.parametrize("site", SITES)
def test_a_table_that_lies_zipped_beside_another_version_of_itself_is_refused(site: str, tmp_path: Path) -> None:
    dataset = SITES[site](tmp_path)
    given = table_of(tmp_path)
    zipped = given.suffix == ".gz"
    text = gzip.decompress(given.read_bytes()) if zipped else given.read_bytes()
    other = given.with_suffix("") if zipped else given.with_name(f"{given.name}.gz")
    other.write_bytes(text if zipped else gzip.compress(text))
    dataset.load()
    other.write_bytes(b"\n".join(text.splitlines()[:-1]) if zipped else gzip.compress(text + b"\n"))
    with pytest.raises(ChexReasonError, match="beside it are two versions of one table"):
        dataset.load()


def test_a_cut_row_is_not_read_as_negatives(tmp_path: Path) -> None:
    root = chexpert(tmp_path, "train", [(FRONTAL, "AP", {"Support Devices": 1.0})])
    text = (root / "train.csv").read_text()
    (root / "train.csv").write_text(text[:-5])
    assert problems(Chexpert(root=str(root)).read()) == [
        "train.csv, row 2: wrong number of fields: 18 fields, where the header has 19"
    ]
    with pytest.raises(ChexReasonError, match="wrong number of fields"):
        Chexpert(root=str(root), missing="skip").load()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty; a table with the columns Path is wanted"),
        (b"\x1f\x8b broken", "cannot be read as a CSV table"),
        (b"Path\nCaf\xe9\n", "row 2 is no text in UTF-8"),
        (b"PK\x03\x04\xff\xff", "is an archive or a workbook: unpack it"),
        (b"Path,Path\n1,2\n", "2 columns 'Path'"),
        (b"Path,view,view\n1,AP,PA\n", "2 columns 'view'"),
        (b"path\n1\n", "Did you mean 'path'"),
        (("Path" + "x" * 140_000).encode(), "cannot be read as a CSV table"),
        (",".join(f"column{number}" for number in range(100_000)).encode(), "99,980 more"),
    ],
)
def test_what_is_no_table_is_said_in_a_line(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / ("t.csv.gz" if content[:1] == b"\x1f" else "t.csv")
    path.write_bytes(content)
    with pytest.raises(ChexReasonError, match=said) as caught:
        tables.read_table(path, ("Path",))
    assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["/etc/passwd", "a\0b", "", "x" * 300_0, "a\r\nb", "a\u202eb", "a\u200bb"])
def test_hostile_paths_are_problems_with_their_row(path: str, tmp_path: Path) -> None:
    root = chexpert(tmp_path, "train", [(FRONTAL, "AP", {})])
    row = ('"' + path + '"', "M", 1, "Frontal", "AP", *states({}))
    write_rows(root / "train.csv", HEADER, [(f"train/{FRONTAL}", "M", 1, "Frontal", "AP", *states({})), row])
    found = problems(Chexpert(root=str(root)).read())
    assert found and all(line.startswith(("train.csv, row 3: ", "train.csv, row 4: ")) for line in found)
    with pytest.raises(ChexReasonError, match="train.csv, row [34]"):
        Chexpert(root=str(root)).load()


def test_a_label_that_is_none_is_shown_short(tmp_path: Path) -> None:
    root = chexpert(tmp_path, "train", [(FRONTAL, "AP", {"Edema": "yes" * 1000})])
    (line,) = problems(Chexpert(root=str(root)).read())
    assert line.startswith("train.csv, row 2: illegal label: Edema is yesyes") and len(line) < 160


@pytest.mark.parametrize(
    "saved",
    [
        lambda text: text.replace(",", ";").encode("utf-8-sig"),
        lambda text: text.replace(",", "\t").replace("\n", "\r\n").encode("utf-16"),
        lambda text: text.replace(",", " , ").encode(),
        lambda text: text.encode("utf-16-le"),
        lambda text: gzip.compress(text.encode()),
        lambda text: (text + "\n\n").replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: (text + ("," * text.splitlines()[0].count(",") + "\n") * 3).replace("\n", "\r\n").encode(),
        lambda text: "\n".join(f"{number or ''},{line}" for number, line in enumerate(text.splitlines())).encode(),
        lambda text: text.replace("CheXpert-v1.0/train/patient1/study1/", "CheXpert-v1.0\\train\\patient1\\study1\\").encode(),
    ],
    ids=[
        "semicolons",
        "tabs in UTF-16",
        "blanks around cells",
        "UTF-16 that does not say so",
        "zipped under its name",
        "blank lines at the end",
        "carriage returns alone",
        "rows of empty cells at the end",
        "the numbers of its rows",
        "paths as Windows writes them",
    ],
)
def test_a_table_that_a_spreadsheet_saved_is_read_as_it_was(saved: Callable[[str], bytes], tmp_path: Path) -> None:
    root = chexpert(tmp_path, "train", [(FRONTAL, "AP", {"Edema": "1.0", "Fracture": "0.0"})])
    (root / "train.csv").write_bytes(saved((root / "train.csv").read_text()))
    table = Chexpert(root=str(root)).load()
    assert label_sets(table) == [["Edema"]] and table.records["view"].tolist() == ["AP"]


def test_a_row_of_empty_cells_amid_the_others_is_a_problem(tmp_path: Path) -> None:
    root = chexpert(tmp_path, "train", [(FRONTAL, "AP", {"Edema": 1.0})])
    rewritten(table_of(root), lambda lines: [lines[0], "," * lines[0].count(","), lines[1]])
    found = problems(Chexpert(root=str(root)).read())
    assert found and all(line.startswith("train.csv, row 2: no pat") for line in found)


@pytest.mark.parametrize("called", ["", "Unnamed: 0"])
@pytest.mark.parametrize("site", SITES)
def test_the_numbers_of_rows_that_were_saved_with_a_table_are_no_column_of_it(site: str, called: str, tmp_path: Path) -> None:
    dataset = SITES[site](tmp_path)
    right = label_sets(dataset.load())
    rewritten(table_of(tmp_path), lambda lines: [f"{number or called},{line}" for number, line in enumerate(lines)])
    assert label_sets(dataset.load()) == right


def test_a_first_line_that_is_no_header_and_a_return_inside_a_row_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for line in ("sep=,", "# exported"):
        path.write_text(f"{line}\na,b\n1,2\n")
        with pytest.raises(ChexReasonError, match=f"t.csv, row 1: '{line}' is no header; remove that line"):
            tables.read_table(path, ("a",))
    path.write_text("#,a\n1,2\n")
    assert tables.read_table(path, ("a",))[0]["a"].tolist() == ["2"]
    path.write_bytes(b"a,b\n1,2\n3,4\r5,6\n7,8\n")
    with pytest.raises(ChexReasonError, match="row 3: a carriage return stands where no row ends"):
        tables.read_table(path, ("a",))


def test_one_film_under_two_spellings_of_its_path_is_listed_twice(tmp_path: Path) -> None:
    root = chexpert(tmp_path, "train", [(FRONTAL, "AP", {"Edema": 1.0})])
    text = (root / "train.csv").read_text()
    row = text.splitlines()[1]
    for other in ("CheXpert-v1.0-small/train/patient1", "CheXpert-v1.0/train//patient1", "CheXpert-v1.0/./train/patient1"):
        (root / "train.csv").write_text(text + row.replace("CheXpert-v1.0/train/patient1", other) + "\n")
        assert (
            "row 3: duplicate image: train/patient1/study1/view1_frontal.jpg is listed twice"
            in problems(Chexpert(root=str(root)).read())[0]
        )


def test_a_view_in_another_spelling_is_read_and_one_that_the_site_does_not_know_is_a_problem(tmp_path: Path) -> None:
    root = mimic(tmp_path, [("d1", "10", "50", "pa", "train"), ("d2", "11", "51", "", "train")], {"50": {}, "51": {}})
    table = Mimic(root=str(root)).read()
    assert problems(table) == [] and table.records["view"].tolist() == ["PA"] and table.excluded == {"view unknown": 1}
    root = nih(tmp_path / "nih", NIH)
    for view, kinds in (("P", 1), ("0", 1), ("Posteroanterior", 1), ("", 1), ("Frontal", 1), ("p-a", 0)):
        rewritten(table_of(root), lambda lines, view=view: [lines[0], re.sub("M,[^,]*", f"M,{view}", lines[1]), *lines[2:]])  # type: ignore[misc]
        said = f"Data_Entry_2017_v2020.csv, row 2: illegal view: {repr(view) if view else 'blank'}; one of AP, PA is wanted"
        assert problems(Nih(root=str(root)).read()) == kinds * [said]
    root = chexpert(tmp_path / "chexpert", "train", [(FRONTAL, "AP", {"Edema": 1.0})])
    (root / "train.csv").write_text((root / "train.csv").read_text().replace(",Frontal,AP,", ",Frontal,,"))
    assert "row 2: illegal view: blank; one of AP, PA" in problems(Chexpert(root=str(root)).read())[0]
    for view, count in (("AP_Horizontal", 0), ("AP horizontal", 0), ("Frontal", 1), ("postero-anterior", 1), ("COSTAL", 0)):
        root = padchest(
            tmp_path / view, [("1.png", view, "Physician", "['normal']"), ("2.png", "PA", "Physician", "['normal']")]
        )
        table = Padchest(root=str(root)).read()
        assert len(problems(table)) == count and len(table.records) == 1 + view.upper().startswith("AP")


@pytest.mark.parametrize("view", [" PA", "P\0A", "PA\u200b", "P.A."])
def test_a_view_with_signs_that_nobody_sees_is_a_problem_whatever_the_site(view: str, tmp_path: Path) -> None:
    root = padchest(tmp_path, [("1.png", "X", "Physician", "['normal']")])
    rewritten(table_of(root), lambda lines: [line.replace(",X,", f',"{view}",') for line in lines])
    expected = [] if view == " PA" else ["illegal view"]  # blanks around a cell are a spreadsheet's
    assert [problem.kind for problem in Padchest(root=str(root)).read().problems] == expected


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        (["edema"], "Did you mean 'Edema'"),
        (["Effusion"], "Did you mean 'Pleural Effusion'"),
        (["Edema", "Edema"], "named twice"),
        ([], "is empty"),
    ],
)
def test_names_of_findings_are_checked_and_the_nearest_is_offered(findings: list[str], said: str, tmp_path: Path) -> None:
    write_image(tmp_path / "unused.jpg")
    root = chexpert(tmp_path / "c", "train", [(FRONTAL, "AP", {})])
    with pytest.raises(ChexReasonError, match=said):
        Chexpert(root=str(root), findings=findings).load()
    with pytest.raises(ChexReasonError, match=f"{said}"):
        Nih(root=str(nih(tmp_path / "n", NIH)), findings=findings).load()
    with pytest.raises(ChexReasonError, match="'Fracture' is not one of those that NIH ChestX-ray14 labels"):
        Nih(root=str(tmp_path / "n"), findings=["Fracture"]).load()
