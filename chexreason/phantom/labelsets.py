"""Label sets for the phantom world, from the real joint distribution of CheXpert's labels.

They are rows of CheXpert's train.csv (Irvin et al. 2019) as the package torchxrayvision carries it, all four label
states kept. Where that package is absent, label_frequencies.csv stands in: how often each set of positive findings
occurs among the same table's frontal images. `python -m chexreason.phantom.labelsets` writes it anew.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chexreason.data.frequencies import FREQUENCIES
from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS, PATHOLOGIES, POSITIVE, marked

ALONE = [FINDINGS.index(finding) for finding in PATHOLOGIES]


def real_table() -> Path | None:
    """CheXpert's train.csv inside torchxrayvision, found without importing it (its import needs torchvision)."""
    package = find_spec("torchxrayvision")
    if package is None or package.origin is None:
        return None
    table = Path(package.origin).parent / "data" / "chexpert_train.csv.gz"
    return table if table.is_file() else None


@lru_cache(maxsize=1)
def population() -> tuple[NDArray[np.float32], NDArray[np.float64], str]:
    """Label states to draw from, shape (rows, 14), the weight of each row, and where they come from."""
    import pandas as pd

    table = real_table()
    if table is not None:
        frame = pd.read_csv(table, usecols=["Frontal/Lateral", *FINDINGS])
        states = frame.loc[frame["Frontal/Lateral"] == "Frontal", list(FINDINGS)].to_numpy(np.float32)
        weights, source = np.ones(len(states)), "CheXpert train.csv (torchxrayvision)"
    else:
        patterns = pd.read_csv(FREQUENCIES, comment="#", dtype={"findings": str})
        bits = np.array([[bit == "1" for bit in pattern] for pattern in patterns["findings"]])
        states = np.where(bits, POSITIVE, np.nan).astype(np.float32)
        weights, source = patterns["images"].to_numpy(np.float64), FREQUENCIES.name
    return consistent(states), weights / weights.sum(), source


def consistent(states: NDArray[np.float32]) -> NDArray[np.float32]:
    """States in which No Finding stands beside no other finding than a device."""
    fixed = states.copy()
    beside = np.ix_(states[:, 0] == POSITIVE, ALONE)
    fixed[beside] = np.where(states[beside] == POSITIVE, np.nan, states[beside])
    return fixed


def draw_states(count: int, rng: np.random.Generator, enriched: float = 0.0) -> NDArray[np.float32]:
    """`count` rows of label states, shape (count, 14): 1, 0, -1 or NaN.

    A share `enriched` of them is drawn with a weight inverse to the frequency of the row's rarest positive finding, so
    that a small pool holds enough of every finding to curate from.
    """
    states, weights, _ = population()
    positive = states == POSITIVE
    frequency = weights @ positive
    rarest = np.where(positive, frequency, 1.0).min(axis=1)
    lifted = weights / rarest
    many = round(enriched * count)
    rows = np.concatenate(
        [rng.choice(len(states), size=many, p=lifted / lifted.sum()), rng.choice(len(states), size=count - many, p=weights)]
    )
    return states[rng.permutation(rows)]


def positives(states: NDArray[np.float32]) -> list[list[str]]:
    """The positive findings of each row."""
    return marked(states == POSITIVE)


def write_frequencies() -> None:
    """Derive label_frequencies.csv from the real table."""
    import pandas as pd

    from chexreason.runs.files import write_text

    if real_table() is None:
        raise ChexReasonError(
            "label_frequencies.csv is derived from CheXpert's train.csv in torchxrayvision, which is not installed: "
            "pip install --no-deps torchxrayvision"
        )
    states, _, source = population()
    patterns = pd.Series(["".join("1" if state == POSITIVE else "0" for state in row) for row in states])
    counts = patterns.value_counts()
    counts = counts.sort_index().sort_values(ascending=False, kind="stable")
    lines = [
        f"# Sets of positive findings among the {len(states)} frontal images of {source}; Irvin et al. 2019.",
        "# One digit per finding in CheXpert's order. Written by: python -m chexreason.phantom.labelsets",
        "findings,images",
        *(f"{pattern},{count}" for pattern, count in counts.items()),
    ]
    write_text(FREQUENCIES, "\n".join(lines) + "\n")


if __name__ == "__main__":
    write_frequencies()
