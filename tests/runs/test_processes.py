"""What a process starts does not outlive it: its workers, the jobs of a sweep, stages in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

from chexreason.errors import ChexReasonError
from chexreason.runs import processes
from chexreason.runs.folders import MANIFEST, WRITER
from chexreason.runs.processes import STARTER
from tests.conftest import heeds_interruptions
from tests.runs.conftest import alone

CODE = """
import time
from chexreason.runs.processes import pool
with pool(3) as processes:
    waiting = [processes.submit(time.sleep, seconds) for seconds in (0, 0, 600)]
    waiting[0].result(), waiting[1].result()
    print("at work", flush=True)
    waiting[2].result()
"""


def _square(number: int) -> int:
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def _square_at_second_try(number: int, folder: Path) -> int:
    if number == 5 and not (folder / "tried").exists():
        (folder / "tried").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
@pytest.mark.parametrize("chunk", [1, 4, 99])
def test_a_worker_that_is_killed_costs_what_it_dies_of_and_nothing_else(chunk: int, tmp_path: Path) -> None:
    squares = [number**2 for number in range(30)]
    again = processes.each(partial(_square_at_second_try, folder=tmp_path), range(30), 2, lambda number: -number, chunk)
    assert list(again) == squares, "it is tried again alone"
    assert list(processes.each(_square, range(30), 2, lambda number: -number, chunk)) == [*squares[:13], -13, *squares[14:]]


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_a_killed_worker_is_told_in_a_line() -> None:
    with pytest.raises(ChexReasonError, match="the same command goes on"), processes.pool(1) as workers:
        workers.submit(_square, 13).result()


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


INTERRUPTED = """
import sys
from pathlib import Path
from chexreason.runs.processes import pool
with pool(1) as processes:
    marks = processes.map(Path.touch, [Path(sys.argv[1], str(number)) for number in range(2000)])
    next(marks)
    raise KeyboardInterrupt
