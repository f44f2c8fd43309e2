"""How fast curation, parser, rewards, bootstrap and start-up are, on one core (python -m benches.speed --only rates)."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np

from benches import coverage, curation, parser, reports
from benches.reward_examples import scorer
from chexreason.answers import metrics
from chexreason.answers.grammars import GRAMMARS
from chexreason.answers.parser import parse, parse_strict
from chexreason.data.curation import select

STUDIES, RESAMPLES, SEED = 227_835, 10_000, 0
SMALL = (
    "stage.mimic_studies=100",
    "stage.chexpert_train=4",
    "stage.chexpert_valid=4",
    "stage.chexpert_test=8",
    "stage.nih_images=8",
)
REWARDS = ("hard", "nuanced", "balanced")


def rates() -> Iterator[tuple[str, float, str]]:
    """Name, number and unit of each."""
    labels, patients = curation.resampled(STUDIES, SEED)
    began = time.process_time()
    select(labels, patients, curation.SIZES, curation.BALANCE, SEED)
    yield f"curation of {STUDIES:,} studies", time.process_time() - began, "s"

    for grammar in GRAMMARS:
        for loosely in (False, True):
            texts, kind = parser.typical(grammar, loosely), "loose" if loosely else "typical"
            for read, how in ((parse_strict, "strict"), (parse, "tolerant")):
                yield f"parser, {grammar}, {kind}, {how}", parser.rate(texts, grammar, read), "completions/s"

    texts = parser.typical("tags", loosely=False)
    for name in REWARDS:
        yield f"reward, {name}", parser.rate(texts, "tags", _scorer(name)), "completions/s"

    (first, _) = coverage.draw(coverage.CHEXPERT, coverage.CHEXPERT.films, np.random.default_rng(SEED))
    began = time.process_time()
    metrics.resampled([first], RESAMPLES)
    yield f"bootstrap of {coverage.CHEXPERT.films} films", RESAMPLES / (time.process_time() - began), "resamples/s"

    for name, computed in padding().items():
        yield f"SFT, batches of 8 traces {name}", computed, "tokens computed for each that counts"

    with tempfile.TemporaryDirectory() as runs:
        drawn = ("stage=phantom", *SMALL, f"runs={runs}", "tracker=none")
        _seconds(*drawn)
        for name, words in {"--help": ("--help",), "--cfg job": ("--cfg", "job"), "a reused run": drawn}.items():
            yield f"start-up, {name}", min(_seconds(*words) for _ in range(3)), "s"


def padding(traces: int = 2000, prompt: int = 600, batch: int = 8) -> dict[str, float]:
    """Tokens that batches of traces compute, to those that are no padding, as batches are drawn and as TRL groups them.

    The traces are as long as real reports (benches/reports.py), whose lengths differ more than a teacher's may.
    """
    import torch
    from transformers.trainer_pt_utils import LengthGroupedSampler

    long = [prompt + tokens for tokens in reports.lengths(traces, 1024)]
    drawn = torch.Generator().manual_seed(SEED)
    orders = {
        "as they are drawn": torch.randperm(traces, generator=drawn).tolist(),
        "grouped by length": list(LengthGroupedSampler(batch, lengths=long, generator=drawn)),
    }
    found = {}
    for name, order in orders.items():
        batches = [[long[place] for place in order[start : start + batch]] for start in range(0, traces, batch)]
        found[name] = sum(len(one) * max(one) for one in batches) / sum(long)
    return found


def _scorer(name: str) -> Callable[[str, str], object]:
    """A reward, as what reads completions."""
    score = scorer(name)
    return lambda text, _: score(text, ["Edema"], 300)


def _seconds(*words: str) -> float:
    """CPU seconds of one command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "chexreason.run", *words], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
