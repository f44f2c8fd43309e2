"""Nothing that a table says leads out of the dataset's folder, or runs in a spreadsheet."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chexreason.data import paths, tables
from chexreason.data.sites.chexpert import Chexpert
from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS
from chexreason.runs.config import choices

from .layouts import HEADER, chexpert, states, write_image, write_rows

BAD = [
    "../x/a.jpg",
    "/etc/passwd",
    "a/../../b.jpg",
    "C:\\x.jpg",
    "\\\\host\\x.jpg",
    "a\nb.jpg",
    "=cmd|' /C calc'!A0",
    "~/a",
    "",
]


@pytest.mark.parametrize("path", BAD)
def test_a_path_that_leaves_the_root_is_refused_with_its_row(path: str, tmp_path: Path) -> None:
    assert paths.unsafe(pd.Series([path])).all()


@pytest.mark.parametrize(
    "path", ["files/p10/p1/s5/d.jpg", "train/patient1/study1/view1_frontal.jpg", "00000001_000.png", "a..b/c.jpg"]
)
def test_published_paths_are_safe(path: str) -> None:
    assert not paths.unsafe(pd.Series([path])).any()


def test_a_table_that_climbs_out_is_refused_naming_its_row(tmp_path: Path) -> None:
    rows = [("CheXpert-v1.0/../../etc/patient1/study1/view1_frontal.jpg", "M", 1, "Frontal", "AP", *states({}))]
    write_rows(tmp_path / "train.csv", HEADER, rows)
    for missing in ("fail", "skip"):
        with pytest.raises(ChexReasonError, match=r"train.csv, row 2: unsafe path"):
            Chexpert(root=str(tmp_path), split="train", missing=missing).load()


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_a_symbolic_link_out_of_the_root_is_refused(linked: str, tmp_path: Path) -> None:
    root = chexpert(tmp_path / "c", "train", [("patient1/study1/view1_frontal.jpg", "AP", {})])
    folder = root / "train/patient1/study1"
    outside = tmp_path / "outside"
    folder.rename(outside)
    if linked == "folder":
        folder.symlink_to(outside)
    else:
        folder.mkdir()
        (folder / "view1_frontal.jpg").symlink_to(outside / "view1_frontal.jpg")
    with pytest.raises(ChexReasonError, match="through a symbolic link"):
        Chexpert(root=str(root), split="train", missing="skip").load()
    with pytest.raises(ChexReasonError, match="leads out of the dataset root"):
        paths.image_file(root, "train/patient1/study1/view1_frontal.jpg")


def test_a_link_that_leads_in_a_circle_is_a_missing_image(tmp_path: Path) -> None:
    root = chexpert(tmp_path, "train", [("patient1/study1/view1_frontal.jpg", "AP", {})])
    film = root / "train/patient1/study1/view1_frontal.jpg"
    film.unlink()
    film.symlink_to(film)
    with pytest.raises(ChexReasonError, match="train.csv, row 2: missing image"):
        Chexpert(root=str(root), split="train").load()


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "film.png").mkdir()
    assert list(paths.image_problems(tmp_path, ["film.png"])) == [(0, paths.MISSING, f"film.png is not in {tmp_path}")]


def test_a_root_that_is_a_link_itself_and_links_inside_it_are_fine(tmp_path: Path) -> None:
    root = chexpert(tmp_path / "real", "train", [("patient1/study1/view1_frontal.jpg", "AP", {})], prefix="CheXpert-v1.0")
    write_image(root / "store/x.jpg")
    image = root / "train/patient1/study1/view1_frontal.jpg"
    image.unlink()
    image.symlink_to(root / "store/x.jpg")
    (tmp_path / "link").symlink_to(root)
    assert len(Chexpert(root=str(tmp_path / "link"), split="train").load().records) == 1


@given(st.lists(st.text(max_size=12), min_size=1, max_size=5))
def test_no_exported_cell_is_a_formula(cells: list[str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = tables.write_csv(Path(folder) / "x.csv", pd.DataFrame({"text": cells, "n": range(len(cells))}))
        with path.open(newline="", encoding="utf-8") as stream:
            read = [row["text"] for row in csv.DictReader(stream)]
    assert not any(cell.startswith(paths.FORMULA) for cell in read)


def test_numbers_stay_numbers_in_an_export(tmp_path: Path) -> None:
    path = tables.write_csv(tmp_path / "x.csv", pd.DataFrame({FINDINGS[0]: [-1.0, 1.0]}))
    assert path.read_text() == "No Finding\n-1.0\n1.0\n"


SITES = {
    "mimic": ("files/p10", ["mimic-cxr-2.0.0-metadata.csv.gz"]),
    "chexpert": ("train", ["train.csv"]),
    "nih": ("images", ["Data_Entry_2017_v2020.csv"]),
    "padchest": ("0", ["PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"]),
    "vindr": ("train", ["annotations/image_labels_test.csv"]),
}


@pytest.mark.parametrize("site", SITES)
def test_a_root_too_high_or_too_low_is_recognised_and_the_right_one_named(site: str, tmp_path: Path) -> None:
    from dataclasses import replace

    inner, tables = SITES[site]
    root = tmp_path / "data" / "physionet.org" / "files" / site / "2.1.0"
    (root / inner).mkdir(parents=True)
    for table in tables:
        (root / table).parent.mkdir(exist_ok=True)
        (root / table).write_text("")
    (dataset,) = choices("dataset", [site])
    assert replace(dataset, root=str(root)).folder() == root
    for wrong in (root / inner.partition("/")[0], root / inner, root.parent, tmp_path / "data" / "physionet.org"):
        with pytest.raises(ChexReasonError, match=f"Did you mean dataset.root={root}[?]"):
            replace(dataset, root=str(wrong)).folder()
    (tmp_path / "empty" / "a").mkdir(parents=True)
    with pytest.raises(ChexReasonError, match="holds no .*They come with the data: .*http"):
        replace(dataset, root=str(tmp_path / "empty" / "a")).folder()
