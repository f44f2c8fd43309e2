"""How often 95 % intervals hold the truth, for simulated test sets whose true rates are known: tables in Markdown.

python -m benches.coverage [STUDIES]

Each study draws a test set and the answers of two models that have half of their luck in common, and makes the intervals
of chexreason.answers.metrics for the first model and for the difference between the two. Counted is how many of them hold
the rates of a population of 900,000 films that was drawn in the same way.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from chexreason.answers import metrics
from chexreason.labels import FINDINGS

STUDIES, RESAMPLES, POPULATION, SEED = 600, 800, 900_000, 0
WANTED = (0.93, 0.97)
FEW = (1, 3, 5, 10, 20, 30, 50, 100)  # films of as many patients
METRICS = (*(f"{kind} {rate}" for kind in ("macro", "micro") for rate in metrics.RATES), "failures", "exact", "Jaccard")


@dataclass(frozen=True)
class World:
    """Where test sets come from; the arrays are rates by label, of shape (L,)."""

    labels: tuple[str, ...]
    prevalence: NDArray[np.float64]
    named: NDArray[np.float64]  # (2, L): how often each model names a label that is there
    falsely: NDArray[np.float64]  # (2, L): and one that is not
    films: int = 518
    per_patient: tuple[int, ...] = (1,)  # numbers of films, equally likely
    failing: tuple[float, float] = (0.03, 0.01)
    in_common: float = 0.5  # how much of the models' luck


# Labels in the order of FINDINGS; prevalence is about that of the CheXpert test set.
CHEXPERT = World(
    labels=tuple(FINDINGS),
    prevalence=np.array([0.13, 0.45, 0.29, 0.53, 0.02, 0.15, 0.06, 0.02, 0.28, 0.02, 0.20, 0.015, 0.015, 0.5]),
    named=np.array(
        [
            [0.6, 0.05, 0.7, 0.75, 0.2, 0.3, 0.2, 0.3, 0.25, 0.3, 0.6, 0.1, 0.2, 0.8],
            [0.5, 0.3, 0.6, 0.8, 0.3, 0.35, 0.3, 0.2, 0.4, 0.2, 0.65, 0.2, 0.1, 0.7],
        ]
    ),
    falsely=np.array(
        [
            [0.05, 0.03, 0.15, 0.3, 0.01, 0.05, 0.05, 0.03, 0.1, 0.02, 0.1, 0.005, 0.005, 0.15],
            [0.05, 0.15, 0.1, 0.35, 0.015, 0.05, 0.06, 0.02, 0.15, 0.02, 0.12, 0.005, 0.005, 0.1],
        ]
    ),
)
_silent = np.where(CHEXPERT.prevalence < 0.1, 0.0, 1.0) * np.array([[1.0], [0.0]]) + np.array([[0.0], [1.0]])
_nine = np.array([0, 1, 3, 4, 6, 7, 9, 11, 12])
WORLDS = {
    "a middling model": CHEXPERT,
    "a good model": replace(CHEXPERT, named=np.full((2, 14), [[0.9], [0.8]]), falsely=np.full((2, 14), 0.02)),
    "a model that never names rare findings": replace(
        CHEXPERT, named=CHEXPERT.named * _silent, falsely=CHEXPERT.falsely * _silent
    ),
    "two models that differ in 3 % of their luck": replace(
        CHEXPERT, named=CHEXPERT.named[[0, 0]], falsely=CHEXPERT.falsely[[0, 0]], in_common=0.97, failing=(0.03, 0.03)
    ),
    "nine labels, 488 films": World(
        labels=tuple(FINDINGS[i] for i in _nine),
        prevalence=np.array([0.10, 0.03, 0.05, 0.02, 0.05, 0.55, 0.03, 0.013, 0.05]),
        named=CHEXPERT.named[:, _nine],
        falsely=CHEXPERT.falsely[:, _nine],
        films=488,
    ),
    "one to six films a patient": replace(CHEXPERT, per_patient=(1, 1, 1, 2, 2, 3, 4, 6)),
}

ALIKE = replace(CHEXPERT, named=CHEXPERT.named[[0, 0]], falsely=CHEXPERT.falsely[[0, 0]], failing=(0.03, 0.03))


def draw(world: World, films: int, rng: np.random.Generator, stream: int = 0) -> list[metrics.Answers]:
    """A test set as both models answered it. A patient's films agree in four fifths of the truth, three fifths of the luck."""
    patients = np.repeat(np.arange(films), rng.choice(world.per_patient, films))[:films]

    def luck(columns: int, agreeing: float) -> NDArray[np.float64]:
        own = rng.random((films, columns))
        if world.per_patient == (1,):
            return own
        return np.where(rng.random(own.shape) < agreeing, rng.random((patients[-1] + 1, columns))[patients], own)

    labels = len(world.labels)
    truth = luck(labels, 0.8) < world.prevalence
    first, other = luck(labels + 1, 0.6), luck(labels + 1, 0.6)
    second = np.where(rng.random(first.shape) < world.in_common, first, other)
    made = []
    for model, chance in enumerate((first, second)):
        failed = chance[:, -1] < world.failing[model]
        named = (chance[:, :-1] < np.where(truth, world.named[model], world.falsely[model])) & ~failed[:, None]
        made.append(metrics.Answers(world.labels, truth, named, failed, patients, stream))
    return made


