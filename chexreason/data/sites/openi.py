"""Open-i's Indiana University collection (Demner-Fushman et al. 2016, doi:10.1093/jamia/ocv080): free, no agreement to sign.

Labels are the major MeSH tags that annotators gave each report ("Opacity/lung/base/left"). They are read from Open-i's own
release (one XML file per report, in NLMCXR_reports.tgz or unpacked from it) or from the public copy as tables
(indiana_reports.csv). The reports do not say which films are frontal; a table of projections does. Every report is of a
different patient, and there is no official split.
"""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from chexreason.data import paths, records, tables
from chexreason.data.records import DUPLICATE, ILLEGAL, UNKNOWN_FRONTAL, Problem, StudyTable
from chexreason.data.sites.named import Named, inside, label, labelled, names_of, noted
from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS, SiteName
from chexreason.runs.identity import CONTENT, UNORDERED

if TYPE_CHECKING:
    import pandas as pd

ACCESS = "https://openi.nlm.nih.gov/faq (NLMCXR_reports.tgz and NLMCXR_png.tgz)"
REPORTS = ("NLMCXR_reports.tgz", "ecgen-radiology", "indiana_reports.csv")
PROJECTIONS = ("indiana_projections.csv", "nlmcxr_dicom_metadata.csv.gz", "nlmcxr_dicom_metadata.csv")
VIEWS = {"frontal": UNKNOWN_FRONTAL, "pa": "PA", "ap": "AP", "lateral": "lateral", "ll": "lateral", "rl": "lateral"}
UNINDEXED = "No Indexing"  # the tag of a report that was not annotated
UNTOLD = "Technical Quality of Image Unsatisfactory"  # if a report has no other tag, its labels are unknown
LARGEST = 2**20  # bytes of a report; the largest published one has 12,000
FILM = re.compile(r"\d+_IM-[\d-]+")  # part of a film's name in every copy: CXR1_1_IM-0001-3001.png, 1_IM-0001-4001.dcm.png
JOINED = re.compile(r",\s*[A-Z]")  # in a qualifier: the start of another tag, where a semicolon is missing
SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm")
LABELLED = labelled(names_of("openi"))


@dataclass(frozen=True, kw_only=True)
class Openi(Named):
    """An Open-i folder, or its reports alone."""

    access = ACCESS
    variable = "OPEN_I"
    drawn = "phantom_openi"
    layout = REPORTS
    splits = ("test", "train")
    labelled = LABELLED

    name: str = "openi"
    root: str = field(metadata=CONTENT, default="data/open-i")
    projections: str | None = field(metadata=CONTENT, default=None)  # the table of projections; null: the one at the root
    split: str = "test"  # what its images are used as, since none is official: test | train
    findings: list[str] = field(metadata=UNORDERED, default_factory=lambda: list(LABELLED))
    site: str = "Open-i"

    def sources(self, root: Path) -> tuple[Path, Path]:
        """The reports, and the table of projections."""
        reports = Path(self.table) if self.table else _there(root)
        return reports, Path(self.projections) if self.projections else _projections(root)

    def files(self, root: Path) -> list[Path]:
        """The reports, one by one or together, and the table of projections."""
        reports, projections = self.sources(root)
        return [*(sorted(reports.glob("*.xml")) if reports.is_dir() else [reports]), projections]

    def read(self) -> StudyTable:
        """The records with the problems of the reports; image files are not looked at yet."""
        names = names_of("openi")
        root = paths.place(self)
        reported, projections = self.sources(root)
        reports, films, problems = _reports(reported)
        reports, twice = _once(reports, "study", "report")
        shown, odd = _projected(projections)
        problems += (
            twice + odd + label(reports, [[_known(tag, names) for tag in tags] for tags in reports["tags"]], names, self.site)
        )
        films = shown if films is None else films.merge(shown[["film", "view"]], on="film", how="left")
        frame = films.merge(reports[["study", "tags", *FINDINGS]], on="study", how="left")
        where = {} if self.table else _images(root)
        problems += _differing(frame, where, root)
        frame = frame.assign(
            path=[where.get(film, [film if self.table else f"{film}.png"])[-1] for film in frame["film"]],
            patient=frame["study"],
            sex=None,
            age=None,
            split=None if self.split == "all" else self.split,
        )
        table = self.tabled(frame, root, problems)
        tagged = frame["tags"].map(lambda tags: isinstance(tags, list) and bool(tags) and UNINDEXED not in tags)
        untold = frame["tags"].map(lambda tags: isinstance(tags, list) and {_known(tag, names) for tag in tags} == {UNTOLD})
        table = table.without(~tagged.to_numpy(bool), "film of a report without tags")
        reason = f"film of a report tagged {UNTOLD} alone: what is there is not said"
        table = table.without(untold[tagged].to_numpy(bool), reason)
        return records.under_policy(
            noted(inside(records.choose(table, self.split, self.views, (*self.known_views, "")), self.outside))
        )


