"""Curation on CheXpert's real table, and on a small one whose truth can be counted by hand."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from chexreason.data.curation import Balance
from chexreason.data.sites.mimic import Mimic
from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS
from chexreason.phantom.labelsets import real_table
from chexreason.runs.config import compose
from chexreason.runs.execute import execute
from chexreason.runs.overrides import quoted
from chexreason.stages.curate import Sizes, candidates, choose
from tests.data.layouts import mimic, write_image
from tests.policy import consistent

BALANCE = Balance(floor=0.05, ceiling=0.30, penalty=10.0)
COLUMNS = ["path", "patient", "view", *FINDINGS]


def curate(tmp_path: Path, table: Path, sft: int, rl: int, validation: int, *more: str) -> Path:
    words = [
        "stage=curate",
        "dataset=chexpert",
        f"dataset.table={table}",
        f"stage.sizes.sft={sft}",
        f"stage.sizes.rl={rl}",
        f"stage.sizes.validation={validation}",
        f"stage.output={tmp_path / 'out'}",
        f"runs={tmp_path / 'runs'}",
        *more,
    ]
    execute(compose(tuple(words)), words)
    return tmp_path / "out"


def read(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv", dtype={"patient": str})


def states(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "curated.csv")


def named(row: Iterable[int]) -> list[str]:
    return [finding for finding, mark in zip(FINDINGS, row, strict=True) if mark == 1]


@pytest.mark.skipif(real_table() is None, reason="torchxrayvision, which carries the real table, is not installed")
def test_the_real_table_gives_patient_disjoint_sets_with_every_label_in_five_percent(tmp_path: Path) -> None:
    folder = curate(tmp_path, real_table(), 2000, 1000, 500, "seed=5")
    sets = {name: read(folder, name) for name in ("sft", "rl", "validation")}
    assert {name: len(rows) for name, rows in sets.items()} == {"sft": 2000, "rl": 1000, "validation": 500}
    assert all(list(rows.columns) == COLUMNS for rows in sets.values())
    patients = [set(rows["patient"]) for rows in sets.values()]
    assert not (patients[0] & patients[1] or patients[0] & patients[2] or patients[1] & patients[2])
    for name in ("sft", "rl"):
        assert sets[name][list(FINDINGS)].mean().min() >= 0.05
    # No target contradicts the prompts: No Finding stands beside devices alone, and wherever nothing else is there.
    for rows in sets.values():
        assert all(consistent(named(row)) for row in rows[list(FINDINGS)].to_numpy())
        assert (rows["No Finding"] & rows["Support Devices"]).any()
    assert set(sets["sft"]["view"]) <= {"AP", "PA"}
    assert sets["sft"][list(FINDINGS)].isin([0, 1]).all(axis=None)
    # Positive labels only: what the sets call positive is what the real table calls 1, and nothing else.
    truth = pd.read_csv(real_table()).set_index("Path").loc[sets["sft"]["path"], list(FINDINGS)]
    assert ((truth == 1.0).astype(int).to_numpy() == sets["sft"][list(FINDINGS)].to_numpy()).all()
    # The one table keeps all four states of each label.
    states = pd.read_csv(folder / "curated.csv").set_index("path").loc[sets["sft"]["path"], list(FINDINGS)]
    assert states.equals(truth) and (states == -1.0).any(axis=None)
    card = json.loads((folder / "card.json").read_text())
    assert card["shortfalls"] == [] and card["sizes"]["sft"] == 2000 and card["findings"] == list(FINDINGS)


def table_of(tmp_path: Path, positives: list[list[str]]) -> Path:
    rows = [
        {
            "Path": f"CheXpert-v1.0-small/train/patient{number:05d}/study1/view1_frontal.jpg",
            "Sex": "Male",
            "Age": 50,
            "Frontal/Lateral": "Frontal",
            "AP/PA": "AP",
            **{finding: 1.0 if finding in labels else None for finding in FINDINGS},
        }
        for number, labels in enumerate(positives)
    ]
    path = tmp_path / "train.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_what_cannot_be_met_is_said_by_label(tmp_path: Path) -> None:
    table = table_of(tmp_path, [["Edema"]] * 60 + [["Fracture"]] * 2 + [[]] * 7)
    folder = curate(tmp_path, table, 40, 10, 30)
    card = json.loads((folder / "card.json").read_text())
    text = " ".join(card["shortfalls"])
    assert "validation: 12 of 30 images" in text and "sft: Pneumonia is in 0 studies, 2 wanted; 0 candidates" in text
    assert card["excluded"]["no positive label"] == 7
    assert len(read(folder, "validation")) == 12


def joined(tmp_path: Path, patients: dict[str, int]) -> Path:
    """A joined table of so many studies of each patient, numbered anew from 1 for each; every third study has two films."""
    rows = [
        {
            "path": f"{patient}-{study}-{film}.jpg",
            "patient": patient,
            "study": study,
            FINDINGS[1 + (len(patient) + study) % 13]: 1,
        }
        for patient, count in patients.items()
        for study in range(1, count + 1)
        for film in range(1 + (study % 3 == 0))
    ]
    path = tmp_path / "joined.csv"
    pd.DataFrame(rows, columns=["path", "patient", "study", *FINDINGS]).to_csv(path, index=False)
    return path


def test_studies_whose_numbers_begin_anew_with_each_patient_are_told_apart(tmp_path: Path) -> None:
    table = joined(tmp_path, {"p1": 6, "p2": 3, "p02": 3, "x": 1})
    folder = curate(tmp_path, table, 20, 0, 0, "dataset=mimic")
    chosen = states(folder)
    assert len(chosen) == 6 + 3 + 1, "p2 and p02 are one patient"
    card = json.loads((folder / "card.json").read_text())
    device = card["excluded"].get("Support Devices alone: what else there is, is uncertain or none of the 14", 0)
    assert card["excluded"]["further image of the same study"] + device + len(chosen) == len(pd.read_csv(table))


@pytest.mark.parametrize(
    ("patients", "sizes"),
    [
        ({f"p{number}": 20 for number in range(60)}, (200, 100, 500)),
        ({f"p{number}": 40 for number in range(10)}, (160, 60, 200)),
        ({"a": 200, "b": 30, "c": 30, "d": 30}, (20, 20, 300)),
        ({"a": 50, "b": 50, "c": 50}, (20, 10, 100)),
    ],
)
def test_validation_gives_way_patient_by_patient(patients: dict[str, int], sizes: tuple[int, int, int], tmp_path: Path) -> None:
    pool = candidates(Mimic(table=str(joined(tmp_path, patients))).load(), 0).records
    for seed in range(6):
        sets = {name: pool.iloc[rows] for name, rows in choose(pool, Sizes(*sizes), BALANCE, seed).items()}
        assert (len(sets["sft"]), len(sets["rl"])) == sizes[:2] and 0 < len(sets["validation"]) <= sizes[2]
        people = [set(part["patient"]) for part in sets.values()]
        assert not (people[0] & people[1] or people[0] & people[2] or people[1] & people[2])


@pytest.mark.parametrize(
    ("patients", "sizes", "said"),
    [
        ({"a": 60}, (10, 10, 0), "nothing is left for rl: patients ran out, not studies. .* of 1 patient,"),
    ],
)
def test_a_set_that_nobody_is_left_for_ends_the_run(
    patients: dict[str, int], sizes: tuple[int, int, int], said: str, tmp_path: Path
) -> None:
    table = joined(tmp_path, patients)
    with pytest.raises(ChexReasonError, match=said) as told:
        curate(tmp_path, table, *sizes, "dataset=mimic")
    (advice,) = [line.split(":")[1].split() for line in str(told.value).splitlines() if "without it:" in line]
    curate(tmp_path, table, *sizes, "dataset=mimic", *advice)


def test_where_studies_or_patients_are_too_few_validation_may_come_out_empty_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for patients, sizes in (({f"p{number}": 5 for number in range(10)}, (60, 30, 10)), ({"a": 60, "b": 60}, (10, 10, 10))):
        curate(tmp_path, joined(tmp_path, patients), *sizes, "dataset=mimic")
        assert "not reached: validation: 0 of 10 images" in capsys.readouterr().err


@pytest.mark.parametrize("alone", [True, False])
def test_a_test_split_is_no_source_of_training_data(alone: bool, tmp_path: Path) -> None:
    table = table_of(tmp_path, [["Edema"]] * 5)
    words = [f"dataset.table={table}"] if alone else ["dataset.table=null", f"dataset.root={tmp_path}", "dataset.split=test"]
    table.write_text(table.read_text().replace("/train/", "/test/"))
    if not alone:
        table.rename(tmp_path / "test.csv")
        for number in range(5):
            write_image(tmp_path / f"test/patient{number:05d}/study1/view1_frontal.jpg", number)
    with pytest.raises(ChexReasonError, match="(?s)test split.*dataset.split=train"):
        curate(tmp_path, table, 2, 1, 1, *words)


def test_a_patient_in_two_spellings_is_in_one_set(tmp_path: Path) -> None:
    table = table_of(tmp_path, [["Edema"]] * 20)
    lines = table.read_text().splitlines()
    again = [line.replace("patient000", "patient") for line in lines[1:]]
    table.write_text("\n".join(lines + [line.replace("/study1/", "/study2/") for line in again]) + "\n")
    folder = curate(tmp_path, table, 10, 10, 0)
    patients = [{int(name[7:]) for name in read(folder, name)["patient"]} for name in ("sft", "rl")]
    assert len(read(folder, "sft")) == 10 and not patients[0] & patients[1]


def test_the_seed_decides_the_sets(tmp_path: Path) -> None:
    table = table_of(tmp_path, [[FINDINGS[1 + number % 13]] for number in range(300)])
    sets = [
        (curate(tmp_path / name, table, 50, 20, 10, f"seed={seed}") / "sft.csv").read_text()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert sets[0] == sets[1] != sets[2]


def test_nothing_to_choose_from_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ChexReasonError, match="no study has a positive label.*no positive label: 2"):
        curate(tmp_path, table_of(tmp_path, [[], []]), 1, 1, 1)


def test_no_target_contradicts_the_prompts_whatever_the_table_says(tmp_path: Path) -> None:
    sets = [["No Finding"], ["No Finding", "Support Devices"], ["No Finding", "Edema"], ["Support Devices"], ["Fracture"]]
    table = table_of(tmp_path, sets + [["No Finding"]] + [[]])
    unsure = pd.read_csv(table)
    unsure.loc[5, "Pneumonia"] = -1.0
    unsure.to_csv(table, index=False)
    negative = curate(tmp_path / "n", table, 9, 0, 0)
    rows = read(negative, "sft").sort_values("patient")[list(FINDINGS)].to_numpy()
    assert [named(row) for row in rows] == [["No Finding"], ["No Finding", "Support Devices"], ["Edema"], ["Fracture"]]
    card = json.loads((negative / "card.json").read_text())
    assert sorted(card["excluded"].values()) == [1, 2] and "Support Devices alone" in (negative / "card.md").read_text()
    assert card["noted"]["No Finding beside a positive finding"] == 1
    positive = read(curate(tmp_path / "p", table, 9, 0, 0, "dataset.uncertain=positive"), "sft")
    assert len(positive) == 5 and all(consistent(named(row)) for row in positive[list(FINDINGS)].to_numpy())


def test_the_policy_for_uncertain_labels_reaches_the_sets(tmp_path: Path) -> None:
    table = table_of(tmp_path, [["Edema"], ["Edema"], ["Pneumonia"], ["Pneumonia"]])
    unsure = pd.read_csv(table)
    unsure.loc[unsure["Edema"] == 1.0, "Fracture"] = -1.0
    unsure.to_csv(table, index=False)
    negative = curate(tmp_path / "n", table, 4, 0, 0)
    assert read(negative, "sft")["Fracture"].sum() == 0 and states(negative)["Fracture"].eq(-1).sum() == 2
    positive = curate(tmp_path / "p", table, 4, 0, 0, "dataset.uncertain=positive")
    assert read(positive, "sft")["Fracture"].sum() == 2 and states(positive)["Fracture"].eq(-1).sum() == 0


def test_the_sets_are_chosen_from_the_tables_and_what_they_need_is_listed_and_fetched(tmp_path: Path) -> None:
    """A machine without images leaves the list; with just the listed ones the same command draws what full data gives."""
    images = [(f"d{number}", str(10000000 + number), str(50000000 + number), "AP", "train") for number in range(60)]
    images[0] = images[0][:3] + ("LATERAL", "train")
    whole = mimic(tmp_path / "whole", images, {study: {FINDINGS[1 + int(study) % 13]: 1.0} for _, _, study, _, _ in images})
    root = tmp_path / "tables"
    root.mkdir()
    for table in whole.glob("*.csv.gz"):
        shutil.copy(table, root)

    def chosen(root: Path, runs: str, stage: str = "curate", *more: str) -> Path:
        sizes = ["stage.sizes={sft: 12, rl: 6, validation: 5}"] if stage == "curate" else []
        words = [f"stage={stage}", "dataset=mimic", f"dataset.root={root}", f"runs={tmp_path / runs}", *sizes, *more]
        return execute(compose(tuple(words)), words)

    def typed(line: str) -> Path:
        start, words = shlex.split(line)[:3], shlex.split(line)[3:]
        assert start == ["python", "-m", "chexreason.run"]
        return execute(compose(words), words)

    with pytest.raises(
        ChexReasonError, match=r"(?s)23 of their 23 images are not in .*wget -c -x -nH --cut-dirs=3 .* -i "
    ) as told:
        chosen(root, "my runs", "curate", "make_missing=true")
    (listed,) = (tmp_path / "my runs").glob("curate-*/images.txt")
    (look,) = [line.partition(":")[2] for line in str(told.value).splitlines() if "if you like:" in line]
    assert str(listed) in str(told.value) and "the same command again" in str(told.value).splitlines()[-1]
    wanted = listed.read_text().splitlines()
    base = "https://physionet.org/files/mimic-cxr-jpg/2.1.0/"
    assert len(set(wanted)) == 23 and all(line.startswith(f"{base}files/p10/p100000") for line in wanted)

    for line in wanted[1:]:  # as wget would put them
        path = line.removeprefix(base)
        (root / path).parent.mkdir(parents=True)
        shutil.copy(whole / path, root / path)
    with pytest.raises(ChexReasonError, match=f"1 problems.*{wanted[0].removeprefix(base)} is not in"):
        typed(look)
    with pytest.raises(ChexReasonError, match="1 of their 23 images are not in"):
        chosen(root, "my runs")
    path = wanted[0].removeprefix(base)
    (root / path).parent.mkdir(parents=True)
    shutil.copy(whole / path, root / path)
    typed(look)
    made, full = chosen(root, "my runs"), chosen(whole, "elsewhere")
    assert not (made / "images.txt").exists()
    for name in ("curated.csv", "card.json", "sft.csv"):
        assert (made / name).read_bytes() == (full / name).read_bytes()
    assert states(made)["sha256"].str.len().eq(64).all()
    (tmp_path / "other.txt").write_text(f"{wanted[0]}\n{base}files/none.jpg\n")
    with pytest.raises(ChexReasonError, match=r"other.txt, row 2: files/none.jpg is no image of MIMIC-CXR-JPG"):
        chosen(root, "my runs", "inspect", f"stage.only={tmp_path / 'other.txt'}")


def test_whose_data_it_is_may_be_put_right_afterwards(tmp_path: Path) -> None:
    table = table_of(tmp_path, [["Edema"]] * 20)

    def manifest(*more: str) -> dict[str, Any]:
        curate(tmp_path, table, 10, 5, 5, *more)
        (folder,) = (tmp_path / "runs").glob("curate-*")
        return json.loads((folder / "manifest.json").read_text())

    wrong = manifest("dataset.agreement=unrestricted", "dataset.benchmark=null")
    right = manifest()
    assert right["started"] == wrong["started"], "nothing is made again"
    assert wrong["config"]["dataset"]["agreement"] == "unrestricted"
    assert right["config"]["dataset"]["agreement"] == "Stanford University Dataset Research Use Agreement"
    assert right["config"]["dataset"]["benchmark"] == "chexpert"


GSUTIL = """#!/bin/sh
# gsutil -u PROJECT cp gs://BUCKET/FILE PLACE
[ "$1 $3" = "-u cp" ] && mkdir -p "$(dirname "$5")" && cp "$BUCKET/${4#gs://films/}" "$5"
"""


def test_googles_copy_is_fetched_by_the_line_that_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [(f"d{number}", str(10000000 + number), str(50000000 + number), "AP", "train") for number in range(40)]
    whole = mimic(tmp_path / "whole", images, {study: {FINDINGS[1 + int(study) % 13]: 1.0} for _, _, study, _, _ in images})
    root = tmp_path / "my tables"
    root.mkdir()
    for table in whole.glob("*.csv.gz"):
        shutil.copy(table, root)
    words = ["stage=curate", "dataset=mimic", f"dataset.root={quoted(str(root))}", f"runs={quoted(str(tmp_path / 'runs'))}"]
    words += ["stage.sizes={sft: 12, rl: 6, validation: 5}", "dataset.download=gs://films"]
    with pytest.raises(ChexReasonError, match="23 of their 23 images are not in") as told:
        execute(compose(words), words)
    (line,) = [line.partition(":")[2] for line in str(told.value).splitlines() if "fetch them:" in line]
    tool = tmp_path / "bin" / "gsutil"
    tool.parent.mkdir()
    tool.write_text(GSUTIL)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=os.pathsep)
    monkeypatch.setenv("BUCKET", str(whole))
    subprocess.run(line, shell=True, check=True)
    made = execute(compose(words), words)
    assert len(read(made, "sft")) == 12 and not (made / "images.txt").exists()
