"""What defines a run, said beside the keys themselves.

A key of a config dataclass defines the run unless its field's metadata say otherwise: CIRCUMSTANCE (how or where it is done,
not what comes out) or CONTENT (a file or folder from outside, which counts by what is in it, wherever it lies). A class whose
input is more than a path says what counts in `inputs()`; one that can lack something says so in `require()`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from chexreason.errors import ChexReasonError

_ROLE = "identity"
# A field's `metadata`: it does not define a run; or it names a file or folder (or a list of them) that does by its content.
CIRCUMSTANCE, CONTENT = {_ROLE: "circumstance"}, {_ROLE: "content"}
DIGESTS = ".digests.sqlite"  # in the runs folder: content digests, remembered by path, size and time of change


def digest(value: Any) -> str:
    """SHA-256 of a JSON-able value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def defining(described: Any, where: str, store: Path | None) -> dict[str, Any]:
    """What of a config dataclass defines a run: JSON-able; `where` names its group in errors, `store` remembers digests.

    Raises:
        ChexReasonError: a file that a CONTENT key names is not there.
    """
    values: dict[str, Any] = {}
    own = described.inputs(store) if hasattr(described, "inputs") else None
    for field in dataclasses.fields(described):
        role, value = field.metadata.get(_ROLE), getattr(described, field.name)
        if role == CIRCUMSTANCE[_ROLE]:
            continue
        if role == CONTENT[_ROLE]:
            if own is None:
                values[field.name] = _digests(value, f"{where}.{field.name}", store)
        elif dataclasses.is_dataclass(value):
            values[field.name] = defining(value, f"{where}.{field.name}", store)
        else:
            values[field.name] = value
    return values | (own or {})


def _digests(value: Any, key: str, store: Path | None) -> Any:
    if value is None or isinstance(value, list | tuple):
        return [_digests(one, key, store) for one in value or ()]
    path = Path(value)
    if not path.exists():
        raise ChexReasonError(f"{key}={value}: there is no such file or folder")
    return path_digest(path, store)


def path_digest(path: Path, store: Path | None = None) -> str:
    """SHA-256 of a file's content, or of a folder's relative paths and contents (9 GB of weights are read once)."""
    if path.is_file():
        return content_digests([path], store)[0]
    files = sorted(child for child in path.rglob("*") if child.is_file())
    names = (child.relative_to(path).as_posix() for child in files)
    return digest(list(zip(names, content_digests(files, store), strict=True)))


def content_digests(files: Iterable[Path], store: Path | None = None) -> list[str]:
    """SHA-256 of each file's content; `store` remembers them, so that a second look costs one `stat` a file."""
    if store is None or not _writable(store):
        return [_read(file) for file in files]
    with closing(sqlite3.connect(store, timeout=60)) as database, database:
        return [_remembered(file, database) for file in files]


def _writable(store: Path) -> bool:
    """A runs folder that cannot be written is no reason not to read what is in it."""
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(store, timeout=60)) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS digests (file, size, changed, sha256, PRIMARY KEY (file))")
    except (OSError, sqlite3.Error):
        return False
    return True


def _remembered(file: Path, database: sqlite3.Connection) -> str:
    status = file.stat()
    state = (str(file.absolute()), status.st_size, status.st_mtime_ns)
    query = "SELECT sha256 FROM digests WHERE file = ? AND size = ? AND changed = ?"
    known = database.execute(query, state).fetchone()
    if known:
        return known[0]
    sha256 = _read(file)
    database.execute("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)", (*state, sha256))
    return sha256


def _read(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
