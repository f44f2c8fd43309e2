"""Faults of what lies around a run: disks, modes, locales, clocks, and servers that stop answering."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

from benches.faults.strikes import struck
from benches.faults.study import CHECKOUT, LOOKS_AGAIN, PLAIN_USER, NotTried, Study, Tried, failure, start, told_badly
from benches.faults.tracker import unfaithful_tracker

DAY = 86_400  # seconds
UNSTEADY = Path(__file__).parent / "unsteady"


def full_disk(study: Study, times: int) -> Tried:
    """A file system that fills up while the run is made, and is given room before the second start."""
    for stage in study.turns(times):
        with _file_system(study.folder / "disk") as disk:
            runs = study.without(stage, disk / "runs")
            own = sum(file.stat().st_blocks * 512 for file in (study.whole / study.runs[stage]).rglob("*") if file.is_file())
            _resize(disk, str(shutil.disk_usage(disk).used + int(study.rng.uniform(0, 0.9) * own)))
            done = start(stage, runs)
            said = done.communicate()[1]
            _resize(disk, "2g")
            what = "which it named" if done.returncode else "which it did without"
            badly = told_badly(said) if done.returncode else ""
            yield f"{stage} on a full disk, {what}", badly or study.lost(stage, runs)


@contextmanager
def _file_system(folder: Path) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g", "tmpfs", folder], capture_output=True).returncode:
        raise NotTried("no file system may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def _resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


def read_only_runs(study: Study, times: int) -> Tried:
    """What is complete is reused; what is not says in a line that it cannot be written."""
    for stage in study.turns(times):
        for runs, missing in ((study.without(None), False), (study.without(stage), True)):
            with _read_only(runs):
                done = start(stage, runs, under=PLAIN_USER)
                said = done.communicate()[1]
            lost = told_badly(said) if missing or stage in LOOKS_AGAIN else failure(said) if done.returncode else ""
            yield f"{stage}, {'missing' if missing else 'complete'}, in a read-only folder", lost
            shutil.rmtree(runs)


def read_only_source(study: Study, times: int) -> Tried:
    code = study.folder / "code"
    for name in ("chexreason", "conf", "experiments", "tests/conf"):
        shutil.copytree(CHECKOUT / name, code / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    with _read_only(code):
        for stage in study.turns(times):
            runs = study.without(stage)
            yield f"{stage} from a read-only checkout", study.lost(stage, runs, under=PLAIN_USER, code=code)
            shutil.rmtree(runs)


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    subprocess.run(["chmod", "-R", "a-w", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["chmod", "-R", "u+w", folder], check=True)


def other_locale(study: Study, times: int) -> Tried:
    plain = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    for stage in study.turns(times):
        runs = study.without(stage, study.folder / "Übung, mit Blank")
        yield f"{stage}, LC_ALL=C and ASCII", study.lost(stage, runs, **plain)
        shutil.rmtree(runs)


def clock_set_back(study: Study, times: int) -> Tried:
    """Every file is dated a year ahead, as all are for a clock that was set back between two starts."""
    for stage in study.turns(times):
        runs = study.without(stage)
        what = struck(study, stage, runs)
        time.sleep(2)
        ahead = time.time() + 365 * DAY
        for path in runs.rglob("*"):
            os.utime(path, (ahead, ahead))
        yield f"{what or stage}, clock set back by a year", study.lost(stage, runs)
        shutil.rmtree(runs)


def unsteady_clock(study: Study, times: int) -> Tried:
    """Once a second the clock of every process is set to now, a day ago or a day ahead (libfaketime)."""
    if not study.libfaketime:
        raise NotTried("libfaketime is not installed")
    shift = study.folder / "shift"
    faked: dict[str, Any] = {"LD_PRELOAD": study.libfaketime, "FAKETIME_TIMESTAMP_FILE": str(shift), "FAKETIME_NO_CACHE": "1"}
    # Steady clocks and dates of files are left alone, as by a clock that is set.
    faked |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1", "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{UNSTEADY}"}
    for stage in study.turns(times):
        runs = study.without(stage)
        shift.write_text("-1d")
        process = start(stage, runs, **faked)
        while process.poll() is None:
            time.sleep(1)
            shift.with_suffix(".new").write_text(study.rng.choice(["-1d", "+0", "+1d"]))
            shift.with_suffix(".new").replace(shift)
        said = process.communicate()[1]
        lost = failure(said) if process.returncode else study.lost(stage, runs)
        yield f"{stage}, clock set back and ahead while it runs", lost
        shutil.rmtree(runs)


@contextmanager
def _silent() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


TRACKERS: dict[str, Callable[[], AbstractContextManager[int]]] = {
    "down": lambda: nullcontext(9),
    "silent": _silent,
    "silent from the middle of the run on": unfaithful_tracker,
}


def no_tracker(study: Study, times: int) -> Tried:
    """W&B's server refuses every connection, accepts them and never answers, or answers until a run is under way."""
    for how, stage in islice(cycle(product(TRACKERS, ("evaluate", "sft"))), times):
        runs = study.without(stage)
        with TRACKERS[how]() as port:
            online = {"WANDB_MODE": "online", "WANDB_BASE_URL": f"http://127.0.0.1:{port}", "WANDB_API_KEY": "x" * 40}
            yield f"{stage}, W&B is {how}", study.lost(stage, runs, **online)
        shutil.rmtree(runs)


def hanging_teacher(study: Study, times: int) -> Tried:
    """A teacher that accepts connections and never answers is named in a line."""
    for _ in range(times):
        runs = study.without("teach, free text")
        with _silent() as port:
            asked = f"teacher=openai mixed_worlds=true teacher.timeout=1 teacher.retries=1 teacher.base_url=http://127.0.0.1:{port}/v1"
            done = start("teach, free text", runs, asked)
            said = done.communicate(timeout=300)[1]
        yield "a teacher that never answers", told_badly(said) if done.returncode else "taught by nobody"
        shutil.rmtree(runs)
