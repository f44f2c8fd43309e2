"""The campaign's command; see `benches/faults/__init__.py`."""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import benches.faults
from benches.faults import strikes, surroundings
from benches.faults.study import NotTried, Study, Tried

FAULTS: dict[str, tuple[str, Callable[[Study, int], Tried], int]] = {
    "kill": ("SIGKILL or SIGTERM at a random moment", strikes.kills, 200),
    "killed-damaged": ("killed, then a file of the unfinished run damaged", strikes.damaged_after_a_kill, 24),
    "damage": ("a file of a complete run truncated, emptied or flipped", strikes.damaged_when_complete, 36),
    "twice": ("two processes start the same run", strikes.two_starts, 12),
    "cache": ("four runs share an image cache", strikes.shared_cache, 2),
    "disk": ("the disk fills up", surroundings.full_disk, 24),
    "read-only": ("the runs folder is read-only", surroundings.read_only_runs, 12),
    "source": ("the checkout is read-only", surroundings.read_only_source, 12),
    "locale": ("LC_ALL=C and ASCII terminals, in a folder with a blank and an umlaut", surroundings.other_locale, 12),
    "clock": ("killed, and the clock set back before the second start", surroundings.clock_set_back, 12),
    "unsteady": ("the clock is set back and ahead while the run is made", surroundings.unsteady_clock, 12),
    "wandb": ("W&B is down, silent, or falls silent while the run is made", surroundings.no_tracker, 6),
    "teacher": ("the teacher hangs", surroundings.hanging_teacher, 1),
}


def row(study: Study, name: str, times: int, over: float) -> str:
    """Try a fault so many times, or until the clock says `over`; a line of the table."""
    title, fault, _ = FAULTS[name]
    tried = lost_count = 0
    try:
        for what, lost in fault(study, times):
            tried, lost_count = tried + 1, lost_count + bool(lost)
            print(f"{'LOST' if lost else 'ok'}: {what}{': ' + lost if lost else ''}", file=sys.stderr, flush=True)
            if time.monotonic() > over:
                break
    except NotTried as reason:
        return f"| {title} | 0 | | not tried: {reason} |"
    return f"| {title} | {tried} | {tried - lost_count} | {lost_count or 'nothing'} |"


def main() -> None:
    debian = next((str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
    parser = argparse.ArgumentParser(description=benches.faults.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--times", type=int, default=1000, help="at most so many of each other fault")
    parser.add_argument("--minutes", type=float, default=math.inf, help="... and then each other fault once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--keep", type=Path, help="a folder for the undisturbed study, kept and used again")
    parser.add_argument("--libfaketime", default=debian, help="libfaketimeMT.so.1, where Debian's package is not installed")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = Study(wanted.keep or Path(folder), random.Random(wanted.seed), libfaketime=wanted.libfaketime)
        study.make()
        over = time.monotonic() + 60 * wanted.minutes
        lines = ["| fault | times tried | survived | lost |", "| --- | ---: | ---: | --- |"]
        for name in wanted.only:
            times = wanted.kills if name == "kill" else min(FAULTS[name][2], wanted.times)
            lines.append(row(study, name, times, over))
        print("\n".join(lines))


if __name__ == "__main__":
    main()
