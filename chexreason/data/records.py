"""Study records: one image with its ids, view and labels, the same table whatever site it comes from.

A site's loader fills the columns below and lists the rows it cannot vouch for; `checked` then looks for the image files,
and `readable` into those that a run will use, so that nothing is left to fail in the middle of training.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from chexreason.data import paths
from chexreason.errors import ChexReasonError, one_of
from chexreason.labels import (
    FINDINGS,
    NEGATIVE,
    NO_FINDING,
    PATHOLOGIES,
    POSITIVE,
    SUPPORT_DEVICES,
    UNCERTAIN,
    check_findings,
    marked,
)
from chexreason.runs.processes import CHUNK, each

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FRONTAL = ("AP", "PA")
UNKNOWN_FRONTAL = "frontal"  # a frontal view whose projection the site does not tell (CheXpert's test set)
VIEWS = (*FRONTAL, UNKNOWN_FRONTAL, "lateral")  # to which sites' own terms are mapped
ILLEGAL, DUPLICATE = "illegal label", "duplicate image"
TWO_SPLITS, TWICE = "patient in two splits", "same image in two splits"
COLUMNS = ("path", "patient", "study", "view", "sex", "age", "split", "table", "row", *FINDINGS)
TRAINING = ("train", "train_val", "sft", "rl")  # splits that are no test sets
ROUNDED = r"\d(?:[.,]\d+)?[eE]\+\d+"  # a long number as a spreadsheet shows and saves it: 8.4E+35
POLICIES = ("negative", "positive", "ignore")
MISSING = ("fail", "skip", "later")  # later: image files are looked for when they are read


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a dataset: `row` is the line in `table`, whose header is line 1; 0: none in particular."""

    table: str
    row: int
    kind: str
    detail: str


@dataclass(frozen=True)
class StudyTable:
    """The records of one site.

    `records` has COLUMNS: path (relative to root), patient, study, view ("AP", "PA", or "frontal" where a site does not
    say which), sex, age (years), split, table and row (file and line that the record comes from), and the 14 FINDINGS
    as float: 1 positive, 0 negative, -1 uncertain, NaN unmentioned or not labelled by this site.
    """

    site: str
    root: Path
    findings: tuple[str, ...]  # those that this site labels and that are scored
    records: pd.DataFrame
    excluded: dict[str, int] = field(default_factory=dict)  # reason -> rows left out
    noted: dict[str, int] = field(default_factory=dict)  # fact worth reporting -> rows, kept
    problems: tuple[Problem, ...] = ()
    images: bool = True  # False: a label table alone, no image files to look for

    def __post_init__(self) -> None:
        check_findings(self.findings)
        if lacking := [name for name in (*COLUMNS, *FINDINGS) if name not in self.records]:
            raise ChexReasonError(f"{self.site}: its records lack the columns {', '.join(lacking)}")
        for name in FINDINGS:  # else an invalid value would be read as negative
            if not _are_states(self.records[name]):
                raise ChexReasonError(f"{self.site}: {name} has values other than 1.0, 0.0, -1.0 and NaN")

    def without(self, rows: pd.Series | np.ndarray, reason: str) -> StudyTable:
        """The table less the marked rows, which are counted under `reason`."""
        count = int(rows.sum())
        if not count:
            return self
        excluded = self.excluded | {reason: self.excluded.get(reason, 0) + count}
        return replace(self, records=self.records[~rows].reset_index(drop=True), excluded=excluded)

    def noting(self, facts: Mapping[str, int]) -> StudyTable:
        """The table with facts added to `noted`, each with the number of records it applies to; zeros are left out."""
        return replace(self, noted=self.noted | {fact: int(count) for fact, count in facts.items() if count})


class Dataset(Protocol):
    """What stages ask of a dataset, which is a frozen dataclass of its settings: `sites.published.Published` has most of it."""

    name: str
    world: str
    benchmark: str | None  # of the paper's test sets: chexpert | nih | validation
    root: str
    made_by: str | None  # the line of the run that makes it; `root` is then its place inside that run
    agreement: str | None  # the data-use agreement that it is under
    table: str | None  # one label table that holds everything
    split: str
    views: list[str]
    missing: str  # fail | skip
    uncertain: str  # negative | positive | ignore
    findings: list[str]

    def inputs(self, store: Path | None) -> dict[str, Any]:
        """What defines it besides its keys: digests of its tables, by name."""

    def folder(self) -> Path:
        """Where it lies; raises ChexReasonError, saying how to get it, where it is not there."""

    def files(self, root: Path) -> list[Path]:
        """Every file that its records are read from."""

    def lacks_images(self) -> list[str]:
        """Why `load` would fail, for a plan."""

    def read(self) -> StudyTable:
        """The records of `split` with the problems of the tables; image files are not looked at yet."""

    def load(self) -> StudyTable:
        """The same records, checked so that they cannot fail later."""


