"""PadChest (Bustos et al. 2020, arXiv:1901.07441) as published: one table of 160,861 images, and images in numbered folders.

Labels are lists of PadChest's own names, 39,053 rows by physicians and the others by a network that read the reports
(MethodLabel). There is no official split: a dataset of it is what dataset.split says, a test set by default.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from chexreason.data import paths, records, tables
from chexreason.data.records import ILLEGAL, Problem, StudyTable
from chexreason.data.sites.named import Named, inside, label, labelled, names_of, noted
from chexreason.errors import ChexReasonError, one_of
from chexreason.runs.identity import CONTENT, UNORDERED

if TYPE_CHECKING:
    import pandas as pd

ACCESS = "ask for it at https://bimcv.cipf.es/bimcv-projects/padchest/"
TABLE = "PADCHEST_chest_x_ray_images_labels_*.csv*"
NEEDED = ("ImageID", "ImageDir", "PatientID", "StudyID", "Projection", "MethodLabel", "Labels")
LABELLERS = {"physician": ("Physician",), "network": ("RNN_model",), "both": ("Physician", "RNN_model")}
UNTOLD = {"unchanged", "suboptimal study"}  # if a film has no other name, its labels are unknown
VIEWS = {"AP_horizontal": "AP", "L": "lateral"}  # AP_horizontal: taken lying down
LABELLED = labelled(names_of("padchest"))


@dataclass(frozen=True, kw_only=True)
class Padchest(Named):
    """A PadChest folder, or its label table alone."""

    access = ACCESS
    variable = "PADCHEST"
    drawn = "phantom_padchest"
    layout = (TABLE,)
    splits = ("test", "train")
    labelled = LABELLED
    known_views = ("PA", "AP", "lateral", "COSTAL", "EXCLUDE", "UNK")

    name: str = "padchest"
    root: str = field(metadata=CONTENT, default="data/padchest")
    split: str = "test"  # what its images are used as, since none is official: test | train
    findings: list[str] = field(metadata=UNORDERED, default_factory=lambda: list(LABELLED))
    labeller: str = "physician"  # physician | network | both
    site: str = "PadChest"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(tuple(LABELLERS), labeller=self.labeller)

    def sources(self, root: Path) -> Path:
        """The newest version of the label table."""
        found = tables.newest(root, TABLE)
        if found is None:
            raise ChexReasonError(f"{root} has no table {TABLE}; it comes with PadChest ({ACCESS})")
        return found

    def read(self) -> StudyTable:
        """The records with the problems of the table; image files are not looked at yet."""
        import numpy as np

        root = paths.place(self)
        (path,) = self.files(root)
        frame, problems = tables.read_table(path, NEEDED)
        names, unread = _names(frame, path.name)
        frame = _common(frame, path.name, None if self.split == "all" else self.split)
        problems += unread + _nobodys(frame, path.name) + label(frame, names, names_of("padchest"), self.site)
        table = self.tabled(frame, root, problems)
        kept = frame["MethodLabel"].isin(LABELLERS[self.labeller]).to_numpy()
        unfit = np.array([not given or "exclude" in given for given in names], dtype=bool)
        untold = np.array([UNTOLD.issuperset(given) for given in names], dtype=bool)
        table = table.without(~kept, f"not labelled by {self.labeller}")
        table = table.without(unfit[kept], "without labels, or labelled exclude")
        table = table.without(untold[kept & ~unfit], f"labelled {' or '.join(sorted(UNTOLD))} alone: what is there is not said")
        return records.under_policy(
            noted(inside(records.choose(table, self.split, self.views, self.known_views, VIEWS), self.outside))
        )


def _names(frame: pd.DataFrame, table: str) -> tuple[list[list[str]], tuple[Problem, ...]]:
    """The names in each row's list, a Python literal; empty if the cell holds no list."""
    cells = frame["Labels"].fillna("[]")
    read = {cell: _listed(cell) for cell in cells.unique()}  # some 160,000 rows have only a fifth as many distinct lists
    problems = tuple(
        Problem(table, int(row), ILLEGAL, f"Labels is {tables.shown(cell)}; a list of names is wanted")
        for row, cell in zip(frame["row"], cells, strict=True)
        if read[cell] is None
    )
    return [read[cell] or [] for cell in cells], problems


def _listed(cell: str) -> list[str] | None:
    """The names in a list written as a Python literal; None if it is not one."""
    try:
        given = ast.literal_eval(cell)
        return [bare for name in given if (bare := str.strip(name))] if isinstance(given, list) else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _nobodys(frame: pd.DataFrame, table: str) -> tuple[Problem, ...]:
    """A problem for each row whose labels are neither the physicians' nor the network's."""
    odd = frame.loc[~frame["MethodLabel"].isin(LABELLERS["both"]), ["row", "MethodLabel"]].fillna("blank")
    wanted = " or ".join(LABELLERS["both"])
    return tables.odd(table, "illegal labeller", odd, lambda cell: f"MethodLabel is {tables.shown(cell)}; {wanted} is wanted")


def _common(frame: pd.DataFrame, table: str, split: str | None) -> pd.DataFrame:
    """The common columns; age from the years of birth and of the study."""
    import pandas as pd

    born = pd.to_numeric(frame.get("PatientBirth"), errors="coerce") if "PatientBirth" in frame.columns else None
    year = frame["StudyDate_DICOM"].str[:4] if "StudyDate_DICOM" in frame.columns else None
    age = None if born is None or year is None else pd.to_numeric(year, errors="coerce") - born
    age = None if age is None else age.where(age.between(0, 120))
    return frame.assign(
        path=frame["ImageDir"] + "/" + frame["ImageID"],
        patient=frame["PatientID"],
        study=frame["StudyID"],
        view=frame["Projection"],
        sex=frame.get("PatientSex_DICOM"),
        age=age,
        split=split,
        table=table,
    )
