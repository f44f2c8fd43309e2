"""docs/clinical.md: a shell runs its lines, and its commands compose in the clinical world and stand on each other.

What would download, install or train is stood in for by what is as strict with its words: `hf` is the hub's own client, asked
for its help; `wget` is the real one where there is one, and fetches from a server on this machine, which wants a password.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import DictConfig, open_dict

from chexreason.errors import ChexReasonError
from chexreason.runs.config import CONF, compose
from chexreason.runs.execute import execute
from chexreason.runs.plan import Plan, plan
from chexreason.runs.sweep import foresee
from tests.data.layouts import mimic

PAGE = Path(__file__).parents[1] / "docs" / "clinical.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = "".join(re.findall(r"^```bash\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
LINES = [
    line.partition(" #")[0]
    for line in re.findall(r"^python -m chexreason.run (.+)$", BLOCKS.replace("\\\n", " "), re.MULTILINE)
]
BESIDE = re.findall(r"`((?:make|pip) [^`]+)`", TEXT)  # in the text
STANDINS = {
    "python": "json.dump(sys.argv[1:], open('python.log', 'a')); print(file=open('python.log', 'a'))",
    "pip": """
        from packaging.requirements import Requirement
        assert sys.argv[1] == "install" and sys.argv[2:], sys.argv
        for wanted in map(Requirement, sys.argv[2:]):
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            assert wanted.name == "chexreason" and wanted.extras and wanted.extras <= set(extras), wanted
    """,
    "make": """
        text = (ROOT / "Makefile").read_text()
        for word in sys.argv[1:]:
            name, assigned, _ = word.partition("=")
            assert f"$({name})" in text if assigned else re.search(rf"(?m)^{re.escape(name)}:", text), word
        json.dump(sys.argv[1:], open("make.log", "a")); print(file=open("make.log", "a"))
    """,
    "hf": """
        hf = Path(sys.executable).with_name("hf")
        subprocess.run([hf, *sys.argv[1:], "--help"], check=True, stdout=subprocess.DEVNULL)
        if sys.argv[1] == "download":
            assert any(f",{sys.argv[2]}}}" in file.read_text() for file in (ROOT / "conf" / "model").glob("*.yaml")), sys.argv
    """,
    "wget": """
        def local(words):
            return [word.replace("https://physionet.org", os.environ["SERVER"]) for word in words]
        if os.environ["WGET"]:
            if "-i" in sys.argv:
                lines = Path(sys.argv[sys.argv.index("-i") + 1])
                Path("local.txt").write_text("\\n".join(local(lines.read_text().split())))
                sys.argv[sys.argv.index("-i") + 1] = "local.txt"
            os.execv(os.environ["WGET"], ["wget", *local(sys.argv[1:])])
        reads = argparse.ArgumentParser(allow_abbrev=False)
        for flag in ("-c", "-x", "-nH", "--ask-password"):
            reads.add_argument(flag, action="store_true", required=True)
        reads.add_argument("--cut-dirs", type=int)
        for option in ("--user", "-P", "-i"):
            reads.add_argument(option)
        reads.add_argument("addresses", nargs="*")
        said = reads.parse_args()
        password = input("Password: ")
        for address in said.addresses + (Path(said.i).read_text().split() if said.i else []):
            (address,) = local([address])
            place = Path(said.P, *urllib.parse.urlsplit(address).path.split("/")[1 + said.cut_dirs:])
            place.parent.mkdir(parents=True, exist_ok=True)
            key = base64.b64encode(f"{said.user}:{password}".encode()).decode()
            asked = urllib.request.Request(address, headers={"Authorization": f"Basic {key}"})
            place.write_bytes(urllib.request.urlopen(asked).read())
    """,
}
IMPORTS = "import argparse, base64, json, os, re, subprocess, sys, tomllib, urllib.request\nfrom pathlib import Path\n"


@pytest.mark.parametrize("line", LINES)
def test_a_command_composes_in_the_clinical_world(line: str) -> None:
    config = compose(shlex.split(line))
    assert config.world.name == "clinical" and config.dataset.world == "clinical"
    assert config.stage.name != "teach" or config.teacher.data_use_agreement == config.dataset.agreement


def test_the_steps_make_what_the_later_ones_stand_on() -> None:
    """Each line's runs are named by the lines before it, and the last line's table holds what they evaluated."""
    known: dict[str, Plan] = {}
    folders: set[Path] = set()
    for line in LINES:
        if line.startswith("experiment="):
            continue
        words = [*shlex.split(line), "dry_run=true"]
        made = plan(compose(words), words, known)
        assert {one.folder for one in made.parents.values()} <= folders, line
        folders.add(made.folder)
    table = foresee(sweep_config("experiment=table5", "world=clinical", "dry_run=true"))
    assert len(folders & {job.planned.folder for job in table.jobs if job.planned}) == 1


class Physionet(SimpleHTTPRequestHandler):
    """Files to who says who he is, as PhysioNet has them."""

    def do_GET(self) -> None:
        if self.headers.get("Authorization") == f"Basic {base64.b64encode(b'NAME:secret').decode()}":
            return super().do_GET()
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="PhysioNet"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def physionet(tmp_path: Path) -> Iterator[str]:
    """The address of a server that has MIMIC-CXR-JPG, of 30 studies, where PhysioNet has it."""
    images = [(f"d{n}", str(10000000 + n), str(50000000 + n), "AP", "train") for n in range(30)]
    labels = {study: {"Edema": 1.0} for _, _, study, _, _ in images}
    mimic(tmp_path / "site" / "files" / "mimic-cxr-jpg" / "2.1.0", images, labels)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Physionet, directory=str(tmp_path / "site"))) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("wget", dict.fromkeys(["", shutil.which("wget") or ""]))
def test_every_line_of_shell_runs_and_fetches_what_the_next_one_needs(
    wget: str, physionet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    for name, does in STANDINS.items():
        tool = tmp_path / "bin" / name
        tool.write_text(f"#!{sys.executable}\n{IMPORTS}ROOT = Path({str(PAGE.parents[1])!r})\n{textwrap.dedent(does)}\n")
        tool.chmod(0o755)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("WGET", wget)
    monkeypatch.setenv("SERVER", physionet)

    def shell(script: str) -> None:
        """Runs it, where who asks for a password is told one."""
        ended = {"cwd": tmp_path, "input": "secret\n", "text": True, "start_new_session": True}
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, **ended)
        assert done.returncode == 0, done.stderr

    shell(f"{BLOCKS}\n{chr(10).join(BESIDE)}".replace("/data/", f"{tmp_path}/data/"))
    ran = [json.loads(line) for line in (tmp_path / "python.log").read_text().splitlines()]
    assert ran == [["-m", "chexreason.run", *map(here(tmp_path), shlex.split(line))] for line in LINES]
    for words in map(json.loads, (tmp_path / "make.log").read_text().splitlines()):
        more = next((word.removeprefix("MORE=") for word in words if word.startswith("MORE=")), "")
        cfg = compose(["stage=teach", "model=medgemma", *shlex.split(more)])
        assert cfg.teacher.data_use_agreement in (None, cfg.dataset.agreement)
    configs = "".join(file.read_text() for file in CONF.rglob("*.yaml"))
    for name in re.findall(r"\b([A-Z0-9_]+)=", "".join(re.findall(r"export .*", BLOCKS))):
        assert f"oc.env:{name}," in configs or f"key_from: {name}" in configs, name

    monkeypatch.setenv("MIMIC_CXR_JPG", f"{tmp_path}/data/mimic-cxr-jpg")
    curate = [*shlex.split(next(line for line in LINES if line.startswith("stage=curate"))), f"runs={tmp_path / 'runs'}"]
    with pytest.raises(ChexReasonError, match="30 of their 30 images are not in") as told:
        execute(compose(curate), curate)
    shell(next(line.partition(":")[2] for line in str(told.value).splitlines() if "fetch them:" in line))
    assert len((execute(compose(curate), curate) / "curated.csv").read_text().splitlines()) == 31


def here(tmp_path: Path) -> Callable[[str], str]:
    """A word of the page, with the data in a folder of the test's own."""
    return lambda word: word.replace("/data/", f"{tmp_path}/data/")


