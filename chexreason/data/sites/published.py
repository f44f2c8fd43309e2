"""What the datasets of all sites have in common: their keys, and how they are found, digested and loaded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from chexreason.data import paths, records
from chexreason.data.records import Problem, StudyTable
from chexreason.errors import ChexReasonError, one_of
from chexreason.labels import FINDINGS, check_findings
from chexreason.runs.identity import CIRCUMSTANCE, CONTENT, DESCRIPTION, UNORDERED, file_state

if TYPE_CHECKING:
    import pandas as pd

ANSWERED: dict[str, list[str]] = {}  # by dataset: answers that all jobs of a sweep share


@dataclass(frozen=True, kw_only=True)
class Published(ABC):
    """A site's data in its published layout, or its label table alone. Each site has a class of its own that reads it.

    `access`: how to get it. `variable`: the environment variable with its location. `drawn`: the phantom dataset in the same
    layout. `layout`: glob patterns, at least one of which matches at its root. `splits`: its splits, without "all".
    `labelled`: the findings that it labels. `known_views`: the views that it uses. `told_by`: what identifies the patient.
    """

    access: ClassVar[str]
    variable: ClassVar[str]
    drawn: ClassVar[str]
    layout: ClassVar[tuple[str, ...]]
    splits: ClassVar[tuple[str, ...]]
    labelled: ClassVar[tuple[str, ...]] = FINDINGS
    known_views: ClassVar[tuple[str, ...]] = records.VIEWS
    told_by: ClassVar[str] = "its column"

    name: str
    world: str = field(metadata=CIRCUMSTANCE, default="clinical")
    benchmark: str | None = field(metadata=DESCRIPTION, default=None)  # of the paper's test sets: chexpert | nih | validation
    root: str = field(metadata=CONTENT)
    agreement: str | None = field(metadata=DESCRIPTION, default=None)  # the data-use agreement that it is under
    made_by: str | None = field(metadata=CIRCUMSTANCE, default=None)
    table: str | None = field(metadata=CONTENT, default=None)  # one label table that holds everything: no image is looked for
    split: str
    views: list[str] = field(metadata=UNORDERED, default_factory=lambda: ["AP", "PA"])
    missing: str = "fail"  # fail | skip
    uncertain: str = "negative"  # negative | positive | ignore
    findings: list[str] = field(metadata=UNORDERED)
    site: str

    def __post_init__(self) -> None:
        one_of((*self.splits, "all"), split=self.split)
        records.check_choices(self.missing, self.uncertain, self.benchmark)
        records.check_views(self.views, self.known_views)
        check_findings(self.findings, self.labelled, f"those that {self.site} labels")

    def inputs(self, store: Path | None) -> dict[str, Any]:
        """What defines the dataset besides its keys: the content of its tables."""
        return paths.table_digests(self, store)

    def folder(self) -> Path:
        """The dataset's folder; raises an error that says how to get the data if it is missing."""
        phantom = f"stage=inspect dataset={self.drawn}"
        return paths.require_folder(self.root, self.site, self.access, self.variable, phantom, self.layout)

    def require(self) -> None:
        """Raises ChexReasonError if the tables of `split` are missing; images are checked when they are read."""
        if not self.table and not self.made_by:
            self.sources(self.folder())

    @abstractmethod
    def sources(self, root: Path) -> Any:
        """The file or files at the root that `split` is read from; raises ChexReasonError if one is missing."""

    def files(self, root: Path) -> list[Path]:
        """Every file that the records are read from."""
        return [Path(self.table)] if self.table else list(_paths(self.sources(root)))

    def load(self) -> StudyTable:
        """The records of `split`, checked so that they cannot fail later."""
        return records.checked(self.read(), self.missing)

    def lacks_images(self) -> list[str]:
        """Why `load` would fail, for use while planning, before hours of work. A run that makes the data checks it itself."""
        if self.table or self.made_by or self.missing != "fail":
            return []
        try:
            root = self.folder()
            asked = f"{self} {[file_state(file) for file in self.files(root)]}"
            if asked not in ANSWERED:
                ANSWERED[asked] = (
                    [] if self._has_all(root) else records.lacking(replace(self, missing="later").load(), self.access)
                )
        except ChexReasonError as error:
            return [str(error)]
        return ANSWERED[asked]

    def _has_all(self, root: Path) -> bool:
        """Whether file names alone show that every image of `split` is there; reading the table would take seconds."""
        return False

    def tabled(self, frame: pd.DataFrame, root: Path, problems: tuple[Problem, ...] = ()) -> StudyTable:
        """The records of `frame`, whose images lie at `root`, with these problems and those of their paths and ids."""
        arranged, more = records.arrange(frame, self.told_by)
        return StudyTable(self.site, root, tuple(self.findings), arranged, problems=problems + more, images=not self.table)

    @abstractmethod
    def read(self) -> StudyTable:
        """The records of `split` with the problems of the tables; image files are not looked at yet."""


def _paths(sources: Any) -> Iterator[Path]:
    for one in sources if isinstance(sources, list | tuple) else (sources,):
        if isinstance(one, Path):
            yield one
        elif isinstance(one, list | tuple):
            yield from _paths(one)


def split_tables(
    split: str, tables: Mapping[str, Sequence[str]], places: Sequence[Path], access: str
) -> list[tuple[Path, str]]:
    """(label table, split) for `split`; for "all", of those splits that have a table.

    Args:
        tables: by split, what its table may be called, compressed or not, in the order of preference.
        places: folders that it may lie in, the dataset's root first.

    Raises:
        ChexReasonError: a split that is asked for by name has none.
    """
    found = []
    for one in tables if split == "all" else (split,):
        names = [f"{name}{suffix}" for name in tables[one] for suffix in ("", ".gz")]
        path = next((place / name for name in names for place in places if (place / name).is_file()), None)
        if path is not None:
            found.append((path, one))
        elif split != "all":
            raise ChexReasonError(
                f"{places[0]} has none of {', '.join(tables[one])}: the {one} set's labels are missing ({access})"
            )
    return found
