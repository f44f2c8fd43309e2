"""Executes one run: locks its folder, starts its process, calls its stage and keeps its manifest up to date."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig

from chexreason.errors import ChexReasonError, is_no_room
from chexreason.runs import config as schema
from chexreason.runs import files, folders, processes
from chexreason.runs.identity import sha256_of
from chexreason.runs.lines import PLACES
from chexreason.runs.plan import Plan, plan
from chexreason.runs.stage import Stage

CANNOT_WRITE = 73  # exit status of a run that could not write its error (sysexits.h: EX_CANTCREAT)
JOBS = "CHEXREASON_JOBS"  # environment variable with the jobs of a sweep: the folder and overrides of each
LOOK_AGAIN = 5.0  # seconds after which a waiting job looks for other work
GIVEN_UP: set[Path] = set()  # runs of other jobs that failed in this process
WAITED_FOR: set[Path] = set()  # runs for which a waiting message was printed
PAID = (folders.JOURNAL,)  # kept when a run is made again, so that no reply is paid for twice


class Lacking(ChexReasonError):
    """A requirement of a run is missing. A sweep lists these for all jobs before the first and need not repeat them."""


def execute(cfg: DictConfig, typed: Sequence[str]) -> Path:
    """Execute one composed run, or reuse it if it is complete; with make_missing, execute its missing ancestors first.

    Returns:
        The complete run's folder.

    Raises:
        ChexReasonError: a wrong key, a missing parent run, an unmet requirement, or a failed run.
    """
    planned = plan(cfg, typed)
    if lacks := planned.every_lack():
        raise Lacking("\n".join(lacks))
    if not cfg.make_missing and (needed := planned.needs()):
        raise ChexReasonError(needed)
    for one in planned.every():
        _describe(one)
    new = [place for place in planned.folder.parents if not place.exists()]
    try:
        _make_all(planned, helpful=cfg.make_missing and not cfg.force)
    except ChexReasonError:
        if JOBS not in os.environ:  # a sweep reads its failures from these folders
            folders.forget([one.folder for one in planned.every()], new)
        raise
    _deliver(planned)
    # Show the result, also when the run was reused.
    planned.does.show(planned.folder)
    return planned.folder


def _describe(planned: Plan) -> None:
    """Update the descriptive keys in a complete run's manifest (site, data-use agreement) to those of today's config."""
    found = folders.complete_manifest(planned.folder)
    if found is None or found["recipe"] != planned.recipe:
        return
    before = found["config"]
    config = before | {name: before[name] | said for name, said in planned.descriptions.items()}
    if config == before:
        return
    try:
        files.write_json(planned.folder / folders.MANIFEST, found | {"config": config})
    except OSError as error:
        raise ChexReasonError(
            f"{planned.folder} needs its manifest updated (the config says another site or agreement), but it cannot be "
            f"written ({error.strerror}): set runs=FOLDER"
        ) from None


def _deliver(planned: Plan) -> None:
    """Copy the results of a complete run to `stage.output`."""
    output = planned.manifest["config"]["stage"].get("output")
    if not output or not planned.does.deliver:
        return
    try:
        planned.does.deliver(planned.folder, Path(output))
    except OSError as error:
        raise ChexReasonError(
            f"stage.output={output} cannot be written ({error.strerror or error}). The run itself is complete, in "
            f"{planned.folder}: the same command with another stage.output only leaves its result there"
        ) from None


def _make_all(planned: Plan, helpful: bool) -> None:
    """Make a run and its missing parents.

    A run that another process is making is only waited for when nothing else can be done, be it for this run or, if
    `helpful`, for another job of the same sweep.
    """
    left = [*(one for one in planned.missing() if one is not planned), planned]
    while left:
        ready = _ready(left)
        for one in ready:
            if _try_to_make(one):
                left.remove(one)
                break
        else:
            if not (helpful and _help()) and _try_to_make(ready[0], LOOK_AGAIN if helpful else None):
                left.remove(ready[0])


def _ready(missing: Sequence[Plan]) -> list[Plan]:
    """The runs among `missing` that depend on none of the others."""
    waiting = {one.folder for one in missing}
    return [one for one in missing if waiting.isdisjoint(parent.folder for parent in one.parents.values())]


def _help() -> bool:
    """Make one run that another job of this sweep needs; False if there is none, or all are being made already."""
    for job in _jobs(os.environ.get(JOBS, "[]")):
        ready = [] if job.forced or job.every_lack() else _ready(job.missing())
        for one in ready:
            failed = (folders.read_manifest(one.folder) or {}).get("status") == "failed" or one.folder in GIVEN_UP
            try:
                if one.reusable and not failed and _try_to_make(one):
                    return True
            except ChexReasonError:  # reported by the job that needs it
                GIVEN_UP.add(one.folder)
    return False


@lru_cache(maxsize=1)
def _jobs(told: str) -> list[Plan]:
    """Plan the jobs of a sweep. This is cached: a plan itself looks up anew whether its run is complete."""
    known: dict[str, Plan] = {}
    planned = []
    for _, words in json.loads(told):
        with suppress(ChexReasonError):  # reported by that job itself
            planned.append(plan(schema.compose(words), words, known))
    return planned


def _try_to_make(planned: Plan, wait: float | None = 0.0) -> bool:
    """Make or reuse one run with complete parents; False if another process holds it for `wait` seconds (None: no limit)."""
    try:
        if planned.is_complete and not planned.forced:
            _reuse(planned)
        else:
            with _held(planned, wait):
                _make(planned)
    except Timeout:
        return False
    except OSError as error:
        raise ChexReasonError(_told(error, planned.folder)) from None
    return True


def _held(planned: Plan, wait: float | None) -> AbstractContextManager[object]:
    """Lock the run's folder, so that only one process works in it at a time.

    Raises:
        ChexReasonError: the folder cannot be written.
        Timeout: another process still holds the lock after `wait` seconds.
    """
    try:
        planned.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as locks:
            locks.enter_context(_acquired(folders.LOCK, planned, wait))
            # The stage's process may outlive the process that started it, if that was killed.
            with _acquired(folders.WRITER, planned, wait):
                return locks.pop_all()
    except Timeout:  # an OSError, too
        raise
    except OSError as error:
        raise ChexReasonError(f"{planned.folder} cannot be written ({error.strerror}): set runs=FOLDER") from None


def _make(planned: Plan) -> None:
    """Make one run, unless the process that held its lock before has completed it."""
    if planned.is_complete and not planned.forced:
        _reuse(planned)
        return
    for parent in planned.parents.values():
        _refuse_changed(parent)
    for left in list(planned.folder.rglob(f"*{files.PARTIAL}")):  # partial files of a process that was killed
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    before = folders.read_manifest(planned.folder)
    made_from = {role: folders.outputs_digest(parent.folder) for role, parent in planned.parents.items()}
    if planned.forced:
        _clear(planned.folder, keep=())
    elif before and (before["status"] == "complete" or before.get("made_from") != made_from):
        _clear(planned.folder, keep=PAID)  # its parents have changed: start anew
    files.write_json(planned.folder / folders.MANIFEST, planned.manifest | {"made_from": made_from})
    if not planned.does.TORCH:
        code = execute_planned(planned.folder)
    else:
        code = processes.run_stage(planned.folder, planned.processes, planned.manifest["tracker"]["mode"] != "disabled")
    if code == CANNOT_WRITE:
        raise ChexReasonError(_no_room(planned.folder, "the disk is full: not even the error could be written there"))
    if code != 0:
        found = folders.read_manifest(planned.folder) or {}
        raise ChexReasonError(found.get("error") or f"{planned.folder.name} {_ended(code)}; the same command goes on")


def _ended(code: int) -> str:
    """Describe the exit status of a process that wrote no error."""
    if code >= 0:
        return f"did not finish: exit code {code}"
    memory = ", most likely for want of main memory" if code == -signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-code).name}{memory}"


def _acquired(name: str, planned: Plan, wait: float | None) -> AbstractContextManager[object]:
    """Acquire a lock in the run's folder, waiting until it is free."""
    lock = FileLock(planned.folder / name)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        if wait == 0:
            raise
        if planned.folder not in WAITED_FOR:
            print(f"[{planned.stage}] another process has {planned.folder}; waiting", file=sys.stderr, flush=True)
        WAITED_FOR.add(planned.folder)
        return lock.acquire(timeout=-1 if wait is None else wait)