def _are_states(column: pd.Series) -> bool:
    """Whether a column holds states and nothing else."""
    if column.dtype.kind != "f":
        return False
    states = column.to_numpy(float)  # pandas takes ten times as long
    return bool(((states == POSITIVE) | (states == NEGATIVE) | (states == UNCERTAIN) | (states != states)).all())


def check_choices(missing: str, uncertain: str, benchmark: str | None) -> None:
    """Check a dataset's settings for missing images, for uncertain labels, and for which of the paper's test sets it is.

    Raises:
        ValueError: as `errors.one_of`.
    """
    one_of(MISSING, missing=missing)
    one_of(POLICIES, uncertain=uncertain)
    if benchmark is not None:
        one_of(("chexpert", "nih", "validation"), benchmark=benchmark)


def with_policy(table: StudyTable, uncertain: str) -> StudyTable:
    """The table with uncertain labels made positive where the policy is "positive", and as it is otherwise."""
    one_of(POLICIES, uncertain=uncertain)
    if uncertain != "positive":
        return table
    labels = table.records[list(FINDINGS)]
    return replace(table, records=table.records.assign(**labels.mask(labels == UNCERTAIN, POSITIVE)))


def label_sets(table: StudyTable, uncertain: str = "negative") -> list[list[str]]:
    """Positive findings of each record, in FINDINGS order, among those that the table scores.

    `uncertain` is the policy for uncertain labels: "negative" (the paper's), "positive", or "ignore", which leaves them
    out here and names them in `ignored_sets` for the metrics. Unmentioned is negative.
    """
    return _in_state(POSITIVE, with_policy(table, uncertain))


def ignored_sets(table: StudyTable, uncertain: str = "negative") -> list[list[str]]:
    """Findings of each record that metrics leave out: the uncertain ones where the policy is "ignore"."""
    return _in_state(UNCERTAIN, table) if uncertain == "ignore" else [[] for _ in range(len(table.records))]


def _in_state(state: float, table: StudyTable) -> list[list[str]]:
    scored = [finding in table.findings for finding in FINDINGS]
    return marked((table.records[list(FINDINGS)] == state).to_numpy() & scored)


def arrange(frame: pd.DataFrame, told_by: str = "its column") -> tuple[pd.DataFrame, tuple[Problem, ...]]:
    """`frame` with exactly COLUMNS, and a problem for each row whose path or patient is unsafe or whose path recurs.

    `told_by`: what a row's patient is read from, for the message.

    Raises:
        ChexReasonError: a column is missing (a user's own dataset class does not set it).
    """
    if lacking := [name for name in COLUMNS if name not in frame.columns]:
        raise ChexReasonError(f"the dataset's class gives its records no {', '.join(lacking)}: read() wants a column for each")
    frame = frame[list(COLUMNS)].reset_index(drop=True)
    # "a//b" and "a/./b" are one file
    frame["path"] = frame["path"].astype("str").str.replace(r"(?:^|(?<=/))(?:\./+)+|(?<=/)/+", "", regex=True)
    problems = []
    for column in ("path", "patient"):
        cells = frame[column].fillna("").astype("str").tolist()
        for position in paths.unsafe(frame[column]).to_numpy().nonzero()[0]:
            cell = cells[position]
            way = "; one below the dataset's root is wanted" if column == "path" else ""
            if cell:
                problems.append(_at(frame, position, paths.UNSAFE, f"{column} {cell[:200]!r} is refused{way}"))
            else:
                told = f"{told_by} would tell it" if column == "patient" else ""
                problems.append(_at(frame, position, f"no {column}", told))
    for column in ("patient", "study"):  # rounding makes many ids equal
        rounded = frame[column].fillna("").astype("str").str.fullmatch(ROUNDED)
        for position in rounded.to_numpy().nonzero()[0]:
            detail = f"{column} {frame.at[position, column]} was rounded by a spreadsheet; take the published table"
            problems.append(_at(frame, position, "illegal id", detail))
    for position in frame["path"].duplicated().to_numpy().nonzero()[0]:
        problems.append(_at(frame, position, DUPLICATE, f"{frame.at[position, 'path']} is listed twice"))
    return frame, tuple(problems)


