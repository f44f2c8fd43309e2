"""Run folders: manifests, lookup, digests of outputs.

A run is one execution of one stage, in its own folder, named by what defines it. The folder is the source of truth:
reports and later stages read it and nothing else, and its manifest says `complete` only when everything else is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import chexreason
from chexreason.errors import ChexReasonError, printable
from chexreason.runs.files import is_first_process, read_json, replacing, write_json
from chexreason.runs.identity import DIGESTS, digest, path_digest, sha256_of

MANIFEST, LOG = "manifest.json", "log.jsonl"
DELIVERED = ".chexreason.json"  # in a folder that a user named: the files that a run left there, with their digests
ERROR = "error.txt"  # why a run failed, in full
ROOT = "root.path"  # where the images that a run names lie
CHECKPOINTS = "checkpoints"  # of a training run, to resume from
JOURNAL = "journal.jsonl"  # a teacher's replies
LOCK, WRITER = ".lock", ".writer"  # lock files: of the process that starts a run, and of the stage's own process
WANTED = {"name", "stage", "status", "config", "parents", "command"}  # in any manifest
DONE = {"outputs", "finished", "wall_seconds"}  # ... and in a complete run's
SCHEMA = 2  # of manifests and recipes; 1 was chexreason 0.1's
VERSIONED = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "hydra-core", "numpy", "pandas", "wandb")
# Kept for resuming and tracking. These are no results, so a run's output digests do not cover them.
SCAFFOLD = {MANIFEST, LOG, ERROR, ROOT, CHECKPOINTS, JOURNAL, LOCK, WRITER, "wandb"}
FAILED_ONLY = {MANIFEST, ERROR, LOCK, WRITER}  # all that is left of a run that failed before it worked


@dataclass(frozen=True)
class Run:
    """The arguments of a stage: its settings, the groups it uses, its parents' folders and its own folder."""

    settings: Any
    folder: Path
    seed: int = 0
    model: Any = None
    prompt: Any = None
    reward: Any = None
    dataset: Any = None
    teacher: Any = None
    tracker: Any = None
    engine: Any = None
    checkpoint: Any = None
    variant: Any = None
    parents: dict[str, Path] = field(default_factory=dict)

    def every(self, role: str) -> list[Path]:
        """Folders of all parents of one kind: `role`, and each `role_<name>` that a config adds (several sites, say)."""
        return [folder for name, folder in self.parents.items() if name == role or name.startswith(f"{role}_")]

    def note(self, message: str) -> None:
        """Print a progress line to standard error."""
        if is_first_process():
            shown = "\n".join(map(printable, message.splitlines()))
            print(f"[{self.settings.name}] {shown}", file=sys.stderr, flush=True)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """A run folder's manifest, or None where there is none yet, a damaged one, or one of another version."""
    manifest = _anyones_manifest(folder)
    wanted = WANTED | DONE if manifest.get("status") == "complete" else WANTED
    return manifest if manifest.keys() >= wanted and manifest.get("schema") == SCHEMA else None


def is_of_another_version(folder: Path) -> bool:
    """Whether `folder` holds a run whose manifest another version of chexreason wrote."""
    manifest = _anyones_manifest(folder)
    return "stage" in manifest and manifest.get("schema") != SCHEMA


def _anyones_manifest(folder: Path) -> dict[str, Any]:
    """A run folder's manifest of any version; {} where there is none that can be read."""
    try:
        manifest = read_json(folder / MANIFEST)
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def complete_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of the complete run in `folder`, or None where there is no such run."""
    manifest = read_manifest(folder)
    return manifest if manifest and manifest["status"] == "complete" else None


def is_complete(folder: Path) -> bool:
    """Whether the run in `folder` finished."""
    return complete_manifest(folder) is not None


def complete_runs(runs: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Every complete run under `runs` with its manifest, in the order of their finishing."""
    found = [(path.parent, complete_manifest(path.parent)) for path in runs.glob(f"*/{MANIFEST}")]
    return sorted([(folder, one) for folder, one in found if one], key=lambda pair: pair[1]["finished"])


