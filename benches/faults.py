"""What a study survives: kills at random moments, two starts at once, full disks, damaged files, other locales and more.

    python -m benches.faults [--kills 200] [--seed 0] [--only kill damage ...] [--keep FOLDER]

Every stage is real and runs by its own command, on a small phantom world. First the whole study is made undisturbed; each
fault then gets a copy of it that lacks one run, and strikes while that run is made. Survived: the same command, given again,
ends with the outputs of the undisturbed run, to the bit; or, where a file was damaged, names that file in its last words.
Prints a table, and on stderr what was lost, with what would make that fault again. docs/reliability.md is what it printed.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import psutil
from omegaconf import OmegaConf

from chexreason.runs.folders import is_complete, read_manifest

CHECKOUT = Path(__file__).parents[1]
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
QUICK = ("phantom", "curate", "teach", "review", "sft", "grpo", "evaluate")  # for faults that are tried on some stages only
PLAIN_USER = (
    ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 and shutil.which("setpriv") else []
)  # modes bind root too
STARTING = 3  # seconds, about, before a stage gets to work
ENDED = "a process of the first start outlived the second"


@dataclass
class Study:
    """An undisturbed study in `folder`/whole, by stage the name of its run and the seconds that its command took."""

    folder: Path
    rng: random.Random
    runs: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    copies: int = 0

    @property
    def whole(self) -> Path:
        return self.folder / "whole"

    @property
    def quick(self) -> list[str]:
        return [stage for stage in QUICK if stage in self.runs]

    def make(self, stages: tuple[str, ...] = tuple(STAGES)) -> None:
        """Run `stages` undisturbed."""
        for stage in stages:
            done = start(stage, self.whole)
            said = done.communicate()[1]
            if done.returncode:
                raise SystemExit(f"{stage} fails undisturbed: {said}")
            self.runs[stage] = re.findall(rf"{self.whole}/([\w.-]+)", said)[-1]
            manifest = read_manifest(self.whole / self.runs[stage]) or {}
            self.seconds[stage] = manifest["wall_seconds"] + STARTING
            print(f"{stage}: {self.seconds[stage]:.0f} s", file=sys.stderr, flush=True)

    def without(self, stage: str | None, to: Path | None = None) -> Path:
        """A copy of all runs but that of `stage`."""
        self.copies += 1
        runs = to or self.folder / f"copy-{self.copies}"
        left_out = shutil.ignore_patterns(*([self.runs[stage]] if stage else []), ".lock", "wandb")
        return Path(shutil.copytree(self.whole, runs, ignore=left_out, dirs_exist_ok=True))

    def lost(self, stage: str, runs: Path, **how: object) -> str:
        """What is wrong when the command of `stage` is given again; empty where nothing is."""
        done = start(stage, runs, **how)
        said = done.communicate()[1].strip()
        if done.returncode:
            return f"failed: {last_words(said)}"
        return self.differs(stage, runs)

    def differs(self, stage: str, runs: Path) -> str:
        folder = runs / self.runs[stage]
        made, wanted = (read_manifest(one) or {} for one in (folder, self.whole / folder.name))
        if made.get("status") != "complete":
            return "not complete"
        if (folder / "error.txt").exists():
            return "complete, with an error.txt"
        if stage in ("report", "inspect"):  # they say when and where what they read was made
            return ""
        names = [name for name, sha256 in wanted["outputs"].items() if made["outputs"].get(name) != sha256]
        return f"other outputs: {', '.join(names)}" if names else ""

    def some_file(self, folder: Path) -> Path:
        """A file of a run at random; each kind as often, though a folder holds hundreds of films."""
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock" and path.stat().st_size]
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
        env=os.environ | {"PYTHONPATH": str(code), "TQDM_DISABLE": "1"} | environment,
    )


def last_words(said: str) -> str:
    """What the last message says; a traceback is told by its first line."""
    message = said.rpartition("chexreason: ")[2]
    return "a traceback: " + said.splitlines()[-1] if "Traceback" in said else message


def one_line(said: str) -> str:
    """What is wrong with how an error was told, if anything."""
    return "" if "chexreason: " in said and "Traceback" not in said else f"told badly: {said.splitlines()[-1:]}"


Tried = Iterator[tuple[str, str]]  # what was tried, and what was lost by it: empty where nothing was


def struck(study: Study, stage: str, runs: Path) -> str | None:
    """Kill the command of `stage` at a random moment; what was done, or None where it had ended before."""
    number = study.rng.choice([signal.SIGKILL, signal.SIGTERM])
    whom = study.rng.choice(["parent", "child", "group"])
    process = start(stage, runs)
    moment = study.rng.uniform(0.1, study.seconds[stage])
    try:
        process.communicate(timeout=moment)
        return None
    except subprocess.TimeoutExpired:
        pass
    children = psutil.Process(process.pid).children(recursive=True)
    if whom == "group":
        os.killpg(process.pid, number)
    else:
        os.kill(children[0].pid if whom == "child" and children else process.pid, number)
    return f"{stage}, {signal.Signals(number).name} to the {whom} after {moment:.1f} s"


def kills(study: Study, times: int) -> Tried:
    """The second start comes at once, while what is left of the first may still be at work."""
    for stage in islice(cycle(study.runs), times):
        runs = study.without(stage)
        what = struck(study, stage, runs)
        if what is None:
            continue
        lost = study.lost(stage, runs)
        yield what, lost or still_there(runs)
        shutil.rmtree(runs)


def still_there(runs: Path) -> str:
    """Whether a process still works in `runs`; it is ended."""
    found = [one for one in psutil.process_iter(["cmdline"]) if any(str(runs) in word for word in one.info["cmdline"] or ())]
    for one in found:
        one.kill()
    return ENDED if found else ""


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


HARMS: tuple[Callable[[Path], None], ...] = (truncate, empty, flip)


def damaged_after_a_kill(study: Study, times: int) -> Tried:
    for stage, harm in islice(zip(cycle(study.quick), cycle(HARMS), strict=False), times):
        runs = study.without(stage)
        what = struck(study, stage, runs)
        folder = runs / study.runs[stage]
        if what is None or not folder.is_dir() or is_complete(folder) or not any(map(Path.is_file, folder.iterdir())):
            continue
        time.sleep(2)  # until nobody writes there
        file = study.some_file(folder)
        harm(file)
        lost = study.lost(stage, runs)
        yield f"{what}; {harm.__name__} {file.relative_to(runs)}", "" if file.name in lost and "traceback" not in lost else lost
        shutil.rmtree(runs)


READERS = {"phantom": "curate", "curate": "teach", "teach": "sft", "standin": "sft", "sft": "grpo", "grpo": "evaluate"}


def damaged_when_complete(study: Study, times: int) -> Tried:
    """A file of a complete run is damaged: the run is asked for again, and one that reads it is made."""
    for stage, harm in islice(zip(cycle(study.runs), cycle(HARMS), strict=False), times):
        reader = READERS.get(stage)
        runs = study.without(reader if reader in study.runs else None)
        file = study.some_file(runs / study.runs[stage])
        harm(file)
        for asked in filter(None, (reader if reader in study.runs else None, stage)):
            lost = study.lost(asked, runs)
            named = "traceback" not in lost and any(part in lost for part in file.relative_to(runs / study.runs[stage]).parts)
            named |= file.name == "manifest.json" and study.runs[stage] in lost
            yield f"{asked} after: {harm.__name__} {file.relative_to(runs)}", "" if named else lost
        shutil.rmtree(runs)


def two_starts(study: Study, times: int) -> Tried:
    for stage in islice(cycle(study.quick), times):
        runs = study.without(stage)
        first, second = start(stage, runs), start(stage, runs)
        said = [one.communicate()[1] for one in (first, second)]
        failed = [last_words(words) for one, words in zip((first, second), said, strict=True) if one.returncode]
        yield f"{stage} started twice", "; ".join(failed) or study.differs(stage, runs)
        shutil.rmtree(runs)


def shared_cache(study: Study, times: int) -> Tried:
    for _ in range(times):
        runs = study.without("evaluate")
        for store in (".images", ".digests.sqlite"):
            shutil.rmtree(runs / store, ignore_errors=True)
            (runs / store).unlink(missing_ok=True)
        four = [start("evaluate", runs, f"stage.limit={12 - number}") for number in range(4)]
        failed = [last_words(said) for one in four if (said := one.communicate()[1]) and one.returncode]
        yield "four evaluations, one image cache", "; ".join(failed) or study.differs("evaluate", runs)
        shutil.rmtree(runs)


def full_disk(study: Study, times: int) -> Tried:
    """A file system that fills up while the run is made; where none may be mounted, files that may not grow."""
    for stage in islice(cycle(study.quick), times):
        mounted = study.folder / f"disk-{stage}"
        mounted.mkdir(exist_ok=True)
        size = lambda path: sum(f.stat().st_blocks * 512 for f in path.rglob("*") if f.is_file())  # noqa: E731
        own, rest = size(study.whole / study.runs[stage]), size(study.whole)
        room = rest + int(study.rng.uniform(0.2, 0.9) * own) - own + 2**16
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", mounted], capture_output=True).returncode:
            return
        try:
            study.without(stage, mounted / "runs")
            done = start(stage, mounted / "runs")
            said = done.communicate()[1]
            fault = one_line(said) if done.returncode else ""
            subprocess.run(["mount", "-o", "remount,size=2g", mounted], check=True)
            yield f"{stage} on a full disk", fault or study.lost(stage, mounted / "runs")
        finally:
            subprocess.run(["umount", mounted], check=True)


def read_only_runs(study: Study, times: int) -> Tried:
    """What is complete is reused; what is not says in a line that it cannot be written."""
    for stage in islice(cycle(study.quick), times):
        for runs, expected in ((study.without(None), 0), (study.without(stage), 1)):
            subprocess.run(["chmod", "-R", "a-w", runs], check=True)
            done = start(stage, runs, under=tuple(PLAIN_USER))
            said = done.communicate()[1]
            subprocess.run(["chmod", "-R", "u+w", runs], check=True)
            fault = one_line(said) if expected else ("" if not done.returncode else last_words(said))
            yield f"{stage}, {'missing' if expected else 'complete'}, in a read-only folder", fault
            shutil.rmtree(runs)


def read_only_source(study: Study, times: int) -> Tried:
    code = study.folder / "code"
    for name in ("chexreason", "conf", "experiments", "tests/conf"):
        shutil.copytree(CHECKOUT / name, code / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["chmod", "-R", "a-w", code], check=True)
    for stage in islice(cycle(study.quick), times):
        runs = study.without(stage)
        yield f"{stage} from a read-only checkout", study.lost(stage, runs, under=tuple(PLAIN_USER), code=code)
        shutil.rmtree(runs)
    subprocess.run(["chmod", "-R", "u+w", code], check=True)


def other_locale(study: Study, times: int) -> Tried:
    plain = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    for stage in islice(cycle(study.quick), times):
        runs = study.without(stage, study.folder / "Übung, mit Blank")
        yield f"{stage}, LC_ALL=C and ASCII", study.lost(stage, runs, **plain)
        shutil.rmtree(runs)


def clock_set_back(study: Study, times: int) -> Tried:
    """Every file is dated a year ahead, as all are for a clock that was set back."""
    for stage in islice(cycle(study.quick), times):
        runs = study.without(stage)
        what = struck(study, stage, runs)
        time.sleep(2)
        ahead = time.time() + 365 * 86_400
        for path in runs.rglob("*"):
            os.utime(path, (ahead, ahead))
        yield f"{what or stage}, clock set back by a year", study.lost(stage, runs)
        shutil.rmtree(runs)


def no_tracker(study: Study, times: int) -> Tried:
    """W&B's server refuses every connection, or accepts them and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ports = {"down": 9, "silent": silent.getsockname()[1]}
        for stage, how in islice(cycle([(stage, how) for how in ports for stage in ("evaluate", "sft")]), times):
            runs = study.without(stage)
            online = {"WANDB_MODE": "online", "WANDB_BASE_URL": f"http://127.0.0.1:{ports[how]}", "WANDB_API_KEY": "x" * 40}
            yield f"{stage}, W&B is {how}", study.lost(stage, runs, **online)
            shutil.rmtree(runs)


