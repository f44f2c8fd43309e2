"""What a run starts ends with it, however that ends: the jobs of a sweep, a stage in a process of its own, its workers."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache

# In the environment: the machine and the process that started this one, and with which it ends. A job that a scheduler started
# on another machine is the scheduler's to end.
STARTER = "CHEXREASON_STARTER"


def started_by_this() -> dict[str, str]:
    """What the environment of a process says that is to end with this one."""
    return {STARTER: f"{platform.node()} {os.getpid()}"}


def _exit() -> None:
    os._exit(1)


def end_with_starter(end: Callable[[], None] = _exit, parent: int | None = None) -> None:
    """Have `end` called, in a thread, once the process that started this one has ended; at once where it has already.

    That is the one that the environment names, be it inherited from far above, and `parent` beside it. Where both end, `end`
    is called for each.
    """
    machine, _, process = os.environ.get(STARTER, "").rpartition(" ")
    for starter in {int(process) if machine == platform.node() else None, parent} - {None, os.getpid()}:
        _end_with(starter, end)


@contextmanager
def pool(workers: int | None) -> Iterator[ProcessPoolExecutor]:
    """So many workers, or one for each core. They end with this process; an interruption leaves what is queued."""
    processes = ProcessPoolExecutor(workers or os.cpu_count(), initializer=_end_with, initargs=(os.getpid(), _exit))
    try:
        yield processes
    finally:
        processes.shutdown(cancel_futures=True)


@cache  # one thread is enough
def _end_with(starter: int, end: Callable[[], None]) -> None:
    import psutil  # here: a thread that imports while this process is forked leaves the import locked in the fork

    try:
        process = psutil.Process(starter)  # multiprocessing knows no parent in the workers of a sweep's launcher
    except psutil.NoSuchProcess:
        end()
        return

    def wait() -> None:
        process.wait()
        end()

    threading.Thread(target=wait, daemon=True).start()
