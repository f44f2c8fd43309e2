"""Open-i in its published forms: the archive of reports, the same unpacked, and the public copy as tables; its real reports."""

from __future__ import annotations

import tarfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from chexreason.data.records import describe, label_sets
from chexreason.data.sites.named import names_of
from chexreason.data.sites.openi import Openi
from chexreason.errors import ChexReasonError
from chexreason.phantom.other_layouts import report

from .layouts import write_image, write_rows
from .test_named_sites import needs_tables, real

REPORTS = {  # uid: tags, films with their views
    "1": (["normal"], {"1_IM-0001-3001": "Lateral", "1_IM-0001-4001": "Frontal"}),
    "2": (["Thickening/pleura/left", "Thickening/bronchovascular"], {"2_IM-0652-1001": "Frontal"}),
    "3": (["Cardiac Shadow/enlarged/mild", "Opacity/lung/base/left", "Stents"], {"3_IM-1384-1001": "Frontal"}),
    "4": (["No Indexing"], {"4_IM-2050-1001": "Frontal"}),
    "5": (["Spine/degenerative"], {"5_IM-2117-1003002": "Frontal"}),
}
FILMS = {film: view for _, films in REPORTS.values() for film, view in films.items()}
LABELS = [["No Finding"], ["Pleural Other"], ["Cardiomegaly", "Lung Opacity", "Support Devices"], []]


def openi(root: Path, form: str, images: str = "NLMCXR_png/CXR{}.png") -> str:
    """The collection at `root` in one of its forms; CXR1's films have CXR1_1_ before their number, as published."""
    rows = [(film.partition("_")[0], f"{film}.dcm.png", view) for film, view in FILMS.items()]
    write_rows(root / "indiana_projections.csv", ("uid", "filename", "projection"), rows)
    if form == "tables":
        write_rows(root / "indiana_reports.csv", ("uid", "MeSH"), [(uid, ";".join(tags)) for uid, (tags, _) in REPORTS.items()])
    else:
        for uid, (tags, films) in REPORTS.items():
            names = [f"CXR1_{film}" if uid == "1" else f"CXR{film}" for film in films]
            file = root / "ecgen-radiology" / f"{uid}.xml"
            file.parent.mkdir(exist_ok=True)
            file.write_text(report(f"CXR{uid}", tags, names))
    if form == "archive":
        with tarfile.open(root / "NLMCXR_reports.tgz", "w:gz") as archive:
            archive.add(root / "ecgen-radiology", "ecgen-radiology")
    for number, film in enumerate(FILMS):
        write_image(root / images.format(film), number)
    return str(root)


def test_a_film_whose_report_says_no_more_than_how_bad_it_is_is_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = "Technical Quality of Image Unsatisfactory"
    monkeypatch.setitem(REPORTS, "2", ([bad], REPORTS["2"][1]))
    monkeypatch.setitem(REPORTS, "5", ([bad, "Spine/degenerative"], REPORTS["5"][1]))
    table = Openi(root=openi(tmp_path, "archive")).load()
    assert table.records["patient"].tolist() == ["CXR1", "CXR3", "CXR5"]
    assert table.excluded[f"film of a report tagged {bad} alone: what is there is not said"] == 1


@pytest.mark.parametrize(
    ("form", "images"),
    [("archive", "NLMCXR_png/CXR{}.png"), ("unpacked", "CXR1_{}.png"), ("tables", "images/images_normalized/{}.dcm.png")],
)
def test_every_form_gives_the_same_studies(form: str, images: str, tmp_path: Path) -> None:
    table = Openi(root=openi(tmp_path, form, images)).load()
    assert label_sets(table) == LABELS and table.records["patient"].tolist() == ["CXR1", "CXR2", "CXR3", "CXR5"]
    assert table.excluded == {"film of a report without tags": 1, "view lateral": 1}
    assert all((tmp_path / path).is_file() for path in table.records["path"])


def test_a_change_of_any_report_is_another_dataset(tmp_path: Path) -> None:
    dataset = Openi(root=openi(tmp_path, "unpacked"))
    before = dataset.inputs(None)
    file = tmp_path / "ecgen-radiology" / "2.xml"
    file.write_text(file.read_text().replace("pleura", "lung"))
    assert dataset.inputs(None) != before


def test_what_is_wrong_is_named_with_its_report_and_line(tmp_path: Path) -> None:
    root = openi(tmp_path, "unpacked")
    file = tmp_path / "ecgen-radiology" / "2.xml"
    file.write_text(file.read_text().replace("bronchovascular", "x").replace("Thickening/pleura", "Cardiomegalie/pleura"))
    (tmp_path / "ecgen-radiology" / "3.xml").write_text("<eCitation><uId")
    (tmp_path / "NLMCXR_png" / "CXR5_IM-2117-1003002.png").unlink()
    said = [describe(problem) for problem in Openi(root=root).read().problems]
    assert said[0].startswith("3.xml: illegal label: it is no report of Open-i's")
    assert said[1] == "2.xml, row 4: illegal label: 'Cardiomegalie' is not one of Open-i's names. Did you mean 'Cardiomegaly'?"
    with pytest.raises(ChexReasonError, match=r"illegal label.*missing image"):
        Openi(root=root).load()


@pytest.mark.parametrize("form", ["archive", "unpacked"])
def test_what_a_desktop_keeps_beside_reports_and_films_is_none_of_them(form: str, tmp_path: Path) -> None:
    (tmp_path / "ecgen-radiology").mkdir()
    (tmp_path / "ecgen-radiology/._2.xml").write_bytes(b"\0\5\x16\7")
    root = openi(tmp_path, form)
    (tmp_path / "__MACOSX").mkdir()
    for file in (tmp_path / "NLMCXR_png").iterdir():
        (tmp_path / "__MACOSX" / f"._{file.name}").write_bytes(b"\0\5\x16\7")
    table = Openi(root=root).load()
    assert label_sets(table) == LABELS and all(path.startswith("NLMCXR_png/") for path in table.records["path"])


