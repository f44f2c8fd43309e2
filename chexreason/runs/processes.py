"""Child processes that end when their starter ends: jobs of a sweep, stages in their own process, and pool workers."""

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

# Environment variable with the machine and id of the starting process; this process ends when that one does. A job that a
# scheduler started on another machine is left to the scheduler.
STARTER = "CHEXREASON_STARTER"
# By default glibc returns the memory of large tensors to the system after every operation. Keeping up to 4 GiB of it makes a
# step on a CPU a tenth faster.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
# Silences the libraries' own messages and progress bars, in favour of ours.
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore"}
# Modules that are slow to import: torch and transformers, pandas, and what W&B imports when one of its runs starts.
IMPORTS = ("chexreason.models.generation", "pandas", "wandb.sdk.launch.inputs.internal")
STREAMS = [0, 1, 2]  # standard input, output and error
CHUNK = 16  # items that a worker takes at a time
GRACE = 90  # seconds that a stage's process has after SIGTERM to save its state before it is killed
LONGEST = 100_000  # maximum bytes of one request, or of one environment variable

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

    The starter is the process that the environment variable names, possibly inherited from a distant ancestor; `parent` is
    watched in addition. `end` is called once for each of the two that ends.
    """
    machine, _, process = os.environ.get(STARTER, "").rpartition(" ")
    for starter in {int(process) if machine == platform.node() else None, parent} - {None, os.getpid()}:
        _end_with(starter, end)


@contextmanager
def pool(workers: int | None) -> Iterator[ProcessPoolExecutor]:
    """A pool of `workers` processes (None: one per core). They end with this process; queued items are cancelled on exit.

    Raises:
        Killed: a worker process died.
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
    """Apply `function` to every item with `workers` processes; yields the results in order.

    If a worker is killed, the items in progress are repeated one at a time, each in a process of its own; an item whose worker
    is killed again yields `lost(item)`.
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
        os.nice(5)  # so that other jobs of a sweep, with a single process each, keep their core
    _end_with(starter, _exit)


@cache  # one thread is enough
def _end_with(starter: int, end: Callable[[], None]) -> None:
    import psutil  # before the thread starts: an import during a fork would leave the import lock held in the fork

    try:
        process = psutil.Process(starter)  # multiprocessing.parent_process() is None in a launcher's workers
    except psutil.NoSuchProcess:
        end()
        return

    def wait() -> None:
        with suppress(psutil.NoSuchProcess):
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:  # ended, but not reaped by its parent
                time.sleep(0.04)  # the interval at which psutil polls, too
        end()

    threading.Thread(target=wait, daemon=True).start()


def run_stage(folder: Path, processes: int, tracked: bool) -> int:
    """Execute the run that folder/manifest.json plans in `processes` processes of their own; their exit status.

    Importing torch, transformers and (if `tracked`) W&B takes seconds, and a sweep executes dozens of runs. Without a GPU,
    whose driver must not be shared by a fork, runs are therefore forked from one process that only does these imports.
    """
    command = [sys.executable, "-m"]
    if processes > 1:
        command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    elif sys.platform == "linux" and not gpu_gigabytes():
        asked = {"folder": str(folder), "imports": IMPORTS[: None if tracked else -1], "working": os.getcwd()}
        told = json.dumps(asked | {"environment": _environment()}).encode()
        if len(told) < LONGEST:
            return _forked(told)
    # Not subprocess.run, which kills its child shortly after Ctrl-C, while the child still saves its step.
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
        _forks.cache_clear()  # a late answer must not be taken for that of the next request
        raise
    _forks.cache_clear()
    return process.wait()  # the forking process was killed


@cache
def _forks() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The process that forks runs, and the socket for requests and exit statuses; it ends when the socket is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        return subprocess.Popen([sys.executable, "-m", "chexreason.stages"], stdin=theirs.fileno(), env=_environment()), ours
