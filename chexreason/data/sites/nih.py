"""NIH ChestX-ray14 as published (Wang et al. 2017, arXiv:1705.02315), or the hub's parquet export of it.

Data_Entry_2017*.csv names each image's findings in one cell; its names and what they map to are data in
chexreason/labels.py. Images lie in images/ or images_001/images/ ... images_012/images/.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason.data import paths, records, tables
from chexreason.data.records import DUPLICATE, TWICE, Problem, StudyTable
from chexreason.data.sites.named import Named, inside, label, labelled, noted
from chexreason.errors import ChexReasonError, at_least
from chexreason.labels import NIH_NAMES, NIH_SHARED
from chexreason.runs.files import text_of
from chexreason.runs.identity import CONTENT, UNORDERED

if TYPE_CHECKING:
    import pandas as pd

ACCESS = "https://nihcc.app.box.com/v/ChestXray-NIHCC (or the hub export that the paper cites)"
LISTS = {"train_val": "train_val_list.txt", "test": "test_list.txt"}
TABLE, EXPORT = "Data_Entry_2017*", ("*.parquet", "data/*.parquet")
NAME, NAMELESS = r"\d{8}_\d{3}\.png", "illegal image name"  # of the patient and the follow-up
WANTED = "one such as 00000001_000.png is wanted"
YEARS = {"Y": 1.0, "": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}  # years in each unit of age (DICOM's AS)
LABELLED = labelled(NIH_NAMES)


@dataclass(frozen=True, kw_only=True)
class Nih(Named):
    """An NIH ChestX-ray14 folder, its parquet export, or its label table alone."""

    access = ACCESS
    variable = "NIH_CHEST_XRAY14"
    drawn = "phantom_nih"
    layout = (TABLE, *EXPORT)
    splits = (*LISTS, "train", "valid")
    labelled = LABELLED
    known_views = records.FRONTAL

    name: str = "nih"
    root: str = field(metadata=CONTENT, default="data/nih-chest-xray14")
    split: str = "test"  # train_val | test | all; an export's own: train | valid | test
    findings: list[str] = field(metadata=UNORDERED, default_factory=lambda: list(NIH_SHARED))
    lists: str | None = field(metadata=CONTENT, default=None)  # folder of train_val_list.txt and test_list.txt; null: the root
    draw: int | None = None  # a seeded random draw of this many images
    draw_seed: int = 0
    site: str = "NIH ChestX-ray14"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, draw=self.draw)
        at_least(0, draw_seed=self.draw_seed)

    def sources(self, root: Path) -> tuple[Path, Path | None]:
        """The label table, or the export's first file, and the folder of the official lists (None if they are not needed)."""
        path = Path(self.table) if self.table else _find(root)
        return path, None if path.suffix == ".parquet" else self._lists(root)

    def files(self, root: Path) -> list[Path]:
        """The label table and the official lists, or every file of the export."""
        path, lists = self.sources(root)
        read = _exported(root) if path.suffix == ".parquet" else [path]
        return [*read, *(lists / name for name in LISTS.values())] if lists else read

    def load(self) -> StudyTable:
        """The records of `split`, or a draw of them if configured, checked so that they cannot fail later."""
        return records.checked(records.under_policy(noted(self._drawn(self._chosen()))), self.missing)

    def read(self) -> StudyTable:
        """The records of `split` with the problems of the table; image files are not looked at yet."""
        return records.under_policy(noted(self._chosen()))

    def _has_all(self, root: Path) -> bool:
        lists = self._lists(root) if tables.newest(root, TABLE) and self.split in LISTS else None
        return lists is not None and {*(lists / LISTS[self.split]).read_text(errors="replace").split()} <= {
            *_image_folders(root)
        }

    def _chosen(self) -> StudyTable:
        root = paths.place(self)
        path, lists = self.sources(root)
        problems: tuple[Problem, ...] = ()
        splits: dict[str, str] | None = None
        if path.suffix == ".parquet":
            frame = _export(root)
        else:
            splits, twice = _splits(lists) if lists else (None, ())
            frame, problems = _published(path, None if self.table else root, splits)
            problems += twice
            if splits is not None:
                named = frame[frame["Image Index"].astype("str").str.endswith(".png")]
                spelt = tables.unlisted(named, "Image Index", splits.keys(), " or ".join(LISTS.values()))
                near = {row: said for row, said, near in spelt if near}
                problems = tuple(one for one in problems if (one.kind, one.row in near) != (NAMELESS, True))
                problems += tuple(Problem(path.name, row, NAMELESS, said) for row, said in near.items())
            if splits is not None and self.split in LISTS and self.split not in splits.values() and not problems:
                have = ", ".join(sorted(set(splits.values()))) or "no split"
                raise ChexReasonError(
                    f"dataset.split={self.split}: {self.site} has {have} and 'all'; {self.lists or root}/{LISTS[self.split]}, "
                    f"row 1: it names no image, and one a line is wanted, such as {frame['path'].iloc[0].rpartition('/')[2]}"
                )
        names = frame.pop("names")
        problems += label(frame, names, NIH_NAMES, "NIH")
        table = self.tabled(frame, root, problems)
        if splits:
            table = table.without(table.records["split"].isna(), f"in neither of {' and '.join(LISTS.values())}")
            if table.records.empty and len(frame) and not table.problems:
                raise ChexReasonError(
                    f"{self.lists or root} ({', '.join(LISTS.values())}): none of their lines is an image of {path.name}; "
                    f"one name a line is wanted, such as {frame['path'].iloc[0].rpartition('/')[2]}, in UTF-8"
                )
        return inside(records.choose(table, self.split, self.views, self.known_views), self.outside)

    def _lists(self, root: Path) -> Path | None:
        """The folder of the official lists; None if they are missing and not needed."""
        folder = Path(self.lists) if self.lists else root
        if not all((folder / name).is_file() for name in LISTS.values()):
            if self.split == "all":
                return None
            raise ChexReasonError(
                f"{folder} lacks {' or '.join(LISTS.values())}, which say what dataset.split={self.split} is: "
                "they come with the images; dataset.lists=FOLDER says where they are, dataset.split=all takes all"
            )
        return folder

    def _drawn(self, table: StudyTable) -> StudyTable:
        """A seeded draw that depends neither on the order of the table's rows nor on the images' folders."""
        import numpy as np

        if self.draw is None:
            return table
        count = len(table.records)
        if count < self.draw:
            raise ChexReasonError(f"dataset.draw={self.draw}: only {count} images are there; lower it, or draw=null")
        names = table.records["path"].str.rsplit("/", n=1).str[-1]
        order = np.argsort(names.to_numpy(dtype=str), kind="stable")
        drawn = np.zeros(count, dtype=bool)
        drawn[np.random.default_rng(self.draw_seed).choice(order, self.draw, replace=False)] = True
        return table.without(~drawn, f"not drawn (draw {self.draw}, seed {self.draw_seed})")