def ancestors(*folders: Path) -> dict[Path, dict[str, Any]]:
    """The runs in `folders` and all their ancestors, nearest first, with their manifests ({} if there is none)."""
    found: dict[Path, dict[str, Any]] = {}
    waiting = list(folders)
    while waiting:
        folder = waiting.pop(0)
        if folder not in found:
            found[folder] = read_manifest(folder) or {}
            parents = (folder.parent / name for name in found[folder].get("parents", {}).values())
            waiting += [parent for parent in parents if parent.is_dir()]
    return found


def deliver(folder: Path, output: Path) -> None:
    """Copy a run's results to the folder that the user named."""
    leave({path.name: path for path in folder.iterdir() if path.is_file() and path.name not in SCAFFOLD}, output)


def leave(files: dict[str, Path], output: Path) -> None:
    """Copy files, by their names there, in place of those that an earlier run left there; each by atomic rename.

    Raises:
        ChexReasonError: a file of such a name is there that no run left, or that was changed since.
    """
    try:
        before: dict[str, str] = read_json(output / DELIVERED)
    except (OSError, ValueError):
        before = {}
    now = {name: sha256_of(files[name]) for name in sorted(files)}
    there = {name: sha256_of(output / name) for name in {*before, *now} if (output / name).is_file()}
    for name in now:
        if there.get(name, now[name]) not in (now[name], before.get(name)):
            raise ChexReasonError(
                f"stage.output={output}: {name} is there, not as a run left it, and is not written over: move it, or name "
                f"another folder. What was made lies in {files[name].parent}"
            )
    for name in before.keys() - now.keys():
        if there.get(name) == before[name]:
            (output / name).unlink()
    for name in now:
        with replacing(output / name) as partial:
            shutil.copyfile(files[name], partial)
    write_json(output / DELIVERED, now)


def kind(manifest: dict[str, Any]) -> str:
    """The kind by which runs are counted and timed: the stage and its model."""
    model = manifest["config"].get("model")
    return f"{manifest['stage']} of {model['name']}" if model else str(manifest["stage"])


def forget(folders: Iterable[Path], new: Iterable[Path]) -> None:
    """Remove each of `folders` that holds only a failed run's manifest and error, then those of `new` that are empty.

    A folder that the error message itself names is kept. `new`: folders created for these runs, innermost first.
    """
    for folder in folders:
        found, left = _anyones_manifest(folder), {path.name for path in folder.glob("*")}
        if left <= FAILED_ONLY and found.get("status", "failed") == "failed" and str(folder) not in found.get("error", ""):
            shutil.rmtree(folder, ignore_errors=True)
    for place in new:
        with suppress(OSError):
            place.rmdir()


def outputs_digest(folder: Path) -> str | None:
    """One digest of all outputs in a complete run's manifest; None if there is no complete run."""
    manifest = complete_manifest(folder)
    return digest(manifest["outputs"]) if manifest else None


def outputs(folder: Path) -> dict[str, str]:
    """Content digests of a run's outputs, by file name."""
    results = sorted(path for path in folder.iterdir() if path.name not in SCAFFOLD)
    return {path.name: path_digest(path, folder.parent / DIGESTS) for path in results}


def changed(folder: Path) -> str | None:
    """The first output of a complete run that has changed since; None if all are unchanged.

    Costs one `stat` a file where the runs folder remembers its digest, and reads the file where it does not.
    """
    manifest = read_manifest(folder) or {}
    left = manifest.get("outputs", {}) | manifest.get("log", {})
    for name, sha256 in left.items():
        path = folder / name
        if not path.exists() or path_digest(path, folder.parent / DIGESTS) != sha256:
            return name
    return None


def provenance() -> dict[str, Any]:
    """Versions of packages, the commit (in a checkout), and the working directory that relative paths refer to."""
    versions = {"chexreason": chexreason.__version__, "python": sys.version.split()[0]}
    for name in VERSIONED:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"versions": versions, "git": _git(), "cwd": os.getcwd()}


def _git() -> dict[str, Any] | None:
    checkout = Path(chexreason.__file__).resolve().parents[1]
    if not (checkout / ".git").exists():
        return None
    ask = ["git", "-C", str(checkout)]
    try:
        commit = subprocess.run([*ask, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        status = subprocess.run([*ask, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "dirty": bool(status.strip())}
