"""Workers that end with the process that started them; concurrent.futures' own wait for ever when that is killed."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor


def pool(workers: int | None) -> ProcessPoolExecutor:
    """So many workers, or one for each core."""
    return ProcessPoolExecutor(workers or os.cpu_count(), initializer=_end_with_parent)


def _end_with_parent() -> None:
    threading.Thread(target=_wait_for_its_end, daemon=True).start()


def _wait_for_its_end() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
