"""In which order runs are made where several processes are at it."""

from __future__ import annotations

import json
import queue
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from chexreason.errors import ChexReasonError
from chexreason.runs import execute as execution
from chexreason.runs import folders, processes
from chexreason.runs.config import compose
from chexreason.runs.execute import execute
from chexreason.runs.plan import Plan
from chexreason.stages import evaluate
from tests.runs.conftest import EVALUATE, made_alone, planned


def test_what_another_process_is_making_is_left_to_it_while_there_is_something_else_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(execution, "_make", lambda one: order.put(one.stage))
    evaluation = planned(tmp_path, *EVALUATE, "make_missing=true")
    first, second, last = evaluation.missing()
    first.folder.mkdir(parents=True)
    with ThreadPoolExecutor(1) as threads:
        for held in (folders.LOCK, folders.WRITER):  # by who started it, or by what is left of one that was killed
            with FileLock(first.folder / held):
                done = threads.submit(execution._make_all, evaluation, helpful=False)
                assert order.get(timeout=60) == second.stage
                assert not done.done()
            assert [order.get(timeout=60), order.get(timeout=60)] == [first.stage, last.stage]
            done.result()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (-9, "was ended by SIGKILL, most likely for want of main memory; the same command"),
        (-11, "SIGSEGV;"),
        (3, "exit code 3;"),
    ],
)
def test_a_stage_that_ended_without_a_word_is_spoken_for(
    code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "run_stage", lambda *_, **__: code)
    cfg = compose(words := ["stage=standin", "model=phantom_gemma", f"runs={tmp_path}"])
    with pytest.raises(ChexReasonError, match=said):
        execute(cfg, words)


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Plan, Plan, queue.Queue[str]]:
    """Two jobs of a sweep that share their films, beside one that cannot be planned, and in which order runs are made."""
    order: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(execution, "_make", lambda one: (order.put(one.folder.name), made_alone(one)))
    monkeypatch.setattr(execution, "LOOK_AGAIN", 0.1)
    words = [*EVALUATE, f"runs={tmp_path}", "make_missing=true"]
    own, other = (planned(tmp_path, *words, f"model={model}") for model in ("phantom_gemma", "phantom_qwen"))
    said = [("none", "none"), (str(own.folder), "phantom_gemma"), (str(other.folder), "phantom_qwen")]
    monkeypatch.setenv(execution.JOBS, json.dumps([(folder, [*words, f"model={model}"]) for folder, model in said]))
    return own, other, order


def names(*plans: Plan) -> list[str]:
    return [one.folder.name for one in plans]


def test_a_job_that_would_only_wait_makes_what_another_job_of_its_sweep_lacks(
    sweep: tuple[Plan, Plan, queue.Queue[str]],
) -> None:
    own, other, order = sweep
    stand_in, films, _ = own.missing()
    stand_in.folder.mkdir()
    with ThreadPoolExecutor(1) as threads, FileLock(stand_in.folder / folders.LOCK) as held:
        done = threads.submit(execution._make_all, own, helpful=True)
        assert [order.get(timeout=60) for _ in range(3)] == names(films, other.parents["model"], other)
        held.release()
        done.result()
    assert [order.get(), order.get()] == names(stand_in, own) and order.empty()


def test_what_failed_for_another_job_is_left_to_that_job(
    sweep: tuple[Plan, Plan, queue.Queue[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other, order = sweep
    stand_in, films, _ = own.missing()

    def make(one: Plan) -> None:
        order.put(one.folder.name)
        if one.folder == other.parents["model"].folder:
            raise ChexReasonError("killed, without a word in its manifest")
        made_alone(one)

    monkeypatch.setattr(execution, "_make", make)
    stand_in.folder.mkdir()
    with ThreadPoolExecutor(1) as threads, FileLock(stand_in.folder / folders.LOCK) as held:
        done = threads.submit(execution._make_all, own, helpful=True)
        assert [order.get(timeout=60) for _ in range(2)] == names(films, other.parents["model"])
        time.sleep(0.5)  # it looks again several times
        assert order.empty()
        held.release()
        done.result()
    assert [order.get(), order.get()] == names(stand_in, own) and order.empty()


@pytest.mark.parametrize("word", ["make_missing=false", "force=true"])
def test_help_is_for_sweeps_that_make_what_is_missing_and_force_nothing(
    word: str, sweep: tuple[Plan, Plan, queue.Queue[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, _, order = sweep
    monkeypatch.setattr(execution, "_help", None)
    monkeypatch.setattr(execution, "_deliver", lambda _: None)
    monkeypatch.setattr(evaluate, "show", lambda _: None)
    for one in own.missing()[:-1]:
        made_alone(one)
    own.folder.mkdir()
    line = [*EVALUATE, f"runs={tmp_path}", "make_missing=true", word]
    with ThreadPoolExecutor(1) as threads, FileLock(own.folder / folders.LOCK) as held:
        done = threads.submit(execute, compose(line), line)
        time.sleep(0.5)
        held.release()
        done.result()
    assert order.get() == own.folder.name
