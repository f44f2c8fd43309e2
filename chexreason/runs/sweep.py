"""Plan, progress, failures and report of a Hydra multirun.

Hydra runs the jobs, with any launcher. Their run folders are known beforehand, so progress is counted from these.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shlex
import signal
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf, open_dict

from chexreason.errors import ChexReasonError, reason_last
from chexreason.runs import config as schema
from chexreason.runs import costs, machine
from chexreason.runs.execute import JOBS, execute
from chexreason.runs.folders import forget, is_complete, read_manifest
from chexreason.runs.overrides import literal, quoted, root
from chexreason.runs.plan import Plan, plan
from chexreason.runs.processes import LONGEST, end_with_starter, started_by_this

ENDING = f"{end_with_starter.__module__}.{end_with_starter.__name__}"  # the function that a launcher's workers call first
LINE = "job"  # config key with the overrides of a job, if several experiments are swept
SEVERAL = re.compile(r"\+{0,2}experiment=.*,")
INTERRUPTED = "interrupted; the same command goes on from there"
FAILED: list[Exception] = []  # errors that Hydra would swallow; run.py raises the first


@dataclass(frozen=True)
class Job:
    """One job of a sweep: its overrides, and its plan or the reason why it cannot be planned."""

    words: list[str]
    planned: Plan | None
    refused: str = ""

    @property
    def is_complete(self) -> bool:
        return self.planned is not None and self.planned.is_complete

    def may_begin(self, make_missing: bool) -> bool:
        """Whether the job can run, as far as is known before the sweep starts."""
        return self.planned is not None and not self.planned.every_lack() and (make_missing or not self.planned.needs())

    @property
    def is_done(self) -> bool:
        """Whether the job's run is complete; for a stage that is never reused, whether this sweep completed it."""
        if self.planned is None or self.planned.reusable:
            return self.planned is not None and self.is_complete and not self.planned.harmed
        return is_complete(self.planned.folder) and not self.planned.every_lack()

    @property
    def lacks(self) -> list[str]:
        """What prevents it from running, except for disk space, which is checked for all jobs together."""
        return self.planned.lacks_but_disk() if self.planned else [self.refused]

    def why_not(self, make_missing: bool) -> list[str]:
        """Why the job is not complete: its unmet requirements, or the error of the run that failed."""
        if self.planned is None:
            return [self.refused]
        if harmed := self.planned.harmed:
            return [f"{harmed}, and the run is not used: force=true makes it again"]
        if not make_missing and (needed := self.planned.needs()):
            return [needed]
        errors = [(read_manifest(one.folder) or {}).get("error") for one in self.planned.missing()]
        return self.planned.every_lack() or [next(filter(None, errors), "it did not start")]


@dataclass(frozen=True)
class Multirun:
    """A multirun: its config, its jobs in order and, if several experiments are swept, their composed configs."""

    config: DictConfig
    jobs: list[Job]
    experiments: list[DictConfig]

    @property
    def show(self) -> list[str]:
        """The parts of the report to print at the end."""
        asked = self.config.sweep.show or [part for one in self.experiments for part in one.sweep.show or ()]
        return list(dict.fromkeys(asked))

    def __str__(self) -> str:
        """Runs to make, complete jobs, jobs that cannot run and, if known, the expected time."""
        missing = {one.folder: one for job in self.jobs if job.planned for one in job.planned.missing()}
        kinds = Counter(one.kind for one in missing.values())
        complete = sum(job.planned is not None and not job.planned.missing() for job in self.jobs)
        made = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "nothing"
        runs = next((job.planned.folder.parent for job in self.jobs if job.planned), Path())
        took = costs.seconds_by_kind(runs)
        counted = f"{len(self.jobs)} jobs, {complete} complete"
        lines = [f"[{self.config.sweep.name}] {counted}; to make: {made}{self._expected(kinds, took)}"]
        lines += [f"  {cost}" for cost in costs.lines(list(missing.values()), took)]
        for lack in machine.lacks_disk(sum(one.gigabytes for one in missing.values()), runs):  # of all jobs together
            lines.append(f"  {lack}".replace("\n", "\n    "))
        for lack, jobs in Counter(lack for job in self.jobs for lack in job.lacks).items():
            lines.append(f"  {jobs} of {len(self.jobs)} jobs cannot run: {lack}".replace("\n", "\n    "))
        return "\n".join(lines)

    def _expected(self, kinds: Counter[str], took: dict[str, float]) -> str:
        if not kinds or not kinds.keys() <= took.keys():
            return ""
        seconds = sum(count * took[kind] for kind, count in kinds.items())
        at_once = int(self.config.hydra.launcher.get("n_jobs") or 1)
        return f"; about {max(1, round(seconds / at_once / 60))} min, by earlier runs"

    def folders(self) -> list[Path]:
        """The folders of the jobs that are complete."""
        return list(dict.fromkeys(job.planned.folder for job in self.jobs if job.planned and job.is_complete))

    @property
    def makes_missing(self) -> bool:
        """Whether its jobs make their missing parents."""
        return self.config.make_missing or bool(self.experiments)

    def finish(self) -> None:
        """Print the report on what is complete.

        Raises:
            ChexReasonError: jobs or the report failed; the message has the reason for each.
        """
        troubles = []
        if self.show and self.folders():
            try:
                report(self.config, self.folders(), self.show)
                for then in filter(None, [one.sweep.then for one in (self.config, *self.experiments)]):
                    print(then, flush=True)
            except ChexReasonError as error:
                troubles.append(str(error))
        failed = [job for job in self.jobs if not job.is_done]
        if failed:
            reasons = Counter(reason for job in failed for reason in job.why_not(self.makes_missing))
            listed = "\n".join(f"  {shlex.join(job.words)}" for job in failed)
            troubles.append(
                f"{len(failed)} of {len(self.jobs)} jobs did not finish; the same command tries them again and keeps what is "
                f"complete:\n{listed}\n"
                + "\n".join(f"{f'{jobs} jobs: ' if jobs > 1 else ''}{reason}" for reason, jobs in reasons.items())
            )
        if troubles:
            raise ChexReasonError("\n".join(troubles))


