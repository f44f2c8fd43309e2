"""Check a dataset root in one pass: tables, image files, splits. Lists every problem with its row; fails on any.

Writes report.md, problems.csv and summary.json. The records of the dataset's own split, if that is a test split, are
registered as a test set, so that no later run trains on them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason.errors import ChexReasonError, at_least
from chexreason.pages import markdown_table
from chexreason.runs import files, folders
from chexreason.runs.folders import Run
from chexreason.runs.identity import CIRCUMSTANCE, CONTENT

if TYPE_CHECKING:
    import pandas as pd

    from chexreason.data.records import Problem, StudyTable

LISTED = 100  # problems in the page; problems.csv has them all


@dataclass(frozen=True)
class Settings:
    """See conf/stage/inspect.yaml."""

    name: str
    images: bool
    only: str | None = field(metadata=CONTENT)
    workers: int = field(metadata=CIRCUMSTANCE)
    output: str | None = field(metadata=CIRCUMSTANCE)

    def __post_init__(self) -> None:
        at_least(0, workers=self.workers)

    def require(self) -> None:
        """Raises ChexReasonError if `output` cannot be written."""
        files.require_output_folder(self.output)


USES = ("dataset",)


def reusable(_: Settings) -> bool:
    """No: images may have changed since, which is what an inspection checks."""
    return False


def execute(run: Run) -> dict[str, Any]:
    """Check everything, write the report, then fail if anything is wrong."""
    import pandas as pd

    from chexreason.data import card, integrity, records, tables

    run.note(f"reading the tables of {run.dataset.name}")
    table = replace(run.dataset, split="all").read()
    if run.settings.only:
        table = listed(table, Path(run.settings.only), getattr(run.dataset, "download", None))
    table = records.with_images(table)
    problems = list(table.problems)
    digests: dict[str, str] = {}
    if table.images and run.settings.images:
        unreadable, digests = read_all(table, run.settings.workers)
        problems += unreadable
    problems += patients_in_two_splits(table.records) + images_in_two_splits(table.records, digests)
    nothing = without_records(run.dataset, table)
    problems += nothing
    problems.sort(key=lambda problem: (problem.row == 0, problem.table, problem.row))

    summary = {
        "schema": 1,
        "dataset": run.dataset.name,
        "site": table.site,
        "root": str(table.root),
        "images_read": len(digests),
        "problems": dict(Counter(problem.kind for problem in problems).most_common()),
        "splits": {name: card.describe(rows) for name, rows in table.records.fillna({"split": "no split"}).groupby("split")},
        "excluded": table.excluded,
        "noted": table.noted,
    }
    files.write_json(run.folder / "summary.json", summary)
    frame = pd.DataFrame(map(vars, problems), columns=["table", "row", "kind", "detail"])
    tables.write_csv(run.folder / "problems.csv", frame)
    text = page(summary, problems)
    files.write_text(run.folder / "report.md", text)
    if run.settings.output:
        folders.deliver(run.folder, Path(run.settings.output))
    print(text)
    if problems:
        where = Path(run.settings.output or run.folder) / "report.md"
        first = "; ".join(dict.fromkeys(records.describe(problem) for problem in (problems[0], *nothing)))
        raise ChexReasonError(f"{run.dataset.name}: {len(problems)} problems; see {where}. The first: {first}")
    if run.dataset.split == "test" and not run.settings.only:
        run.note(f"registered {integrity.register(run.dataset.load(), run.dataset.name, run.folder.parent)}")
    return {"records": len(table.records), "images_read": len(digests), "problems": 0}


def without_records(dataset: Any, table: StudyTable) -> list[Problem]:
    """A problem if the `table` of all splits has no record, or the split that `dataset` asks for has none."""
    from chexreason.data.records import Problem, nothing_left

    if not table.records.empty and (dataset.split == "all" or dataset.split in set(table.records["split"])):
        return []
    try:  # a table without official splits has the one that it is read as
        read = table if dataset.split == "all" else dataset.read()
    except ChexReasonError as error:
        return [Problem("", 0, f"nothing in dataset.split={dataset.split}", str(error))]
    empty = next((one for one in (read, table) if one.records.empty), None)
    return [Problem("", 0, f"nothing in dataset.split={dataset.split}", nothing_left(empty))] if empty else []


def listed(table: StudyTable, file: Path, address: str | None) -> StudyTable:
    """The records of the images listed in `file`, one per line as stage=curate writes them: a path, or a URL under `address`.

    Raises:
        ChexReasonError: the file cannot be read, or a line is not an image of the table.
    """
    try:
        lines = [line.strip() for line in files.text_of(file).splitlines()]
    except (OSError, UnicodeError) as error:
        raise ChexReasonError(f"stage.only={file}: a list in UTF-8 is wanted, an image a line ({error})") from None
    wanted = {line.removeprefix(f"{address}/"): row for row, line in enumerate(lines, start=1) if line}
    unknown = wanted.keys() - set(table.records["path"])
    if unknown:
        path = min(unknown, key=lambda one: wanted[one])
        raise ChexReasonError(
            f"{file}, row {wanted[path]}: {path} is no image of {table.site} with a label and one of dataset.views "
            f"({len(unknown)} such rows). Addresses are to begin with dataset.download={address}"
        )
    rows = table.records["path"].isin(wanted.keys())
    return replace(table, records=table.records[rows].reset_index(drop=True))


def read_all(table: StudyTable, workers: int) -> tuple[list[Problem], dict[str, str]]:
    """Decode every image that is there; (problems, sha256 by path of those that are whole)."""
    from tqdm import tqdm

    from chexreason.data.paths import UNREADABLE
    from chexreason.data.records import Problem, killed
    from chexreason.runs.processes import each

    known = {(problem.table, problem.row) for problem in table.problems}
    rows = list(zip(table.records["path"], table.records["table"], table.records["row"], strict=True))
    rows = [row for row in rows if row[1:] not in known]
    files = [str(table.root / path) for path, _, _ in rows]
    problems, digests = [], {}
    looks = each(look, files, workers, lambda file: ("", killed(file)))
    for (path, name, row), (digest, error) in zip(rows, tqdm(looks, "images", len(files), unit=" images"), strict=True):
        if error:
            problems.append(Problem(name, int(row), UNREADABLE, error))
        else:
            digests[path] = digest
    return problems, digests


def look(file: str) -> tuple[str, str]:
    """(sha256, "") of an image that can be read whole, else ("", what is wrong)."""
    import hashlib

    from chexreason.data.images import ImageError, decode, image_bytes

    try:
        content = image_bytes(Path(file))
        decode(content, file)
    except ImageError as error:
        return "", str(error)
    return hashlib.sha256(content).hexdigest(), ""


def patients_in_two_splits(records: pd.DataFrame) -> list[Problem]:
    """One problem for each patient with records in more than one split, at the first row of the second split."""
    from chexreason.data.integrity import patient_keys
    from chexreason.data.records import TWO_SPLITS, Problem

    first = records.dropna(subset="split").assign(key=patient_keys(records["patient"])).drop_duplicates(["key", "split"])
    again = first[first.duplicated("key")]
    others = first.drop_duplicates("key").set_index("key")["split"]
    return [
        Problem(str(row.table), int(row.row), TWO_SPLITS, f"patient {row.patient}: {row.split} and {others[row.key]}")
        for row in again.itertuples()
    ]


def images_in_two_splits(records: pd.DataFrame, digests: dict[str, str]) -> list[Problem]:
    """One problem for each image whose content is already in another split, under whatever name."""
    from chexreason.data.records import TWICE, Problem

    known = records.assign(sha256=records["path"].map(digests)).dropna(subset=["sha256", "split"])
    first = known.drop_duplicates("sha256").set_index("sha256")
    later = known[known.duplicated("sha256")]
    pairs = [(row, first.loc[row.sha256]) for row in later.itertuples()]
    return [
        Problem(str(row.table), int(row.row), TWICE, f"{row.path} ({row.split}) is {other['path']} ({other['split']})")
        for row, other in pairs
        if row.split != other["split"]
    ]


def page(summary: dict[str, Any], problems: list[Problem]) -> str:
    """The report as Markdown."""
    from chexreason.data.records import describe

    def counts(group: dict[str, int]) -> str:
        return ", ".join(f"{name} {count:,}" for name, count in group.items()) or "none"

    splits = [
        [name, f"{part['images']:,}", f"{part['patients']:,}", counts(part["views"]), counts(part["sexes"])]
        for name, part in summary["splits"].items()
    ]
    more = [f"- ... and {len(problems) - LISTED:,} more in problems.csv"] if len(problems) > LISTED else []
    return "\n".join([
        f"# {summary['site']}: {len(problems):,} problems" if problems else f"# {summary['site']}: no problem found",
        "",
        f"{summary['root']}; {summary['images_read']:,} images decoded.",
        "",
        markdown_table(("split", "images", "patients", "views", "sexes"), splits),
        "",
        "## Problems",
        "",
        *([f"- {kind}: {count:,}" for kind, count in summary["problems"].items()] or ["- none"]),
        "",
        *[f"- {describe(problem)}" for problem in problems[:LISTED]],
        *more,
        "",
        f"Left out: {counts(summary['excluded'])}.",
        "",
        f"Noted: {counts(summary['noted'])}.",
        "",
    ])  # fmt: skip
