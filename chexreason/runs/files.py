"""Atomic writes, and reading and writing of JSON and JSON Lines, for all parts of the project."""

from __future__ import annotations

import codecs
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from chexreason.errors import ChexReasonError

PARTIAL = ".partial"  # suffix of a file that is still being written
# Other formats often given in place of JSON Lines, recognised by the first bytes of the file.
_INSTEAD = [
    (re.compile(begins), what)
    for begins, what in (
        (rb"PK|\xd0\xcf\x11\xe0", "the file is a workbook or an archive"),
        (rb"\x1f\x8b", "the file is packed, and `gunzip` unpacks it"),
        (rb"\s*<", "the file is an HTML page or XML, as some programs save a table"),
        (rb"\s*\[", "the file is one JSON list, and `jq -c '.[]' FILE` writes its objects in lines of their own"),
        (rb"\s*\{\s*[\r\n]", "the object goes on in other lines, and `jq -c . FILE` writes it in one"),
        (rb"[^{]*?;", "the file is a table divided by semicolons"),
        (rb"[^{]*?[\t,]", "the file is a table, as CSV is"),
    )
]


def is_first_process() -> bool:
    """Whether this process writes the run's records: only the first of several that share a run does."""
    return os.environ.get("RANK", "0") == "0"


def write_text(path: Path, text: str) -> Path:
    """Write by atomic rename, so that no reader ever sees half a file; only the first of several processes writes."""
    if is_first_process():
        with replacing(path) as partial:
            partial.write_text(text, encoding="utf-8")
            _flush(partial)
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file to write to, renamed to `path` at the end; on failure it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two runs, or two threads, may write the same file at once.
    partial = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}{PARTIAL}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # errors of a full disk have no filename
        raise
    finally:
        partial.unlink(missing_ok=True)


def to_disk(folder: Path) -> None:
    """Flush every file in `folder` to the disk, so that a crash cannot leave a run marked complete without its data."""
    for inside, _, names in os.walk(folder):
        for name in names:
            _flush(Path(inside) / name)
        _flush(Path(inside))


def make_readable(folder: Path) -> None:
    """Give every file in `folder` the permissions of the umask: safetensors creates files that only their owner may read."""
    os.umask(masked := os.umask(0))
    for inside, _, names in os.walk(folder):
        for path in (Path(inside) / name for name in names):
            with suppress(OSError):
                mode = path.stat().st_mode
                if not path.is_symlink() and (wanted := mode | 0o666 & ~masked) != mode:
                    path.chmod(wanted)