def sweep_config(*words: str) -> DictConfig:
    """What Hydra hands a sweep over these words."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra_compose("config", list(words), return_hydra_config=True)


def planned(*words: str) -> str:
    """What a sweep over several experiments prints of itself."""
    config = sweep_config(*words[1:])
    with open_dict(config):  # as Hydra does, which composes such a sweep's own config without them
        config.hydra.overrides.task = list(words)
    return str(foresee(config))


def test_what_the_study_costs_is_what_its_plan_prints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    paper = "table1,table2,table3,table4,table5,table6,figure1,figure2,figure3"
    two, whole = (planned(f"experiment={names}", "world=clinical", f"runs={tmp_path}") for names in ("table2,table3", paper))
    page, readme = PAGE.read_text(encoding="utf-8"), PAGE.parents[1].joinpath("README.md").read_text(encoding="utf-8")
    asked, paid, disk = re.findall(r"^(?:gemini|disk): .*$", page, re.MULTILINE)
    assert asked in two and asked in whole and paid in two and disk in whole
    gigabytes, runs = re.findall(r"\d+", disk)[:2]
    said = " ".join(readme.split())
    assert asked.partition("gemini: ")[2].partition(";")[0] in said and "at most 180 USD" in said
    assert f"its {runs} runs of a model take {gigabytes} GB of disk" in said


def test_the_page_has_commands() -> None:
    assert {"stage=curate", "stage=teach", "stage=sft", "stage=grpo", "stage=evaluate"} <= {line.split()[0] for line in LINES}
