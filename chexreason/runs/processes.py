"""Processes that end with the process that started them: jobs of a sweep, stages in their own process, and workers."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

from chexreason.errors import ChexReasonError
from chexreason.runs.config import FOLDERS, own_folders
from chexreason.runs.machine import gpu_gigabytes

# In the environment: the machine and the process that started this one, and with which it ends. A job that a scheduler started
# on another machine is the scheduler's to end.
STARTER = "CHEXREASON_STARTER"
# glibc gives the memory of large tensors back after every operation; keeping up to 4 GiB saves a tenth of a step on a CPU.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
# The libraries' own notes and progress bars: what a person should see is said once, by us.
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore"}
# Modules that are slow to import: torch and transformers, pandas, and what W&B imports when one of its runs starts.
IMPORTS = ("chexreason.models.generation", "pandas", "wandb.sdk.launch.inputs.internal")
STREAMS = [0, 1, 2]  # standard input, output and error
CHUNK = 16  # items that a worker takes at a time
GRACE = 90  # seconds from SIGTERM until a stage's process is killed, in which it saves what it is at
LONGEST = 100_000  # bytes that one request, or one variable of an environment, may have

Item = TypeVar("Item")
Result = TypeVar("Result")


class Killed(ChexReasonError):
    """A worker process was killed by the system, or crashed."""


def started_by_this() -> dict[str, str]:
    """Environment variables for a process that is to end with this one."""
    return {STARTER: f"{platform.node()} {os.getpid()}"}


def _exit() -> None:
    os._exit(1)


def end_with_starter(end: Callable[[], None] = _exit, parent: int | None = None) -> None:
    """Call `end`, in a thread, when the process that started this one has ended; at once if it has ended already.

    That is the one that the environment names, be it inherited from far above, and `parent` beside it. Where both end, `end`
    is called for each.
    """
    machine, _, process = os.environ.get(STARTER, "").rpartition(" ")
    for starter in {int(process) if machine == platform.node() else None, parent} - {None, os.getpid()}:
        _end_with(starter, end)


@contextmanager
def pool(workers: int | None) -> Iterator[ProcessPoolExecutor]:
    """So many workers, or one for each core. They end with this process; an interruption leaves what is queued.

    Raises:
        Killed: one of them was ended.
    """
    processes = ProcessPoolExecutor(workers or os.cpu_count(), initializer=_work_for, initargs=(os.getpid(),))
    try:
        yield processes
    except BrokenProcessPool:
        raise Killed("a worker process was ended, most likely for want of memory: the same command goes on") from None
    finally:
        processes.shutdown(cancel_futures=True)


def each(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, lost: Callable[[Item], Result], chunk: int = CHUNK
) -> Iterator[Result]:
    """`function` of every item, in their order, by so many workers.

    Where a worker is killed, what it and the others were at is done again, one item at a time; an item whose worker is killed
    again is `lost`.
    """
    done = 0
    while done < len(items):
        try:
            with pool(workers) as processes:
                for result in processes.map(function, items[done:], chunksize=chunk):
                    yield result
                    done += 1
        except Killed:
            under_way = items[done : done + chunk * (workers or os.cpu_count() or 1)]
            for item in under_way:
                yield _alone(function, item, lost)
                done += 1


def _alone(function: Callable[[Item], Result], item: Item, lost: Callable[[Item], Result]) -> Result:
    try:
        with pool(1) as process:
            return process.submit(function, item).result()
    except Killed:
        return lost(item)


def _work_for(starter: int) -> None:
    if hasattr(os, "nice"):
        os.nice(5)  # a sweep's other job, which has one process, keeps its core
    _end_with(starter, _exit)


@cache  # one thread is enough
def _end_with(starter: int, end: Callable[[], None]) -> None:
    import psutil  # here: a thread that imports while this process is forked leaves the import locked in the fork

    try:
        process = psutil.Process(starter)  # multiprocessing knows no parent in the workers of a sweep's launcher
    except psutil.NoSuchProcess:
        end()
        return

    def wait() -> None:
        with suppress(psutil.NoSuchProcess):
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:  # ended, and asked for by nobody
                time.sleep(0.04)  # as psutil itself looks
        end()

    threading.Thread(target=wait, daemon=True).start()


def run_stage(folder: Path, processes: int, tracked: bool) -> int:
    """Execute the run that folder/manifest.json plans in `processes` processes of their own; their exit status.

    Importing torch, transformers and (where it is `tracked`) W&B takes seconds, and a sweep executes dozens of runs. Where no
    GPU is, whose driver a fork would share, they are forked from one process that imports these and does nothing else.
    """
    command = [sys.executable, "-m"]
    if processes > 1:
        command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    elif sys.platform == "linux" and not gpu_gigabytes():
        asked = {"folder": str(folder), "imports": IMPORTS[: None if tracked else -1], "working": os.getcwd()}
        told = json.dumps(asked | {"environment": _environment()}).encode()
        if len(told) < LONGEST:
            return _forked(told)
    # Not subprocess.run: it kills what it started a moment after Ctrl-C, while that saves its step.
    return subprocess.Popen([*command, "chexreason.stages", str(folder)], env=_environment()).wait()


def _environment() -> dict[str, str]:
    own = {FOLDERS: os.pathsep.join(folder for folders in own_folders() for folder in folders)}
    return KEEP_MEMORY | QUIET | os.environ | {"TOKENIZERS_PARALLELISM": "false"} | own | started_by_this()


def _forked(told: bytes) -> int:
    process, asking = _forks()
    try:
        socket.send_fds(asking, [told], STREAMS)
        if said := asking.recv(LONGEST):
            return int(said)
    except ConnectionError:
        pass
    except KeyboardInterrupt:
        _forks.cache_clear()  # its answer to this request may still come, and must not be taken for another's
        raise
    _forks.cache_clear()
    return process.wait()  # the forking process was killed


@cache
def _forks() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A process that forks, and where it is asked for a run and answers with the exit status; it ends when that is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        return subprocess.Popen([sys.executable, "-m", "chexreason.stages"], stdin=theirs.fileno(), env=_environment()), ours
