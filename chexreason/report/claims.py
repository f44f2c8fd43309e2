"""The paper's claims (claims.toml) checked on the runs at hand and on the paper's own numbers.

A claim is a difference and the sign that it should have. On the runs at hand it holds where the difference's whole 95 %
interval lies on the claimed side, does not hold where the whole interval lies on the other, and else is undecided. Undecided,
too, is what fewer than FEW_PATIENTS patients say, and that a score of 0 is as good as another of 0.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chexreason.answers.intervals import difference
from chexreason.answers.metrics import FEW_PATIENTS
from chexreason.labels import NIH_SHARED, in_order
from chexreason.report import published
from chexreason.report.study import Result, Study
from chexreason.report.tables import TAKE, Table, Value

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
DRAWN, FEW = " on drawn films", f" by fewer than {FEW_PATIENTS} patients"
FILE = Path(__file__).with_name("claims.toml")


@dataclass(frozen=True)
class Claim:
    """One entry of claims.toml; its comment there describes the fields."""

    id: str
    claim: str
    section: str
    metric: str
    expect: str
    of: dict[str, Any]
    than: dict[str, Any]
    published: dict[str, Any]
    margin: float = 0.0
    labels: str = "own"


@dataclass(frozen=True)
class Verdict:
    """The result of a check: `effect` is `of` minus `than`. `interval` and `p` are None if only published numbers exist."""

    verdict: str
    effect: float
    of: str
    than: tuple[str, ...]
    interval: tuple[float, float] | None = None
    p: float | None = None
    paired: bool | None = None
    drawn: bool = False  # on drawn films, so it says nothing about patients or the paper
    few: bool = False  # too few patients to decide anything


@dataclass(frozen=True)
class Checked:
    """A claim with its verdict here (None: no runs for it) and in the paper's numbers (None: not printed there)."""

    claim: Claim
    here: Verdict | None
    paper: Verdict | None
    needs: dict[str, Any] = field(default_factory=dict)  # the selector of results that are still missing

    def as_json(self) -> dict[str, Any]:
        return {
            **{key: getattr(self.claim, key) for key in ("id", "claim", "section", "metric", "expect", "margin", "labels")},
            "here": asdict(self.here) if self.here else None,
            "paper": asdict(self.paper) if self.paper else None,
            "needs": self.needs,
        }


@lru_cache(maxsize=1)
def claims() -> tuple[Claim, ...]:
    """Every claim of claims.toml."""
    with FILE.open("rb") as stream:
        return tuple(Claim(**entry) for entry in tomllib.load(stream)["claim"])


def check(study: Study) -> list[Checked]:
    """Every claim, checked on the study and on the published numbers."""
    return [_check(claim, study) for claim in claims()]


def table(checked: list[Checked]) -> Table:
    """One row per claim that can be checked on the runs or on the paper's numbers."""
    rows = []
    for one in checked:
        here, paper = one.here, one.paper
        effect = None
        if here:
            low, high = here.interval or (None, None)
            effect = Value(here.effect, low, high, signed=True)
        lacking = one.needs["than"]["prompt"] if here and one.needs else []
        asked = one.claim.claim + (f" Not run yet: {', '.join(lacking)}." if lacking else "")
        rows.append(
            (asked, one.claim.section, f"{here.verdict}{FEW * here.few}{DRAWN * here.drawn}" if here else "no runs", effect)
            + ((paper.verdict, Value(paper.effect, signed=True)) if paper else (None, None))
        )
    columns = ("Claim", "Section", "Here", "Effect here", "The paper's numbers", "Effect in the paper")
    return Table("claims", "The paper's claims", columns, tuple(rows), NOTE)


NOTE = (
    "The effect is the difference in the claim's metric (macro-F1 unless it says otherwise) with its 95 % bootstrap "
    "interval, paired where both runs read the same images. The paper prints no per-image answers, so its own numbers "
    "are judged by their sign alone."
)


def _check(claim: Claim, study: Study) -> Checked:
    paper = in_paper(claim)
    of, rivals = next(_sides(claim, study), (None, []))
    if of is None:
        return Checked(claim, None, paper, {"of": claim.of, "than": claim.than})
    here = _here(claim, study, of, rivals)
    asked = claim.than.get("prompt")
    lacking = sorted(set(asked) - {one.arm.prompt for one in (of, *rivals)}) if isinstance(asked, list) else []
    if not lacking:
        return Checked(claim, here, paper)
    if here.verdict == HOLDS:  # a missing rival might be better, so the claim is open; a claim that fails stays failed
        here = replace(here, verdict=UNDECIDED)
    return Checked(claim, here, paper, {"than": claim.than | {"prompt": lacking}})


