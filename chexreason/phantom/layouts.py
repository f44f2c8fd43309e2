"""The tables of the phantom world's three sites, in the published layouts, and the images that they call for.

File and column names are those of the real releases (MIMIC-CXR-JPG: Johnson et al. 2019, CheXpert: Irvin et al. 2019,
NIH ChestX-ray14: Wang et al. 2017), so that the sites' own loaders read them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chexreason.labels import FINDINGS, NIH_NAMES, NO_FINDING, POSITIVE, UNCERTAIN
from chexreason.phantom.labelsets import draw_states, positives
from chexreason.phantom.styles import CHEXPERT, MIMIC, NIH
from chexreason.runs.files import write_text

MIMIC_ROOT, CHEXPERT_ROOT, NIH_ROOT = "mimic-cxr-jpg", "CheXpert-v1.0", "nih-chest-xray14"
LATERAL = "LATERAL"
SPLITS = ["train", "validate", "test"]
PROCEDURES = {"AP": "CHEST (PORTABLE AP)", "PA": "CHEST (PA AND LAT)", LATERAL: "CHEST (PA AND LAT)"}
# CheXpert's first patient of each split, and what its published test set holds.
FIRST_PATIENT = {"train": 1, "valid": 64541, "test": 64741}
TEST_FRONTALS, TEST_STUDIES, TEST_LATERALS = 518, 500, 150


@dataclass(frozen=True)
class FilmSpec:
    """One image to draw: where it goes, what it shows, and whose it is."""

    site: str
    path: str  # relative to the site's root
    patient: str
    findings: tuple[str, ...]
    view: str
    seed: int


@dataclass(frozen=True)
class NihLabeller:
    """How far NIH's text-mined labels stray from what an image shows: shares of the findings and of the images.

    Its published precision and recall are about 0.9 (Wang et al. 2017, table 2); readers of the images put them lower
    (Oakden-Rayner 2020, doi:10.1016/j.acra.2019.10.006).
    """

    misses: float
    adds: float


def write_mimic(
    root: Path, studies: int, laterals: int, enriched: float, size: int, rng: np.random.Generator
) -> list[FilmSpec]:
    """MIMIC-CXR-JPG's tables for `studies` frontal studies of fewer patients; the images to draw.

    One patient in fifty is in the validate or test split. NegBio is more often uncertain than CheXpert's labeller.
    """
    import pandas as pd

    states = draw_states(studies, rng, enriched)
    subject = 10_000_000 + np.sort(rng.choice(9_999_999, size=studies, replace=False))
    subject = subject[np.minimum(np.cumsum(rng.random(studies) < 0.75), studies - 1)]  # some patients come again
    study = 50_000_000 + rng.choice(9_999_999, size=studies, replace=False)
    views = np.where(rng.random(studies) < MIMIC.ap_share, "AP", "PA")
    rows = pd.DataFrame({"subject_id": subject, "study_id": study, "ViewPosition": views})
    rows["findings"] = positives(states)
    side = rows.sample(n=laterals, random_state=int(rng.integers(2**31))).assign(ViewPosition=LATERAL)
    rows = pd.concat([rows, side], ignore_index=True)
    rows["dicom_id"] = ["-".join(_hex(rng) for _ in range(5)) for _ in range(len(rows))]
    keys = pd.DataFrame({"subject_id": subject, "study_id": study})
    doubted = np.where((states == POSITIVE) & (rng.random(states.shape) < 0.03), UNCERTAIN, states)
    chexpert, negbio = (
        pd.concat([keys, pd.DataFrame(labels, columns=list(FINDINGS))[sorted(FINDINGS)]], axis=1)
        for labels in (states, doubted)
    )
    metadata = pd.DataFrame(
        {
            "dicom_id": rows["dicom_id"],
            "subject_id": rows["subject_id"],
            "study_id": rows["study_id"],
            "PerformedProcedureStepDescription": rows["ViewPosition"].map(PROCEDURES),
            "ViewPosition": rows["ViewPosition"],
            "Rows": size,
            "Columns": size,
            "StudyDate": 21_000_101 + rows["study_id"] % 900 * 10_000,
            "StudyTime": (rows["study_id"] % 86_400).astype(float),
        }
    )
    drawn = {patient: rng.choice(SPLITS, p=[0.98, 0.01, 0.01]) for patient in dict.fromkeys(subject.tolist())}
    split = rows[["dicom_id", "study_id", "subject_id"]].assign(split=rows["subject_id"].map(drawn))
    for name, table in (("metadata", metadata), ("split", split), ("chexpert", chexpert), ("negbio", negbio)):
        _write_gzip(root / MIMIC_ROOT / f"mimic-cxr-2.0.0-{name}.csv.gz", table)
    return [
        FilmSpec(
            MIMIC_ROOT,
            f"files/p{str(row.subject_id)[:2]}/p{row.subject_id}/s{row.study_id}/{row.dicom_id}.jpg",
            str(row.subject_id),
            tuple(row.findings),
            row.ViewPosition,
            int(rng.integers(2**31)),
        )
        for row in rows.itertuples()
    ]


def write_chexpert(root: Path, train: int, valid: int, test: int, rng: np.random.Generator) -> list[FilmSpec]:
    """CheXpert's train.csv and valid.csv, and its test set of `test` frontal images with both files of its labels.

    As published, the test set's 518 frontal images come from 500 studies, and 150 lateral ones lie beside them.
    """
    lateral = TEST_LATERALS / TEST_FRONTALS
    return [
        *_chexpert_split(root, "train", train, train, 0, rng),
        *_chexpert_split(root, "valid", valid, valid, 0, rng),
        *_chexpert_split(root, "test", test, round(test * TEST_STUDIES / TEST_FRONTALS), round(test * lateral), rng),
    ]


def _chexpert_split(
    root: Path, split: str, frontals: int, studies: int, laterals: int, rng: np.random.Generator
) -> list[FilmSpec]:
    import pandas as pd

    states = draw_states(studies, rng)
    if split != "train":  # what radiologists decided: 0 or 1
        states = (states == POSITIVE).astype(np.float32)
    labels = pd.DataFrame(states, columns=list(FINDINGS))
    numbers = [*range(studies), *range(frontals - studies), *rng.choice(studies, laterals, replace=False).tolist()]
    images = pd.DataFrame({"number": numbers, "kind": ["frontal"] * frontals + ["lateral"] * laterals})
    images = images.sort_values(["number", "kind"], kind="stable", ignore_index=True)
    portable = rng.random(len(images)) < CHEXPERT.ap_share
    images["view"] = np.where(images["kind"] == "lateral", LATERAL, np.where(portable, "AP", "PA"))
    patient = "patient" + (FIRST_PATIENT[split] + images["number"]).astype(str).str.zfill(5)
    place = (images.groupby("number").cumcount() + 1).astype(str)
    paths = split + "/" + patient + "/study1/view" + place + "_" + images["kind"] + ".jpg"
    table = pd.DataFrame({"Path": f"{CHEXPERT_ROOT}/" + paths})
    if split == "test":
        study = table["Path"].str.rsplit("/", n=1).str[0].drop_duplicates(ignore_index=True).rename("Study")
        write_text(root / CHEXPERT_ROOT / "groundtruth.csv", pd.concat([study, labels], axis=1).to_csv(index=False))
    else:
        table["Sex"] = rng.choice(["Male", "Female"], len(images))
        table["Age"] = rng.integers(18, 91, len(images))
        table["Frontal/Lateral"], table["AP/PA"] = "Frontal", images["view"]
    table = pd.concat([table, labels.iloc[images["number"]].reset_index(drop=True)], axis=1)
    name = "test_labels.csv" if split == "test" else f"{split}.csv"
    write_text(root / CHEXPERT_ROOT / name, table.to_csv(index=False))
    shown = positives(states)
    return [
        FilmSpec(CHEXPERT_ROOT, path, who, tuple(shown[number]), view, int(rng.integers(2**31)))
        for path, who, number, view in zip(paths, patient, images["number"], images["view"], strict=True)
    ]


def write_nih(root: Path, images: int, labeller: NihLabeller, rng: np.random.Generator) -> list[FilmSpec]:
    """NIH's Data_Entry table and lists; its labeller names what it knows and strays by its own rates."""
    import pandas as pd

    shown = positives(draw_states(images, rng))
    names = [f"{number // 2 + 1:08d}_{number % 2:03d}.png" for number in range(images)]
    views = np.where(rng.random(images) < NIH.ap_share, "AP", "PA")
    table = pd.DataFrame(
        {
            "Image Index": names,
            "Finding Labels": ["|".join(_nih_names(findings, labeller, rng)) for findings in shown],
            "Follow-up #": [number % 2 for number in range(images)],
            "Patient ID": [number // 2 + 1 for number in range(images)],
            "Patient Age": rng.integers(18, 91, images),
            "Patient Gender": rng.choice(["M", "F"], images),
            "View Position": views,
            "OriginalImage[Width": 2048,
            "Height]": 2048,
            "OriginalImagePixelSpacing[x": 0.168,
            "y]": 0.168,
        }
    )
    write_text(root / NIH_ROOT / "Data_Entry_2017_v2020.csv", table.to_csv(index=False))
    write_text(root / NIH_ROOT / "train_val_list.txt", "")
    write_text(root / NIH_ROOT / "test_list.txt", "\n".join(names) + "\n")
    return [
        FilmSpec(NIH_ROOT, f"images_001/images/{name}", str(n // 2 + 1), tuple(findings), view, int(rng.integers(2**31)))
        for n, (name, findings, view) in enumerate(zip(names, shown, views.tolist(), strict=True))
    ]


def _nih_names(findings: Sequence[str], labeller: NihLabeller, rng: np.random.Generator) -> list[str]:
    """What NIH's labeller writes for an image: another vocabulary, some findings missed, some added."""
    known: dict[str, list[str]] = {"Lung Opacity": ["Infiltration"]}  # its nearest word, outside the shared nine
    for name, mapped in NIH_NAMES.items():
        if mapped.finding and mapped.finding != NO_FINDING:
            known.setdefault(mapped.finding, []).append(name)
    written = {str(rng.choice(known[finding])) for finding in findings if finding in known and rng.random() >= labeller.misses}
    if rng.random() < labeller.adds:
        written.add(str(rng.choice([name for name in NIH_NAMES if name != NO_FINDING])))
    return sorted(written) or [NO_FINDING]


def _hex(rng: np.random.Generator) -> str:
    return f"{int(rng.integers(2**32)):08x}"


def _write_gzip(path: Path, table: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")  # gzip writes this name into the file, which must be the same each time
    table.to_csv(partial, index=False, compression={"method": "gzip", "mtime": 0})
    os.replace(partial, path)