def _known(tag: str, names: dict[str, SiteName]) -> str:
    """The name in names.csv for a tag: its head with one of its qualifiers ("Thickening/pleura"), else its head alone."""
    head, *qualifiers = (" ".join(part.split()) for part in tag.split("/"))
    if any(JOINED.search(one) for one in qualifiers):
        return tag
    return next((name for name in (*(f"{head}/{one}" for one in qualifiers), head) if name in names), head)


def _film(name: str) -> str:
    """A film's name without its file's prefix and suffix; `name` unchanged if it is not one of Open-i's."""
    found = FILM.search(name)
    return found.group() if found else name


def _study(film: str) -> str:
    return "CXR" + film.partition("_")[0]


def _images(root: Path) -> dict[str, list[str]]:
    """Film -> its paths relative to root, wherever below it the images were unpacked."""
    files = sorted(file for file in root.rglob("*_IM-*") if file.suffix.lower() in SUFFIXES and not _hidden(file))
    where: dict[str, list[str]] = {}
    for file in files:
        where.setdefault(_film(file.name), []).append(file.relative_to(root).as_posix())
    return where


def _differing(frame: pd.DataFrame, where: dict[str, list[str]], root: Path) -> tuple[Problem, ...]:
    """A problem for each film whose files of the same name differ; copies in other formats have other names."""
    problems = []
    for film, table, row in frame[["film", "table", "row"]].itertuples(index=False):
        copies = where.get(film, [])
        same = [copy for copy in copies if Path(copy).name == Path(copies[-1]).name]
        if not paths.one_content([root / copy for copy in same]):
            problems.append(
                Problem(table, int(row), DUPLICATE, f"{' and '.join(same)} differ; leave the right one there alone")
            )
    return tuple(problems)


def _once(frame: pd.DataFrame, column: str, what: str) -> tuple[pd.DataFrame, tuple[Problem, ...]]:
    """The rows in which a value of `column` occurs for the first time; a problem for each repetition."""
    again = frame[frame[column].duplicated()]
    problems = tuple(
        Problem(row.table, int(row.row), DUPLICATE, f"{what} {row[column]} is there twice") for _, row in again.iterrows()
    )
    return frame.drop(again.index), problems


def _hidden(file: Path) -> bool:
    """Whether it is a hidden companion file of a desktop: ._CXR1.png beside CXR1.png."""
    return file.name.startswith(".")


def _there(root: Path) -> Path:
    """The reports at the root; `folder` has checked that they exist in one of their forms."""
    return next(root / name for name in REPORTS if (root / name).exists())


def _projections(root: Path) -> Path:
    found = next((root / name for name in PROJECTIONS if (root / name).is_file()), None)
    if found is None:
        raise ChexReasonError(
            f"{root} has no {PROJECTIONS[0]}: Open-i's reports do not say which films are frontal. Take it from a public copy "
            "(columns filename and projection: Frontal or Lateral), or dataset.projections=TABLE"
        )
    return found