def test_what_is_there_twice_is_a_problem_in_the_table_that_says_so(tmp_path: Path) -> None:
    root = openi(tmp_path, "tables")
    reports, projections = tmp_path / "indiana_reports.csv", tmp_path / "indiana_projections.csv"
    reports.write_text(reports.read_text() + "1,Pneumonia\n")
    projections.write_text(projections.read_text() + "2,2_IM-0652-1001.dcm.png,Lateral\n")
    table = Openi(root=root).read()
    assert [describe(problem) for problem in table.problems] == [
        "indiana_reports.csv, row 7: duplicate image: report CXR1 is there twice",
        "indiana_projections.csv, row 8: duplicate image: film 2_IM-0652-1001 is there twice",
    ]
    assert label_sets(table) == LABELS, "what was said first"


def test_two_films_of_one_name_are_a_problem_and_copies_are_none(tmp_path: Path) -> None:
    root = openi(tmp_path, "tables")
    film = tmp_path / "NLMCXR_png/CXR2_IM-0652-1001.png"
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies" / film.name).write_bytes(film.read_bytes())
    write_image(tmp_path / "copies/2_IM-0652-1001.dcm.png", 7)  # another preparation of the same film
    assert len(Openi(root=root).load().records) == 4
    (tmp_path / "copies/2_IM-0652-1001.dcm.png").unlink()
    write_image(tmp_path / "copies" / film.name, 7)
    (said,) = Openi(root=root).read().problems
    assert describe(said).startswith(
        "indiana_projections.csv, row 4: duplicate image: NLMCXR_png/CXR2_IM-0652-1001.png and cop"
    )


def test_a_report_number_in_another_form_is_a_problem_with_its_row(tmp_path: Path) -> None:
    root = openi(tmp_path, "tables")
    path = tmp_path / "indiana_reports.csv"
    text = path.read_text()
    for spelt in ("2.0", "0002", "CXR2"):
        path.write_text(text.replace("\n2,", f"\n{spelt},"))
        (problem,) = Openi(root=root).read().problems
        assert (
            describe(problem) == f"indiana_reports.csv, row 3: illegal id: uid is {spelt}; a plain number is wanted, such as 2"
        )


def test_without_projections_nobody_can_say_which_films_are_frontal(tmp_path: Path) -> None:
    root = openi(tmp_path, "archive")
    (tmp_path / "indiana_projections.csv").rename(tmp_path / "elsewhere.csv")
    with pytest.raises(ChexReasonError, match=r"which films are frontal.*dataset\.projections=TABLE"):
        Openi(root=root).load()
    assert label_sets(Openi(root=root, projections=str(tmp_path / "elsewhere.csv")).load()) == LABELS
    rows = [(f"CXR{film}", {"Frontal": "AP", "Lateral": "LL"}[view]) for film, view in FILMS.items()]
    write_rows(tmp_path / "headers.csv", ("imageid", "View Position"), [*rows, ("CXR9_IM-0001-1001", "XX")])
    by_header = Openi(root=root, projections=str(tmp_path / "headers.csv")).read()
    assert label_sets(by_header) == LABELS and set(by_header.records["view"]) == {"AP"}
    assert [describe(one) for one in by_header.problems] == [
        "headers.csv, row 8: illegal label: View Position is XX; frontal, pa, ap, lateral, ll, rl is wanted"
    ]


def test_an_archive_that_is_cut_off_is_named(tmp_path: Path) -> None:
    root = openi(tmp_path, "archive")
    archive = tmp_path / "NLMCXR_reports.tgz"
    for content in (archive.read_bytes()[:-200], b"<html>"):
        archive.write_bytes(content)
        with pytest.raises(ChexReasonError, match=r"NLMCXR_reports\.tgz is no whole archive") as raised:
            Openi(root=root).load()
        assert "\n" not in str(raised.value)


@needs_tables
def test_every_tag_of_the_real_reports_is_known_and_counted() -> None:
    dataset = Openi(table=real("NLMCXR_reports.tgz"), projections=real("nlmcxr_dicom_metadata.csv.gz"))
    table = dataset.read()
    assert not table.problems and len(table.records) == 3_885
    counts: Counter[str] = Counter()
    wanted = {f"CXR{path.partition('_')[0]}": path for path in table.records["path"]}
    with tarfile.open(real("NLMCXR_reports.tgz")) as archive:
        for member in archive:
            if member.name.endswith(".xml"):
                parsed = ElementTree.parse(archive.extractfile(member)).getroot()  # type: ignore[arg-type]
                if parsed.find("uId").attrib["id"] in wanted:  # type: ignore[union-attr]
                    counts.update({(tag.text or "").partition("/")[0] for tag in parsed.iter("major")})
    positive = (table.records.drop_duplicates("patient")[list(table.findings)] == 1).sum()
    for finding, tag in (("Atelectasis", "Pulmonary Atelectasis"), ("Edema", "Pulmonary Edema"), ("Pneumonia", "Pneumonia")):
        assert positive[finding] == counts[tag] > 0
    assert positive["Cardiomegaly"] > counts["Cardiomegaly"], "an enlarged cardiac shadow is one too"
    assert {name for name, one in names_of("openi").items() if one.exact} >= {"normal", "Pneumonia", "Pleural Effusion"}
