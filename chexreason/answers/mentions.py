"""What every reader of an answer hands back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mention:
    """A finding that is named and whether it is claimed (None: neither yes nor no); `how`: list, table, json or prose."""

    text: str
    finding: str | None
    claimed: bool | None
    how: str
