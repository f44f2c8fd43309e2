"""CheXpert v1.0 as published: train.csv, valid.csv and the test set's labels, full or small.

Irvin et al. 2019 (arXiv:1901.07031). Table columns are Path, Sex, Age, Frontal/Lateral, AP/PA and the 14 findings; the
test set's labels come as `groundtruth.csv` (keyed by Study: 500 studies, majority of five radiologists) or, by image,
as `test_labels.csv` (keyed by Path: 668 images, of which 518 frontal, the paper's 518).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from chexreason.data import paths, records, tables
from chexreason.data.records import UNKNOWN_FRONTAL, Problem, StudyTable
from chexreason.data.sites.published import Published, split_tables
from chexreason.errors import ChexReasonError, one_of
from chexreason.labels import FINDINGS, NEGATIVE, NO_FINDING, PATHOLOGIES, POSITIVE, SUPPORT_DEVICES
from chexreason.runs.identity import CONTENT, UNORDERED

if TYPE_CHECKING:
    import pandas as pd

TABLES = {
    "train": ("train.csv",),
    "valid": ("valid.csv",),
    "test": ("test_labels.csv", "test.csv", "groundtruth.csv", "test/test_labels.csv", "test/groundtruth.csv"),
}
SIDES = ("Frontal", "Lateral")
BATCHES = "CheXpert-v1.0*batch *"  # folders of the download
ACCESS = "register at https://aimi.stanford.edu/datasets/chexpert-chest-x-rays and unpack CheXpert-v1.0[-small]"
TEST_SET = "CheXlocalize has them: https://stanfordaimi.azurewebsites.net/datasets/23c56a0d-15de-405b-87c8-99c30138950c"


@dataclass(frozen=True, kw_only=True)
class Chexpert(Published):
    """A CheXpert folder, or a label table of its format alone."""

    access = f"{ACCESS}; the test set and its labels are not in it, {TEST_SET}"
    variable = "CHEXPERT"
    drawn = "phantom_chexpert"
    layout = tuple(
        f"{place}{name}{suffix}" for place in ("", f"{BATCHES}/") for suffix in ("", ".gz") for name in sum(TABLES.values(), ())
    )
    splits = tuple(TABLES)
    known_views = (*records.VIEWS, "LL", "RL")
    told_by = "patientNNN/studyN/ in Path"

    name: str = "chexpert"
    root: str = field(metadata=CONTENT, default="data/CheXpert-v1.0")
    split: str = "train"  # train | valid | test | all
    findings: list[str] = field(metadata=UNORDERED, default_factory=lambda: list(FINDINGS))
    all_zero: str = "keep"  # keep | drop | relabel (as No Finding): records of zeros alone, a device aside
    site: str = "CheXpert"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(("keep", "drop", "relabel"), all_zero=self.all_zero)

    def sources(self, root: Path) -> list[tuple[Path, str]]:
        """(label table, split) for the requested split; for "all", of those splits that have a table."""
        return split_tables(
            self.split, TABLES, (root, *sorted(root.glob(BATCHES))), TEST_SET if self.split == "test" else ACCESS
        )

    def read(self) -> StudyTable:
        """The records of `split` with the problems of its tables; image files are not looked at yet."""
        import pandas as pd

        again: list[tuple[Problem, ...]] = []
        root = paths.place(self)
        if self.table:
            parts = [_read(Path(self.table), None)]
        else:
            sources = self.sources(root)
            parts = [_read(path, split) for path, split in sources]
            again = [_contradicted(frame, *source, root) for (frame, _), source in zip(parts, sources, strict=True)]
        frame = pd.concat([part for part, _ in parts], ignore_index=True)
        if not self.table:
            frame["path"] = _in_batches(frame["path"].str.replace(r"^CheXpert-v1\.0[^/]*/", "", regex=True), root)
        table = self.tabled(frame, root)
        table = replace(table, problems=sum((*(found for _, found in parts), *again), table.problems))
        split = "all" if self.table else self.split
        return records.under_policy(self._all_zero(records.choose(table, split, self.views, self.known_views)))

    def _all_zero(self, table: StudyTable) -> StudyTable:
        """Handle records that are negative for every pathology and for No Finding, with or without a device: no answer fits."""
        zero = (table.records[[NO_FINDING, *PATHOLOGIES]] == NEGATIVE).all(axis=1)
        if self.all_zero == "drop":
            device = table.records[SUPPORT_DEVICES] == POSITIVE
            dropped = table.without(zero & ~device, "all 14 labels are zero")
            return dropped.without((zero & device)[~zero | device].to_numpy(), "all labels but Support Devices are zero")
        if self.all_zero == "relabel":
            table.records.loc[zero, NO_FINDING] = POSITIVE
            return table.noting({"all zero labels relabelled No Finding": zero.sum()})
        return table.noting({"all 14 labels are zero": (table.records[list(FINDINGS)] == NEGATIVE).all(axis=1).sum()})


def _contradicted(frame: pd.DataFrame, path: Path, split: str, root: Path) -> tuple[Problem, ...]:
    """A problem for each study that another, unread table of the same split labels differently."""
    problems = []
    for other in (root / name for name in TABLES[split]):
        if other.name == path.name or not other.is_file():
            continue
        try:
            beside, _ = _read(other, split)
        except ChexReasonError:  # it is not a label table
            continue
        first, again = (one.drop_duplicates("study").dropna(subset="study") for one in (frame, beside))
        both = first.merge(again, on="study", suffixes=("", "_again"))
        for finding in FINDINGS:
            said, too = both[finding].fillna(NEGATIVE), both[f"{finding}_again"].fillna(NEGATIVE)
            for row in both[said != too].itertuples():
                detail = (
                    f"{row.study}: {finding} is another in {other.name}, row {row.row_again}; leave the right table there alone"
                )
                problems.append(Problem(path.name, int(row.row), "two versions of a label", detail))
    return tuple(problems)


def _in_batches(path: pd.Series, root: Path) -> pd.Series:
    """Paths as the archives unpack (batch 1 holds valid/, the others patients without train/); other layouts unchanged."""
    places = [place for pattern in ("patient*", "*/patient*") for place in root.glob(f"{BATCHES}/{pattern}")]
    folders = {place.name: place.parent.relative_to(root).as_posix() for place in places}
    if (root / "train").is_dir() or not folders:
        return path
    parts = path.str.extract(r"^[^/]+/(?P<inner>(?P<patient>patient[^/]+)/.*)$")
    folder = parts["patient"].map(folders).astype("str")
    return path.mask(folder.notna(), folder + "/" + parts["inner"])


def _read(path: Path, split: str | None) -> tuple[pd.DataFrame, tuple[Problem, ...]]:
    """One label table in the common columns, with its problems; if `split` is None, each path names its split."""
    frame, problems = tables.read_table(path, FINDINGS)
    problems += tables.label_values(frame, path.name)
    if "Path" not in frame.columns:
        if "Study" not in frame.columns:
            tables.require(path, frame.columns.drop("row"), ["Path"])
        frame = _images_of_studies(frame, path.parent)
    import pandas as pd

    frame["Path"] = frame["Path"].astype("str").str.replace("\\", "/")  # as Windows writes them
    name = frame["Path"].astype("str")
    frontal = name.str.contains("frontal", case=False)
    said, lateral = frame.get("Frontal/Lateral"), ~frontal
    if said is not None:  # if it is blank, the file's name decides
        other = said.eq("Lateral") & frontal | said.eq("Frontal") & name.str.contains("lateral", case=False)
        sides, odd = frame[["row", "Frontal/Lateral"]], said.notna() & ~said.isin(SIDES)
        for rows, why in (
            (sides[other], ", and its file is called otherwise"),
            (sides[odd], "; Frontal or Lateral is wanted"),
        ):
            problems += tables.odd(
                path.name, "illegal view", rows, lambda side, why=why: f"Frontal/Lateral is {tables.shown(side)}{why}"
            )
        lateral = said.eq("Lateral") | (said.isna() & lateral)
    projection = frame["AP/PA"] if "AP/PA" in frame.columns else pd.Series(UNKNOWN_FRONTAL, frame.index)
    view = projection.astype(object).mask(lateral, "lateral")
    named = name.str.extract(r"(?:(?P<split>train|valid|test)/)?(?P<patient>patient[^/]+)/(?:(?P<study>study[^/]+)/)?")
    columns = {
        "path": frame["Path"],
        "patient": named["patient"],
        "study": named["patient"] + "/" + named["study"],
        "view": view,
        "sex": frame.get("Sex"),
        "age": pd.to_numeric(frame["Age"], errors="coerce") if "Age" in frame.columns else None,
        "split": split or named["split"],
        "table": path.name,
    }
    return frame.assign(**columns), problems


def _images_of_studies(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """One row per image of each study: the images on disk or, if there are none, the study's first frontal image."""
    top = next((place for place in (folder, folder.parent) if (place / "test").is_dir()), folder)

    def images(study: str) -> list[str]:
        inner = study.partition("/")[2] if study.startswith("CheXpert-v1.0") else study
        found = [] if ".." in inner or inner.startswith("/") else sorted((top / inner).glob("view*.jpg"))
        return [f"{study}/{image.name}" for image in found] or [f"{study}/view1_frontal.jpg"]

    found = frame["Study"].astype("str").map(images, na_action="ignore")
    return frame.assign(Path=found).explode("Path", ignore_index=True).astype({"Path": "str"})
