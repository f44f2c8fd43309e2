"""The stage writes a small world that the sites' own loaders read, the same whatever the number of processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chexreason import marks
from chexreason.data.images import read_image
from chexreason.data.records import label_sets
from chexreason.data.sites.chexpert import Chexpert
from chexreason.data.sites.mimic import Mimic
from chexreason.data.sites.nih import Nih
from chexreason.data.sites.openi import Openi
from chexreason.data.sites.padchest import Padchest
from chexreason.data.sites.vindr import Vindr
from chexreason.runs.config import compose
from chexreason.runs.execute import execute
from chexreason.runs.folders import read_manifest
from chexreason.runs.identity import path_digest

SMALL = {"mimic_studies": 24, "mimic_laterals": 3, "chexpert_train": 4, "chexpert_valid": 3, "chexpert_test": 21}
SMALL |= {"nih_images": 12}
NO_CHEXPERT = [f"stage.chexpert_{split}=0" for split in ("train", "valid", "test")]


def world(runs: Path, workers: int, *more: str) -> Path:
    sizes = [f"stage.{name}={value}" for name, value in SMALL.items()]
    words = ["stage=phantom", f"runs={runs}", "tracker=none", f"stage.workers={workers}", *sizes, *more]
    execute(compose(tuple(words)), words)
    (folder,) = runs.glob("phantom-*")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world(tmp_path_factory.mktemp("two"), workers=2)


def test_the_number_of_processes_changes_nothing(folder: Path, tmp_path: Path) -> None:
    alone = world(tmp_path, workers=1)
    for name in ("mimic-cxr-jpg", "CheXpert-v1.0", "nih-chest-xray14", "signs.jsonl", "contact_sheet.png"):
        assert path_digest(folder / name) == path_digest(alone / name)


def test_every_site_is_read_by_its_own_loader_with_nothing_missing(folder: Path) -> None:
    tables = [
        Mimic(root=str(folder / "mimic-cxr-jpg"), split="all").load(),
        Chexpert(root=str(folder / "CheXpert-v1.0"), split="test").load(),
        Nih(root=str(folder / "nih-chest-xray14")).load(),
    ]
    assert [len(table.records) for table in tables] == [24, 21, 12]
    for table in tables:
        assert not table.problems
        assert marks.on_card(table.root) == {marks.DRAWN_FILMS}, "it says so wherever it is copied"
        for path in table.records["path"]:
            assert min(read_image(table.root / path).size) >= 224


def test_the_sites_beyond_the_paper_are_read_by_their_own_loaders_as_they_were_drawn(tmp_path: Path) -> None:
    sizes = ("stage.padchest_images=30", "stage.vindr_films=30", "stage.openi_reports=30")
    folder = world(tmp_path, 2, "stage.sites=[padchest,vindr,openi]", *sizes)
    lines = [json.loads(line) for line in (folder / "signs.jsonl").read_text().splitlines()]
    drawn = {(line["site"], line["path"]): line["labels"] for line in lines}
    sites = Padchest(root=str(folder / "padchest")), Vindr(root=str(folder / "vindr-cxr")), Openi(root=str(folder / "open-i"))
    assert {line["site"] for line in lines} == {Path(site.root).name for site in sites}
    for site in sites:
        table = site.load()
        assert len(table.records) == 30 and min(read_image(table.root / table.records["path"][0]).size) >= 224
        for path, labels in zip(table.records["path"], label_sets(table), strict=True):
            known = [label for label in drawn[table.root.name, path] if label in site.findings]
            assert set(labels) == set(known)


def test_the_sites_beyond_the_paper_are_the_same_each_time(tmp_path: Path) -> None:
    sizes = ("stage.padchest_images=2", "stage.vindr_films=2", "stage.openi_reports=2")
    first, again = (world(tmp_path / name, 1, "stage.sites=[padchest,vindr,openi]", *sizes) for name in ("first", "again"))
    for name in ("padchest", "vindr-cxr", "open-i", "signs.jsonl"):
        assert path_digest(first / name) == path_digest(again / name)


def test_a_site_is_the_same_whatever_others_are_written(folder: Path, tmp_path: Path) -> None:
    alone = world(tmp_path, 2, "stage.sites=[nih]", "stage.mimic_laterals=99", *NO_CHEXPERT)
    assert path_digest(alone / "nih-chest-xray14") == path_digest(folder / "nih-chest-xray14")
    assert not (alone / "mimic-cxr-jpg").exists()


def test_signs_jsonl_describes_what_the_loaders_read(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "signs.jsonl").read_text().splitlines()]
    described = {(line["site"], line["path"]): line for line in lines}
    for table in (
        Mimic(root=str(folder / "mimic-cxr-jpg"), split="all").load(),
        Chexpert(root=str(folder / "CheXpert-v1.0"), split="test").load(),
    ):
        for path, labels in zip(table.records["path"], label_sets(table), strict=True):
            line = described[table.root.name, path]
            assert line["labels"] == labels
            assert {sign["finding"] for sign in line["signs"]} == set(labels) - {"No Finding"}
            assert all(set(sign) == {"finding", "side", "zone", "severity", "kind", "box"} for sign in line["signs"])


def test_the_manifest_counts_images_and_findings(folder: Path) -> None:
    metrics = read_manifest(folder)["metrics"]
    assert metrics["images"] == {"mimic-cxr-jpg": 27, "CheXpert-v1.0": 34, "nih-chest-xray14": 12}
    assert sum(metrics["findings"]["mimic-cxr-jpg"].values()) > 24
