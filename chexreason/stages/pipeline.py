"""An experiment from its first step to its report: every line is one that could be typed, and a line with commas is a sweep."""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chexreason.errors import ChexReasonError
from chexreason.runs.folders import Run, complete_runs, kind_of


@dataclass(frozen=True)
class Settings:
    """`steps`: override lines by the step's name; steps come in order, `at_once` lines of one step run side by side.

    `independent`: no line stands on another, so all are one step, and one that fails leaves the others be. `inherited`:
    overrides that each line gets where it does not say otherwise. `report`: the last line. `plan_only` says what would be
    done, and does nothing.
    """

    name: str
    inherited: list[str]
    at_once: int
    independent: bool
    steps: dict[str, list[str]]
    report: str
    plan_only: bool


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
    run.note(f"looking for what is there of {sum(map(len, settings.steps.values()))} lines")
    work = foresee(run)
    run.note(work.plan())
    if settings.plan_only:
        return {"to_make": dict(Counter(work.to_make.values()))}
    finished: dict[str, Path] = {}
    failed: dict[str, str] = {}
    steps = settings.steps
    if settings.independent:
        steps = {run.folder.name: list(dict.fromkeys(line for lines in steps.values() for line in lines))}
    for number, (name, lines) in enumerate(steps.items(), start=1):
        run.note(f"step {number}/{len(steps)}, {name}: {len(lines)} lines")
        for line, outcome in zip(lines, _side_by_side(run, lines, work), strict=True):
            if isinstance(outcome, Path):
                finished[line] = outcome
            else:
                failed[line] = str(outcome)
        if failed and not settings.independent:
            raise ChexReasonError(_complaint(failed))
    folders = ",".join(dict.fromkeys(str(folder) for folder in finished.values()))
    if finished:
        finished["report"] = _launch(run, settings.report.replace(RUNS, f"[{folders}]"))
    if failed:
        raise ChexReasonError(_complaint(failed))
    return {"runs": {line: folder.name for line, folder in finished.items()}}


@dataclass
class Work:
    """What is still to be made, and how long such runs took before on this machine."""

    runs: Path
    at_once: int
    ahead: dict[str, dict[str, str]]  # by line: the kind of each run that it would make, by what defines the run
    blocked: dict[str, str] = field(default_factory=dict)  # lines that cannot run, and why
    done: set[str] = field(default_factory=set)
    started: float = field(default_factory=time.monotonic)

    @property
    def to_make(self) -> dict[str, str]:
        """Each run once, however many lines stand on it."""
        return {recipe: kind for runs in self.ahead.values() for recipe, kind in runs.items()}

    def plan(self) -> str:
        """Runs to make, lines that are complete, lines that cannot run, and the time to expect."""
        complete = sum(not made for line, made in self.ahead.items() if line not in self.blocked)
        made = ", ".join(f"{count} {kind}" for kind, count in Counter(self.to_make.values()).items()) or "nothing"
        text = f"{len(self.ahead)} lines, {complete} of them complete; to make: {made}{self._expected()}"
        return "\n".join([text, *(f"  cannot run: {line}\n    {why}" for line, why in self.blocked.items())])

    def after(self, line: str) -> str:
        """Progress, once a line is done (or has failed: what it did not make is not waited for)."""
        gone = self.ahead[line]
        self.ahead = {other: {key: made[key] for key in made.keys() - gone} for other, made in self.ahead.items()}
        self.done.add(line)
        minutes = (time.monotonic() - self.started) / 60
        return f"{len(self.done)} of {len(self.ahead)} lines, {minutes:.0f} min so far{self._expected()}"

    def _expected(self) -> str:
        took: dict[str, list[float]] = defaultdict(list)
        for _, manifest in complete_runs(self.runs):
            took[kind_of(manifest["stage"], manifest["config"])].append(manifest["wall_seconds"])
        kinds = Counter(self.to_make.values())
        known = sum(count * sum(took[one]) / len(took[one]) for one, count in kinds.items() if took[one])
        unknown = ", ".join(one for one in kinds if not took[one])
        parts = [f"about {max(1, round(known / self.at_once / 60))} min to go, by earlier runs"] if known else []
        parts += [f"no {unknown} has run here yet to judge by"] if unknown else []
        return "".join(f"; {part}" for part in parts)


def foresee(run: Run) -> Work:
    """What each line would make, without making it."""
    assert run.ahead is not None
    settings: Settings = run.settings
    work = Work(run.folder.parent, settings.at_once, {})
    for line in (line for lines in settings.steps.values() for line in lines):
        try:
            work.ahead[line] = run.ahead(shlex.split(line), settings.inherited)
        except ChexReasonError as error:
            if not settings.independent:
                raise
            work.ahead[line], work.blocked[line] = {}, str(error).splitlines()[0]
    return work


def _side_by_side(run: Run, lines: Sequence[str], work: Work) -> list[Path | Exception]:
    """The folders of these lines' runs, or what went wrong with each; one that fails lets its neighbours end."""
    at_once = min(run.settings.at_once, len(lines))
    before, lock = os.environ.get(THREADS), threading.Lock()
    if at_once > 1 and before is None:  # small models use one core better than two: share the cores out
        os.environ[THREADS] = str(max(1, (os.cpu_count() or 1) // at_once))

    def attempt(line: str) -> Path | Exception:
        try:
            outcome: Path | Exception = _launch(run, line)
        except Exception as error:
            outcome = error
        with lock:
            run.note(f"{'failed' if isinstance(outcome, Exception) else 'done'}: {line}; {work.after(line)}")
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
