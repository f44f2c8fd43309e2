"""The result of every reader of answers, and how several statements about one finding are combined."""

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
    """The status of a finding under a heading: a claim takes the heading's status; a denial or a doubt stays as it is."""
    return heading if said is True else said


def together(said: Collection[bool | None]) -> bool | None:
    """Combine several statements about one finding: a denial outweighs a doubt, and a doubt outweighs a claim."""
    return False if False in said else None if None in said else True
