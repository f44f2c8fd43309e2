"""Workers that end with the process that started them; concurrent.futures' own wait for ever when that is killed."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress


def pool(workers: int | None) -> ProcessPoolExecutor:
    """So many workers, or one for each core."""
    return ProcessPoolExecutor(workers or os.cpu_count(), initializer=_end_with, initargs=(os.getpid(),))


def _end_with(starter: int) -> None:
    threading.Thread(target=_wait_for_end_of, args=(starter,), daemon=True).start()


def _wait_for_end_of(starter: int) -> None:
    import psutil

    with suppress(psutil.NoSuchProcess):  # multiprocessing knows no parent in the workers of a sweep's launcher
        psutil.Process(starter).wait()
    os._exit(1)
