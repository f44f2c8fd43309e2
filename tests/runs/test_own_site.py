"""A kind of site of one's own, as the README says: one Python file, one YAML file, films and a table."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from chexreason.labels import FINDINGS
from chexreason.runs.files import read_json, write_text
from chexreason.runs.imports import NAMED
from tests.runs.conftest import Command

SITE = """
from dataclasses import dataclass, field
from pathlib import Path
from chexreason.data import paths, records, tables
from chexreason.data.sites.published import Published
from chexreason.labels import FINDINGS

@dataclass(frozen=True, kw_only=True)
class Hospital(Published):
    access = "ask the archive"
    variable = "HOSPITAL"
    drawn = "phantom_chexpert"
    layout = ("films.csv",)
    splits = ("train", "test")

    site: str = "Hospital"
    findings: list[str] = field(default_factory=lambda: list(FINDINGS))

    def sources(self, root):
        return root / "films.csv"

    def read(self):
        root = paths.place(self)
        frame, problems = tables.read_table(self.sources(root), ("film",))
        states = {name: frame[name].astype(float) for name in FINDINGS}
        said = {"sex": None, "age": None, "view": "PA", "study": frame["film"], "path": "films/" + frame["film"]}
        table = self.tabled(frame.assign(table="films.csv", **said, **states), root, problems)
        return records.under_policy(records.choose(table, self.split, self.views, self.known_views))
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The dataset `hospital`: four patients of three films each, one of them for the test set."""
    named = [f"{patient}{number}.png" for patient in "abcd" for number in range(3)]
    states = {name: [1.0 if (place + row) % 3 else None for row in range(12)] for place, name in enumerate(FINDINGS)}
    facts = {"film": named, "patient": [one[0] for one in named], "split": ["train"] * 9 + ["test"] * 3}
    (tmp_path / "data" / "films").mkdir(parents=True)
    pd.DataFrame(facts | states | {"No Finding": None}).to_csv(tmp_path / "data" / "films.csv", index=False)
    for number, one in enumerate(named):
        Image.linear_gradient("L").resize((32, 32 + number)).save(tmp_path / "data" / "films" / one)
    keys = {"_target_": "hospital.Hospital", "name": "hospital", "split": "train", "root": tmp_path / "data"}
    write_text(tmp_path / "lab" / "dataset" / "hospital.yaml", "".join(f"{key}: {value}\n" for key, value in keys.items()))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "hospital", raising=False)
    monkeypatch.setenv(NAMED, "hospital")
    return tmp_path


def asked(command: Command, lab: Path, code: str, *words: str) -> tuple[int, str]:
    """What the command of a stage ends with on such a site, and the last line that it says."""
    write_text(lab / "hospital.py", code)
    done = command("--config-dir", str(lab / "lab"), "dataset=hospital", f"runs={lab / 'runs'}", "tracker=none", *words)
    return done.returncode, done.stderr.splitlines()[-1]


def test_its_films_are_read_and_curated(lab: Path, command: Command) -> None:
    assert asked(command, lab, SITE, "stage=inspect")[0] == 0
    sizes = [f"stage.sizes.{name}={size}" for name, size in (("sft", 3), ("rl", 3), ("validation", 2))]
    assert asked(command, lab, SITE, "stage=curate", *sizes)[0] == 0
    (curated,) = (lab / "runs").glob("curate-hospital-*")
    chosen = pd.concat([pd.read_csv(curated / f"{name}.csv") for name in ("sft", "rl", "validation")])
    assert len(chosen) == 8 and set(chosen["path"].str.slice(6, 7)) <= set("abc"), "none of the test set's patient"


def test_what_its_file_leaves_out_is_recorded_as_its_class_has_it(lab: Path, command: Command) -> None:
    assert asked(command, lab, SITE, "stage=inspect")[0] == 0
    (manifest,) = (lab / "runs").glob("inspect-hospital-*/manifest.json")
    recorded = read_json(manifest)["config"]["dataset"]
    assert recorded["findings"] == list(FINDINGS) and recorded["views"] == ["AP", "PA"] and recorded["site"] == "Hospital"
    assert asked(command, lab, SITE, "stage=rerun", f"stage.run={manifest.parent}")[0] == 0
    assert "leaves out: +dataset.views=VALUE" in asked(command, lab, SITE, "stage=inspect", "dataset.views=[PA]")[1]
    assert asked(command, lab, SITE, "stage=inspect", "+dataset.views=[PA]")[0] == 0
    assert "there is no such key" in asked(command, lab, SITE, "stage=inspect", "+dataset.view=[PA]")[1]


@pytest.mark.parametrize(
    ("forgotten", "said"),
    [
        (('"view": "PA", ', ""), "gives its records no view"),
        (('"sex": None, "age": None, ', ""), "gives its records no sex, age"),
        (('root / "films.csv"', 'root / "filmz.csv"'), "filmz.csv: No such file or directory"),
    ],
)
def test_what_its_class_forgets_is_named(forgotten: tuple[str, str], said: str, lab: Path, command: Command) -> None:
    code, last = asked(command, lab, SITE.replace(*forgotten), "stage=inspect")
    assert code == 1 and said in last and "runs=" not in last


def test_a_current_folder_that_is_gone_is_named(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    os.rmdir(gone)
    done = command("stage=sft", "dry_run=true")
    assert done.returncode == 1 and "the current folder: No such file" in done.stderr.splitlines()[-1]
