"""The sampler's promises, on tables that hypothesis invents."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chexreason.data.curation import Balance, imbalance_ratio, select, step_change

LABELS = 14
BALANCE = Balance(floor=0.05, ceiling=0.30, penalty=10.0)


def table(seed: int, studies: int, patients: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.01, rate, LABELS)
    labels = rng.random((studies, LABELS)) < share
    labels[np.arange(studies), rng.integers(LABELS, size=studies)] = True
    return labels, rng.integers(patients, size=studies)


tables = st.builds(table, st.integers(0, 10**6), st.integers(1, 300), st.integers(1, 200), st.floats(0.02, 0.6))
sizes = st.lists(st.integers(0, 120), min_size=1, max_size=3)


@settings(max_examples=60)
@given(tables, sizes, st.integers(0, 99))
def test_sets_are_disjoint_in_studies_and_patients(given_table: tuple, wanted: list[int], seed: int) -> None:
    labels, patients = given_table
    chosen = select(labels, patients, wanted, BALANCE, seed)
    assert [len(rows) <= size for rows, size in zip(chosen, wanted, strict=True)] == [True] * len(wanted)
    studies = np.concatenate(chosen)
    assert len(set(studies.tolist())) == len(studies)
    owners = [set(patients[rows].tolist()) for rows in chosen]
    assert sum(map(len, owners)) == len(set().union(*owners))
    # A set is short only when every study left belongs to a patient of another set.
    for rows, size, own in zip(chosen, wanted, owners, strict=True):
        if len(rows) < size:
            others = set().union(*owners) - own
            left = set(range(len(labels))) - set(studies.tolist())
            assert all(patients[study] in others for study in left)


@settings(max_examples=30)
@given(tables, sizes, st.integers(0, 99))
def test_same_seed_same_sets(given_table: tuple, wanted: list[int], seed: int) -> None:
    labels, patients = given_table
    first, second = (select(labels, patients, wanted, BALANCE, seed) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(0, 99))
def test_every_floor_that_candidates_allow_is_reached(world: int, seed: int) -> None:
    """Each label has, beside all else, twice as many candidates of its own as the floors of both sets ask."""
    labels, _ = table(world, 1500, 1, 0.5)
    rare = np.repeat(np.eye(LABELS, dtype=bool), 30, axis=0)
    labels = np.concatenate([labels, rare])
    wanted = [200, 100]
    for rows, size in zip(select(labels, np.arange(len(labels)), wanted, BALANCE, seed), wanted, strict=True):
        assert len(rows) == size
        assert labels[rows].sum(axis=0).min() >= math.ceil(0.05 * size)


def test_scarce_labels_are_shared_in_proportion_to_the_sets() -> None:
    labels = np.zeros((3000, LABELS), dtype=bool)
    labels[:, 3] = True
    labels[:60, 5] = True  # 60 studies, where 5 % of both sets would be 75
    sft, rl = select(labels, np.arange(3000), [1000, 500], BALANCE, 0)
    assert labels[sft][:, 5].sum() + labels[rl][:, 5].sum() == 60
    assert 35 <= labels[sft][:, 5].sum() <= 45


def test_abundant_labels_are_held_near_the_ceiling_when_there_is_a_choice() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((5000, LABELS)) < 0.1
    labels[:, 3] = rng.random(5000) < 0.8
    (chosen,) = select(labels, np.arange(5000), [500], BALANCE, 0)
    assert labels[:, 3].mean() > 0.75 and labels[chosen][:, 3].mean() <= 0.31
    (loose,) = select(labels, np.arange(5000), [500], Balance(0.05, 1.0, 0.0), 0)
    assert labels[loose][:, 3].mean() > 0.6


def test_step_change_is_the_difference_of_the_documented_objective() -> None:
    balance, size, counts = BALANCE, 200, np.array([0, 1, 5, 40, 60])

    def phi(c: np.ndarray, n: int, floor: float) -> float:
        return float((np.maximum(0, floor - c) ** 2 + 10 * np.maximum(0, c - 0.3 * n) ** 2).sum())

    n = 100
    floor = min(math.ceil(0.05 * size), 0.05 * (n + 1 + len(counts)))
    for label in range(len(counts)):
        study = np.eye(len(counts), dtype=int)[label]
        expected = phi(counts + study, n + 1, floor) - phi(counts, n + 1, floor)
        assert step_change(counts, n, size, balance)[label] == pytest.approx(expected)


def test_no_candidates_give_empty_sets_and_the_ratio_of_a_missing_label_is_infinite() -> None:
    empty = select(np.zeros((0, LABELS), dtype=bool), np.zeros(0, dtype=int), [5, 5], BALANCE, 0)
    assert [len(rows) for rows in empty] == [0, 0]
    assert imbalance_ratio(np.eye(3, dtype=bool)[:2]) == math.inf and imbalance_ratio(np.eye(3, dtype=bool)) == 1.0
