"""Curated sets: the one table that stage=curate leaves, written, read and loaded here.

`curated.csv` has one row per image with its set, its digest and the 14 findings in CheXpert's four states (1, 0, -1, blank).
card.json describes the sets for people and also says where the studies come from. The location of the images depends on the
machine and is kept in a separate file, so that the same sets have the same bytes wherever the data is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason.data import paths, records, tables
from chexreason.data.records import StudyTable
from chexreason.data.sites.mimic import PROJECTIONS
from chexreason.errors import ChexReasonError, one_of
from chexreason.labels import FINDINGS, POSITIVE, UNCERTAIN, check_findings, in_order, marked
from chexreason.runs.files import read_json, write_json
from chexreason.runs.folders import read_manifest
from chexreason.runs.identity import CIRCUMSTANCE, CONTENT, DESCRIPTION, UNORDERED

if TYPE_CHECKING:
    import pandas as pd

TABLE, CARD = "curated.csv", "card.json"
COLUMNS = ("set", "path", "patient", "study", "view", "sex", "age", "sha256", *FINDINGS)


@dataclass(frozen=True)
class Origin:
    """Where curated studies come from."""

    site: str
    agreement: str | None  # the data-use agreement that they are under; None: anyone may have them
    findings: tuple[str, ...]  # those that the site labels, and that an answer can be scored by
    root: Path | None  # the folder that their paths are relative to; None: curated from a label table alone


def write(folder: Path, sets: dict[str, pd.DataFrame], origin: Origin, more: dict[str, Any]) -> None:
    """Write the sets as one table, and as one CSV per set with binary labels for use elsewhere, with their card.

    Args:
        sets: records of sft, rl and validation, with a column sha256 (the digest of each image's content, "" if there is none).
        more: what else the card says.
    """
    import pandas as pd

    whole = pd.concat([part.assign(set=name) for name, part in sets.items()], ignore_index=True)
    tables.write_csv(folder / TABLE, whole[list(COLUMNS)])
    for name, part in sets.items():
        binary = (part[list(FINDINGS)] == POSITIVE).astype(int)
        tables.write_csv(folder / f"{name}.csv", pd.concat([part[["path", "patient", "view"]], binary], axis=1))
    if origin.root is not None:
        paths.write_root(folder, origin.root)
    facts = {"site": origin.site, "agreement": origin.agreement, "findings": list(origin.findings)}
    write_json(folder / CARD, {"schema": 2, **facts, "images": origin.root is not None, **more})


def is_curated(folder: Path) -> bool:
    """Whether a curate run left its sets in `folder`."""
    return (folder / TABLE).is_file() and (folder / CARD).is_file()


def origin(folder: Path) -> Origin:
    """Where the studies of the curate run in `folder` come from.

    Raises:
        ChexReasonError: it is not a curate run's folder, or an older version wrote it.
    """
    if not is_curated(folder):
        raise ChexReasonError(
            f"{folder} lacks {TABLE} or {CARD}: it is no folder of a complete stage=curate run of this version; curate again"
        )
    try:
        card = read_json(folder / CARD)
    except ValueError as error:
        raise ChexReasonError(f"{folder / CARD} is damaged ({error}): curate again with force=true") from None
    for key, what in (("site", "site"), ("agreement", "data-use agreement"), ("findings", "findings"), ("images", "images")):
        if key not in card:
            raise ChexReasonError(f"{folder / CARD} names no {what} (an older version wrote it?): curate again with force=true")
    root = paths.read_root(folder) if card["images"] else None
    return Origin(card["site"], card["agreement"], tuple(in_order(card["findings"])), root)


def curated_studies(folder: Path, split: str) -> tuple[list[dict[str, Any]], Path]:
    """The studies of one curated set (sft | rl | validation) and the root that their paths are relative to.

    Each is {"site", "patient", "path", "sha256", "labels", "uncertain"}: the digest of the image's content when it was
    curated, its positive findings in CheXpert's order, and those that its site's labeller was not sure of.
    """
    table = Curated(root=str(folder), split=split).load()
    if not table.images:
        raise ChexReasonError(f"{folder.name} was curated from a label table alone: to teach or train, curate with images")
    listed, _ = tables.read_table(folder / TABLE, COLUMNS)
    digests = listed.set_index("path")["sha256"]
    states = table.records[list(FINDINGS)]
    positive, unsure = (marked((states == state).to_numpy()) for state in (POSITIVE, UNCERTAIN))
    studies = [
        {"site": table.site, "patient": patient, "path": path, "sha256": digests[path], "labels": labels, "uncertain": doubts}
        for patient, path, labels, doubts in zip(table.records["patient"], table.records["path"], positive, unsure, strict=True)
    ]
    return studies, table.root


def lacking(folder: Path) -> list[str]:
    """Images of the complete curate run in `folder` that are now missing, as `records.lacking`; none if a run drew them."""
    manifest = read_manifest(folder) or {}
    if "dataset" in manifest.get("parents", {}):  # the run that drew them checks them
        return []
    how = f"{manifest['command']} force=true   # lists them, with the line that fetches them"
    try:
        return records.lacking(Curated(root=str(folder), split="all", missing="later").load(), how)
    except ChexReasonError as error:
        return [str(error)]


KNOWN = (*records.VIEWS, *PROJECTIONS)


@dataclass(frozen=True)
class Curated:
    """One set of a curate run as a dataset; `root` is that run's folder."""

    name: str = "validation"
    world: str = field(metadata=CIRCUMSTANCE, default="clinical")
    benchmark: str | None = field(metadata=DESCRIPTION, default=None)  # of the paper's test sets: chexpert | nih | validation
    root: str = field(metadata=CONTENT, default=".")
    made_by: str | None = field(metadata=CIRCUMSTANCE, default=None)
    table: str | None = field(metadata=CONTENT, default=None)  # another CSV with path, patient, view and the findings
    split: str = "validation"  # sft | rl | validation | all
    views: list[str] = field(metadata=UNORDERED, default_factory=lambda: ["AP", "PA", "frontal"])
    missing: str = "fail"  # fail | skip
    uncertain: str = "negative"  # negative | positive | ignore
    findings: list[str] = field(metadata=UNORDERED, default_factory=lambda: list(FINDINGS))

    def __post_init__(self) -> None:
        one_of(("sft", "rl", "validation", "all"), split=self.split)
        records.check_choices(self.missing, self.uncertain, self.benchmark)
        records.check_views(self.views, KNOWN)
        check_findings(self.findings)

    @property
    def agreement(self) -> str | None:
        """The data-use agreement of the site that the set was drawn from."""
        return origin(Path(self.root)).agreement

    def inputs(self, store: Path | None) -> dict[str, Any]:
        """What defines the dataset besides its keys: the content of its tables."""
        return paths.table_digests(self, store)

    def files(self, root: Path) -> list[Path]:
        """The table that its records are read from."""
        return [Path(self.table) if self.table else root / TABLE]

    def lacks_images(self) -> list[str]:
        """Always empty: the curate run looks for its images itself (`stages.curate.lost`)."""
        return []

    def folder(self) -> Path:
        """The curate run's folder; an error that says how to make one where it is not there."""
        made_by = "it is a stage=curate run's folder"
        return paths.require_folder(self.root, "curated set", made_by, None, "stage=curate dataset=phantom_mimic")

    def load(self) -> StudyTable:
        """The set's records, checked so that they cannot fail later."""
        return records.checked(self.read(), self.missing)

    def read(self) -> StudyTable:
        """The set's records; image files are not looked at yet."""
        folder = self.folder()
        source = origin(folder)
        needed = ("path", "patient", "view", *FINDINGS)
        path = Path(self.table) if self.table else folder / TABLE
        frame, problems = tables.read_table(path, needed if self.table else COLUMNS)
        problems += tables.label_values(frame, path.name)
        if not self.table and self.split not in ("all", *frame["set"]):
            without = " (GRPO does without one where stage.parents.validation=null)" if self.split == "validation" else ""
            raise ChexReasonError(
                f"{folder.name}: its {self.split} set is empty: {source.site} has too few patients for it. Curate with smaller "
                f"stage.sizes, or from more of them{without}"
            )
        frame["split"] = self.split if self.table else frame["set"]
        optional = {name: None for name in ("study", "sex", "age") if name not in frame.columns}
        arranged, more = records.arrange(frame.assign(**optional, table=path.name))
        table = StudyTable(
            site=source.site,
            root=paths.existing_root(folder) if source.root else folder,
            findings=tuple(self.findings),
            records=arranged,
            problems=problems + more,
            images=source.root is not None,
        )
        return records.choose(table, "all" if self.table else self.split, self.views, (*KNOWN, ""))
