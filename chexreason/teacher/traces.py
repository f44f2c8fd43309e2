"""Traces on disk: JSON Lines, one trace a line, with a schema version."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from chexreason.errors import ChexReasonError
from chexreason.runs.files import as_lines, read_lines, write_text

SCHEMA = 1
TRACES = "traces.jsonl"  # in a teach run's folder


def write_traces(folder: Path, traces: Iterable[dict[str, Any]]) -> Path:
    """Leave the traces in a teach run's `folder`."""
    return write_text(folder / TRACES, as_lines(traces))


def read_traces(folder: Path) -> list[dict[str, Any]]:
    """The traces of the teach run in `folder`; a last line that a kill cut short is left out.

    Raises:
        ChexReasonError: the file is missing, or another line than the last is no trace of this schema.
    """
    path = folder / TRACES
    if not path.is_file():
        raise ChexReasonError(f"there are no traces at {path}: run stage=teach")
    return read_lines(path, SCHEMA)