def _leave(*_: Any) -> None:
    """End a sweep on Ctrl-C. Its runs get the same signal and end by themselves."""
    with suppress(OSError):
        print(f"chexreason: {INTERRUPTED}", file=sys.stderr, flush=True)
    os._exit(130)


class Progress(Callback):
    """Hydra callback: the plan before the first job, a count after each, and the report and failures at the end."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        try:
            HydraConfig.instance().set_config(copy.deepcopy(config))  # for the config search path
            self.foreseen = foresee(config)
            if self.foreseen.experiments:
                _hand_over(config, self.foreseen)
            print(self.foreseen, file=sys.stderr, flush=True)
            if config.dry_run:
                sys.exit(int(any(job.planned is None for job in self.foreseen.jobs)))
            if not any(job.may_begin(self.foreseen.makes_missing) for job in self.foreseen.jobs):
                self.foreseen.finish()
        except (ChexReasonError, HydraException) as error:  # Hydra would ignore it
            sys.exit(f"chexreason: {reason_last(str(error))}")
        except Exception:  # a bug
            sys.exit(traceback.format_exc())
        runs = Path(config.runs).absolute()
        self.new = [place for place in (runs, *runs.parents) if not place.exists()]
        os.environ.setdefault("TQDM_DISABLE", "1")  # progress bars of several jobs would overlap
        os.environ |= started_by_this()
        if "Joblib" in config.hydra.launcher["_target_"]:
            # joblib replaces a worker whose memory has grown, between two jobs; no job is lost.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
            with open_dict(config.hydra.launcher):  # so that joblib's workers stop when this process dies
                config.hydra.launcher.initializer = {"_target_": "hydra.utils.get_method", "path": ENDING}
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # the default would kill runs while they save
                signal.signal(signal.SIGINT, _leave)
        told = json.dumps([(str(job.planned.folder), job.words) for job in self.foreseen.jobs if job.planned])
        # If the list is too long for an environment variable, jobs are not counted and do not help each other.
        os.environ[JOBS] = told if len(told) < LONGEST else "[]"

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        os.environ.pop(JOBS, None)
        try:
            self.foreseen.finish()
        except (ChexReasonError, BrokenPipeError) as error:
            FAILED.append(error)
        every = {one.folder for job in self.foreseen.jobs if job.planned for one in job.planned.every()}
        if not any(map(is_complete, every)):
            (Path(config.hydra.sweep.dir) / "multirun.yaml").unlink(missing_ok=True)  # Hydra's
            forget(every, self.new)


def foresee(config: DictConfig) -> Multirun:
    """Plan the sweep that Hydra is about to run; several experiments are combined into one sweep of all their jobs.

    Raises:
        ChexReasonError: `sweep.show` names no part of a report, or jobs would overwrite each other's output.
    """
    schema.group("sweep", OmegaConf.to_container(config.sweep, resolve=True))  # type: ignore[arg-type]
    # Not resolved: each job has values of its own.
    words: list[str] = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)  # type: ignore[assignment]
    sweeps, experiments = [(config.hydra.sweeper, words)], []
    if any(map(SEVERAL.match, words)):
        own = [word for word in words if root(word) != "sweep"]  # each experiment has a name of its own
        named = _product(config.hydra.sweeper, own)
        experiments = [schema.compose(each, with_hydra=True) for each in named]
        sweeps = [(one.hydra.sweeper, each) for one, each in zip(experiments, named, strict=True)]
    every = dict.fromkeys(tuple(job) for sweeper, each in sweeps for job in _product(sweeper, each))
    known: dict[str, Plan] = {}
    jobs = [_job(list(job), known) for job in every]
    _refuse_one_output(jobs)
    return Multirun(config, jobs, experiments)


def _product(sweeper: DictConfig, words: Sequence[str]) -> list[list[str]]:
    """Expand the sweeper's params and the overrides with several values into the overrides of each job."""
    params = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    hydra = GlobalHydra.instance()
    loader = hydra.config_loader() if hydra.is_initialized() else None
    parsed = OverridesParser.create(loader).parse_overrides([*params, *words])
    # split_arguments is not a documented interface of Hydra's sweeper; this works with 1.3.8.
    (jobs,) = get_class(sweeper._target_).split_arguments(parsed, None)  # type: ignore[attr-defined]
    return jobs