def hanging_teacher(study: Study, times: int) -> Tried:
    """A teacher that accepts connections and never answers: named in a line, and the same command goes on from there."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for _ in range(times):
            runs = study.without("teach, free text")
            asked = f"teacher=openai mixed_worlds=true teacher.timeout=1 teacher.retries=1 teacher.base_url=http://127.0.0.1:{silent.getsockname()[1]}/v1"
            done = start("teach, free text", runs, asked)
            said = done.communicate(timeout=300)[1]
            yield "a teacher that never answers", one_line(said) if done.returncode else "taught by nobody"
            shutil.rmtree(runs)


FAULTS: dict[str, tuple[str, Callable[[Study, int], Tried], int]] = {
    "kill": ("SIGKILL or SIGTERM at a random moment", kills, 200),
    "killed-damaged": ("killed, then a file of the unfinished run damaged", damaged_after_a_kill, 20),
    "damage": ("a file of a complete run truncated, emptied or flipped", damaged_when_complete, 36),
    "twice": ("two processes start the same run", two_starts, 7),
    "cache": ("four runs share an image cache", shared_cache, 2),
    "disk": ("the disk fills up", full_disk, 7),
    "read-only": ("the runs folder is read-only", read_only_runs, 7),
    "source": ("the checkout is read-only", read_only_source, 7),
    "locale": ("LC_ALL=C and ASCII terminals, in a folder with a blank and an umlaut", other_locale, 8),
    "clock": ("the clock is set back", clock_set_back, 7),
    "wandb": ("W&B is down or silent", no_tracker, 4),
    "teacher": ("the teacher hangs", hanging_teacher, 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--times", type=int, default=1000, help="at most so many of each other fault")
    parser.add_argument("--minutes", type=float, default=math.inf, help="... and then each other fault once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--keep", type=Path, help="a folder for the undisturbed study, kept and used again")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = Study(wanted.keep or Path(folder), random.Random(wanted.seed))
        study.make()
        lines = ["| fault | times tried | survived | lost |", "| --- | ---: | ---: | --- |"]
        over = time.monotonic() + 60 * wanted.minutes
        for name in wanted.only:
            title, fault, times = FAULTS[name]
            tried = lost_count = 0
            for what, lost in fault(study, wanted.kills if name == "kill" else min(times, wanted.times)):
                tried, lost_count = tried + 1, lost_count + bool(lost)
                print(f"{'LOST' if lost else 'ok'}: {what}{': ' + lost if lost else ''}", file=sys.stderr, flush=True)
                if time.monotonic() > over:
                    break
            lines.append(f"| {title} | {tried} | {tried - lost_count} | {lost_count or 'nothing'} |")
        print("\n".join(lines))


if __name__ == "__main__":
    main()