def _at(records: pd.DataFrame, position: int, kind: str, detail: str) -> Problem:
    record = records.iloc[position]
    return Problem(str(record["table"]), int(record["row"]), kind, detail)


def check_views(views: Sequence[str], valid: Sequence[str] = VIEWS) -> None:
    """Raises ValueError where no view is wanted, or one that is none of a site's."""
    if not views:
        raise ValueError("views=[]: the views that are wanted are to be named, such as [AP, PA]")
    for view in views:
        one_of(tuple(valid), views=view)


def choose(
    table: StudyTable, split: str, views: Sequence[str], known: Sequence[str], words: Mapping[str, str] | None = None
) -> StudyTable:
    """The records of one split ("all": every one) and of the views wanted; the others are counted as excluded.

    Args:
        known: the views that the site uses, with "" if it leaves some blank. Case, blanks, hyphens and underscores are
            ignored; any other value is a problem.
        words: the site's own terms for some of them.
    """
    table = of_split(table, split)
    said = table.records["view"].fillna("")
    spelt = {_letters(view): view for view in reversed(known)} | {_letters(word): view for word, view in (words or {}).items()}
    read = {one: one if one in known else spelt.get(_letters(str(one))) for one in said.unique()}
    odd = tuple(
        _at(
            table.records,
            position,
            "illegal view",
            f"{_shown(said[position])}; one of {', '.join(filter(None, known))} is wanted",
        )
        for position in said.isin([one for one, view in read.items() if view is None]).to_numpy().nonzero()[0]
    )
    view = said.map({one: (one if view is None else view) or "unknown" for one, view in read.items()})
    table = replace(table, records=table.records.assign(view=view), problems=table.problems + odd)
    wanted = set(views) | ({UNKNOWN_FRONTAL} if set(views) & set(FRONTAL) else set())
    for other in sorted(set(table.records["view"]) - wanted):
        table = table.without(table.records["view"] == other, f"view {other}")
    return table


def _letters(view: str) -> str:
    return re.sub(r"[\s_-]+", "", view).upper()


def _shown(view: str) -> str:
    return repr(view[:60]) if view else "blank"


def of_split(table: StudyTable, split: str) -> StudyTable:
    """The records of one split; those of other splits do not count as excluded."""
    if split == "all" or table.records.empty:
        return table
    have = sorted(set(table.records["split"].dropna()))
    if split not in have and not table.problems:  # problems explain more
        raise ChexReasonError(f"dataset.split={split}: {table.site} has {', '.join(have) or 'no split'} and 'all'")
    rows = table.records["split"] == split
    return replace(table, records=table.records[rows].reset_index(drop=True))


def under_policy(table: StudyTable) -> StudyTable:
    """The table with No Finding made negative wherever it contradicts a pathology, and with inconsistencies noted.

    As CheXpert's labeller does, No Finding is given only where none of the 12 pathologies is positive or uncertain: where a
    table says otherwise, the pathology is believed and No Finding becomes negative.
    """
    states = table.records[list(FINDINGS)]
    silent = table.records.loc[states.isna().all(axis=1), ["table", "row"]].itertuples(index=False, name=None)
    illegal = {(problem.table, problem.row) for problem in table.problems if problem.kind == ILLEGAL}
    normal, device = states[NO_FINDING] == POSITIVE, states[SUPPORT_DEVICES] == POSITIVE
    positive = (states[list(PATHOLOGIES)] == POSITIVE).any(axis=1)
    unsure = (states[list(PATHOLOGIES)] == UNCERTAIN).any(axis=1)
    believed = states[NO_FINDING].mask((normal | (states[NO_FINDING] == UNCERTAIN)) & (positive | unsure), NEGATIVE)
    facts = {
        "No Finding beside a positive finding": (normal & positive).sum(),
        "No Finding beside an uncertain finding": (normal & unsure & ~positive).sum(),
        "No Finding beside Support Devices": (normal & device & ~positive & ~unsure).sum(),
        "Support Devices alone without No Finding": (device & ~positive & ~normal).sum(),
        "no label at all": sum(place not in illegal for place in silent),
    }
    return replace(table, records=table.records.assign(**{NO_FINDING: believed})).noting(facts)