def _splits(folder: Path) -> tuple[dict[str, str], tuple[Problem, ...]]:
    """Image name -> official split, and a problem for each line with no image name or with one that is in both splits.

    Some copies of the lists name the images with their folders.
    """
    splits: dict[str, str] = {}
    problems = []
    for split, file in LISTS.items():
        for row, line in enumerate(text_of(folder / file, "replace").splitlines(), start=1):
            name = line.strip().replace("\\", "/").rpartition("/")[2]
            if name and not re.fullmatch(NAME, name):
                problems.append(Problem(file, row, NAMELESS, f"{tables.shown(line)}; {WANTED}"))
            elif name and splits.setdefault(name, split) != split:
                problems.append(Problem(file, row, TWICE, f"{tables.shown(name)} is in {LISTS[splits[name]]} too"))
    return splits, tuple(problems)


def _find(root: Path) -> Path:
    """The newest version of the official table or, where there is none, the first file of the export."""
    table = tables.newest(root, TABLE)
    if table:
        return table
    exported = _exported(root)
    if not exported:
        raise ChexReasonError(f"{root} has neither Data_Entry_2017*.csv nor a parquet export; get it: {ACCESS}")
    return exported[0]


def _published(path: Path, images: Path | None, splits: dict[str, str] | None) -> tuple[pd.DataFrame, tuple[Problem, ...]]:
    """The official table; some copies spell the columns differently, and older ages read "058Y"."""
    frame, problems = tables.read_table(path, ("Image Index", "Finding Labels", "Patient ID", "View Position"))
    name = frame["Image Index"].fillna("").astype("str")
    where = _image_folders(images) if images else {}
    nameless = frame.loc[~name.str.fullmatch(NAME), ["row", "Image Index"]].fillna("blank")
    problems += tables.odd(path.name, NAMELESS, nameless, lambda cell: f"{tables.shown(cell)}; {WANTED}")
    patient = frame["Patient ID"].fillna("")
    number = patient.where(patient.str.fullmatch(r"\d{1,18}"))
    others = name.str.fullmatch(NAME) & number.notna() & (name.str[:8].str.lstrip("0") != number.str.lstrip("0"))
    problems += tables.odd(
        path.name,
        "illegal id",
        frame.loc[others, ["row", "Patient ID", "Image Index"]],
        lambda patient, image: f"Patient ID is {tables.shown(patient)}, and {image} is of another patient",
    )
    problems += tuple(
        Problem(path.name, int(row), DUPLICATE, f"{' and '.join(where[image])} differ; leave the right one there alone")
        for row, image in zip(frame["row"], name, strict=True)
        if images and len(where.get(image, ())) > 1 and not paths.one_content([images / place for place in where[image]])
    )
    sex = "Patient Gender" if "Patient Gender" in frame.columns else "Patient Sex"
    follow_up = frame.get("Follow-up #")
    arranged = frame.assign(
        path=[where.get(image, [f"images/{image}" if images else image])[-1] for image in name],
        patient=frame["Patient ID"],
        study=name if follow_up is None else frame["Patient ID"] + "/" + follow_up.astype("str"),
        view=frame["View Position"],
        sex=frame.get(sex),
        age=_years(frame["Patient Age"]) if "Patient Age" in frame.columns else None,
        split=name.map(splits) if splits else None,
        table=path.name,
        names=frame["Finding Labels"].fillna("").str.split("|"),
    )
    return arranged, problems


