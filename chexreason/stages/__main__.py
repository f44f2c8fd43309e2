"""`python -m chexreason.stages FOLDER`: execute the run that FOLDER/manifest.json plans, in this process.

Stages that need torch run this way, so that a sweep neither leaks nor dies with one job; where `processes` share a training
run, this is started once for each. It ends with the process that started it, and until then no second start writes there.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock

from chexreason.runs.execute import execute_planned
from chexreason.runs.files import is_first_process
from chexreason.runs.folders import WRITER

GRACE = 90  # seconds after which a process ends that was told to, and in which some library has swallowed the interruption
PR_SET_PDEATHSIG = 1  # Linux: the signal that this process gets when its parent ends, however that ends


def main(folder: Path) -> int:
    """Execute the run; its exit status, 128 + the signal's number where one ended it."""
    ended_by: list[int] = []

    def interrupt(*_: Any) -> None:
        ended_by.append(signal.SIGTERM)
        if hasattr(signal, "alarm"):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(GRACE)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before this could be asked for
        return 128 + signal.SIGTERM
    try:
        with FileLock(folder / WRITER) if is_first_process() else nullcontext():
            return execute_planned(folder)
    except KeyboardInterrupt:
        return 128 + (ended_by or [signal.SIGINT])[0]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
