"""Small dataset folders in the published layouts, for tests."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from chexreason.data.records import StudyTable, describe, with_images
from chexreason.labels import FINDINGS

HEADER = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS)


def write_image(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(",".join(str(cell) for cell in row) for row in (header, *rows)) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)


def states(labels: Mapping[str, object]) -> list[object]:
    """A row's 14 label cells, blank where `labels` says nothing."""
    return [labels.get(finding, "") for finding in FINDINGS]


def mimic(root: Path, images: Sequence[tuple[str, str, str, str, str]], labels: Mapping[str, Mapping[str, object]]) -> Path:
    """`images`: (dicom, subject, study, view, split); `labels`: by study."""
    for seed, (dicom, subject, study, _, _) in enumerate(images):
        write_image(root / f"files/p{subject[:2]}/p{subject}/s{study}/{dicom}.jpg", seed)
    metadata = [(d, s, t, v, 10, 10) for d, s, t, v, _ in images]
    header = ("dicom_id", "subject_id", "study_id", "ViewPosition", "Rows", "Columns")
    write_rows(root / "mimic-cxr-2.0.0-metadata.csv.gz", header, metadata)
    splits = [(d, t, s, split) for d, s, t, _, split in images]
    write_rows(root / "mimic-cxr-2.0.0-split.csv.gz", ("dicom_id", "study_id", "subject_id", "split"), splits)
    subjects = {study: subject for _, subject, study, _, _ in images}
    rows = [(subjects[study], study, *states(found)) for study, found in labels.items()]
    write_rows(root / "mimic-cxr-2.0.0-chexpert.csv.gz", ("subject_id", "study_id", *FINDINGS), rows)
    return root


def chexpert(
    root: Path, split: str, rows: Sequence[tuple[str, str, Mapping[str, object]]], prefix: str = "CheXpert-v1.0"
) -> Path:
    """`rows`: (patient/study/file, "AP" | "PA" | "", labels)."""
    table = []
    for seed, (name, projection, labels) in enumerate(rows):
        write_image(root / split / name, seed + 100 * sum(map(ord, split)))
        kind = "Frontal" if projection else "Lateral"
        table.append((f"{prefix}/{split}/{name}", "Female", 61, kind, projection, *states(labels)))
    write_rows(root / f"{split}.csv", HEADER, table)
    return root


def nih(root: Path, rows: Sequence[tuple[str, str, int, str, str]], sex: str = "Patient Gender") -> Path:
    """`rows`: (image, findings, patient, view, split)."""
    names = ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", sex, "View Position")
    header = (*names, "OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]")
    table = [(image, found, 0, patient, "058Y", "M", view, 9, 9, 0.1, 0.1) for image, found, patient, view, _ in rows]
    write_rows(root / "Data_Entry_2017_v2020.csv", header, table)
    for split, file in (("train_val", "train_val_list.txt"), ("test", "test_list.txt")):
        (root / file).write_text("\n".join(row[0] for row in rows if row[4] == split))
    for number, row in enumerate(rows):
        write_image(root / f"images_{number % 2 + 1:03d}/images/{row[0]}", number)
    return root


FRONTAL = "patient1/study1/view1_frontal.jpg"


NIH = [("00000001_000.png", "Edema", 1, "PA", "test"), ("00000002_000.png", "No Finding", 2, "PA", "train_val")]


def problems(table: StudyTable) -> list[str]:
    return [describe(problem) for problem in with_images(table).problems]


def table_of(root: Path) -> Path:
    return next(path for path in sorted(root.rglob("*.csv*")) if "split" not in path.name)


def rewritten(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    zipped = path.suffix == ".gz"
    text = (gzip.decompress(path.read_bytes()) if zipped else path.read_bytes()).decode()
    content = "\n".join(change(text.splitlines())).encode()
    path.write_bytes(gzip.compress(content) if zipped else content)


IMAGES = [("d1", "10000032", "50414267", "PA", "train"), ("d2", "11000011", "51000000", "AP", "train")]
