"""Runs that are killed, and the same command again."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from chexreason.runs import files
from chexreason.runs import folders as runs
from chexreason.runs.execute import execute_planned
from chexreason.runs.groups import Model
from chexreason.runs.processes import started_by_this
from chexreason.training.checkpoints import WHOLE, last_checkpoint
from tests.conftest import heeds_interruptions
from tests.stages.conftest import GRPO, SFT, execute, history, log, write_order


def start(folder: Path, *command: str) -> subprocess.Popen[str]:
    line = [sys.executable, *(command or ("-m", "chexreason.stages")), str(folder)]
    return subprocess.Popen(line, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heeds_interruptions)


def ended_after(folder: Path, lines: int, by: signal.Signals, *command: str) -> int:
    """Let the run log so many lines and then kill it, or tell it to end, in the middle of whatever it does; its exit status."""
    process = start(folder, *command)
    path = folder / "log.jsonl"
    while process.poll() is None and (not path.exists() or path.read_text().count("\n") < lines):
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[1]
    os.killpg(process.pid, by)
    process.communicate()
    return process.returncode


def told_to_end(folder: Path, lines: int) -> None:
    """Tell it to end after so many lines: it says so, and no step that it logged is lost."""
    assert ended_after(folder, lines, signal.SIGTERM) == 128 + signal.SIGTERM
    ended_well(folder)


def ended_well(folder: Path) -> None:
    assert files.read_json(folder / runs.MANIFEST)["status"] == "interrupted"
    newest = last_checkpoint(folder)
    assert newest is not None and newest.name == f"checkpoint-{log(folder)[-1]['step']}"


@pytest.fixture(scope="module")
def whole(tiny: Model, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SFT run that nothing disturbed: the others, of the same keys, must end as it did."""
    folder = write_order(tmp_path_factory.mktemp("whole") / "runs" / "whole", tiny, data, SFT, {})
    execute(folder)
    return folder


def ends_like(whole: Path, cut: Path) -> None:
    """Execute `cut`, or the rest of it, and compare."""
    assert execute(cut) == files.read_json(whole / runs.MANIFEST)["metrics"]
    assert history(cut) == history(whole)


@pytest.mark.parametrize("tiny", ["qwen2_5_vl"], indirect=True)
def test_grpo_that_was_told_to_end_and_then_killed_ends_as_if_nothing_had_happened(
    order: Callable[..., Path], policy: Path, data: Path
) -> None:
    # Two rollouts to an epoch: every checkpoint lies in another one than the first, whose order of studies is another.
    words = [*GRPO, "stage.limit=4", "reward=nuanced", "reward.window=4", "reward.dominance=0.2"]
    whole, cut = (order(name, *words, policy=policy, validation=data) for name in ("whole", "cut"))
    expected = execute(whole)
    assert any(line.get("rewards/collapse") for line in log(whole)), "or the window would not matter"
    told_to_end(cut, random.randint(1, 5))
    ended_after(cut, random.randint(7, len(log(whole)) - 3), signal.SIGKILL)
    assert execute(cut) == expected
    assert history(cut) == history(whole)


# What a command starts a stage with: forked, or as where a GPU is.
STAGE = """
import sys
from pathlib import Path
from chexreason.runs import processes
processes.gpu_gigabytes = lambda: {gigabytes}
sys.exit(processes.run_stage(Path(sys.argv[1]), 1, tracked=False))
"""