def _reuse(planned: Plan) -> None:
    _refuse_changed(planned)
    print(f"[{planned.stage}] reused {planned.folder}", file=sys.stderr, flush=True)


def _refuse_changed(planned: Plan) -> None:
    """Raises ChexReasonError if a complete run's outputs, or the inputs that it read, have changed since."""
    if harmed := planned.harmed:
        command = planned.manifest["command"]
        raise ChexReasonError(
            f"{harmed}, and the run is not used. Put back what was there, or make it again:\n  {command} force=true"
        )


def _clear(folder: Path, keep: Sequence[str]) -> None:
    """Empty a run's folder except for `keep`. The manifest goes first, so that a half-emptied folder never counts as a run."""
    (folder / folders.MANIFEST).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.name not in (folders.LOCK, folders.WRITER, *keep):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def load(folder: Path) -> folders.Run:
    """The run that folder/manifest.json describes, in the form that its stage receives."""
    manifest = files.read_json(folder / folders.MANIFEST)
    config = dict(manifest["config"])
    seed = config.pop("seed")
    parents = {role: folder.parent / name for role, name in manifest["parents"].items()}
    groups = {name: schema.group(name, values) for name, values in config.items()}
    for name in PLACES.keys() & groups.keys() & parents.keys():
        inside = getattr(groups[name], PLACES[name])
        groups[name] = replace(groups[name], **{PLACES[name]: str(parents[name] / inside)})
    tracker = schema.group("tracker", manifest["tracker"])
    return folders.Run(settings=groups.pop("stage"), folder=folder, seed=seed, tracker=tracker, parents=parents, **groups)


