"""The rehearsal's teacher: real clients speak to it, through the same guards as to a hosted one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chexreason.phantom.server import KEY

AGREED = "teacher.data_use_agreement=PhysioNet Credentialed Health Data Use Agreement 1.5.0"
STUDIES = 45
SIZES = f"stage.sizes.sft={STUDIES} stage.sizes.rl=4 stage.sizes.validation=4 stage.floor=0"
DRAWN = "stage.mimic_studies=150 stage.mimic_laterals=2 stage.image_size=64 stage.chexpert_test=1 stage.nih_images=1"
WORDS = [
    *(
        "stage=teach",
        "world=rehearsal",
        "model=medgemma",
        "prompt=reasoning_a",
        "tracker=none",
        "make_missing=true",
        "teacher.requests_per_minute=null",
    ),
    f"dataset.made_by='stage=phantom seed=0 {DRAWN}'",
    f"stage.parents.curated='stage=curate {SIZES}'",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rehearsal")


def teach(runs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chexreason.run", *WORDS, f"runs={runs}", *words]
    beside = [sys.executable, "-m", "chexreason.phantom.server"]
    return subprocess.run([*beside, *command], capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("teacher", ["gemini", "openai"])
def test_traces_come_through_the_real_client_in_spite_of_refusals(runs: Path, teacher: str) -> None:
    refused = teach(runs, f"teacher={teacher}")
    assert refused.returncode != 0 and "teacher.data_use_agreement" in refused.stderr.splitlines()[-1], refused.stderr[-900:]
    done = teach(runs, f"teacher={teacher}", AGREED)
    assert done.returncode == 0, done.stderr[-1500:]
    manifests = {path.parent: json.loads(path.read_text()) for path in runs.glob("teach-*/manifest.json")}
    (folder,) = (path for path, one in manifests.items() if one["config"]["teacher"]["name"] == teacher)
    assert manifests[folder]["status"] == "complete" and manifests[folder]["metrics"]["traces"] == STUDIES
    traces = (folder / "traces.jsonl").read_text()
    assert "12. Synthesis" in traces and "given labels" not in traces, "the prompt's form, and no trace that leaks"
    assert not any(KEY.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())
