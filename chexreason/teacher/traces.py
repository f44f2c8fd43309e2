"""Traces on disk: JSON Lines, one trace a line, with a schema version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chexreason.errors import ChexReasonError

SCHEMA = 1


def read_traces(path: Path) -> list[dict[str, Any]]:
    """The traces in `path`; a last line that a kill cut short is left out.

    Raises:
        ChexReasonError: the file is missing, or another line than the last is no trace of this schema.
    """
    if not path.is_file():
        raise ChexReasonError(f"there are no traces at {path}: run stage=teach")
    return read_lines(path)


def read_lines(path: Path, schema: int = SCHEMA) -> list[dict[str, Any]]:
    """The JSON objects in `path`, one a line; a last line that a kill cut short, be it inside a letter, is left out.

    Raises:
        ChexReasonError: another line than the last is no JSON object of this schema.
    """
    lines = path.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:  # no JSON, or no UTF-8
            if number == len(lines):
                break
            raise ChexReasonError(f"{path}, line {number}: no JSON object ({error})") from None
        found = row.get("schema") if isinstance(row, dict) else None
        if found != schema:
            raise ChexReasonError(f"{path}, line {number}: schema {found!r}; {schema} is wanted")
        rows.append(row)
    return rows


def as_lines(rows: list[dict[str, Any]]) -> str:
    """`rows` as JSON Lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
