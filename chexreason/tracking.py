"""What a run logs while it works: every line to its own log.jsonl, and the numbers to W&B.

The run folder is the source of truth; W&B is a copy of its numbers and never sees an image, a trace or a completion.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chexreason.runs import Run, write_text

LOG = "log.jsonl"


@dataclass
class Log:
    """Appends one JSON object per logged step to `path` and hands its numbers to a W&B run, where there is one."""

    path: Path
    wandb_run: Any = None

    def __call__(self, values: dict[str, Any], step: int) -> None:
        numbers = {key: value for key, value in values.items() if isinstance(value, int | float)}
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **numbers}) + "\n")
        if self.wandb_run is not None:
            self.wandb_run.log({**numbers, "step": step})

    def rewind(self, step: int) -> None:
        """Forget what an interrupted run logged after the checkpoint that it resumes from."""
        if self.path.exists():
            kept = [line for line in _whole_lines(self.path) if json.loads(line)["step"] <= step]
            write_text(self.path, "".join(line + "\n" for line in kept))


def _whole_lines(path: Path) -> list[str]:
    """The log's lines without a last one that a kill cut short."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [line for line in lines[:-1] if line]


@contextmanager
def tracked(run: Run) -> Iterator[Log]:
    """The log of `run`, mirrored to W&B: group = experiment, job type = stage, an id that survives a resume."""
    mode: Any = os.environ.get("WANDB_MODE") or run.tracker.mode
    if run.tracker.name == "none" or mode == "disabled":
        yield Log(run.folder / LOG)
        return
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    groups = {name: asdict(value) for name in ("model", "prompt", "reward", "dataset") if (value := getattr(run, name))}
    session = wandb.init(
        project=run.tracker.project,
        group=run.tracker.group,
        job_type=run.settings.name,
        name=run.folder.name,
        id=run.folder.name,
        resume="allow",
        mode=mode,
        dir=run.folder,
        config={"stage": asdict(run.settings), **groups, "seed": run.seed},
        settings=wandb.Settings(console="off", disable_git=True, save_code=False, x_disable_stats=True),
    )
    try:
        yield Log(run.folder / LOG, session)
    finally:
        session.finish()
