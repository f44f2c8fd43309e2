"""Run folders: identity, manifest, lookup.

A run is one execution of one stage, in its own folder, named by what defines it. The folder is the source of truth:
reports and later stages read it and nothing else, and its manifest says `complete` only when everything else is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import chexreason
from chexreason.runs.files import is_first_process, read_json

MANIFEST, ORDER = "manifest.json", "run.json"
VERSIONED = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "hydra-core", "numpy", "pandas", "wandb")
# Kept for resuming and tracking: not results, so not part of what a run's output digests vouch for.
SCAFFOLD = {MANIFEST, ORDER, ".lock", "wandb", "checkpoints", "log.jsonl", "error.txt", "journal.jsonl"}


# For the pipeline, of a line of overrides and those that it inherits where it does not say otherwise: Launch executes it,
# Ahead names the stages that it would execute, by what defines each.
Launch = Callable[[Sequence[str], Sequence[str]], Path]
Ahead = Callable[[Sequence[str], Sequence[str]], dict[str, str]]


@dataclass(frozen=True)
class Run:
    """All that a stage is given: its settings, the groups it uses, its parents' folders and a folder of its own."""

    settings: Any
    folder: Path
    seed: int = 0
    model: Any = None
    prompt: Any = None
    reward: Any = None
    dataset: Any = None
    teacher: Any = None
    tracker: Any = None
    parents: dict[str, Path] = field(default_factory=dict)
    launch: Launch | None = None
    ahead: Ahead | None = None

    def every(self, role: str) -> list[Path]:
        """Folders of all parents of one kind: `role`, and each `role_<name>` that a config adds (several sites, say)."""
        return [folder for name, folder in self.parents.items() if name == role or name.startswith(f"{role}_")]

    def note(self, message: str) -> None:
        """A progress line for the person who waits."""
        if is_first_process():
            print(f"[{self.settings.name}] {message}", file=sys.stderr, flush=True)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """A run folder's manifest, or None where there is none yet, or a damaged one."""
    try:
        manifest = read_json(folder / MANIFEST)
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and "status" in manifest else None


def is_complete(folder: Path) -> bool:
    """Whether the run in `folder` finished."""
    manifest = read_manifest(folder)
    return manifest is not None and manifest["status"] == "complete"


def complete_runs(runs: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every complete run under `runs` with its manifest, in the order of their finishing."""
    found = [(path.parent, read_manifest(path.parent)) for path in runs.glob(f"*/{MANIFEST}")]
    complete = [(folder, manifest) for folder, manifest in found if manifest and manifest["status"] == "complete"]
    return iter(sorted(complete, key=lambda pair: pair[1].get("finished", "")))


def kind_of(stage: str, config: Mapping[str, Any]) -> str:
    """What a plan calls a run: its stage and the model that takes its time."""
    return f"{stage} of {config['model']['name']}" if "model" in config else stage


def ancestors(*folders: Path) -> dict[Path, dict[str, Any]]:
    """The runs in `folders` and all that they stand on, nearest first, with their manifests ({} where there is none)."""
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
    """Copy what a run left for people to the folder that the user named, each file by atomic rename."""
    output.mkdir(parents=True, exist_ok=True)
    for file in sorted(path for path in folder.iterdir() if path.is_file() and path.name not in SCAFFOLD):
        partial = output / f"{file.name}.partial"
        shutil.copyfile(file, partial)
        os.replace(partial, output / file.name)


def digest(value: Any) -> str:
    """SHA-256 of a JSON-able value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


@lru_cache(maxsize=256)
def _file_digest(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    status = path.stat()
    return _file_digest(path, status.st_size, status.st_mtime_ns)


def path_digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder's relative paths and contents."""
    if path.is_file():
        return file_digest(path)
    files = sorted(child for child in path.rglob("*") if child.is_file())
    return digest([[child.relative_to(path).as_posix(), file_digest(child)] for child in files])


def outputs(folder: Path) -> dict[str, str]:
    """Content digests of what a run left in its folder."""
    results = sorted(path for path in folder.iterdir() if path.name not in SCAFFOLD)
    return {path.name: path_digest(path) for path in results}


def folder_name(stage: str, names: Sequence[str], identity: Any) -> str:
    """`<stage>-<names of the groups it uses>-<digest of what defines it>`."""
    return "-".join([stage, *names, digest(identity)[:8]])


def provenance() -> dict[str, Any]:
    """Versions of what runs and, in a checkout, the commit it runs from."""
    versions = {"chexreason": chexreason.__version__, "python": sys.version.split()[0]}
    for name in VERSIONED:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"versions": versions, "git": _git()}


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
