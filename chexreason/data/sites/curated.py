"""The sets that stage=curate wrote: sft.csv, rl.csv and validation.csv, with card.json saying where the images are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason.data import paths, records
from chexreason.data.agreements import curated_agreement
from chexreason.data.records import Problem, StudyTable
from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS
from chexreason.runs.files import read_json
from chexreason.runs.identity import CIRCUMSTANCE, CONTENT

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Curated:
    """One set of a curate run; `root` is that run's folder."""

    name: str = "validation"
    world: str = field(metadata=CIRCUMSTANCE, default="clinical")
    benchmark: str | None = field(metadata=CIRCUMSTANCE, default=None)  # of the paper's test sets: chexpert | nih | validation
    root: str = field(metadata=CONTENT, default=".")
    made_by: str | None = field(metadata=CIRCUMSTANCE, default=None)
    table: str | None = field(metadata=CONTENT, default=None)  # another CSV of the same columns
    split: str = "validation"  # sft | rl | validation
    views: list[str] = field(default_factory=lambda: ["AP", "PA", "frontal"])
    missing: str = "fail"  # fail | skip
    uncertain: str = "negative"  # curation kept positives only
    findings: list[str] = field(default_factory=lambda: list(FINDINGS))

    @property
    def agreement(self) -> str | None:
        """The data-use agreement of the site that the set was drawn from."""
        return curated_agreement(Path(self.root))

    def inputs(self, store: Path | None) -> dict[str, Any]:
        """What defines the dataset besides its keys: the content of its tables."""
        return paths.table_digests(self, store)

    def load(self) -> StudyTable:
        """The set's records, nothing left in them that could fail later."""
        return records.checked(self.read(), self.missing)

    def read(self) -> StudyTable:
        """The set's records; image files are not looked at yet."""
        import pandas as pd

        folder = paths.require_folder(
            self.root, "curated set", "it is a stage=curate run's folder", None, "stage=curate dataset=phantom_mimic"
        )
        if not (folder / "card.json").is_file():
            raise ChexReasonError(f"{folder} has no card.json: it is not the folder of a complete stage=curate run")
        card = read_json(folder / "card.json")
        names = ("sft", "rl", "validation") if self.split == "all" else (self.split,)
        frames: list[pd.DataFrame] = []
        problems: tuple[Problem, ...] = ()
        for name in names:
            path = Path(self.table) if self.table else folder / f"{name}.csv"
            frame = records.read_table(path, ("path", "patient", "view", *FINDINGS), ("path", "patient"))
            problems += records.label_values(frame, path.name)
            frames.append(frame.assign(study=None, sex=None, age=None, split=name, table=path.name))
        arranged, more = records.arrange(pd.concat(frames, ignore_index=True))
        table = StudyTable(
            site=card["site"],
            root=Path(card["root"] or folder),
            findings=tuple(self.findings),
            records=arranged,
            problems=problems + more,
            images=card["root"] is not None,
        )
        return records.choose(table, "all", self.views)
