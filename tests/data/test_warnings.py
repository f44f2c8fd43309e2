"""What pandas warns of today it refuses tomorrow: no loader does that, however little its tables hold."""

from __future__ import annotations

import csv
import gzip
import io
import warnings
from pathlib import Path

import pytest

from chexreason.data.sites.chexpert import Chexpert
from chexreason.data.sites.mimic import Mimic
from chexreason.data.sites.nih import Nih
from chexreason.data.sites.openi import Openi
from chexreason.data.sites.padchest import Padchest
from chexreason.data.sites.published import Published
from chexreason.data.sites.vindr import Vindr
from chexreason.errors import ChexReasonError

from .layouts import FRONTAL, IMAGES, NIH, chexpert, mimic, nih, write_rows
from .test_named_sites import padchest, vindr
from .test_openi import openi

STUDIES = {"50414267": {"Edema": 1.0}, "51000000": {"Pneumonia": -1.0}}
BOXES = [("a", "Cardiomegaly", "3", "R1"), ("b", "No finding", "14", "R1")]


def boxes(root: Path) -> None:
    write_rows(root / "train.csv", ("image_id", "class_name", "class_id", "rad_id"), BOXES)


SITES = {
    "mimic": (Mimic, lambda root: mimic(root, IMAGES, STUDIES), {}),
    "chexpert": (Chexpert, lambda root: chexpert(root, "train", [(FRONTAL, "AP", {"Edema": 1.0})]), {"split": "train"}),
    "nih": (Nih, lambda root: nih(root, NIH), {"split": "all"}),
    "padchest": (Padchest, lambda root: padchest(root, [("1.png", "PA", "Physician", "['pneumonia']")]), {}),
    "vindr": (Vindr, lambda root: vindr(root, "train", {"a": [{"Edema"}, {"Edema"}, set()]}), {"split": "train"}),
    "boxes": (Vindr, boxes, {"split": "train", "findings": ["Cardiomegaly"]}),
    "openi": (Openi, lambda root: openi(root, "tables"), {}),
}


def strictly(dataset: Published) -> int:
    """How many records are read where every warning is an error; none where the tables are refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return len(dataset.read().records)
        except ChexReasonError:
            return 0


@pytest.mark.parametrize("films", [True, False])
@pytest.mark.parametrize("site", SITES)
def test_no_loader_does_what_pandas_will_refuse(site: str, films: bool, tmp_path: Path) -> None:
    kind, write, keys = SITES[site]
    write(tmp_path)
    for film in () if films else [*tmp_path.rglob("*.jpg"), *tmp_path.rglob("*.png")]:
        film.unlink()
    dataset = kind(root=str(tmp_path), **keys)
    assert strictly(dataset)
    for path in tmp_path.rglob("*.csv*"):
        whole = path.read_bytes()
        packed = path.suffix == ".gz"
        head, *rows = csv.reader(io.StringIO((gzip.decompress(whole) if packed else whole).decode()))
        blank = [[[*row[:place], "", *row[place + 1 :]] for row in rows] for place in range(len(head))]
        for changed in ([], *blank):
            lines = io.StringIO()
            csv.writer(lines).writerows([head, *changed])
            path.write_bytes(gzip.compress(lines.getvalue().encode()) if packed else lines.getvalue().encode())
            strictly(dataset)
        path.write_bytes(whole)
