"""Peak memory of GRPO and SFT with TRL alone and with ours (python -m benches.speed --only memory).

Each side runs in processes of its own (Linux). What is compared is by how much the largest resident size was above that of
before training, when everything was imported and a model had been built. It is read from /proc: getrusage's begins with that of
the process's parent.
"""

from __future__ import annotations

import multiprocessing
import re
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from benches.training import Results, Setting, grpo, model_of, sft


def largest() -> float:
    """MiB of this process's largest resident size so far."""
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) / 1024


def peak(kind: Callable[[Setting, bool], dict[str, float]], setting: Setting, ours: bool) -> float:
    """MiB by which this process grows."""
    model_of(setting.family)
    before = largest()
    with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
        kind(setting, ours)
    return largest() - before


def memory(families: list[str], repeats: int) -> Results:
    """GRPO and SFT of the proportioned models, medians of `repeats`; a ratio above 1: ours needs less."""
    fresh = multiprocessing.get_context("spawn")

    def alone(kind: Callable[[Setting, bool], dict[str, float]], family: str, ours: bool) -> float:
        with ProcessPoolExecutor(1, mp_context=fresh) as process:
            return process.submit(peak, kind, Setting(family), ours).result()

    for family in families:
        for kind in (grpo, sft):
            pairs = [(alone(kind, family, False), alone(kind, family, True)) for _ in range(repeats)]
            ratios = [plain / ours for plain, ours in pairs]
            measured = {"ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}
            measured |= {
                key: statistics.median(pair[side] for pair in pairs) for side, key in enumerate(("plain_MiB", "ours_MiB"))
            }
            yield f"{family}/peak memory/{kind.__name__}", measured
