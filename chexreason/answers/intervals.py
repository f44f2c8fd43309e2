"""Intervals over patients: a Bayesian bootstrap with pseudo-counts, for anything that is computed from sums of counts.

Rationale and measured coverage: docs/intervals.md. Sources: Rubin (1981), The Bayesian Bootstrap;
Brown, Cai and DasGupta (2001), Interval Estimation for a Binomial Proportion, for pseudo-counts of 1/2 (Jeffreys').
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Shapes of two gamma distributions. Weights of shape 1 are Rubin's; a little less makes intervals a twentieth wider, which
# skewed counts of a few hundred films need (benches/coverage.py measures it).
WEIGHT, PSEUDO_COUNT = 0.9, 0.5
RESAMPLES = 10_000
MOST_RESAMPLES = 1_000_000  # each takes a kilobyte
_CELLS = 8_000_000  # weights drawn at once: 64 MB; up to four such arrays are cached


def weighted_sums(table: NDArray[np.float64], resamples: int, seed: Sequence[int]) -> NDArray[np.float64]:
    """Sums over patients of `table` (patients, C), each patient with a random weight of mean 1 in each resample.

    Shape (resamples, C). The weights follow from the seed and the patient's row alone.
    """
    block = max(1, _CELLS // resamples)
    if len(table) <= block:
        return _weights(len(table), resamples, tuple(seed)).T @ table / WEIGHT
    rng = np.random.default_rng(seed)
    sums = np.zeros((resamples, table.shape[1]))
    for start in range(0, len(table), block):
        some = table[start : start + block]
        sums += rng.standard_gamma(WEIGHT, (len(some), resamples)).T @ some
    return sums / WEIGHT


@lru_cache(maxsize=4)  # runs on the same records share weights, and drawing them is most of an interval's cost
def _weights(patients: int, resamples: int, seed: tuple[int, ...]) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_gamma(WEIGHT, (patients, resamples))


def pseudo_counts(shape: tuple[int, ...], seed: Sequence[int]) -> NDArray[np.float64]:
    """Random counts for what a sample of finite size may have missed, each 1/2 on average."""
    return np.random.default_rng(seed).standard_gamma(PSEUDO_COUNT, shape)


def worth(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weight of one pseudo-count in each column of `table` (patients, C), whose column -4 counts films; shape (C,).

    Several films of one patient are less informative than films of as many patients. A pseudo-count therefore weighs as much
    as one patient typically adds to the column (the design effect), or as one patient's films if no patient adds anything.
    """
    total, squares = table.sum(axis=0), (table**2).sum(axis=0)
    return np.divide(squares, total, out=np.full(len(total), squares[-4] / total[-4]), where=total > 0)


def interval(values: NDArray[np.float64], point: NDArray[np.float64] | float | None = None) -> NDArray[np.float64]:
    """Central 95 % interval of draws over the first axis, widened to hold the observed `point` where one is given.

    The result's last axis is (low, high). All draws for an observed 0 of 500 lie above 0, but the interval begins at 0.
    """
    with np.errstate(invalid="ignore"):  # a quantile between infinite values is NaN
        low, high = np.quantile(values, [0.025, 0.975], axis=0)
    return np.stack([low, high] if point is None else [np.minimum(low, point), np.maximum(high, point)], axis=-1)


def difference(point: float, cloud: NDArray[np.float64]) -> dict[str, Any]:
    """An observed difference with its interval and two-sided p, from draws of it.

    p is twice the share of draws on the other side of zero, at least 1/len(cloud); it is 1 where nothing was observed.
    """
    point, cloud = np.round(point, 12), np.round(cloud, 12)  # treat differences below 1e-12 as zero
    others = [float((side * cloud <= 0).mean()) for side in (1, -1) if side * point >= 0]
    return {
        "difference": float(point),
        "interval": [float(bound) for bound in interval(cloud, point)],
        "p": min(1.0, max(2 * max(others, default=1.0), 1 / len(cloud))),
    }