def with_images(table: StudyTable) -> StudyTable:
    """The table with a problem for each image file that is missing or lies outside the root."""
    if not table.images:
        return table
    safe = table.records[~paths.unsafe(table.records["path"])]  # unsafe paths are reported already
    found = paths.image_problems(table.root, safe["path"])
    places = list(zip(safe["table"], safe["row"].tolist(), strict=True))
    problems = tuple(Problem(*places[position], kind, detail) for position, kind, detail in found)
    return replace(table, problems=table.problems + problems)


def lacking(table: StudyTable, how: str) -> list[str]:
    """A message that says which of the table's images are missing and how to get them; empty if none is missing."""
    lost = with_images(replace(table, problems=())).problems
    if not lost:
        return []
    said = f"{table.site}: {len(lost):,} of {len(table.records):,} images are not there: {lost[0].detail}"
    ways = f"get them:         {how}\n  leave them out:   dataset.missing=skip"
    return [f"{said}{', and so on' if lost[1:] else ''}.\n  {ways}"]


def checked(table: StudyTable, missing: str) -> StudyTable:
    """The table with every image file in its place, or an error that lists what is wrong.

    Rows whose image file is missing stop the load (`missing="fail"`), are left out and counted (`"skip"`), or are not looked
    for yet (`"later"`). Illegal labels, unsafe paths and images listed twice always stop it: they say that the table itself is
    not to be trusted.
    """
    return _settled(table, "fail") if missing == "later" else _settled(with_images(table), missing)


def readable(table: StudyTable, missing: str, read: Callable[[Path], object]) -> StudyTable:
    """The table with every image decoded once, over all cores, so that none can fail later.

    Unreadable ones are treated as missing ones. `read` must be picklable.
    """
    from tqdm import tqdm

    if not table.images or table.records.empty:
        return table
    files = [paths.image_file(table.root, path) for path in table.records["path"]]
    errors = each(partial(_error, read), files, min(os.cpu_count() or 1, 1 + len(files) // CHUNK), killed)
    listed = list(tqdm(errors, total=len(files), desc="reading images", unit="image", leave=False))
    unreadable = [(position, error) for position, error in enumerate(listed) if error is not None]
    problems = tuple(_at(table.records, position, paths.UNREADABLE, error) for position, error in unreadable)
    return _settled(replace(table, problems=table.problems + problems), missing)


def killed(file: Path | str) -> str:
    """The error message for an image whose reading killed its process."""
    return f"{file}: the process that read it was ended, twice: for want of memory, or by what is in the file"


def _error(read: Callable[[Path], object], file: Path) -> str | None:
    from chexreason.data.images import ImageError

    try:
        read(file)
    except ImageError as error:
        return str(error)
    return None


def _settled(table: StudyTable, missing: str) -> StudyTable:
    """Raise an error that lists the problems or, where `missing` allows it, exclude and count their rows."""
    import pandas as pd

    lost = {paths.MISSING: "image file is missing", paths.UNREADABLE: "image cannot be read"}
    fatal = [problem for problem in table.problems if missing == "fail" or problem.kind not in lost]
    if fatal:
        first, *others = map(describe, fatal[:5])
        shown = "".join(f"\n  {other}" for other in others)
        kinds = ", ".join(f"{count} x {kind}" for kind, count in Counter(p.kind for p in fatal).most_common())
        skip = "; dataset.missing=skip leaves such images out" if all(problem.kind in lost for problem in fatal) else ""
        raise ChexReasonError(
            f"{table.site} ({table.root}): {kinds}{', such as' if others else ''}{shown}\n{first}; "
            f"stage=inspect lists them all{skip}"
        )
    for kind, reason in lost.items():
        places = {(problem.table, problem.row) for problem in table.problems if problem.kind == kind}
        table = table.without(pd.MultiIndex.from_frame(table.records[["table", "row"]]).isin(places), reason)
    if table.records.empty:
        raise ChexReasonError(f"{table.site} ({table.root}): {nothing_left(table)}")
    return replace(table, problems=())


def nothing_left(table: StudyTable) -> str:
    """Why a table without records has none."""
    reasons = ", ".join(f"{reason}: {count}" for reason, count in table.excluded.items())
    return f"no record is left. Left out: {reasons or 'none; the tables have no rows'}"


def describe(problem: Problem) -> str:
    """A problem as one line."""
    place = ", ".join(part for part in (problem.table, problem.row and f"row {problem.row}") if part)
    return ": ".join(part for part in (place, problem.kind, problem.detail) if part)
