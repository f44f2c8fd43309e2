"""MIMIC-CXR-JPG 2.x as published: labels per study, images per dicom, views in the metadata.

Johnson et al. 2019 (arXiv:1901.07042). Tables lie beside `files/` as .csv or .csv.gz; images are
`files/pNN/pSUBJECT/sSTUDY/DICOM.jpg`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from chexreason.data import paths, records, tables
from chexreason.data.records import StudyTable
from chexreason.data.sites.published import Published
from chexreason.errors import ChexReasonError, one_of
from chexreason.labels import FINDINGS
from chexreason.runs.identity import CIRCUMSTANCE, CONTENT, UNORDERED

if TYPE_CHECKING:
    import pandas as pd

# The labels that come with the data: two rule-based labellers on all studies, one radiologist on part of the test set.
LABELS = {
    "chexpert": "mimic-cxr-2.*-chexpert.csv*",
    "negbio": "mimic-cxr-2.*-negbio.csv*",
    "radiologist": "mimic-cxr-2.*-test-set-labeled.csv*",
}
SPLITS = ("train", "validate", "test")
PROJECTIONS = (  # ViewPosition's values
    *("AP", "PA", "LATERAL", "LL", "RL", "AP AXIAL", "AP LLD", "AP RLD", "PA LLD", "PA RLD", "LAO", "RAO", "LPO"),
    *("SWIMMERS", "XTABLE LATERAL"),
)
METADATA = "mimic-cxr-2.*-metadata.csv*"
ACCESS = "credentialed PhysioNet access, https://physionet.org/content/mimic-cxr-jpg/"


@dataclass(frozen=True, kw_only=True)
class Mimic(Published):
    """A MIMIC-CXR-JPG folder."""

    access = ACCESS
    variable = "MIMIC_CXR_JPG"
    drawn = "phantom_mimic"
    layout = (METADATA,)
    splits = SPLITS
    known_views = PROJECTIONS

    name: str = "mimic"
    root: str = field(metadata=CONTENT, default="data/mimic-cxr-jpg")
    split: str = "train"  # train | validate | test | all
    findings: list[str] = field(metadata=UNORDERED, default_factory=lambda: list(FINDINGS))
    labels: str = "chexpert"  # chexpert | negbio | radiologist (part of the test set)
    download: str | None = field(metadata=CIRCUMSTANCE, default=None)  # address of its root: stage=curate lists what to fetch
    site: str = "MIMIC-CXR-JPG"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(tuple(LABELS), labels=self.labels)

    def read(self) -> StudyTable:
        """The records of `split` with the problems of the tables; image files are not looked at yet."""
        table = self._alone(Path(self.table)) if self.table else self._joined(self.folder())
        return records.under_policy(records.choose(table, self.split, self.views, (*self.known_views, "")))

    def sources(self, root: Path) -> tuple[Path, Path, Path]:
        """Metadata, splits and labels."""
        return _find(root, METADATA), _find(root, "mimic-cxr-2.*-split.csv*"), _find(root, LABELS[self.labels])

    def _joined(self, root: Path) -> StudyTable:
        """Metadata (one row per image) joined to splits (per image) and labels (per study)."""
        keys = ("dicom_id", "subject_id", "study_id")
        metadata, named, path = self.sources(root)
        images, problems = tables.read_table(metadata, (*keys, "ViewPosition"))
        images = images.filter((*keys, "ViewPosition", "PatientSex", "row"))  # a joined table may have others' columns
        problems += tables.plain_numbers(images, ("subject_id", "study_id"), metadata.name)
        splits, found = _splits(named)
        labels, more = _labels(path)
        problems += found + more + _contradictions(images, splits, "dicom_id", ("subject_id", "study_id"), named.name)
        problems += _contradictions(images, labels, "study_id", ("subject_id",), path.name)
        problems += _contradictions(images, images, "study_id", ("subject_id",), metadata.name)
        listed = set(splits["dicom_id"].dropna())
        problems += tuple(
            records.Problem(metadata.name, row, "image without a split", said)
            for row, said, _ in tables.unlisted(images, "dicom_id", listed, named.name)
        )
        frame = images.merge(splits[["dicom_id", "split"]], on="dicom_id", how="left")
        frame = frame.merge(labels[["study_id", *FINDINGS]], on="study_id", how="left", indicator="labelled")
        subject, study = frame["subject_id"].fillna(""), frame["study_id"].fillna("")
        columns = {
            "path": "files/p" + subject.str[:2] + "/p" + subject + "/s" + study + "/" + frame["dicom_id"] + ".jpg",
            "patient": frame["subject_id"],
            "study": frame["study_id"],
            "view": frame["ViewPosition"],
            "sex": frame.get("PatientSex"),
            "age": None,
            "table": metadata.name,
        }
        unlabelled = (frame["labelled"] == "left_only").to_numpy()
        table = self.tabled(frame.assign(**columns), root, problems)
        table = table.without(unlabelled, f"study has no row in {path.name}")
        table = table.without(table.records["split"].isna(), "image has no row in the split table")
        versions = sorted({one.name.split("-")[2] for one in (metadata, named, path)})
        mixed = f"tables of versions {' and '.join(versions)} beside each other"
        return table.noting({mixed: len(table.records) if len(versions) > 1 else 0})

    def _alone(self, path: Path) -> StudyTable:
        """A single table with all columns, such as a joined export; it has patient or subject_id, and path or dicom_id."""
        frame, problems = tables.read_table(path, FINDINGS)
        problems += tables.label_values(frame, path.name)
        problems += _odd_splits(frame, path.name) if "split" in frame.columns else ()
        given = {new: frame[old] for new, old in _ALONE.items() if old in frame.columns and new not in frame.columns}
        frame = frame.assign(table=path.name, **given)
        for column in ("path", "patient"):
            if column not in frame.columns:
                raise ChexReasonError(f"{path}: there is no column {column!r} nor {_ALONE[column]!r}")
        frame = frame.assign(**{c: None for c in ("study", "sex", "age") if c not in frame.columns})
        frame = frame.assign(**{c: v for c, v in (("view", "AP"), ("split", self.split)) if c not in frame.columns})
        return self.tabled(frame, paths.place(self), problems)


_ALONE = {"path": "dicom_id", "patient": "subject_id", "study": "study_id", "view": "ViewPosition"}


def _splits(path: Path) -> tuple[pd.DataFrame, tuple[records.Problem, ...]]:
    """dicom_id and split of each image; an image in two splits is a problem, its first split is taken."""
    frame, problems = tables.read_table(path, ("dicom_id", "split"))
    first = frame.drop_duplicates("dicom_id")
    again = frame.merge(first[["dicom_id", "split", "row"]], on="dicom_id", suffixes=("", "_first"))
    again = again[again["split"].fillna("") != again["split_first"].fillna("")]
    again = again[["row", "dicom_id", "split", "split_first", "row_first"]]
    problems += _odd_splits(frame, path.name) + tables.odd(
        path.name, records.TWICE, again, lambda image, split, first, row: f"{image}: {split}, and {first} in row {row}"
    )
    return first, problems


def _odd_splits(frame: pd.DataFrame, table: str) -> tuple[records.Problem, ...]:
    """A problem for each row whose split is none of the official ones."""
    odd, wanted = frame.loc[~frame["split"].isin(SPLITS), ["row", "split"]].fillna(""), f"one of {', '.join(SPLITS)} is wanted"
    return tables.odd(table, "illegal split", odd, lambda split: f"{tables.shown(split)!r}; {wanted}")


def _contradictions(
    images: pd.DataFrame, other: pd.DataFrame, key: str, columns: tuple[str, ...], table: str
) -> tuple[records.Problem, ...]:
    """A problem for each row of `other` whose subject or study for `key` differs from the metadata's."""
    problems = []
    for column in (column for column in columns if column in other.columns):
        said = other[[key, column, "row"]].merge(images[[key, column]].drop_duplicates(key), on=key, suffixes=("", "_meant"))
        for row in said[said[column].fillna("") != said[f"{column}_meant"].fillna("")].itertuples():
            detail = (
                f"{column} of {getattr(row, key)} is {getattr(row, column)}, in the metadata {getattr(row, f'{column}_meant')}"
            )
            problems.append(records.Problem(table, int(row.row), "illegal id", detail))
    return tuple(problems)


def _labels(path: Path) -> tuple[pd.DataFrame, tuple[records.Problem, ...]]:
    """The study labels; the radiologist's table has no subject_id and calls Lung Opacity "Airspace Opacity"."""
    frame, problems = tables.read_table(path, ("study_id",))
    frame = frame.rename(columns={"Airspace Opacity": "Lung Opacity"})
    tables.require(path, frame.columns.drop("row"), FINDINGS)
    problems += tables.plain_numbers(frame, ("study_id",), path.name)
    problems += tables.label_values(frame, path.name)
    twice = frame["study_id"].duplicated()
    again = frame.loc[twice, ["row", "study_id"]]
    problems += tables.odd(path.name, records.DUPLICATE, again, lambda study: f"study {study} is labelled twice")
    return frame[~twice], problems


def _find(root: Path, pattern: str) -> Path:
    found = tables.newest(root, pattern)
    if found is None:
        raise ChexReasonError(f"{root} has no table {pattern}; it comes with MIMIC-CXR-JPG ({ACCESS})")
    return found
