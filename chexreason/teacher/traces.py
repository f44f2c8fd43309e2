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
    lines = path.read_text(encoding="utf-8").split("\n")
    traces = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            trace = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise ChexReasonError(f"{path}, line {number}: no JSON object ({error})") from None
        if trace.get("schema") != SCHEMA:
            raise ChexReasonError(f"{path}, line {number}: schema {trace.get('schema')!r}; {SCHEMA} is wanted")
        traces.append(trace)
    return traces
