"""Which config keys define a run, as declared in the metadata of the dataclass fields.

A key of a config dataclass defines the run unless its field's metadata say otherwise: CIRCUMSTANCE (affects how or where,
not the result), DESCRIPTION (names and ownership: changing it does not make a new run, and existing manifests are updated),
CONTENT (an external file or folder, identified by its content instead of its path), UNORDERED (a list whose order does not
matter) or DRAWN (ignored if nothing is sampled, as with greedy decoding). A class whose input is more than a path returns the
digests in `inputs()`; one with requirements checks them in `require()`; one whose result depends on this package's own code
lists the subpackages in `CODE`. A class from another package is identified by its code: a file, or all files of its package.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

from chexreason.errors import ChexReasonError

PACKAGE = Path(__file__).parents[1]
# Values of a field's `metadata`. The first two do not define a run; a CONTENT field is a path, or a list of paths.
CIRCUMSTANCE, DESCRIPTION, CONTENT = {"identity": "circumstance"}, {"identity": "description"}, {"identity": "content"}
UNORDERED, DRAWN = {"identity": "unordered"}, {"identity": "drawn"}  # order is irrelevant; ignored if nothing is sampled
DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
BATCH = 64  # files per database transaction
DIGESTS = ".digests.sqlite"  # in the runs folder: content digests, remembered by path, size and time of change


def digest(value: Any) -> str:
    """SHA-256 of a JSON-serialisable value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def defining(described: Any, where: str, store: Path | None, drawn: bool = True) -> dict[str, Any]:
    """The values of a config dataclass that define a run, JSON-serialisable.

    `where`: the group's name in errors. `store`: cache of digests. `drawn`: whether the run samples anything.

    Raises:
        ChexReasonError: a file that a CONTENT key names is not there.
    """
    digests = described.inputs(store) if hasattr(described, "inputs") else contents(described, where, store)
    aside = _contents(described)
    return {name: value for name, value in by_name(described, drawn).items() if name not in aside} | digests | _code(described)


def _code(described: Any) -> dict[str, Any]:
    kind = type(described)
    if kind.__module__.split(".")[0] == __name__.split(".")[0]:
        parts = getattr(described, "CODE", ())
        return {"code": [path_digest(PACKAGE / part, without_suffix=".pyc") for part in parts]} if parts else {}
    module = sys.modules[kind.__module__]
    files = [Path(str(module.__file__))]
    if "." in kind.__module__:
        files = sorted(files[0].parents[kind.__module__.count(".") - 1].rglob("*.py"))
    return {"code": [kind.__module__, kind.__qualname__, *map(sha256_of, files)]}


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_if_readable(file: Path) -> str:
    """As `sha256_of`, but "" if the file cannot be read, so that only its name identifies it."""
    try:
        return sha256_of(file)
    except OSError:
        return ""


def contents(
    described: Any, where: str, store: Path | None, but: Sequence[str] = (), read: Callable[[Path], str] = sha256_of
) -> dict[str, Any]:
    """Digests of the files that the CONTENT keys of a config dataclass name, except `but`; a list gives one per entry."""
    named = {name: getattr(described, name) for name in _contents(described) if name not in but}
    return {name: _digests(value, f"{where}.{name}", store, read) for name, value in named.items()}


def _contents(described: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(described) if field.metadata == CONTENT]


def by_name(described: Any, drawn: bool = True) -> dict[str, Any]:
    """The defining values of a config dataclass, with CONTENT keys as they are instead of digests."""
    aside = (CIRCUMSTANCE, DESCRIPTION) if drawn else (CIRCUMSTANCE, DESCRIPTION, DRAWN)
    roles = {field.name: field.metadata for field in dataclasses.fields(described)}
    values = {name: getattr(described, name) for name, role in roles.items() if role not in aside}
    for name, value in values.items():
        if dataclasses.is_dataclass(value):
            values[name] = by_name(value, drawn)
        elif roles[name] == UNORDERED:
            values[name] = sorted(set(value))
        elif isinstance(value, dict):  # its values are untyped: treat 1 and 1.0 as equal
            values[name] = {key: int(one) if isinstance(one, float) and one.is_integer() else one for key, one in value.items()}
    return values


