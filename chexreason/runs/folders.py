"""Run folders: manifests, lookup, digests of outputs.

A run is one execution of one stage, in its own folder, whose name includes a digest of what defines the run. The folder is the
source of truth: reports and later stages read nothing else, and its manifest says `complete` only once all else is written.
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
DELIVERED = ".chexreason.json"  # in the user's output folder: digests of the files copied there
ERROR = "error.txt"  # why a run failed, in full
ROOT = "root.path"  # the folder that the image paths of a run are relative to
CHECKPOINTS = "checkpoints"  # folder of checkpoints from which a training run resumes
JOURNAL = "journal.jsonl"  # a teacher's replies
LOCK, WRITER = ".lock", ".writer"  # lock files of the starting process and of the stage's
WANTED = {"name", "stage", "status", "config", "parents", "command"}  # keys of every manifest
DONE = {"outputs", "finished", "wall_seconds"}  # further keys in the manifest of a complete run
SCHEMA = 2  # of manifests and recipes; 1 was chexreason 0.1's
VERSIONED = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "hydra-core", "numpy", "pandas", "wandb")
# Files for resuming and tracking. They are not results and are excluded from the output digests.
SCAFFOLD = {MANIFEST, LOG, ERROR, ROOT, CHECKPOINTS, JOURNAL, LOCK, WRITER, "wandb"}
FAILED_ONLY = {MANIFEST, ERROR, LOCK, WRITER}  # the only files of a run that failed before it did any work


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
    """Read the manifest of a run folder; None if it is missing, damaged, or of another schema version."""
    manifest = _anyones_manifest(folder)
    wanted = WANTED | DONE if manifest.get("status") == "complete" else WANTED
    return manifest if manifest.keys() >= wanted and manifest.get("schema") == SCHEMA else None


def is_of_another_version(folder: Path) -> bool:
    """Whether `folder` holds a run whose manifest another version of chexreason wrote."""
    manifest = _anyones_manifest(folder)
    return "stage" in manifest and manifest.get("schema") != SCHEMA


def _anyones_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a run folder, whatever its schema version; {} if none can be read."""
    try:
        manifest = read_json(folder / MANIFEST)
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def complete_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of the complete run in `folder`, or None if there is no such run."""
    manifest = read_manifest(folder)
    return manifest if manifest and manifest["status"] == "complete" else None


def is_complete(folder: Path) -> bool:
    """Whether the run in `folder` finished."""
    return complete_manifest(folder) is not None


def complete_runs(runs: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Every complete run under `runs` with its manifest, sorted by finishing time."""
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
    """Copy `files` (by name in `output`) to `output`, replacing those of an earlier run; each by atomic rename.

    Raises:
        ChexReasonError: a file to be replaced was not written by a run, or was changed since.
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
    """The category in which a run is counted and timed: its stage and model."""
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

    A file is only read if the runs folder has no cached digest of it; otherwise the check takes one `stat`.
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