def flat(given: metrics.Scores) -> NDArray[np.float64]:
    """What is checked, on the last axis: METRICS, then each label's F1."""
    alone = np.stack([given.failure_rate, given.exact_match, given.jaccard], axis=-1)
    return np.concatenate([given.macro, given.micro, alone, given.per_label[..., 2]], axis=-1)


def studies(
    world: World, count: int, population: int = POPULATION, resamples: int = RESAMPLES
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.int64]]]:
    """Of each of `count` studies: whether the intervals hold the truth, how wide they are, and the labels' positives.

    Shapes (2, metrics), (2, metrics) and (L,). The first row is about the first model, the second about the difference
    between the two; `population` is how many films the true rates are those of.
    """
    rng = np.random.default_rng(SEED)
    true = [flat(metrics.scores(one)) for one in draw(world, population, rng)]
    for study in range(count):
        both = draw(world, world.films, rng, study)
        points = [flat(metrics.scores(one)) for one in both]
        clouds = [flat(metrics.resampled([one], resamples)) for one in both]
        found = np.stack(
            [
                metrics.interval(clouds[0], points[0]),
                metrics.interval(clouds[0] - clouds[1], points[0] - points[1]),
            ]
        )
        wanted = np.stack([true[0], true[0] - true[1]])
        held = (found[..., 0] <= wanted + 1e-9) & (wanted <= found[..., 1] + 1e-9)
        yield held, found[..., 1] - found[..., 0], both[0].truth.sum(axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=int, nargs="?", default=STUDIES)
    count = parser.parse_args().studies
    error = (0.95 * 0.05 / count) ** 0.5
    print(f"{count} studies, {RESAMPLES} resamples each; a coverage of .95 is measured with a standard error of {error:.3f}.")
    print(f"Bold: outside {WANTED[0]} to {WANTED[1]}.")
    for name, world in WORLDS.items():
        held, widths, support = (np.array(part) for part in zip(*studies(world, count), strict=True))
        cover, width, positives = held.mean(axis=0), widths.mean(axis=0), np.median(support, axis=0)
        print(f"\n### {name[0].upper()}{name[1:]}\n")
        print("| what | positives | coverage | width | coverage of the difference | width |\n|---|---|---|---|---|---|")
        for place, what in enumerate((*METRICS, *(f"F1, {label}" for label in world.labels))):
            label = place - len(METRICS)
            cells = [what, f"{positives[label]:.0f}" if label >= 0 else ""]
            for row in (0, 1):
                inside = WANTED[0] <= round(cover[row, place], 3) <= WANTED[1]
                cells += [f"{cover[row, place]:.3f}" if inside else f"**{cover[row, place]:.3f}**", f"{width[row, place]:.3f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
    print("\n### Few films: how often two models of the same rates are told apart\n")
    print("| films, patients | macro-F1 | micro-F1 |\n|---|---|---|")
    for films in FEW:
        held = np.mean([found[1] for found, *_ in studies(replace(ALIKE, films=films), count)], axis=0)
        told_apart = [f"{1 - held[METRICS.index(what)]:.3f}" for what in ("macro f1", "micro f1")]
        print(f"| {films} | {' | '.join(told_apart)} |", flush=True)


if __name__ == "__main__":
    main()
