"""An experiment from its first step to its report: every line is one that could be typed, and a line with commas is a sweep."""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chexreason.errors import ChexReasonError
from chexreason.runs import Run, complete_runs


@dataclass(frozen=True)
class Settings:
    """`steps`: override lines by the step's name; steps come in order, `at_once` lines of one step run side by side.

    `independent`: no line stands on another, so all are one step, and one that fails leaves the others be. `inherited`:
    overrides that each line gets where it does not say otherwise. `report`: the last line.
    """

    name: str
    inherited: list[str]
    at_once: int
    independent: bool
    steps: dict[str, list[str]]
    report: str


USES = ()
TORCH = False
RUNS = "{runs}"  # in a line: the folders of all runs before it
THREADS = "OMP_NUM_THREADS"


def reusable(settings: Settings) -> bool:
    """The pipeline itself is never reused: its steps are."""
    return False


def execute(run: Run) -> dict[str, Any]:
    """Say what is to be done, execute the steps in order, report; complete runs are reused.

    Raises:
        ChexReasonError: a line failed: after its step or, where lines are independent, after the others and the report.
    """
    settings: Settings = run.settings
    run.note(plan(run))
    finished: dict[str, Path] = {}
    failed: dict[str, str] = {}
    steps = settings.steps
    if settings.independent:
        steps = {run.folder.name: list(dict.fromkeys(line for lines in steps.values() for line in lines))}
    for number, (name, lines) in enumerate(steps.items(), start=1):
        clock = time.perf_counter()
        run.note(f"step {number}/{len(steps)}, {name}: {len(lines)} lines")
        for line, outcome in zip(lines, _side_by_side(run, lines), strict=True):
            if isinstance(outcome, Path):
                finished[line] = outcome
            else:
                failed[line] = str(outcome)
        if failed and not settings.independent:
            raise ChexReasonError(_complaint(failed))
        run.note(f"step {number}/{len(steps)}, {name}: {time.perf_counter() - clock:.0f} s")
    folders = ",".join(dict.fromkeys(str(folder) for folder in finished.values()))
    finished["report"] = _launch(run, settings.report.replace(RUNS, f"[{folders}]"))
    if failed:
        raise ChexReasonError(_complaint(failed))
    return {"runs": {line: folder.name for line, folder in finished.items()}}


def plan(run: Run) -> str:
    """How many runs are to be made and how many are there, with the time that they took before on this machine."""
    assert run.ahead is not None
    settings: Settings = run.settings
    lines = [line for lines in settings.steps.values() for line in lines]
    missing = run.ahead([shlex.split(line) for line in lines], settings.inherited)
    ahead = {recipe: stage for found in missing for recipe, stage in found.items()}
    reused = sum(not found for found in missing)
    took: dict[str, list[float]] = defaultdict(list)
    for _, manifest in complete_runs(run.folder.parent):
        took[manifest["stage"]].append(manifest["wall_seconds"])
    stages = Counter(ahead.values())
    known = sum(count * sum(took[stage]) / len(took[stage]) for stage, count in stages.items() if took[stage])
    unknown = [stage for stage in stages if not took[stage]]
    made = ", ".join(f"{count} {stage}" for stage, count in stages.items()) or "nothing"
    text = f"{len(lines)} lines, {reused} of them complete; to make: {made}"
    if known:
        text += f"; about {max(1, round(known / settings.at_once / 60))} min, going by earlier runs"
    return text + (f" (no {', '.join(unknown)} has run here yet)" if unknown and stages else "")


def _side_by_side(run: Run, lines: Sequence[str]) -> list[Path | Exception]:
    """The folders of these lines' runs, or what went wrong with each; one that fails lets its neighbours end."""
    at_once = min(run.settings.at_once, len(lines))
    before = os.environ.get(THREADS)
    if at_once > 1 and before is None:  # small models use one core better than two: share the cores out
        os.environ[THREADS] = str(max(1, (os.cpu_count() or 1) // at_once))

    ended: list[str] = []

    def attempt(line: str) -> Path | Exception:
        try:
            outcome: Path | Exception = _launch(run, line)
        except Exception as error:
            outcome = error
        ended.append(line)
        run.note(f"{len(ended)}/{len(lines)} {'failed' if isinstance(outcome, Exception) else 'done'}: {line}")
        return outcome

    try:
        with ThreadPoolExecutor(max(1, at_once)) as pool:
            return list(pool.map(attempt, lines))
    finally:
        if before is None:
            os.environ.pop(THREADS, None)


def _launch(run: Run, line: str) -> Path:
    assert run.launch is not None
    return run.launch(shlex.split(line), run.settings.inherited)


def _complaint(failed: dict[str, str]) -> str:
    listed = "\n".join(f"  {line}\n    {error}" for line, error in failed.items())
    return f"{len(failed)} lines failed; the same command tries them again and keeps what is complete:\n{listed}"
