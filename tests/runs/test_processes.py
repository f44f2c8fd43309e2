"""Workers do not outlive the process that started them."""

from __future__ import annotations

import signal
import subprocess
import sys

import psutil
import pytest

CODE = """
import time
from chexreason.runs.processes import pool
with pool(3) as processes:
    waiting = [processes.submit(time.sleep, seconds) for seconds in (0, 0, 600)]
    waiting[0].result(), waiting[1].result()
    print("at work", flush=True)
    waiting[2].result()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_whoever_started_them_idle_or_not(number: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdout.readline() == "at work\n"
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert len(workers) == 3
    parent.send_signal(number)
    parent.wait()
    left = psutil.wait_procs(workers, timeout=10)[1]
    for one in left:
        one.kill()
    assert not left


LAUNCHED = """
from joblib import Parallel, delayed
def job():
    from chexreason.runs.processes import pool
    with pool(2) as processes:
        return list(processes.map(abs, [-1, -2]))
print(Parallel(n_jobs=2)(delayed(job)() for _ in range(2)))
"""


def test_they_work_in_the_workers_of_a_launcher() -> None:
    done = subprocess.run([sys.executable, "-c", LAUNCHED], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[[1, 2], [1, 2]]\n", "")