def descriptions(described: Any) -> dict[str, Any]:
    """The DESCRIPTION values of a config dataclass, which do not define a run."""
    found = (field.name for field in dataclasses.fields(described) if field.metadata == DESCRIPTION)
    return {name: getattr(described, name) for name in found}


def _digests(value: Any, key: str, store: Path | None, read: Callable[[Path], str]) -> Any:
    if value is None or isinstance(value, list | tuple):
        return [_digests(one, key, store, read) for one in value or ()]
    path = Path(value)
    if not path.is_file() and not path.is_dir():
        what = "this is neither a file nor a folder" if path.exists() else "there is no such file or folder"
        raise ChexReasonError(f"{key}={value}: {what}")
    return path_digest(path, store, read=read)


def files_in(folder: Path, shut: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """All files below a folder, except hidden ones; symbolic links are followed, and each folder is visited once.

    `shut`: called for a folder that cannot be opened.
    """
    seen = set()
    for place, inner, names in os.walk(folder, onerror=shut, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            inner.clear()
            continue
        seen.add(real)
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        yield from (Path(place, name) for name in names if not name.startswith("."))


def path_digest(
    path: Path, store: Path | None = None, without_suffix: str | None = None, read: Callable[[Path], str] = sha256_of
) -> str:
    """SHA-256 of a file's content, or of a folder's relative paths and contents (9 GB of weights are read once).

    Hidden files, which file managers and downloads leave behind, are ignored, as are files with the suffix `without_suffix`.
    """
    if path.is_file():
        return content_digests([path], store, read)[0]
    names = sorted(child.relative_to(path) for child in files_in(path) if child.is_file())
    names = [name for name in names if name.suffix != without_suffix]
    files = [path / name for name in names]
    return digest(list(zip((name.as_posix() for name in names), content_digests(files, store, read), strict=True)))


def content_digests(files: Iterable[Path], store: Path | None = None, read: Callable[[Path], str] = sha256_of) -> list[str]:
    """The result of `read` (by default the SHA-256) for each file; an empty result is not cached.

    `store` caches results by path, size and times of change, so that looking one up takes one `stat` per file. A damaged store
    is recreated; without write access to it, the files are read.
    """
    files = list(files)
    if store is None:
        return [_read_once(file, file_state(file), read) if file.exists() else read(file) for file in files]
    try:
        return _remembered(files, store, read)
    except (sqlite3.OperationalError, PermissionError, FileExistsError, NotADirectoryError):
        return [read(file) for file in files]  # read-only folder, full disk, or locked by another process
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in DAMAGED:
            raise
    for damaged in (store.with_name(f"{store.name}-journal"), store):
        damaged.unlink(missing_ok=True)
    return _remembered(files, store, read)


@lru_cache(maxsize=100_000)  # the jobs of a sweep share the same weights
def _read_once(file: Path, state: tuple[int, str], read: Callable[[Path], str]) -> str:
    return read(file)


def _remembered(files: list[Path], store: Path, read: Callable[[Path], str]) -> list[str]:
    store.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(store, timeout=60)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS digests (file, size, changed, sha256, PRIMARY KEY (file))")
        digests = []
        for file in files:
            digests.append(_digest(file, database, read))
            if len(digests) % BATCH == 0:
                database.commit()  # a kill then loses one batch at most, and other processes can write
        return digests


def _digest(file: Path, database: sqlite3.Connection, read: Callable[[Path], str]) -> str:
    name = os.fsencode(file.absolute()).decode("utf-8", "backslashreplace")  # a path need not be UTF-8
    state = (name, *file_state(file))
    query = "SELECT sha256 FROM digests WHERE file = ? AND size = ? AND changed = ?"
    known = database.execute(query, state).fetchone()
    if known:
        return known[0]
    sha256 = read(file)
    if sha256:
        database.execute("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)", (*state, sha256))
    return sha256


def file_state(file: Path) -> tuple[int, str]:
    """A file's size and its mtime and ctime; programs can set back mtime, but not ctime.

    `name.parquet#7` is row 7 of a table and has the state of the table.
    """
    table, _, row = str(file).partition(".parquet#")
    status = os.stat(f"{table}.parquet" if row else file)
    return status.st_size, f"{status.st_mtime_ns} {status.st_ctime_ns}"
