"""Frequencies of CheXpert's labels, by which a reward weights findings if there is no training set.

label_frequencies.csv counts each set of positive findings among the frontal images of CheXpert's train.csv (Irvin et al. 2019);
`python -m chexreason.phantom.labelsets` derives it anew from the real table.
"""

from __future__ import annotations

import csv
from pathlib import Path

from chexreason.labels import FINDINGS

FREQUENCIES = Path(__file__).with_name("label_frequencies.csv")


def finding_frequencies() -> dict[str, float]:
    """Share of CheXpert's frontal training images that carry each finding, by label_frequencies.csv."""
    with FREQUENCIES.open(encoding="utf-8", newline="") as lines:
        patterns = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    images = sum(int(row["images"]) for row in patterns)
    return {
        finding: sum(int(row["images"]) for row in patterns if row["findings"][place] == "1") / images
        for place, finding in enumerate(FINDINGS)
    }
