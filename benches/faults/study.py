"""A small study, made undisturbed: copies of it that lack one run, and whether what is made there is the same."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil
from omegaconf import OmegaConf

from chexreason.runs.folders import ERROR, read_manifest

CHECKOUT = Path(__file__).parents[2]
BASE = "model=tiny_gemma model.pretraining.steps=12 model.pretraining.images=16 prompt=only_label source=tiny_mimic".split()
STAGES = {  # every stage that makes something, each after what it stands on
    "phantom": OmegaConf.load(CHECKOUT / "tests/conf/dataset/tiny_mimic.yaml").made_by,
    "inspect": "stage=inspect dataset=tiny_chexpert",
    "curate": "stage=curate dataset=tiny_mimic",
    "teach": "stage=teach dataset=tiny_mimic",
    "teach, free text": "stage=teach dataset=tiny_mimic prompt=free_reasoning",
    "review": "stage=review dataset=tiny_mimic",
    "standin": "stage=standin",
    "sft": "stage=sft dataset=tiny_mimic",
    "grpo": "stage=grpo dataset=tiny_mimic",
    "evaluate": "stage=evaluate checkpoint=grpo dataset=tiny_chexpert stage.limit=12",
    "export": "stage=export dataset=tiny_mimic checkpoint=sft",
    "report": "stage=report stage.resamples=100",
}
LOOKS_AGAIN = ("inspect", "report")  # made each time; they say when and where what they read was made
MARK = "FAULTS_RUNS"  # in the environment of every process that is started, and of those that it starts
PLAIN_USER = (
    ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 and shutil.which("setpriv") else ()
)  # modes bind root too

Tried = Iterator[tuple[str, str]]  # what was tried, and what was lost by it: empty where nothing was


class NotTried(Exception):
    """What this machine lacks for a fault."""


@dataclass
class Study:
    """An undisturbed study in `folder`/whole, by stage the name of its run and the seconds that its command took."""

    folder: Path
    rng: random.Random
    runs: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    copies: int = 0
    libfaketime: str | None = None  # where that library lies, if it is here

    @property
    def whole(self) -> Path:
        return self.folder / "whole"

    def make(self, stages: tuple[str, ...] = tuple(STAGES)) -> None:
        """Run `stages` undisturbed."""
        for stage in stages:
            began = time.monotonic()
            done = start(stage, self.whole)
            said = done.communicate()[1]
            if done.returncode:
                raise SystemExit(f"{stage} fails undisturbed: {said}")
            self.runs[stage] = re.findall(rf"{self.whole}/([\w.-]+)", said)[-1]
            self.seconds[stage] = time.monotonic() - began
            print(f"{stage}: {self.seconds[stage]:.0f} s", file=sys.stderr, flush=True)

    def without(self, stage: str | None, to: Path | None = None) -> Path:
        """A copy of all runs but that of `stage`."""
        self.copies += 1
        runs = to or self.folder / f"copy-{self.copies}"
        left_out = shutil.ignore_patterns(*([self.runs[stage]] if stage else []), "wandb")
        return Path(shutil.copytree(self.whole, runs, ignore=left_out, dirs_exist_ok=True))

    def lost(self, stage: str, runs: Path, **how: Any) -> str:
        """What is wrong when the command of `stage` is given again; empty where nothing is."""
        done = start(stage, runs, **how)
        said = done.communicate()[1]
        return failure(said) if done.returncode else self.differs(stage, runs)

    def differs(self, stage: str, runs: Path) -> str:
        """What a run holds that its undisturbed twin does not."""
        folder = runs / self.runs[stage]
        made, wanted = (read_manifest(one) or {} for one in (folder, self.whole / folder.name))
        if made.get("status") != "complete":
            return "not complete"
        if (folder / ERROR).exists():
            return f"complete, with an {ERROR}"
        if stage in LOOKS_AGAIN:
            return ""
        names = [name for name, sha256 in wanted["outputs"].items() if made["outputs"].get(name) != sha256]
        return f"other outputs: {', '.join(names)}" if names else ""

    def turns(self, times: int) -> Iterator[str]:
        """The stages in an order of chance, over and over, `times` in all."""
        return islice(cycle(self.rng.sample(list(self.runs), len(self.runs))), times)

    def some_file(self, folder: Path) -> Path:
        """A file of a run at random; each kind as often, though a folder holds hundreds of films."""
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]
        kind = self.rng.choice(sorted({path.suffix for path in files}))
        return self.rng.choice([path for path in files if path.suffix == kind])


def start(
    stage: str, runs: Path, words: str = "", under: tuple[str, ...] = (), code: Path = CHECKOUT, **environment: str
) -> subprocess.Popen[str]:
    """The command of a stage, as a process in a group of its own."""
    small = ["--config-dir", str(code / "tests" / "conf"), *BASE, *STAGES[stage].split(), *words.split(), f"runs='{runs}'"]
    return subprocess.Popen(
        [*under, sys.executable, "-m", "chexreason.run", *small],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        cwd=code,
        env=os.environ | {"PYTHONPATH": str(code), "TQDM_DISABLE": "1", MARK: str(runs)} | environment,
    )


def still_there(runs: Path, seconds: float = 10) -> str:
    """The processes that still work in `runs` so many seconds later; they are ended."""
    give_up = time.monotonic() + seconds
    while (found := _at_work(runs)) and time.monotonic() < give_up:
        time.sleep(0.5)
    for one in found:
        one.kill()
    return f"still there: {', '.join(one.info['name'] for one in found)}" if found else ""


def _at_work(runs: Path) -> list[psutil.Process]:
    every = psutil.process_iter(["environ", "name", "status"])
    marked = (one for one in every if (one.info["environ"] or {}).get(MARK) == str(runs))
    return [one for one in marked if one.info["status"] != psutil.STATUS_ZOMBIE]


def failure(said: str) -> str:
    """How a command that failed told it: its last message, or the end of a traceback."""
    told = "a traceback: " + said.splitlines()[-1] if "Traceback" in said else said.rpartition("chexreason: ")[2]
    return f"failed: {told.strip()}"


def told_badly(said: str) -> str:
    """What is wrong with how an error was told, if anything: a line for people is wanted."""
    good = "chexreason: " in said and "Traceback" not in said and "None" not in said
    return "" if good else f"told badly: {said.splitlines()[-1:]}"
