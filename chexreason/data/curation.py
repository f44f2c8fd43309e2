"""Section 3.1's penalty-based greedy iterative sampler: label-balanced, patient-disjoint training sets.

**Objective.** With n studies chosen for a set and c_k of them positive for label k, its imbalance is

    Phi_n(c) = sum_k  max(0, floor_n - c_k)^2  +  penalty * max(0, c_k - ceiling * n)^2 ,

the squared deficits of under-represented labels and, `penalty` times heavier, the squared excesses of over-represented
ones. `floor_n = min(ceil(floor * size), floor * (n + K))` runs ahead of the set by K = 14 studies: each step can serve
one more of the K labels, so floors are reached by the last step wherever there is some choice (scarce labels may fall a study
short: the card says so), while no early step is wasted on studies that only pile up labels.

**Step.** Phi is separable, so adding a study with labels x changes it by sum_k x_k d_k, where d_k is the change in
label k's term alone. The study with the smallest change is taken: below its floor a label pulls, above its ceiling it
repels, in between it is neutral. Ties are drawn uniformly among the tied *studies*, so wherever balance does not care
the set keeps the joint label distribution that it is drawn from.

**Sets.** The least filled set (in proportion to its size) chooses next, so that scarce labels are shared. A patient
belongs to the first set that chooses one of his studies.

**Cost.** Studies with the same labels change Phi equally, so a step compares the P distinct label sets (1,466 among
CheXpert's 191,027 frontal images) and not the N studies: O(P K) a step, O(N log N) once for grouping, and each study is
looked at once more when its patient is taken. Same seed and table, same sets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

TIE = 1e-9


@dataclass(frozen=True)
class Balance:
    """The sampler's settings; `floor` and `ceiling` are shares of a set's studies and apply to every label."""

    floor: float
    ceiling: float
    penalty: float


def select(labels: np.ndarray, patients: np.ndarray, sizes: list[int], balance: Balance, seed: int) -> list[np.ndarray]:
    """Choose label-balanced sets that share no patient.

    Args:
        labels: (N, K) bool, positive labels of each study.
        patients: (N,) int from 0 on, patient of each study.
        sizes: number of studies wanted for each set.

    Returns:
        One array of chosen positions per set, shuffled; shorter than asked where the studies ran out.
    """
    rng = np.random.default_rng(seed)
    pool = _Pool(labels, patients, len(sizes), rng)
    counts = np.zeros((len(sizes), labels.shape[1]), dtype=np.int64)
    chosen: list[list[int]] = [[] for _ in sizes]
    open_sets = {number for number, size in enumerate(sizes) if size > 0}
    while open_sets:
        turn = min(open_sets, key=lambda number: (len(chosen[number]) / sizes[number], number))
        change = step_change(counts[turn], len(chosen[turn]), sizes[turn], balance)
        pattern = pool.best(turn, change, rng)
        if pattern is None:
            open_sets.remove(turn)
            continue
        chosen[turn].append(pool.take(turn, pattern))
        counts[turn] += pool.patterns[pattern]
        if len(chosen[turn]) == sizes[turn]:
            open_sets.remove(turn)
    return [rng.permutation(np.array(rows, dtype=np.int64)) for rows in chosen]


def step_change(counts: np.ndarray, chosen: int, size: int, balance: Balance) -> np.ndarray:
    """(K,) change of each label's term of Phi if the next study is positive for it, against if it is not."""
    after = chosen + 1
    floor = min(math.ceil(balance.floor * size), balance.floor * (after + len(counts)))

    def phi(count: np.ndarray) -> np.ndarray:
        deficit = np.maximum(0.0, floor - count)
        excess = np.maximum(0.0, count - balance.ceiling * after)
        return deficit**2 + balance.penalty * excess**2

    return phi(counts + 1) - phi(counts)


def imbalance_ratio(labels: np.ndarray) -> float:
    """Most frequent label's count over the rarest one's (infinite where a label never occurs)."""
    counts = labels.sum(axis=0)
    return float(counts.max() / counts.min()) if counts.min() else math.inf


class _Pool:
    """The candidates, grouped by label set, with a count per set of those it may still take."""

    def __init__(self, labels: np.ndarray, patients: np.ndarray, sets: int, rng: np.random.Generator) -> None:
        codes = labels.astype(np.int64) @ (1 << np.arange(labels.shape[1], dtype=np.int64))
        unique, first, group, count = np.unique(codes, return_index=True, return_inverse=True, return_counts=True)
        self.patterns = labels[first].astype(np.int64)
        self.group, self.patients = group, patients
        order = rng.permutation(len(labels))
        self._queue = order[np.argsort(group[order], kind="stable")]  # studies by pattern, in random order within it
        self._start = np.concatenate([[0], np.cumsum(count)])
        self._next = np.tile(self._start[:-1], (sets, 1))  # each set's next position in each pattern's queue
        self._left = np.tile(count, (sets, 1))
        by_patient = np.argsort(patients, kind="stable")
        self._by_patient = by_patient
        self._patient_start = np.searchsorted(patients[by_patient], np.arange(patients.max(initial=-1) + 2))
        self._used = np.zeros(len(labels), dtype=bool)
        self.owner = np.full(len(self._patient_start) - 1, -1)

    def best(self, turn: int, change: np.ndarray, rng: np.random.Generator) -> int | None:
        """The label set to take next; ties are drawn in proportion to the studies left."""
        left = self._left[turn]
        score = np.where(left > 0, self.patterns @ change, np.inf)
        lowest = score.min(initial=np.inf)
        if not np.isfinite(lowest):
            return None
        weight = np.cumsum(np.where(score <= lowest + TIE, left, 0))
        return int(np.searchsorted(weight, rng.integers(weight[-1]), side="right"))

    def take(self, turn: int, pattern: int) -> int:
        """The next study of this label set that `turn` may take; its patient then belongs to `turn`."""
        position = self._next[turn, pattern]
        while not self._may(turn, self._queue[position]):
            position += 1
        self._next[turn, pattern] = position + 1
        study = int(self._queue[position])
        self._used[study] = True
        others = self._left.shape[0]
        patient = self.patients[study]
        if self.owner[patient] == -1:
            self.owner[patient] = turn
            mine = self._by_patient[self._patient_start[patient] : self._patient_start[patient + 1]]
            for other in set(range(others)) - {turn}:
                np.subtract.at(self._left[other], self.group[mine], 1)
        self._left[turn, pattern] -= 1
        return study

    def _may(self, turn: int, study: int) -> bool:
        return not self._used[study] and self.owner[self.patients[study]] in (-1, turn)