def _flush(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # removed, a dangling link, or a folder on Windows, which cannot open it
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def require_output(output: str | None, *read: str | None) -> None:
    """Check that the paths in `read` are files, and that `output` is None or a file other than these.

    Raises:
        ChexReasonError: `output` is not usable, or a path in `read` is a folder.
    """
    for folder in (one for one in read if one and Path(one).is_dir()):
        raise ChexReasonError(f"{folder} is a folder; the file that is to be read is wanted")
    if output is None:
        return
    if Path(output).is_dir():
        raise ChexReasonError(f"stage.output={output} is a folder; the name of a file is wanted")
    _refuse_in_a_run(output)
    if any(one and Path(one).resolve() == Path(output).resolve() for one in read):
        raise ChexReasonError(f"stage.output={output} is also the input: it would be overwritten. Choose another name")


def _refuse_in_a_run(output: str) -> None:
    for place in (Path(output).absolute(), *Path(output).absolute().parents):
        with suppress(OSError, ValueError, TypeError):
            if "recipe" in read_json(place / "manifest.json"):
                raise ChexReasonError(f"stage.output={output} lies in the folder of a run, {place}: name a place of your own")


def require_output_folder(output: str | None, read: str | None = None) -> None:
    """Check that `output` is None, or a folder that exists or can be created and lies outside of `read`.

    Raises:
        ChexReasonError: `output` is not usable.
    """
    if output is None:
        return
    _refuse_in_a_run(output)
    if read and Path(read).is_dir() and Path(output).resolve().is_relative_to(Path(read).resolve()):
        raise ChexReasonError(f"stage.output={output} lies in what is read, {read}: the next run would read it, too")
    place = next(path for path in (Path(output).absolute(), *Path(output).absolute().parents) if path.exists())
    if not place.is_dir():
        raise ChexReasonError(f"stage.output={output}: {place} is a file; the name of a folder is wanted")
    if not os.access(place, os.W_OK):
        raise ChexReasonError(f"stage.output={output}: {place} cannot be written; choose another folder")


def _number(value: Any) -> Any:
    """Convert a NumPy or torch scalar to a Python number."""
    if getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON: {str(value)[:200]}")


def write_json(path: Path, value: Any) -> Path:
    """`value` as indented JSON, by atomic rename."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=_number) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in `path`."""
    return json.loads(path.read_text(encoding="utf-8"))


def as_lines(rows: Iterable[dict[str, Any]]) -> str:
    """`rows` as JSON Lines."""
    return "".join(json.dumps(row, ensure_ascii=False, default=_number) + "\n" for row in rows)


def read_lines(path: Path, schema: int | None = None) -> list[dict[str, Any]]:
    """The JSON objects, one per line, of a file that this package wrote; a truncated last line is dropped.

    Raises:
        ChexReasonError: a line other than the last is not a JSON object, or any line is not of the given `schema` version.
    """
    rows = []
    for where, row in each_line(path, last_may_be_cut=True):
        if schema is not None and row.get("schema") != schema:
            raise ChexReasonError(f"{where}: schema {row.get('schema')!r}; {schema} is wanted")
        rows.append(row)
    return rows


def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Hook for `json.loads`; raises ValueError if a key occurs twice, since one value would be lost silently."""
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands in it twice")
    return row


def utf16(head: bytes) -> str | None:
    """The UTF-16 encoding of a text with these first bytes, with or without a byte-order mark; None if it is not UTF-16."""
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    return {b"\0": "utf-16-be"}.get(head[:1]) or {b"\0": "utf-16-le"}.get(head[1:2])


def text_of(path: Path, errors: str = "strict") -> str:
    """Read a user's text file in UTF-8 or UTF-16, without its byte-order mark; `errors` as for `bytes.decode`.

    Raises:
        OSError, UnicodeError: it cannot be read, or it is in another encoding.
    """
    content = path.read_bytes()
    return content.decode(utf16(content[:2]) or "utf-8-sig", errors).removeprefix("\ufeff")


def each_line(path: Path, last_may_be_cut: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each JSON object of a file, one per line, with its place (`FILE, line 3`); blank lines are skipped.

    Files in UTF-16, or with carriage returns as line ends, are accepted, too.

    Raises:
        ChexReasonError: a line is no JSON object; where it is the first, with what the file is instead.
    """
    content = path.read_bytes()
    if wide := utf16(content[:2]):
        content = content.decode(wide, "replace").encode()
    if b"\n" not in content:
        content = content.replace(b"\r", b"\n")
    lines = content.split(b"\n")
    first = True
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line, object_pairs_hook=without_doubles)
            as_lines([row]).encode()
            if not isinstance(row, dict):
                raise ValueError(f"this is a {type(row).__name__}")
        except (ValueError, RecursionError) as error:  # invalid JSON or UTF-8, a lone surrogate, nested too deep
            if last_may_be_cut and number == len(lines):
                return
            why = (_kind(content) if first else None) or _why(error)
            raise ChexReasonError(f"{where}: no JSON object: {why}; one object in each line is wanted, in UTF-8") from None
        yield where, row
        first = False


def _kind(content: bytes) -> str | None:
    """The format of a file that does not begin with a JSON object, if it is known."""
    return next((what for begins, what in _INSTEAD if begins.match(content[:2_000])), None)


def _why(error: Exception) -> str:
    """Why a line is no JSON, with what stands there."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}, {error.doc[error.pos :][:20]!r}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is no UTF-8 (`iconv -f latin1 -t utf-8 FILE` makes some of a text of Western Europe's)"
    return str(error)
