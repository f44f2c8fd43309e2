"""Faults that strike a run itself: it is killed, its files are damaged, or others do the same at the same time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import psutil

from benches.faults.study import Study, Tried, failure, start, still_there
from chexreason.runs.folders import is_complete
from chexreason.runs.identity import files_in

READERS = {"phantom": "curate", "curate": "teach", "teach": "sft", "standin": "sft", "sft": "grpo", "grpo": "evaluate"}


def struck(study: Study, stage: str, runs: Path) -> str | None:
    """Kill the command of `stage` at a random moment; what was done, or None where it had ended before."""
    number = study.rng.choice([signal.SIGKILL, signal.SIGTERM])
    whom = study.rng.choice(["parent", "child", "group"])
    process = start(stage, runs)
    moment = study.rng.uniform(0.1, study.seconds[stage])
    try:
        process.communicate(timeout=moment)
        return None
    except subprocess.TimeoutExpired:
        pass
    children = psutil.Process(process.pid).children(recursive=True)
    whom = "parent" if whom == "child" and not children else whom
    if whom == "group":
        os.killpg(process.pid, number)
    else:
        os.kill(study.rng.choice(children).pid if whom == "child" else process.pid, number)
    return f"{stage}, {signal.Signals(number).name} to the {whom} after {moment:.1f} s"


def kills(study: Study, times: int) -> Tried:
    """The second start comes at once, while what is left of the first may still be at work."""
    tried = 0
    for stage in cycle(study.runs):
        if tried == times:
            return
        runs = study.without(stage)
        what = struck(study, stage, runs)
        if what is not None:
            tried += 1
            yield what, study.lost(stage, runs) or still_there(runs)
        shutil.rmtree(runs)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


HARMS: tuple[Callable[[Path], None], ...] = (truncate, empty, flip)


def damaged_after_a_kill(study: Study, times: int) -> Tried:
    for stage in study.turns(times):
        harm, runs = study.rng.choice(HARMS), study.without(stage)
        what = struck(study, stage, runs)
        folder = runs / study.runs[stage]
        if what and folder.is_dir() and not is_complete(folder):
            still_there(runs)  # until nobody writes there
        if what and folder.is_dir() and not is_complete(folder) and any(one.stat().st_size for one in files_in(folder)):
            file = study.some_file(folder)
            harm(file)
            lost = study.lost(stage, runs)
            yield f"{what}; {harm.__name__} {file.relative_to(runs)}", "" if _names(lost, file.name) else lost
        shutil.rmtree(runs)


def damaged_when_complete(study: Study, times: int) -> Tried:
    """A file of a complete run is damaged: a run that reads it is made, and it is asked for again."""
    for stage in study.turns(times):
        reader = READERS.get(stage) if READERS.get(stage) in study.runs else None
        harm, runs = study.rng.choice(HARMS), study.without(reader)
        folder = runs / study.runs[stage]
        file = study.some_file(folder)
        harm(file)
        for asked in filter(None, (reader, stage)):
            lost = study.lost(asked, runs)
            named = _names(lost, *file.relative_to(folder).parts) or file.name == "manifest.json" and folder.name in lost
            yield f"{asked} after: {harm.__name__} {file.relative_to(runs)}", "" if named else lost
        shutil.rmtree(runs)


def _names(lost: str, *names: str) -> bool:
    return "traceback" not in lost and any(name in lost for name in names)


def two_starts(study: Study, times: int) -> Tried:
    for stage in study.turns(times):
        runs = study.without(stage)
        yield f"{stage} started twice", _failures(start(stage, runs), start(stage, runs)) or study.differs(stage, runs)
        shutil.rmtree(runs)


def shared_cache(study: Study, times: int) -> Tried:
    for _ in range(times):
        runs = study.without("evaluate")
        for store in (".images", ".digests.sqlite"):
            shutil.rmtree(runs / store, ignore_errors=True)
            (runs / store).unlink(missing_ok=True)
        four = [start("evaluate", runs, f"stage.limit={12 - number}") for number in range(4)]
        yield "four evaluations, one image cache", _failures(*four) or study.differs("evaluate", runs)
        shutil.rmtree(runs)


def _failures(*processes: subprocess.Popen[str]) -> str:
    said = [one.communicate()[1] for one in processes]
    return "; ".join(failure(words) for one, words in zip(processes, said, strict=True) if one.returncode)