def execute_planned(folder: Path) -> int:
    """Execute the run that folder/manifest.json describes in this process; returns the exit status.

    If several processes share the run, only the first writes its records.
    """
    manifest = files.read_json(folder / folders.MANIFEST)
    run = load(folder)
    does = Stage.of(run.settings)
    started, clock = datetime.now(UTC), time.perf_counter()
    manifest |= {"status": "running", "started": started.isoformat(timespec="seconds"), **folders.provenance()}
    try:
        files.write_json(folder / folders.MANIFEST, manifest)
        metrics = does.execute(run) or {}
        if not isinstance(metrics, dict):
            raise ChexReasonError(f"stage={run.settings.name}: execute() gave {str(metrics)[:80]}; metrics by name are wanted")
        if not files.is_first_process():  # the first process is still writing the outputs
            return 0
        files.make_readable(folder)
        done = {
            "status": "complete",
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "wall_seconds": round(time.perf_counter() - clock, 2),
            "device": _device(),
            "peak_memory_bytes": _peak_memory(),
            "outputs": folders.outputs(folder),
            "log": {folders.LOG: sha256_of(log)} if (log := folder / folders.LOG).exists() else {},
            "metrics": metrics,
        }
        (folder / folders.ERROR).unlink(missing_ok=True)
        files.to_disk(folder)
        files.write_json(folder / folders.MANIFEST, manifest | done)
    except KeyboardInterrupt:
        if not folders.complete_manifest(folder):
            _fail(folder, manifest, "interrupted", status="interrupted")
        raise
    except (Exception, SystemExit) as error:  # some libraries call sys.exit
        return _fail(folder, manifest, _told(error, folder))
    said = does.headline(metrics)
    run.note(f"complete in {done['wall_seconds']:.0f} s{': ' + said if said else ''} ({folder})")
    return 0


def _told(error: BaseException, folder: Path) -> str:
    """The message for an error; for an unexpected one (a bug), the whole traceback."""
    if isinstance(error, ChexReasonError):
        return str(error)
    if is_no_room(error):
        return _no_room(Path(getattr(error, "filename", None) or folder), getattr(error, "strerror", None) or str(error))
    if isinstance(error, OSError) and error.filename:  # a file that cannot be read or written
        return f"{error.filename}: {error.strerror}"
    traceback.print_exc()
    return traceback.format_exc()


def _no_room(path: Path, why: str) -> str:
    return f"{path} could not be written ({why}). Make room or set runs=FOLDER; the same command then goes on from there"


def _fail(folder: Path, manifest: dict[str, Any], error: str, status: str = "failed") -> int:
    """Write why the run failed to its folder; returns the exit status. Processes other than the first print it instead."""
    if not files.is_first_process():
        print(error, file=sys.stderr, flush=True)
    trace = error.startswith("Traceback")
    short = f"{error.strip().splitlines()[-1]} (see {folder / folders.ERROR})" if trace else error.strip()
    try:
        files.write_text(folder / folders.ERROR, error + "\n")
        files.write_json(folder / folders.MANIFEST, manifest | {"status": status, "error": short})
    except OSError:
        return CANNOT_WRITE
    return 1


def _device() -> str:
    """The device that the run used: a GPU's name, or the number of CPU cores."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{os.cpu_count()} CPU cores"


def _peak_memory() -> dict[str, int]:
    """Bytes of main memory, and of GPU memory where one was used."""
    peak = {}
    if sys.platform != "win32":  # Windows has no `resource` module
        import resource

        peak["main"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        peak["gpu"] = torch.cuda.max_memory_allocated()
    return peak