def _projected(path: Path) -> tuple[pd.DataFrame, tuple[Problem, ...]]:
    """Study, film and view from a table of projections: the public copy's, or one made from the films' DICOM headers."""
    frame, problems = tables.read_table(path, ())
    name, view = ("imageid", "View Position") if "imageid" in frame.columns else ("filename", "projection")
    tables.require(path, frame.columns.drop("row"), (name, view))
    frame = frame.dropna(subset=name)
    said = frame[view].str.lower().str.removeprefix("large ")
    odd, wanted = frame.loc[said.notna() & ~said.isin(list(VIEWS)), ["row", view]], f"{', '.join(VIEWS)} is wanted"
    problems += tables.odd(path.name, ILLEGAL, odd, lambda cell: f"{view} is {tables.shown(cell)}; {wanted}")
    film = frame[name].map(_film)
    if "uid" in frame.columns:
        other = frame["uid"].notna() & (film.map(_study) != "CXR" + frame["uid"].fillna(""))
        problems += tables.odd(
            path.name,
            "illegal id",
            frame.loc[other, ["row", "uid", name]],
            lambda uid, file: f"uid is {tables.shown(uid)}, and {tables.shown(file)} is of another report",
        )
    films = frame[["row"]].assign(study=film.map(_study), film=film, view=said.map(VIEWS), table=path.name)
    films, twice = _once(films, "film", "film")
    return films, problems + twice


def _reports(path: Path) -> tuple[pd.DataFrame, pd.DataFrame | None, tuple[Problem, ...]]:
    """Reports (study, tags) and the films that they name (study, film), each with its table and row; no films where the reports
    are a table, which names none.
    """
    import pandas as pd

    if path.is_file() and not path.name.endswith((".tgz", ".tar.gz", ".tar")):
        frame, problems = tables.read_table(path, ("uid", "MeSH"))
        problems += tables.plain_numbers(frame, ("uid",), path.name)
        tags = frame["MeSH"].fillna("").map(lambda cell: [tag.strip() for tag in cell.split(";") if tag.strip()])
        return frame[["row"]].assign(study="CXR" + frame["uid"], tags=tags, table=path.name), None, problems
    reports, films, problems = [], [], ()
    for file, text in _xml(path):
        try:
            report = ElementTree.fromstring(text)
            (study,) = (one.attrib["id"] for one in report.iter("uId"))
        except (ElementTree.ParseError, ValueError, KeyError) as error:
            problems += (Problem(file, 0, ILLEGAL, f"it is no report of Open-i's: {tables.shown(error)}"),)
            continue
        tags = [tag.text.strip() for tag in report.iter("major") if tag.text]
        reports.append((study, tags, file, _line(text, "<MeSH")))
        names = [image.get("id", "") for image in report.iter("parentImage")]
        films += [(study, _film(name), file, _line(text, f'<parentImage id="{name}"')) for name in names]
    return (
        pd.DataFrame(reports, columns=["study", "tags", "table", "row"]),
        pd.DataFrame(films, columns=["study", "film", "table", "row"]),
        problems,
    )


def _line(text: bytes, part: str) -> int:
    """The line that a part of a report begins on."""
    return text.partition(part.encode())[0].count(b"\n") + 1


def _xml(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each report of an archive or folder, in the order of their names."""
    if path.is_dir():
        for file in sorted(file for file in path.glob("*.xml") if not _hidden(file)):
            with file.open("rb") as stream:
                yield file.name, stream.read(LARGEST)
        return
    try:
        with tarfile.open(path) as archive:
            for member in sorted(
                (one for one in archive if one.name.endswith(".xml") and not _hidden(Path(one.name))), key=lambda one: one.name
            ):
                if content := archive.extractfile(member):
                    yield member.name.rpartition("/")[2], content.read(LARGEST)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ChexReasonError(
            f"{path} is no whole archive of Open-i's reports ({tables.shown(error)}); get it again: {ACCESS}"
        ) from None
