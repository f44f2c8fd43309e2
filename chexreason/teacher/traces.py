"""Traces on disk: JSON Lines, one trace a line, with a schema version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chexreason.errors import ChexReasonError
from chexreason.runs.files import read_lines

SCHEMA = 1


def read_traces(path: Path) -> list[dict[str, Any]]:
    """The traces in `path`; a last line that a kill cut short is left out.

    Raises:
        ChexReasonError: the file is missing, or another line than the last is no trace of this schema.
    """
    if not path.is_file():
        raise ChexReasonError(f"there are no traces at {path}: run stage=teach")
    return read_lines(path, SCHEMA)
