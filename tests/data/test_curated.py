"""Curated sets: what is written is read again, and nothing in it depends on where the data lies."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chexreason.data import curated, paths
from chexreason.data.curated import Curated, Origin
from chexreason.data.records import ignored_sets, label_sets
from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS
from chexreason.runs.files import read_json, write_json

from .layouts import write_image


def records(names: list[str], **labels: float) -> pd.DataFrame:
    facts = {"patient": "007", "study": "s1", "view": "PA", "sex": "F", "age": 61.0, "sha256": "abc"}
    states = dict.fromkeys(FINDINGS, np.nan) | {name.replace("_", " "): state for name, state in labels.items()}
    return pd.DataFrame([{"path": name, **facts, **states} for name in names])


def runs(place: Path) -> Path:
    """A curate run of two images that another run in the same folder made; the curate run's folder."""
    for number in (0, 1):
        write_image(place / f"phantom/site/{number}.png", number)
    folder = place / "curate"
    sets = {"sft": records(["0.png"], Edema=1.0, Fracture=-1.0), "validation": records(["1.png"], No_Finding=1.0, Edema=0.0)}
    origin = Origin("here", "an agreement", ("Edema", "Fracture"), place / "phantom/site")
    curated.write(folder, sets, origin, {"seed": 1})
    return folder


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    folder = runs(tmp_path)
    studies, root = curated.curated_studies(folder, "sft")
    facts = {"site": "here", "patient": "007", "path": "0.png", "sha256": "abc"}
    assert studies == [{**facts, "labels": ["Edema"], "uncertain": ["Fracture"]}]
    assert root == tmp_path / "phantom/site"
    assert curated.origin(folder) == Origin("here", "an agreement", ("Edema", "Fracture"), root)
    assert Curated(root=str(folder)).agreement == "an agreement"


def test_a_set_is_a_dataset_in_all_four_label_states(tmp_path: Path) -> None:
    folder = str(runs(tmp_path))
    assert label_sets(Curated(root=folder).load()) == [["No Finding"]]
    sft = Curated(root=folder, split="sft").load()
    assert label_sets(sft) == [["Edema"]] and label_sets(sft, "positive") == [["Edema", "Fracture"]]
    assert ignored_sets(sft, "ignore") == [["Fracture"]]
    assert list(sft.records["study"]) == ["s1"] and list(sft.records["patient"]) == ["007"]
    assert len(Curated(root=folder, split="all").load().records) == 2


def test_a_set_that_is_empty_is_named_with_what_to_do(tmp_path: Path) -> None:
    folder = runs(tmp_path)
    curated.write(folder, {"sft": records(["0.png"], Edema=1.0)}, Origin("here", None, FINDINGS, None), {})
    for split, hint in (("rl", "smaller stage.sizes"), ("validation", "stage.parents.validation=null")):
        with pytest.raises(ChexReasonError, match=f"curate: its {split} set is empty: here has too few.*{hint}"):
            curated.curated_studies(folder, split)


def test_the_same_sets_have_the_same_bytes_wherever_they_lie(tmp_path: Path) -> None:
    folders = [runs(tmp_path / name) for name in ("a", "b c/d")]
    one, two = ({file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders)
    assert one == two and paths.ROOT in one
    moved = shutil.move(tmp_path / "a", tmp_path / "elsewhere")
    assert curated.curated_studies(Path(moved) / "curate", "sft")[1] == tmp_path / "elsewhere/phantom/site"


def test_data_from_outside_shows_in_no_other_file_than_the_root(tmp_path: Path) -> None:
    folders = []
    for name in ("a", "b"):
        shutil.copytree(runs(tmp_path / name).parent / "phantom", tmp_path / name / "data")
        folder = tmp_path / name / "runs/curate"
        curated.write(folder, {"rl": records(["0.png"])}, Origin("x", None, FINDINGS, tmp_path / name / "data/site"), {})
        assert curated.origin(folder).root == tmp_path / name / "data/site"
        folders.append({file.name: file.read_bytes() for file in folder.iterdir() if file.name != paths.ROOT})
    assert folders[0] == folders[1]


def test_a_folder_that_is_none_or_is_older_is_named(tmp_path: Path) -> None:
    with pytest.raises(ChexReasonError, match=r"lacks curated.csv or card.json.*curate again"):
        Curated(root=str(tmp_path)).load()
    folder = runs(tmp_path)
    for damaged in ("", "../data/si", "\udcff"):
        (folder / paths.ROOT).write_text(damaged, encoding="utf-8", errors="surrogateescape")
        with pytest.raises(ChexReasonError, match=r"root.path.*force=true"):
            curated.curated_studies(folder, "sft")
    (folder / paths.ROOT).unlink()
    with pytest.raises(ChexReasonError, match=r"root.path.*force=true"):
        curated.curated_studies(folder, "sft")
    card = read_json(folder / "card.json")
    write_json(folder / "card.json", {key: value for key, value in card.items() if key != "agreement"})
    with pytest.raises(ChexReasonError, match="names no data-use agreement"):
        curated.origin(folder)
    (folder / "card.json").write_text("{")
    with pytest.raises(ChexReasonError, match="is damaged"):
        curated.origin(folder)


def test_teaching_from_a_label_table_alone_is_refused(tmp_path: Path) -> None:
    curated.write(tmp_path, {"sft": records(["0.png"], Edema=1.0)}, Origin("here", None, FINDINGS, None), {})
    assert label_sets(Curated(root=str(tmp_path), split="sft").load()) == [["Edema"]]
    with pytest.raises(ChexReasonError, match="label table alone"):
        curated.curated_studies(tmp_path, "sft")