"""


def test_an_interruption_does_not_wait_for_what_is_queued(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", INTERRUPTED, str(tmp_path)], stderr=subprocess.DEVNULL)
    assert 1 <= len(list(tmp_path.iterdir())) < 2000


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


SMALL = "stage.image_size=64 stage.sites=[nih] stage.nih_images=24".split()
TINY = ("stage=standin", "model=tiny_gemma,tiny_qwen", f"--config-dir={Path(__file__).parents[1] / 'conf'}")
SWEEPS = {
    "in the workers of a launcher, one of which has no job": (
        ["stage=phantom", "seed=1,2", *SMALL, "hydra/launcher=joblib", "hydra.launcher.n_jobs=3"],
        signal.SIGKILL,
    ),
    "in processes that these start": (
        [*TINY, "hydra/launcher=local"],
        signal.SIGKILL,
    ),
    "in a process that the sweep starts": (
        [*TINY, "hydra/launcher=basic"],
        signal.SIGTERM,
    ),
}


UNREAPED = '''
import os, subprocess, sys
from chexreason.runs.processes import end_with_starter, started_by_this
code = """
import sys, time
from chexreason.runs.processes import end_with_starter
end_with_starter()
time.sleep(20)
sys.exit("it has outlived its starter")
"""
subprocess.Popen([sys.executable, "-c", code], env=os.environ | started_by_this())
'''


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such thing")
def test_a_starter_that_has_ended_and_is_asked_for_by_nobody_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", UNREAPED], stderr=subprocess.PIPE) as starter:
        assert starter.stderr and starter.stderr.read() == b""  # that is, until what it started has ended as well


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
@pytest.mark.parametrize("where", SWEEPS)
def test_the_jobs_of_a_sweep_end_with_it_and_the_same_command_goes_on(where: str, tmp_path: Path) -> None:
    words, number = SWEEPS[where]
    line = [sys.executable, "-m", "chexreason.run", "--multirun", *words, f"runs={tmp_path}", "tracker=none"]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sweep:
        while "running" not in statuses(tmp_path):
            assert sweep.poll() is None, "it ended before it was killed"
            time.sleep(0.05)
        started = psutil.Process(sweep.pid).children(recursive=True)
        sweep.send_signal(number)
    left = psutil.wait_procs(started, timeout=60)[1]
    for one in left:
        one.kill()
    assert started and not left
    if "stage=phantom" in words:
        again = alone(*line[3:])
        assert again.returncode == 0 and statuses(tmp_path) == ["complete", "complete"], again.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts as POSIX does")
def test_ctrl_c_lets_the_runs_of_a_sweep_end_by_themselves(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "chexreason.run", "--multirun", *TINY, "hydra/launcher=local", f"runs={tmp_path}"]
    alone: dict[str, Any] = {"start_new_session": True, "preexec_fn": heeds_interruptions}
    with subprocess.Popen([*line, "tracker=none"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **alone) as sweep:
        while "running" not in statuses(tmp_path):
            assert sweep.poll() is None, "it ended before it was interrupted"
            time.sleep(0.05)
        started = psutil.Process(sweep.pid).children(recursive=True)
        os.killpg(sweep.pid, signal.SIGINT)
    assert sweep.returncode == 130
    assert not psutil.wait_procs(started, timeout=60)[1]
    assert "interrupted" in statuses(tmp_path) and "running" not in statuses(tmp_path)


def statuses(runs: Path) -> list[str]:
    return [json.loads(file.read_text())["status"] for file in runs.glob(f"*/{MANIFEST}")]


def test_a_command_ends_with_the_make_that_starts_it_and_with_no_other(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    line = [sys.executable, "-m", "chexreason.run", "stage=phantom", f"runs={tmp_path}", "dry_run=true"]
    for machine, code in ((os.uname().nodename, 1), ("another", 0)):
        environment = os.environ | {STARTER: f"{machine} {ended.pid}"}
        done = subprocess.run(line, env=environment, capture_output=True, text=True)
        assert (done.returncode, bool(done.stdout)) == (code, not code), done.stderr


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(processes, "gpu_gigabytes", lambda: 0.0)
    monkeypatch.setattr(processes, "IMPORTS", ("json",))  # these runs end before they need torch
    processes._forks.cache_clear()
    yield
    processes._forks.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
def test_runs_are_forked_from_one_process_and_from_another_where_that_is_killed(
    no_gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each ends as it would in a process that was started for it: where it works, what it says and its exit status."""

    def ends(name: str) -> int:
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        status = processes.run_stage(Path("none"), 1, tracked=False)
        said = capfd.readouterr().err
        assert "none/" in said or status < 0
        return status

    assert ends("one") == 1  # there is no such folder
    first = processes._forks()[0]
    assert ends("two") == 1 and processes._forks()[0].pid == first.pid
    with ThreadPoolExecutor(1) as threads, FileLock(tmp_path / WRITER):
        run = threads.submit(processes.run_stage, tmp_path, 1, tracked=False)  # waits for what another process has
        while [child.cwd() for child in psutil.Process(first.pid).children()] != [str(tmp_path / "two")]:
            assert not run.done()
            time.sleep(0.01)
        psutil.Process(first.pid).children()[0].kill()
        assert run.result() == -signal.SIGKILL and first.poll() is None
    first.kill()
    assert ends("three") == -signal.SIGKILL
    assert ends("four") == 1 and processes._forks()[0].pid != first.pid


@pytest.mark.parametrize(("gigabytes", "value"), [(80.0, ""), (0.0, "x" * 100_000)])
def test_where_a_gpu_or_an_environment_without_measure_is_nothing_is_forked(
    gigabytes: float, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "gpu_gigabytes", lambda: gigabytes)
    monkeypatch.setattr(processes, "_forks", None)
    for name in ("ONE", "TWO"):
        monkeypatch.setenv(name, value)
    assert processes.run_stage(tmp_path / "nothing", 1, tracked=False) == 1
