"""Transfer from CheXpert to other sites: the change in macro-F1 on matched labels first, the paper's definition beside it.

Section 4.4 goes to NIH; every other site that was scored has rows of its own. The section compares a macro-F1 over CheXpert's
14 labels with one over NIH's nine. Part of that difference is the five labels that only the first has; on the labels that both
have, the change is the model's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chexreason.answers.intervals import interval
from chexreason.labels import NIH_SHARED, in_order
from chexreason.report import published
from chexreason.report.study import Arm, Result, Study
from chexreason.report.tables import TAKE, Cell, Table, Value, f1_of, paper_row, value


@dataclass(frozen=True)
class Transfer:
    """One arm from a CheXpert test set to another site's."""

    arm: Arm
    near: Result
    far: Result

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that both test sets have, in CheXpert's order."""
        return tuple(in_order(set(self.near.labels) & set(self.far.labels)))


def transfers(study: Study) -> list[Transfer]:
    """Every arm that was evaluated on both sites, for every pair of their test sets: one other site after another."""
    datasets, arms = study.datasets, study.arms
    others = [one for one in study.results if one.is_test_set]
    others.sort(key=lambda one: (datasets.index(one.dataset), arms.index(one.arm)))
    pairs = [
        Transfer(near.arm, near.of_trainings(far), far.of_trainings(near))
        for far in others
        for near in study.on("chexpert")
        if near.arm == far.arm and near.site != far.site
    ]
    return [pair for pair in pairs if pair.near.evaluations and pair.labels]


def table(study: Study) -> Table:
    """Macro-F1 here and there, and the relative change by both definitions. Test sets are resampled independently."""
    pairs, rows = transfers(study), []
    several = len({(one.near.dataset, one.far.dataset) for one in pairs}) > 1
    for one in pairs:
        column = paper_row("5", one.arm)
        between = f" ({one.near.dataset} to {one.far.dataset})" if several else ""
        rows.append((study.title(one.arm) + between, *_cells(study, one, column)))
    columns = (
        "Model",
        "CheXpert, matched labels",
        "Other site, matched labels",
        "Change, matched labels",
        "Change, the paper's definition",
    )
    return Table("transfer", "Transfer from CheXpert to other sites (macro-F1)", columns, tuple(rows), NOTE)


NOTE = (
    "Relative change of macro-F1 from CheXpert's test set to another site's: over the labels that both have, and by the "
    "paper's own definition (each test set over its own labels). Intervals resample the patients of both test sets. "
    "The paper's matched numbers are computed from the per-label columns of its Tables 5 and 6."
)


def published_table() -> Table:
    """The same, for the paper's five models."""
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (column, Value(here), Value(there), *(Value(one, signed=True, percent=True) for one in both))
        for column, (here, there, *both) in published_changes().items()
    )
    columns = ("Model", "CheXpert, nine labels", "NIH, nine labels", "Change, nine labels", "Change, the paper's definition")
    return Table("transfer_published", "Transfer in the paper's Tables 5 and 6 (macro-F1)", columns, rows)


def published_changes() -> dict[str, tuple[float, float, float, float]]:
    """Per column of Tables 5 and 6: macro-F1 on the nine labels here, there, the change, and the paper's change."""
    changes = {}
    for column in published.COLUMNS.values():
        here, there = (published.macro_f1(number, column, NIH_SHARED) for number in ("5", "6"))
        own = [published.macro_f1(number, column) for number in ("5", "6")]
        if here and there and own[0] and own[1]:
            changes[column] = (here, there, there / here - 1, own[1] / own[0] - 1)
    return changes


def per_label(study: Study, one: Transfer) -> list[tuple[str, Value, Value]]:
    """Each matched label's F1 here and there, for the plot."""

    def f1(side: Result, place: int) -> Value:
        return value(study, side, f1_of(place), labels=one.labels)

    return [(label, f1(one.near, place), f1(one.far, place)) for place, label in enumerate(one.labels)]


def change(near: float | np.ndarray, far: float | np.ndarray) -> np.ndarray:
    """far / near - 1; 0 where both are 0, and infinite where only the first is."""
    near, far = np.asarray(near, dtype=float), np.asarray(far, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((near == 0) & (far == 0), 0.0, far / near - 1)


def _cells(study: Study, one: Transfer, column: str | None) -> list[Cell]:
    here, there, matched, own = published_changes().get(column or "", (None, None, None, None))
    if one.far.benchmark != "nih":
        here = there = matched = own = None
    take = TAKE["macro_f1"]
    return [
        value(study, one.near, take, here, one.labels),
        value(study, one.far, take, there, one.labels),
        _change_cell(study, one, one.labels, matched),
        _change_cell(study, one, (), own),
    ]


def _change_cell(study: Study, one: Transfer, labels: tuple[str, ...], paper: float | None) -> Value:
    take = TAKE["macro_f1"]
    (near, near_cloud), (far, far_cloud) = (study.scores(side, labels) for side in (one.near, one.far))
    found = float(change(take(near), take(far)))
    low, high = interval(change(take(near_cloud), take(far_cloud)), found)
    return Value(found, float(low), float(high), paper, signed=True, percent=True, comparable=not one.near.is_drawn)
