"""`python -m chexreason.stages FOLDER`: execute the run that FOLDER/manifest.json plans, in this process.

Stages that need torch run this way, so that a sweep neither leaks nor dies with one job; where `processes` share a training
run, it is started once per process. It ends when its starter ends; a lock keeps a second start from writing to the folder.
Without a FOLDER, it forks a process for each run requested on a socket, which is its standard input
(chexreason.runs.processes).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from chexreason.runs.execute import execute_planned
from chexreason.runs.files import is_first_process
from chexreason.runs.folders import WRITER
from chexreason.runs.processes import GRACE, LONGEST, STREAMS, end_with_starter


def main(folder: Path) -> int:
    """Execute the run; returns its exit status, 128 + the signal's number if a signal ended it."""
    ending = False

    def interrupt(*_: Any) -> None:
        nonlocal ending
        if ending:  # it is already saving
            return
        ending = True
        if hasattr(signal, "alarm"):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(GRACE)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # unless Ctrl-C is to be ignored
        signal.signal(signal.SIGINT, lambda *_: signal.raise_signal(signal.SIGTERM))  # training has a handler for SIGTERM
    try:
        end_with_starter(lambda: os.kill(os.getpid(), signal.SIGTERM), os.getppid())
        with FileLock(folder / WRITER) if is_first_process() else nullcontext():
            return execute_planned(folder)
    except KeyboardInterrupt:
        return 128 + signal.SIGTERM


def asked() -> Path:
    """Fork a process for each requested run; returns in the child, with the run's folder, and never in the parent."""
    # Only the run's process handles signals; this process ends when the requesting one does.
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    with socket.socket(fileno=os.dup(0)) as asking:
        while True:
            said, streams, *_ = socket.recv_fds(asking, LONGEST, len(STREAMS))
            if not said:  # the requesting process has ended
                sys.exit()
            run = json.loads(said)
            for name in run["imports"]:
                with suppress(Exception):  # a module may not exist in this version; the run reports other errors
                    importlib.import_module(name)
            gc.freeze()  # else garbage collection in the forked runs would copy the shared memory
            process = os.fork()
            if not process:
                break
            for stream in streams:
                os.close(stream)
            _, status = os.waitpid(process, 0)
            try:
                asking.send(str(os.waitstatus_to_exitcode(status)).encode())
            except ConnectionError:
                sys.exit()
    for number, handler in before.items():
        signal.signal(number, handler)
    os.environ.clear()
    os.environ.update(run["environment"])
    os.chdir(run["working"])
    for place, stream in zip(STREAMS, streams, strict=True):
        os.dup2(stream, place)
        os.close(stream)
    return Path(run["folder"])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else asked()))
