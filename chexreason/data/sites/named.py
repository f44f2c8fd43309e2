"""Sites that label images in their own vocabulary.

The mapping is data: names.csv has a row for each name with the finding (blank if CheXpert has none), whether the match is
exact, approximate or absent, and why. NIH's names are in chexreason/labels.py, since the paper itself gives them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from chexreason.data.records import ILLEGAL, Problem, StudyTable
from chexreason.data.sites.published import Published
from chexreason.data.tables import shown
from chexreason.errors import nearest, one_of
from chexreason.labels import FINDINGS, NEGATIVE, POSITIVE, SiteName, in_order

if TYPE_CHECKING:
    import pandas as pd

NAMES = Path(__file__).with_name("names.csv")


@lru_cache
def names_of(site: str) -> dict[str, SiteName]:
    """The mapping of each name of a site in names.csv."""
    with NAMES.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["site"] == site]
    return {row["name"]: SiteName(row["finding"] or None, row["match"] == "exact", row["reason"]) for row in rows}


def labelled(names: Mapping[str, SiteName]) -> tuple[str, ...]:
    """The findings that a site labels, in CheXpert's order: those to which one of its names maps."""
    return tuple(in_order({name.finding for name in names.values() if name.finding}))


def label(frame: pd.DataFrame, given: Iterable[list[str]], names: Mapping[str, SiteName], site: str) -> tuple[Problem, ...]:
    """Fill the 14 label columns, in place: what the site labels is 1 or 0, the rest NaN.

    Args:
        given: for each row of `frame`, the names that the site gives it.

    Returns:
        A problem for each name that the site does not have.
    """
    import numpy as np

    column = {finding: place for place, finding in enumerate(FINDINGS)}
    values = np.full((len(frame), len(FINDINGS)), np.nan)
    values[:, [column[finding] for finding in labelled(names)]] = NEGATIVE
    wrong: list[tuple[int, str]] = []
    for position, found in enumerate(given):
        for name in found:
            known = names.get(name.strip())
            if known is None:
                wrong.append((position, name))
            elif known.finding:
                values[position, column[known.finding]] = POSITIVE
    frame[list(FINDINGS)] = values
    tables, rows = frame["table"].tolist(), frame["row"].tolist()
    return tuple(Problem(str(tables[place]), int(rows[place]), ILLEGAL, _unknown(name, names, site)) for place, name in wrong)


def _unknown(name: str, names: Mapping[str, SiteName], site: str) -> str:
    if not name.strip():
        return f"Finding Labels is empty, or a name in it; {site} says so in words where there is nothing"
    return f"{shown(name)!r} is not one of {site}'s names.{nearest(name, names)}"


@dataclass(frozen=True, kw_only=True)
class Named(Published):
    """A dataset of a site with its own vocabulary."""

    outside: str = "keep"  # keep (all negative) | drop: images whose only findings lie outside those scored

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(("keep", "drop"), outside=self.outside)


def inside(table: StudyTable, outside: str) -> StudyTable:
    """Keep (as all negative) or drop the images whose only findings lie outside those scored, as `outside` says."""
    return table.without(nothing_scored(table), "all its findings lie outside those scored") if outside == "drop" else table


def nothing_scored(table: StudyTable) -> pd.Series:
    """Images without a scored finding; if a site names something for every image, their findings are unscored ones."""
    scored = [finding for finding in FINDINGS if finding in table.findings]
    return (table.records[scored] != POSITIVE).all(axis=1)


def noted(table: StudyTable) -> StudyTable:
    """The table with a note of how many images have nothing that is scored."""
    return table.noting({"all its findings lie outside those scored": nothing_scored(table).sum()})