def _years(ages: pd.Series) -> pd.Series:
    """Ages in years, from "058Y", "006M" or "020D", or from plain numbers; NaN if a cell is not an age."""
    parts = ages.astype("str").str.extract(r"^\s*(\d+(?:\.\d+)?)\s*([YMWD]?)\s*$")
    return parts[0].astype(float) * parts[1].map(YEARS).astype(float)


def _image_folders(root: Path) -> dict[str, list[str]]:
    """Image name -> its paths relative to root, over images/, images_001/ ... and images_001/images/ ..."""
    where: dict[str, list[str]] = {}
    for folder in (root, *(place for pattern in ("images*", "images*/images") for place in sorted(root.glob(pattern)))):
        place = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
        for name in os.listdir(folder) if folder.is_dir() else ():  # a Path for each of 112,120 images would take seconds
            if name.endswith(".png"):
                where.setdefault(name, []).append(place + name)
    return where


def _exported(root: Path) -> list[Path]:
    return sorted(file for pattern in EXPORT for file in root.glob(pattern))


def _export(root: Path) -> pd.DataFrame:
    """The hub's export: it has no image names, so each image is identified by its file and row."""
    import pandas as pd
    import pyarrow.parquet as parquet

    parts = []
    for path in _exported(root):
        try:
            schema = parquet.read_schema(path)
            table = parquet.read_table(path, columns=[name for name in schema.names if name != "image"]).to_pandas()
        except (OSError, ValueError) as error:  # Arrow's are ValueErrors
            raise ChexReasonError(f"{path} is no whole parquet file ({tables.shown(error)}); get it again") from None
        labels = next((name for name in ("label", "labels") if name in schema.names), "label")
        wanted = ("image", labels, "Patient ID", "View Position")
        if lacking := [name for name in wanted if name not in schema.names]:
            raise ChexReasonError(f"{path}: there is no column {lacking[0]!r}. Columns: {tables.listed(schema.names)}")
        known = _known(schema.metadata, labels)
        file = path.relative_to(root).as_posix()
        row = pd.Series(range(len(table)), index=table.index)
        parts.append(
            table.assign(
                path=file + "#" + row.astype("str"),
                patient=table["Patient ID"].astype("str"),
                study=None,
                view=table["View Position"],
                sex=table.get("Patient Gender"),
                age=_years(table["Patient Age"]) if "Patient Age" in table.columns else None,
                split=path.name.partition("-")[0].removesuffix(".parquet"),
                table=file,
                row=row + 1,
                names=[_names(cell, known, path) for cell in table[labels]],
            )
        )
    return pd.concat(parts, ignore_index=True)


def _known(metadata: Mapping[bytes, bytes] | None, column: str) -> list[str] | None:
    """The class names that the hub's library stores for the numbers in a column; None if the file has none."""
    try:
        inner = json.loads((metadata or {})[b"huggingface"])["info"]["features"][column]
        return (inner.get("feature", inner) if isinstance(inner, dict) else inner[0])["names"]
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _names(cell: Any, known: list[str] | None, path: Path) -> list[str]:
    """The names in a cell, which holds a name, a number, or a list of either; [""] if it is empty."""
    import numpy as np

    if isinstance(cell, str):
        return cell.split("|")
    return [_name(one, known, path) for one in (cell if isinstance(cell, list | np.ndarray) else [cell])] or [""]


def _name(given: Any, known: list[str] | None, path: Path) -> str:
    """The name itself, or the name of a number; "" for a missing value, and the number as text if it has no name."""
    if isinstance(given, str):
        return given
    if given is None or given != given:  # NaN
        return ""
    if known is None:
        raise ChexReasonError(f"{path}: labels are numbers and the file does not say their names")
    return known[int(given)] if given in range(len(known)) else str(given)
