"""`python -m chexreason.stages FOLDER`: execute the run that FOLDER/manifest.json plans, in this process.

Stages that need torch run this way, so that a sweep neither leaks nor dies with one job; where `processes` share a training
run, this is started once for each. It ends with the run that started it, and until then no second start writes there.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from chexreason.runs.execute import execute_planned
from chexreason.runs.files import is_first_process
from chexreason.runs.folders import WRITER
from chexreason.runs.processes import end_with_starter

GRACE = 90  # seconds after which a process ends that was told to, and in which some library has swallowed the interruption


def main(folder: Path) -> int:
    """Execute the run; its exit status, 128 + the signal's number where one ended it."""
    ended_by: list[int] = []

    def interrupt(*_: Any) -> None:
        ended_by.append(signal.SIGTERM)
        if hasattr(signal, "alarm"):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(GRACE)
        raise KeyboardInterrupt

    @cache  # a second one would interrupt what the first has it save
    def stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, interrupt)
    try:
        end_with_starter(stop, os.getppid())
        with FileLock(folder / WRITER) if is_first_process() else nullcontext():
            return execute_planned(folder)
    except KeyboardInterrupt:
        return 128 + (ended_by or [signal.SIGINT])[0]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
