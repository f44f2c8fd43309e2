"""What a run logs while it works: every line to its own log.jsonl, and the numbers to W&B.

The run folder is the source of truth; W&B is a copy of its numbers and never sees an image, a trace or a completion.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chexreason.runs.files import as_lines, is_first_process, read_lines, write_text
from chexreason.runs.folders import LOG, Run

MODES = ("offline", "online", "disabled", "shared", "dryrun", "run")
PATIENCE = 60.0  # seconds that W&B may take to upload the rest when a run ends


@dataclass
class Log:
    """Appends one JSON object per logged step to `path` and passes its numbers to a W&B run, if there is one."""

    path: Path
    wandb_run: Any = None

    def __call__(self, values: dict[str, Any], step: int) -> None:
        if not is_first_process():
            return
        numbers = {key: value for key, value in values.items() if isinstance(value, int | float)}
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(as_lines([{"step": step, **numbers}]))
        if self.wandb_run is not None:
            try:
                self.wandb_run.log({**numbers, "step": step})
            except Exception as error:  # a failure of W&B must not end the run: stop logging to it
                self.wandb_run = None
                print(f"W&B takes no more of {self.path} ({error or type(error).__name__})", file=sys.stderr, flush=True)

    def rewind(self, step: int) -> None:
        """Drop the lines that an interrupted run logged after the checkpoint from which it resumes."""
        if self.path.exists():
            write_text(self.path, as_lines(row for row in read_lines(self.path) if row["step"] <= step))


@contextmanager
def tracked(run: Run) -> Iterator[Log]:
    """The log of `run`, mirrored to W&B: group = experiment, job type = stage, an id that survives a resume."""
    mode: Any = run.tracker.mode if run.tracker.mode == "disabled" else os.environ.get("WANDB_MODE") or run.tracker.mode
    if mode not in MODES:
        run.note(f"WANDB_MODE={mode} is none of {', '.join(MODES)}: offline it is")
        mode = os.environ["WANDB_MODE"] = "offline"  # W&B reads this variable, too
    if mode == "disabled" or not is_first_process():
        yield Log(run.folder / LOG)
        return
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    groups = {name: asdict(value) for name in ("model", "prompt", "reward", "dataset") if (value := getattr(run, name))}

    def begin(mode: Any) -> Any:
        return wandb.init(
            project=run.tracker.project,
            group=run.tracker.group,
            job_type=run.settings.name,
            name=run.folder.name,
            id=run.folder.name,
            resume="allow",
            mode=mode,
            dir=run.folder,
            config={"stage": asdict(run.settings), **groups, "seed": run.seed},
            settings=wandb.Settings(
                console="off",
                disable_git=True,
                save_code=False,
                x_disable_stats=True,
                finish_timeout=PATIENCE,
                finish_timeout_raises=True,
            ),
        )

    try:
        session = begin(mode)
    except wandb.Error as error:  # no server or no key: log offline, for `wandb sync` later
        run.note(f"W&B: {str(error).splitlines()[0][:200]}; kept offline in {run.folder / 'wandb'}")
        wandb.teardown(exit_code=1)  # release the run's id
        session = begin("offline")
    try:
        yield Log(run.folder / LOG, session)
    finally:
        try:
            session.finish()
        except Exception as error:  # TimeoutError, among others: the server does not respond
            run.note(f"W&B may lack the rest ({error or type(error).__name__}): try `wandb sync` in {run.folder / 'wandb'}")
            with suppress(Exception):
                wandb.teardown(exit_code=1)  # otherwise it fails at exit, with a traceback
