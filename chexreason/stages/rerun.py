"""The command that repeats a run: that of its manifest, and what would differ if it were executed today."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chexreason.errors import ChexReasonError
from chexreason.runs import config as schema
from chexreason.runs import folders
from chexreason.runs.files import write_text
from chexreason.runs.folders import Run
from chexreason.runs.identity import CONTENT, path_digest
from chexreason.runs.lines import COMMAND
from chexreason.runs.overrides import quoted, root
from chexreason.runs.plan import plan

SHOWN = "command.txt"
ONCE = ("force", "dry_run")  # keys of a single execution, which do not belong to the run


@dataclass(frozen=True)
class Settings:
    """`run`: the folder of the run that is to be made again."""

    name: str
    run: str | None = field(metadata=CONTENT, default=None)

    def require(self) -> None:
        """Raises ChexReasonError if `run` is not the folder of a run."""
        if not self.run or folders.read_manifest(Path(self.run)) is None:
            if self.run and folders.is_of_another_version(Path(self.run)):
                raise ChexReasonError(f"stage.run={self.run}: another version of chexreason made it; that one can tell")
            raise ChexReasonError(f"stage.run={self.run}: name the folder of a run, one that holds a {folders.MANIFEST}")

    def inputs(self, store: Path | None) -> dict[str, Any]:
        """The run is identified by the content of its manifest."""
        return {"run": path_digest(Path(str(self.run)) / folders.MANIFEST, store)}


USES = ()


def reusable(_: Settings) -> bool:
    """No: the stage checks whether choices and inputs have changed since."""
    return False


def execute(run: Run) -> dict[str, Any]:
    """Leave the command and what it would give today in command.txt."""
    folder = Path(run.settings.run).absolute()
    line, *said = answer(folder)
    # The manifest may come from someone else: comment its text out, so that a shell never executes it.
    shown = [line, *(f"# {each}" for one in said for each in one.splitlines())]
    write_text(run.folder / SHOWN, "\n".join(shown) + "\n")
    return {"command": line, "same": len(said) == 1}


def show(folder: Path) -> None:
    """Print the command; what it would give today stands below it, as comments of a shell."""
    print((folder / SHOWN).read_text(encoding="utf-8"), end="")


def answer(folder: Path) -> Iterator[str]:
    """The command that makes the run in `folder`, and what it would give today: one line where that is the same folder."""
    manifest = folders.read_manifest(folder) or {}
    try:
        tokens = shlex.split(manifest["command"])[len(COMMAND.split()) :]
    except (ValueError, AttributeError):
        raise ChexReasonError(f"{folder / folders.MANIFEST}: its command is damaged") from None
    flags = tokens[: next((at for at, word in enumerate(tokens) if "=" in word), 0)]  # --config-dir FOLDER
    words = [word for word in tokens[len(flags) :] if root(word) not in (*ONCE, "runs")]
    words.append(f"runs={quoted(str(folder.parent))}")  # where the run is now, as its folder may have been moved
    yield shlex.join([*COMMAND.split(), *flags, *words])
    words = [word for word in words if root(word) != "hydra"]
    try:
        today = plan(schema.compose(words), words)
    except ChexReasonError as error:
        yield "today it cannot be planned: " + " ".join(str(error).split())
        if flags:
            yield f"ask again with the choices that it was given: stage=rerun {shlex.join(flags)} ..."
        return
    if today.folder == folder:
        yield f"today it gives the same folder, {folder}"
        return
    yield f"today it gives another folder, {today.folder}"
    then, now = (dict(_flat({key: one[key] for key in ("config", "inputs", "parents")})) for one in (manifest, today.manifest))
    for key in sorted(then.keys() | now.keys()):
        if then.get(key) != now.get(key):
            yield f"  {key}: {then.get(key, 'not there')} then, {now.get(key, 'not there')} today"
    yield from (f"  not at hand: {' '.join(lack.split())}" for lack in today.lacking)
    if (cwd := manifest.get("cwd")) not in (None, os.getcwd()):
        yield f"  it was typed in {cwd}, where its relative paths begin"
    commit = (manifest.get("git") or {}).get("commit")
    if commit:
        yield f"  it was made from commit {commit}"


def _flat(values: dict[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{where}.{key}" if where else key
        if isinstance(value, dict) and value:
            yield from _flat(value, name)
        else:
            yield name, value