def _hand_over(config: DictConfig, sweep: Multirun) -> None:
    """Make Hydra launch the listed jobs: Hydra itself can only sweep a full grid, which several experiments are not.

    Raises:
        ChexReasonError: the experiments choose different launcher settings.
    """
    launchers: list[Any] = [OmegaConf.to_container(one.hydra.launcher, resolve=True) for one in sweep.experiments]
    typed = any(word.startswith("hydra/launcher=") for word in config.hydra.overrides.hydra)
    if not typed and any(one != launchers[0] for one in launchers):
        ways = dict(zip((one.sweep.name for one in sweep.experiments), launchers, strict=True))
        said = ", ".join(f"{name}: {launcher.get('n_jobs') or 1} at once" for name, launcher in ways.items())
        raise ChexReasonError(f"experiments are swept in different ways ({said}): one by one, or all by hydra/launcher=NAME")
    lines = ",".join(quoted(shlex.join(job.words)) for job in sweep.jobs)
    with open_dict(config):
        config.hydra.launcher = config.hydra.launcher if typed else launchers[0]
        own = [f"sweep.name={quoted(config.sweep.name)}", f"runs={quoted(config.runs)}"]  # used by Hydra itself
        config.hydra.overrides.task = [f"+{LINE}={lines}", *own]


def count_done(name: str) -> None:
    """Say how many jobs of this sweep are done."""
    jobs = os.environ.get(JOBS, "[]")
    folders = [Path(folder) for folder, _ in json.loads(jobs)]
    if folders:
        _say(f"[{name}] {sum(map(is_complete, folders))} of {len(folders)} done", jobs)


@cache  # prints each line once: a reused job does not change the count
def _say(line: str, _: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _refuse_one_output(jobs: Sequence[Job]) -> None:
    """Raises ChexReasonError where jobs would write over each other's output."""
    outputs = Counter(job.planned.manifest["config"]["stage"].get("output") for job in jobs if job.planned)
    for output, count in outputs.items():
        if output and count > 1:
            raise ChexReasonError(
                f"stage.output={output}: {count} jobs would write over each other there. Leave it out (each job's run folder "
                "holds its result), or name it by what is swept: 'stage.output=FOLDER/${reward.name}.jsonl'"
            )


def _job(words: list[str], known: dict[str, Plan]) -> Job:
    try:
        return Job(words, plan(schema.compose(words), words, known))
    except ChexReasonError as error:
        return Job(words, None, str(error))


def report(config: DictConfig, folders: Sequence[Path], show: Sequence[str]) -> None:
    """A report on these run folders; their paths are escaped, so that they may contain any character."""
    cfg = schema.compose(["stage=report"])
    with open_dict(cfg):
        cfg.runs, cfg.seed, cfg.sweep = literal(config.runs), config.seed, config.sweep
        cfg.stage.runs = [literal(str(folder)) for folder in folders]
        cfg.stage.show = list(show)
    listed = {"stage.runs": map(str, folders), "stage.show": show}
    words = [f"{key}=[{','.join(map(quoted, values))}]" for key, values in listed.items()]
    execute(cfg, ["stage=report", f"runs={quoted(config.runs)}", f"seed={config.seed}", *words])
