"""Curation at MIMIC's size: our sampler against random selection and iterative stratification.

    python -m benches.curation [--studies 227835] [--seed 0]

The table is the real CheXpert one (from the installed torchxrayvision), its frontal images resampled with replacement
to MIMIC-CXR-JPG's 227,835 studies. Each method chooses 2,000 + 1,000; the table printed gives the rarest label's share,
the imbalance ratio (most frequent label : rarest), and the seconds that choosing took. Iterative stratification
(Sechidis et al. 2011) is the iterative-stratification package's MultilabelStratifiedShuffleSplit; it keeps the
proportions of the pool by design, and knows no patients.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from chexreason.data.card import positives
from chexreason.data.curation import Balance, imbalance_ratio, select
from chexreason.data.sites.chexpert import Chexpert
from chexreason.labels import FINDINGS

SIZES = [2000, 1000]
BALANCE = Balance(floor=0.05, ceiling=0.30, penalty=10.0)  # conf/stage/curate.yaml
PER_PATIENT = 227_835 / 65_379  # studies per patient in MIMIC-CXR-JPG


def resampled(studies: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(labels, patients) of `studies` rows drawn from CheXpert's frontal images."""
    spec = importlib.util.find_spec("torchxrayvision")
    if spec is None or spec.origin is None:
        raise SystemExit("the bench needs the label table in torchxrayvision: pip install --no-deps torchxrayvision")
    table = Chexpert(table=str(Path(spec.origin).parent / "data/chexpert_train.csv.gz")).load()
    rng = np.random.default_rng(seed)
    labels = positives(table.records)
    labels = labels[labels.any(axis=1)]
    patients = rng.integers(int(studies / PER_PATIENT), size=studies)
    return labels[rng.integers(len(labels), size=studies)], patients


def at_random(labels: np.ndarray, seed: int) -> list[np.ndarray]:
    order = np.random.default_rng(seed).permutation(len(labels))[: sum(SIZES)]
    return np.split(order, np.cumsum(SIZES)[:-1])


def stratified(labels: np.ndarray, seed: int) -> list[np.ndarray]:
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

    def split(rows: np.ndarray, size: int) -> np.ndarray:
        splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=size, random_state=seed)
        _, chosen = next(splitter.split(rows, labels[rows].astype(int)))
        return rows[chosen]

    both = split(np.arange(len(labels)), sum(SIZES))
    rl = split(both, SIZES[1])
    return [np.setdiff1d(both, rl), rl]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=227_835)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    labels, patients = resampled(wanted.studies, wanted.seed)
    methods: dict[str, Callable[[], list[np.ndarray]]] = {
        "penalty-based greedy": lambda: select(labels, patients, SIZES, BALANCE, wanted.seed),
        "random": lambda: at_random(labels, wanted.seed),
        "iterative stratification": lambda: stratified(labels, wanted.seed),
    }
    print(f"{len(labels):,} studies x {len(FINDINGS)} labels, {patients.max() + 1:,} patients, seed {wanted.seed}\n")
    print("| method | set | studies | rarest label | its share | imbalance ratio | patients shared | seconds |")
    print("|---|---|---:|---|---:|---:|---:|---:|")
    for name, method in methods.items():
        clock = time.perf_counter()
        try:
            sets = method()
        except ImportError as error:
            print(f"| {name} | not run: {error} |")
            continue
        seconds = time.perf_counter() - clock
        shared = len(np.intersect1d(patients[sets[0]], patients[sets[1]]))
        for which, rows in zip(("sft", "rl"), sets, strict=True):
            share = labels[rows].mean(axis=0)
            rarest, ratio = FINDINGS[share.argmin()], imbalance_ratio(labels[rows])
            cells = (f"{len(rows):,}", rarest, f"{share.min():.1%}", f"{ratio:.1f}", shared, f"{seconds:.2f}")
            print(f"| {name} | {which} | {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
