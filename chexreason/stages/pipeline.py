"""The study from curation to report: every step is a line that one could type, in the order of the paper's section 3."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chexreason.runs import Run


@dataclass(frozen=True)
class Settings:
    """`steps`: override lines, executed in order; those of a list within the list, `at_once` of them side by side.

    `inherited`: overrides that each of them gets too.
    """

    name: str
    inherited: list[str]
    at_once: int
    steps: list[Any]


USES = ()
TORCH = False
RUNS = "{runs}"  # in a step: the folders of the runs of all steps before it
THREADS = "OMP_NUM_THREADS"


def reusable(settings: Settings) -> bool:
    """The pipeline itself is never reused: its steps are."""
    return False


def execute(run: Run) -> dict[str, Any]:
    """Execute the steps in order; complete ones are reused."""
    finished: dict[str, Path] = {}
    groups = [[step] if isinstance(step, str) else list(step) for step in run.settings.steps]
    for number, steps in enumerate(groups, start=1):
        clock = time.perf_counter()
        for step in steps:
            run.note(f"step {number}/{len(groups)}: {step}")
        so_far = f"[{','.join(str(folder) for folder in finished.values())}]"
        finished |= zip(steps, _side_by_side(run, [step.replace(RUNS, so_far) for step in steps]), strict=True)
        run.note(f"step {number}/{len(groups)} took {time.perf_counter() - clock:.0f} s")
    return {"runs": {step: folder.name for step, folder in finished.items()}}


def _side_by_side(run: Run, steps: Sequence[str]) -> list[Path]:
    """The folders of these steps' runs; a step that fails is raised once the others have ended, so none of them is lost."""
    at_once = min(run.settings.at_once, len(steps))
    before = os.environ.get(THREADS)
    if at_once > 1 and before is None:  # small models use one core better than two: share the cores out
        os.environ[THREADS] = str(max(1, (os.cpu_count() or 1) // at_once))
    try:
        with ThreadPoolExecutor(at_once) as pool:
            return [future.result() for future in [pool.submit(_launch, run, step) for step in steps]]
    finally:
        if before is None:
            os.environ.pop(THREADS, None)


def _launch(run: Run, step: str) -> Path:
    assert run.launch is not None
    return run.launch(shlex.split(step), run.settings.inherited)
