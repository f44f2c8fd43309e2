"""Image paths that stay inside their dataset, whatever a table says.

A label table is data from outside: a path in it may be absolute, climb out with `..`, pass through a symbolic link, or
be a spreadsheet formula in disguise. Such rows are refused before any file is opened.
"""

from __future__ import annotations

import filecmp
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason.errors import ChexReasonError
from chexreason.runs.files import write_text
from chexreason.runs.folders import ROOT
from chexreason.runs.identity import content_digests, contents

if TYPE_CHECKING:
    import pandas as pd

# A cell that begins with one of these is run as a formula by spreadsheets (OWASP, "CSV injection").
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_UNSAFE = (
    r"^[=+\-@/\\~]|^[A-Za-z]:|(?:^|[/\\])\.\.(?:[/\\]|$)|[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)
WIDEST = 200  # most folders per level that are searched for a root
UNSAFE, MISSING, UNREADABLE = "unsafe path", "missing image", "unreadable image"


def require_folder(root: str, site: str, access: str, variable: str | None, phantom: str, tables: Sequence[str] = ()) -> Path:
    """The dataset's folder; `variable` is the environment variable that its config reads, if any.

    `tables`: glob patterns, at least one of which must match a file there; empty: no check.

    Raises:
        ChexReasonError: it is missing (says how to get it, and the phantom command that shows the same thing), or holds no such
            table (names a folder above or below that does, if there is one).
    """
    folder = Path(root).absolute()
    if folder.is_dir():
        if not tables or _holds(folder, tables):
            return folder
        meant = next((place for place in _near(folder) if _holds(place, tables)), None)
        raise ChexReasonError(
            f"{site}: {folder} (dataset.root) holds no {' or '.join(tables[:2])}. "
            + (f"Did you mean dataset.root={meant}?" if meant else f"They come with the data: {access}")
        )
    raise ChexReasonError(
        f"{site}: there is no folder {folder} (dataset.root).\n"
        f"  get the data:     {access}\n"
        f"  then say where:   dataset.root=FOLDER{f', or for every command: export {variable}=FOLDER' if variable else ''}\n"
        f"  see it without:   python -m chexreason.run {phantom} make_missing=true"
    )


def _holds(folder: Path, tables: Sequence[str]) -> bool:
    return any(next(folder.glob(table), None) for table in tables)


def _near(folder: Path) -> Iterator[Path]:
    """Candidates for a root that was given too deep or too high: two levels up, and four down, where `wget -r` puts it."""
    yield from folder.parents[:2]
    level = [folder]
    for _ in range(4):
        level = list(islice((child for place in level for child in sorted(place.glob("*/"))), WIDEST))
        yield from level


def place(dataset: Any) -> Path:
    """What a dataset's paths are relative to: its root, or the folder of the one table that it is read from."""
    return Path(dataset.table).absolute().parent if dataset.table else dataset.folder()


def table_digests(dataset: Any, store: Path | None) -> dict[str, Any]:
    """Digests of the files that an external dataset is read from: its label table, or those at its root; no others count.

    A dataset that a run makes is identified by that run, by its place inside it, and by external files named in its config.

    Raises:
        ChexReasonError: it is not there.
    """
    if dataset.table and not Path(dataset.table).is_file():
        raise ChexReasonError(f"dataset.table={dataset.table}: there is no such file")
    if dataset.made_by:
        beside = contents(dataset, "dataset", store, but=("root",))
        return {"root": dataset.root} | {name: value for name, value in beside.items() if value}
    root = place(dataset)
    files = dataset.files(root)
    if dataset.table:  # a table given by itself counts by its content, not its name
        return {"tables": content_digests(files, store)}
    names = [file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name for file in files]
    return {"tables": dict(zip(names, content_digests(files, store), strict=True))}


def write_root(folder: Path, root: Path) -> None:
    """Record in the run's `folder` where its images are: a relative path if a run beside it made them, else an absolute one."""
    beside = root.absolute().is_relative_to(folder.absolute().parent)
    write_text(folder / ROOT, os.path.relpath(root, folder) if beside else str(root.absolute()))


def read_root(folder: Path) -> Path:
    """The folder that the image paths of the run in `folder` are relative to.

    Raises:
        ChexReasonError: the run does not say.
    """
    file = folder / ROOT
    said = file.read_text(encoding="utf-8", errors="replace").strip() if file.is_file() else ""
    if not said:
        raise ChexReasonError(f"{folder} has no {ROOT}, which says where its images lie: make that run again, with force=true")
    return Path(os.path.normpath(folder.absolute() / said))


def existing_root(folder: Path) -> Path:
    """As `read_root`, for whoever is about to read images.

    Raises:
        ChexReasonError: the run does not say, or there is no such folder.
    """
    root = read_root(folder)
    if not root.is_dir():
        raise ChexReasonError(
            f"{folder / ROOT} says that the images lie in {root}, and there is no such folder: write the right one into it, or "
            "make that run again, with force=true"
        )
    return root


def unsafe(names: pd.Series) -> pd.Series:
    """Which texts cannot be a relative path or an identifier: absolute, climbing, control characters, formulas."""
    return names.isna() | names.astype("str").str.contains(_UNSAFE, regex=True) | (names == "")


def image_problems(root: Path, paths: Iterable[str]) -> Iterator[tuple[int, str, str]]:
    """(position, kind, detail) of every path that leaves `root` through a link or has no file.

    One `lstat` per file and per folder, so that a root of 377,110 images takes seconds on a local disk.
    `name.parquet#7` stands for row 7 of an exported table.
    """
    top = root.resolve()
    known = {"": True, "/": False}

    def inside(folder: str) -> bool:
        if folder not in known:
            full = os.path.join(top, folder)
            within = not os.path.islink(full) or _reached(full).is_relative_to(top)
            known[folder] = within and inside(os.path.dirname(folder))
        return known[folder]

    for position, path in enumerate(paths):
        file = path.partition("#")[0]
        full = os.path.join(top, file)
        try:
            mode = os.lstat(full).st_mode
            link = stat.S_ISLNK(mode)
            reached = os.path.isfile(full) if link else stat.S_ISREG(mode)
        except (OSError, ValueError):
            reached, link = False, False
        if not inside(os.path.dirname(file)) or (link and not _reached(full).is_relative_to(top)):
            yield position, UNSAFE, f"{path} leads out of {root} through a symbolic link"
        elif not reached:
            yield position, MISSING, f"{path} is not in {root}"


def one_content(files: Sequence[Path]) -> bool:
    """Whether all files have the same content; an unreadable file counts as different."""
    try:
        return all(filecmp.cmp(files[0], other, shallow=False) for other in files[1:])
    except OSError:
        return False


def _reached(file: str | Path) -> Path:
    """The path with its links resolved; resolution stops at a circular link."""
    return Path(os.path.realpath(file))


def image_file(root: Path, path: str) -> Path:
    """`root / path`.

    Raises:
        ChexReasonError: the path leads out of `root`.
    """
    full = root / path
    if "\0" in path or os.path.isabs(path) or not _reached(full).is_relative_to(root.resolve()):
        raise ChexReasonError(f"{path!r} leads out of the dataset root {root}; correct the table that names it")
    return full
