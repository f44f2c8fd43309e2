"""Estimates of what the runs of a plan cost: requests, tokens, money, disk and GPU hours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING

from chexreason.runs.folders import complete_runs, kind

if TYPE_CHECKING:
    from chexreason.runs.plan import Plan


@dataclass(frozen=True)
class Bill:
    """The most that a run may ask of a paid service.

    `read`, `write`: tokens of one request and its reply, at most. `money`: in total, in the prices' currency, capped by
    stage.budget. `written`: tokens per reply that `money` pays for at one attempt per study.
    """

    service: str
    studies: int
    attempts: int
    read: int
    write: int
    money: float
    written: float


def lines(missing: Sequence[Plan], took: dict[str, float]) -> list[str]:
    """Describe the cost of the `missing` runs: a line per paid service, and one for disk and GPU if any runs a model.

    `took`: mean seconds of a run of each kind, from `seconds_by_kind`.
    """
    bills = defaultdict(list)
    for one in missing:
        if one.bill:
            bills[one.bill.service].append(one.bill)
    said = []
    for service, asked in bills.items():
        first, most = sum(one.studies for one in asked), sum(one.studies * one.attempts for one in asked)
        money, request = sum(one.money for one in asked), asked[0]
        said.append(
            f"{service}: {first:,} to {most:,} requests, each of at most {request.read:,} tokens read and {request.write:,} "
            f"written; money: {money:,.2f} at most, enough for replies of {request.written:,.0f} tokens at the first attempt"
        )
    heavy = [one for one in missing if one.gigabytes]
    if heavy:
        hours = sum(took.get(one.kind, nan) for one in heavy) / 3600
        known = "not known before the first runs" if isnan(hours) else f"{hours:.1f}, by earlier runs"
        said.append(f"disk: {sum(one.gigabytes for one in heavy):g} GB ({len(heavy)} runs of a model); GPU hours: {known}")
    return said


def seconds_by_kind(runs: Path) -> dict[str, float]:
    """Mean seconds that the complete runs of each kind took."""
    took: dict[str, list[float]] = defaultdict(list)
    for _, manifest in complete_runs(runs):
        took[kind(manifest)].append(manifest["wall_seconds"])
    return {name: sum(seconds) / len(seconds) for name, seconds in took.items()}
