"""VinDr-CXR (Nguyen et al. 2022, Scientific Data 9:429): PhysioNet's release, or the competition's copy of its training set.

Three radiologists read each training film. PhysioNet's annotations/image_labels_{train,test}.csv have a column for each of
their 28 names (the test set's: one consensus row a film); the competition's train.csv has a row for each box, and 15 names.
Films are {train,test}/IMAGE.dicom. The release does not say which films are of one patient, so each counts as a patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from chexreason.data import paths, records, tables
from chexreason.data.records import DUPLICATE, ILLEGAL, Problem, StudyTable
from chexreason.data.sites.named import Named, inside, label, labelled, names_of, noted
from chexreason.data.sites.published import split_tables
from chexreason.errors import ChexReasonError, nearest
from chexreason.runs.identity import CONTENT, UNORDERED

if TYPE_CHECKING:
    import pandas as pd

ACCESS = "credentialed PhysioNet access, https://physionet.org/content/vindr-cxr/"
TABLES = {
    "train": ("annotations/image_labels_train.csv", "image_labels_train.csv", "train.csv"),
    "test": ("annotations/image_labels_test.csv", "image_labels_test.csv"),
}
SUFFIXES = (".dicom", ".dcm", ".png", ".jpg", ".jpeg")  # if a film has several files, the first of these is read
OPTIONAL = ("Infiltration",)  # a name that not every release of the tables has
CLASSES = (  # names of the competition's classes, by class_id
    *("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "ILD", "Infiltration"),
    *("Lung Opacity", "Nodule/Mass", "Other lesion", "Pleural effusion", "Pleural thickening", "Pneumothorax"),
    *("Pulmonary fibrosis", "No finding"),
)
ABSENT_FROM_BOXES = ("Edema", "Pneumonia", "Fracture")  # findings that the competition's 15 names lack
LABELLED = labelled(names_of("vindr"))


@dataclass(frozen=True, kw_only=True)
class Vindr(Named):
    """A VinDr-CXR folder, or a label table of it alone."""

    access = ACCESS
    variable = "VINDR_CXR"
    drawn = "phantom_vindr"
    layout = tuple(f"{name}{suffix}" for suffix in ("", ".gz") for name in sum(TABLES.values(), ()))
    splits = tuple(TABLES)
    labelled = LABELLED

    name: str = "vindr"
    root: str = field(metadata=CONTENT, default="data/vindr-cxr")
    split: str = "test"  # train | test | all
    views: list[str] = field(metadata=UNORDERED, default_factory=lambda: ["PA"])
    findings: list[str] = field(metadata=UNORDERED, default_factory=lambda: list(LABELLED))
    votes: int = 2  # readers, of three, who must name a finding; a consensus row counts as all three
    site: str = "VinDr-CXR"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.votes <= 3:
            raise ValueError(f"votes={self.votes}: a number of readers is wanted, 1 to 3")

    def sources(self, root: Path) -> list[tuple[Path, str]]:
        """(label table, split) for the requested split; for "all", of those splits that have a table."""
        return split_tables(self.split, TABLES, (root,), ACCESS)

    def read(self) -> StudyTable:
        """The records of `split` with the problems of its tables; image files are not looked at yet."""
        import pandas as pd

        root = paths.place(self)
        sources: Sequence[tuple[Path, str | None]] = [(Path(self.table), None)] if self.table else self.sources(root)
        parts = [self._part(path, split, root) for path, split in sources]
        frame = pd.concat([part for part, _ in parts], ignore_index=True)
        table = self.tabled(frame, root, sum((given for _, given in parts), ()))
        chosen = records.choose(table, "all" if self.table else self.split, self.views, self.known_views)
        return records.under_policy(noted(inside(chosen, self.outside)))

    def _part(self, path: Path, split: str | None, root: Path) -> tuple[pd.DataFrame, tuple[Problem, ...]]:
        """One label table, a row for each film: a finding is there where `votes` of its readers name it."""
        frame, once, problems = _said(path)
        boxes = "class_name" in frame.columns
        lacking = [finding for finding in self.findings if boxes and finding in ABSENT_FROM_BOXES]
        if lacking:
            unlabelled = ", ".join(lacking)
            raise ChexReasonError(
                f"{path.name} has no {unlabelled}: leave them out of dataset.findings, or take PhysioNet's tables"
            )
        readers = frame.assign(rad_id=_readers(frame)).groupby("image_id")["rad_id"].nunique()
        count = once.groupby(["image_id", "becomes"]).size().reset_index(name="count")
        enough = count[count["count"] >= count["image_id"].map(readers).astype(float).clip(upper=self.votes)]
        agreed = enough.groupby("image_id")["becomes"].agg(list)
        films = frame.drop_duplicates("image_id").reset_index(drop=True)
        image = films["image_id"]
        there = {file.stem: file for suffix in reversed(SUFFIXES) for file in (root / str(split)).glob(f"*{suffix}")}
        usual = next((file.suffix for file in there.values()), SUFFIXES[0])
        name = image.map(lambda stem: there[stem].name if stem in there else stem + usual, na_action="ignore").astype("str")
        facts = {"patient": image, "study": image, "view": "PA", "sex": None, "age": None, "split": split, "table": path.name}
        films = films[["row"]].assign(path=f"{split}/" + name if split else image, **facts)
        own = {one.finding: one for one in names_of("vindr").values() if one.finding}
        label(films, [agreed.get(name, []) for name in image], own, self.site)
        if boxes:
            films[list(ABSENT_FROM_BOXES)] = float("nan")
        return films, problems


def by_reader(path: Path) -> dict[str, list[list[str]]]:
    """For each film of a label table the findings that each of its readers names, readers in the order of their ids."""
    frame, once, _ = _said(path)
    named = once.groupby(["image_id", "rad_id"])["becomes"].agg(list).to_dict()
    readers = frame.assign(rad_id=_readers(frame))[["image_id", "rad_id"]].drop_duplicates().sort_values(["image_id", "rad_id"])
    films: dict[str, list[list[str]]] = {}
    for film, reader in readers.itertuples(index=False):
        films.setdefault(film, []).append(named.get((film, reader), []))
    return films


def _said(path: Path) -> tuple[pd.DataFrame, pd.DataFrame, tuple[Problem, ...]]:
    """A label table; each finding (`becomes`) once for each film (`image_id`) and reader (`rad_id`) who names it; problems."""
    frame, problems = tables.read_table(path, ("image_id",))
    if "class_id" in frame.columns:
        tables.require(path, frame.columns.drop("row"), ["class_name"])
    said, more = _boxes(frame, path) if "class_name" in frame.columns else _columns(frame, path)
    said = said.assign(becomes=said["name"].map({name: one.finding for name, one in names_of("vindr").items()}))
    if "rad_id" in frame.columns:
        nobodys = frame.loc[frame["rad_id"].isna(), ["row"]]
        problems += tables.odd(path.name, "illegal id", nobodys, lambda: "rad_id is blank: whose reading is it?")
    return frame, said.dropna(subset="becomes").drop_duplicates(["image_id", "rad_id", "becomes"]), problems + more


def _readers(frame: pd.DataFrame) -> pd.Series | str:
    return frame["rad_id"].fillna("") if "rad_id" in frame.columns else "consensus"


def _boxes(frame: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, tuple[Problem, ...]]:
    """image_id, rad_id and name of each box in the competition's table."""
    name = frame["class_name"].fillna("").str.strip()
    wrong = ~name.isin(list(names_of("vindr")))
    problems = tables.odd(
        path.name,
        ILLEGAL,
        frame[["row"]].assign(name=name)[wrong],
        lambda name: f"{tables.shown(name)!r} is not one of VinDr's names.{nearest(name, names_of('vindr'))}",
    )
    number = frame.get("class_id")
    if number is not None:
        meant = number.map({str(place): one for place, one in enumerate(CLASSES)})
        other = meant.notna() & (meant != name) & ~wrong
        problems += tables.odd(
            path.name,
            ILLEGAL,
            frame[["row", "class_id"]].assign(meant=meant, name=name)[other],
            lambda number, meant, name: f"class_id is {number}, which is {meant}, and class_name is {name}",
        )
    return frame[["image_id"]].assign(rad_id=_readers(frame), name=name), problems


