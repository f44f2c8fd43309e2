"""Peak memory of GRPO and SFT with TRL alone and with ours (python -m benches.speed --only memory).

Each side runs in a process of its own (Linux). What is compared is by how much its largest resident size was above that of
before training, when everything was imported. It is read from /proc: getrusage's begins with that of the process's parent.
"""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from benches.training import Results, Setting, grpo, sft


def largest() -> float:
    """MiB of this process's largest resident size so far."""
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) / 1024


def peak(kind: Callable[[Setting, bool], dict[str, float]], setting: Setting, ours: bool) -> float:
    """MiB by which this process grows."""
    before = largest()
    with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
        kind(setting, ours)
    return largest() - before


def memory(families: list[str], repeats: int) -> Results:
    """GRPO and SFT of the proportioned models; a ratio above 1: ours needs less. Measured once, whatever `repeats`."""
    fresh = multiprocessing.get_context("spawn")
    for family in families:
        for kind in (grpo, sft):
            found = []
            for ours in (False, True):
                with ProcessPoolExecutor(1, mp_context=fresh) as alone:
                    found.append(alone.submit(peak, kind, Setting(family), ours).result())
            measured = {"ratio": found[0] / found[1], "plain_MiB": found[0], "ours_MiB": found[1]}
            yield f"{family}/peak memory/{kind.__name__}", measured