@pytest.mark.parametrize("gigabytes", [0, 80])
@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_sft_that_was_interrupted_by_ctrl_c_ends_as_if_it_had_not_been(
    order: Callable[..., Path], whole: Path, gigabytes: int
) -> None:
    cut = order("told", *SFT, "stage.save_steps=null", "stage.logging_steps=1")
    # Within the first epoch or within a later one; the command ends at once, and what it has started when it has saved.
    assert ended_after(cut, random.choice((1, 5)), signal.SIGINT, "-c", STAGE.format(gigabytes=gigabytes)) != 0
    ended_well(cut)
    ended, expected = execute(cut), files.read_json(whole / runs.MANIFEST)["metrics"]
    # The same losses, logged one by one, make a mean that is rounded otherwise.
    assert ended.pop("train_loss") == pytest.approx(expected.pop("train_loss"), rel=1e-6)
    assert ended == expected


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def killed_at_4(order: Callable[..., Path], whole: Path) -> tuple[Path, Path]:
    """A run that was killed after, or while, it wrote its checkpoint at step 4, and that checkpoint; long before that at 6."""
    cut = order("cut", *SFT)
    shutil.copytree(whole / "checkpoints", cut / "checkpoints")
    shutil.copy(whole / "log.jsonl", cut)
    shutil.rmtree(cut / "checkpoints" / "checkpoint-6")
    return cut, cut / "checkpoints" / "checkpoint-4"


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_what_was_left_half_written_is_not_resumed_from(order: Callable[..., Path], whole: Path) -> None:
    cut, newest = killed_at_4(order, whole)
    (newest / WHOLE).unlink()
    (newest / "optimizer.pt").write_bytes(b"cut short")
    ends_like(whole, cut)


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_a_run_whose_newest_checkpoint_was_damaged_ends_as_if_it_had_not_been(order: Callable[..., Path], whole: Path) -> None:
    cut, newest = killed_at_4(order, whole)
    truncated(newest / "optimizer.pt")
    ends_like(whole, cut)
    assert newest.with_name("damaged-checkpoint-4").is_dir()


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_a_checkpoint_that_changed_since_it_was_saved_is_named_and_not_used(whole: Path, tmp_path: Path) -> None:
    saved, newest = whole / "checkpoints", "checkpoint-6"
    harms = {"truncated": truncated, "flipped": flipped, "missing": Path.unlink}
    names = sorted(path.name for path in (saved / newest).iterdir() if path.stat().st_size)
    assert {"optimizer.pt", "adapter_model.safetensors", "trainer_state.json", "rng_state.pth", WHOLE} <= set(names)
    for name in names:
        for harm, damage in harms.items():
            folder = tmp_path / f"{harm}-{name}"
            shutil.copytree(saved, folder / "checkpoints")
            damage(folder / "checkpoints" / newest / name)
            found = last_checkpoint(folder)
            assert found is None or found.name != newest, (name, harm)
            if (name, harm) != (WHOLE, "missing"):  # without its mark it never was a checkpoint
                assert (folder / "checkpoints" / f"damaged-{newest}").is_dir(), (name, harm)


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_a_run_that_was_over_when_it_was_killed_trains_no_further(order: Callable[..., Path]) -> None:
    folder = order("stopped", *SFT, "stage.epochs=6", "stage.patience=2", "stage.learning_rate=0")  # so no epoch is better
    expected = execute(folder)
    assert (expected["best_step"], expected["steps"]) == (2, 6), "two epochs of patience, then the end"
    # Killed after its last checkpoint and before its result: early stopping must not be asked again.
    shutil.rmtree(folder / "adapter")
    files.write_json(folder / runs.MANIFEST, files.read_json(folder / runs.MANIFEST) | {"status": "running"})
    assert execute(folder) == expected
    # Killed within that checkpoint: one epoch of patience has been spent already.
    (folder / "checkpoints" / f"checkpoint-{expected['steps']}" / WHOLE).unlink()
    assert execute(folder) == expected


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_a_full_disk_is_named_and_leaves_a_checkpoint_to_go_on_from(order: Callable[..., Path]) -> None:
    folder = order("cut", *SFT)
    # A file that must not grow beyond half a megabyte, less than the optimizer's state, fails as one on a full disk does.
    free = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**19, free[1]))
    try:
        assert execute_planned(folder) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, free)
    message = (folder / "error.txt").read_text()
    assert str(folder) in message and "could not be written" in message and "Make room" in message
    assert execute(folder)["steps"] == 6, "with room, the same command ends well"


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for it")
@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_sft_ends_with_the_process_that_started_it_and_later_as_if_it_had_not(order: Callable[..., Path], whole: Path) -> None:
    cut = order("orphan", *SFT)
    command = f"import subprocess, sys; subprocess.run([sys.executable, '-m', 'chexreason.stages', {str(cut)!r}])"
    inherited = os.environ | started_by_this()  # as everything has that a make started
    parent = subprocess.Popen([sys.executable, "-c", command], stderr=subprocess.DEVNULL, env=inherited)
    log_file, give_up = cut / "log.jsonl", time.monotonic() + 90
    lines = random.randint(1, len(log(whole)) - 4)
    while not (log_file.exists() and log_file.read_text().count("\n") >= lines) and time.monotonic() < give_up:
        time.sleep(0.01)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    with pytest.raises(Timeout):  # for a second start there is more to wait for than the process that was started
        FileLock(cut / runs.WRITER).acquire(timeout=0)
    parent.kill()
    parent.wait()
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert children and not any(Path(f"/proc/{child}").exists() for child in children)
    assert files.read_json(cut / runs.MANIFEST)["status"] == "interrupted", "what it was doing is said"
    ends_like(whole, cut)