def _columns(frame: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, tuple[Problem, ...]]:
    """image_id, rad_id and name of each 1 in PhysioNet's tables."""
    import pandas as pd

    known = names_of("vindr")
    tables.require(
        path, frame.columns.drop("row"), [name for name, one in known.items() if one.finding and name not in OPTIONAL]
    )
    names = [column for column in frame.columns if column not in ("image_id", "rad_id", "row")]
    for name in names:
        if name not in known:
            raise ChexReasonError(f"{path}: column {tables.shown(name)!r} is not one of VinDr's names.{nearest(name, known)}")
    twice = frame.assign(rad_id=_readers(frame)).duplicated(["image_id", "rad_id"])
    values = frame[names].apply(pd.to_numeric, errors="coerce")
    cells = frame[names].where(~values.isin((0.0, 1.0))).stack()
    blank = values.isna() & frame[names].isna()
    problems = tuple(
        Problem(path.name, int(frame["row"][row]), ILLEGAL, f"{name} is {tables.shown(cell)}; 1 or 0 is wanted")
        for (row, name), cell in cells.dropna().items()
    )
    unread, again = frame.loc[blank.any(axis=1), ["row"]], frame.loc[twice, ["row", "image_id"]]
    problems += tables.odd(path.name, ILLEGAL, unread, lambda: "a label is blank; 1 or 0 is wanted")
    problems += tables.odd(path.name, DUPLICATE, again, lambda image: f"{image} is listed twice")
    marked = frame[["image_id"]].assign(rad_id=_readers(frame)).join(values)
    said = marked.melt(["image_id", "rad_id"], names, "name", "marked")
    return said[said["marked"] == 1].drop(columns="marked"), problems
