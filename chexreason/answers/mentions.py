"""What every reader of an answer hands back, and how several words on one finding are one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Mention:
    """A finding that is named and whether it is claimed (None: neither yes nor no); `how`: list, table, json or prose."""

    text: str
    finding: str | None
    claimed: bool | None
    how: str


def under(heading: bool | None, said: bool | None) -> bool | None:
    """What is said of a finding under a heading: a claim is what the heading makes of it; a denial of a denial is nothing."""
    return heading if said is True else said


def together(said: Collection[bool | None]) -> bool | None:
    """What several say of one finding: a denial first, then a doubt."""
    return False if False in said else None if None in said else True