def _sides(claim: Claim, study: Study) -> Iterator[tuple[Result, list[Result]]]:
    """A result and those that it may be compared with; of the claim's first checkpoint, and the latest, first.

    All are of one model, as every claim is. On one benchmark they are of the same test set; between two benchmarks one
    checkpoint is compared with itself. Where both sides of a claim take several checkpoints, they are compared in the same.
    """
    of, than = claim.of, claim.than
    for checkpoint in of["checkpoint"] if isinstance(of["checkpoint"], list) else [of["checkpoint"]]:
        same = {"checkpoint": checkpoint} if isinstance(than["checkpoint"], list) else {}
        others = _matching(study, than | same)
        for one in reversed(_matching(study, of | {"checkpoint": checkpoint})):
            alike = [other for other in others if other.dataset == one.dataset and other.arm.model == one.arm.model]
            if rivals := [other for other in alike if other is not one]:
                yield one, rivals
            elsewhere = [other for other in others if other.benchmark != one.benchmark and other.arm == one.arm]
            for here, there in ((one.of_trainings(other), other.of_trainings(one)) for other in reversed(elsewhere)):
                if here.evaluations:
                    yield here, [there]


def _here(claim: Claim, study: Study, of: Result, rivals: list[Result]) -> Verdict:
    take, sides = TAKE[claim.metric], [of, *rivals]
    labels: tuple[str, ...] = ()
    if claim.labels == "matched":
        labels = tuple(in_order(set.intersection(*(set(one.labels) for one in sides))))
    scores = [study.scores(one, labels) for one in sides]
    values = np.array([float(take(point)) for point, _ in scores])
    effect = _effect(claim, values)
    cloud = _effect(claim, np.stack([take(many) for _, many in scores]))
    found = difference(float(effect), cloud)
    low, high = found["interval"]
    few = any(one.patients < FEW_PATIENTS for one in sides)
    says_nothing = claim.expect in ("equivalent", "no_worse") and not values.any()  # 0 on both sides is no evidence of equality
    return Verdict(
        verdict=UNDECIDED if few or says_nothing else verdict(claim, low, high),
        effect=float(effect),
        of=f"{study.title(of.arm)} on {of.dataset}",
        than=tuple(f"{study.title(one.arm)} on {one.dataset}" for one in rivals),
        interval=(low, high),
        p=found["p"],
        paired=all(of.is_paired_with(one) for one in rivals),
        drawn=any(one.is_drawn for one in sides),
        few=few,
    )


def in_paper(claim: Claim) -> Verdict | None:
    """The verdict on the paper's own numbers, by their sign alone; None if one of them was not printed."""

    def number(table_: str, row: str) -> float | None:
        if claim.labels == "matched":
            return published.macro_f1(table_, row, NIH_SHARED)
        return published.number(table_, row, claim.metric)

    sides = [claim.published["of"], *claim.published["than"]]
    values = [number(*side) for side in sides]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    effect = float(_effect(claim, np.array(known)))
    names = [f"{row} (Table {table_})" for table_, row in sides]
    return Verdict(verdict(claim, effect, effect), effect, names[0], tuple(names[1:]))


def verdict(claim: Claim, low: float, high: float) -> str:
    """The verdict on an effect known to lie in [low, high]."""
    if claim.expect == "equivalent":
        if -claim.margin <= low and high <= claim.margin:
            return HOLDS
        return FAILS if low > claim.margin or high < -claim.margin else UNDECIDED
    if claim.expect == "lower":
        low, high = -high, -low
    # "No worse" is an inequality that the bound itself satisfies; "higher" and "lower" are strict.
    if low > -claim.margin or (claim.expect == "no_worse" and low == -claim.margin):
        return HOLDS
    return FAILS if high < -claim.margin else UNDECIDED


def _effect(claim: Claim, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first row minus its strongest rival: the best of the others or, for a claim of `lower`, the least."""
    rivals = values[1:].min(axis=0) if claim.expect == "lower" else values[1:].max(axis=0)
    return values[0] - rivals


def _matching(study: Study, wanted: dict[str, Any]) -> list[Result]:
    """Results that match a selector, oldest first, without variants, about which the paper claims nothing."""

    def is_wanted(result: Result) -> bool:
        arm = result.arm
        facts = {"model": arm.paper_model, "checkpoint": arm.checkpoint, "prompt": arm.prompt, "reward": arm.reward}
        facts["benchmark"] = result.benchmark
        return all(facts[key] in value if isinstance(value, list) else facts[key] == value for key, value in wanted.items())

    matching = [one for one in study.results if not one.arm.variant and is_wanted(one)]
    return sorted(matching, key=lambda one: one.evaluations[-1].manifest["finished"])
