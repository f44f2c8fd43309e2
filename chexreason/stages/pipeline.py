"""The study from curation to report: every step is a line that one could type, in the order of the paper's section 3."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chexreason.runs import Run


@dataclass(frozen=True)
class Settings:
    """`steps`: override lines, executed in order; `inherited`: overrides that each of them gets too."""

    name: str
    inherited: list[str]
    steps: list[str]


USES = ()
TORCH = False
RUNS = "{runs}"  # in a step: the folders of the runs of all steps before it


def reusable(settings: Settings) -> bool:
    """The pipeline itself is never reused: its steps are."""
    return False


def execute(run: Run) -> dict[str, Any]:
    """Execute the steps in order; complete ones are reused."""
    assert run.launch is not None
    finished: dict[str, Path] = {}
    for number, step in enumerate(run.settings.steps, start=1):
        clock = time.perf_counter()
        run.note(f"step {number}/{len(run.settings.steps)}: {step}")
        so_far = f"[{','.join(str(folder) for folder in finished.values())}]"
        words = shlex.split(step.replace(RUNS, so_far))
        said = {_root(word) for word in words}
        inherited = [word for word in run.settings.inherited if _root(word) not in said]
        folder = run.launch([*inherited, *words])
        finished[step] = folder
        run.note(f"step {number}/{len(run.settings.steps)} took {time.perf_counter() - clock:.0f} s")
    return {"runs": {step: folder.name for step, folder in finished.items()}}


def _root(override: str) -> str:
    return override.split("=")[0].split(".")[0]
