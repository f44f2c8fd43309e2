"""The whole study on a tiny phantom world, for both architectures: every stage real, every step small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chexreason.answers import predictions
from chexreason.run import main
from chexreason.runs import files, processes
from chexreason.runs import folders as runs
from chexreason.runs.execute import execute_planned

CONF = Path(__file__).parent / "conf"


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chexreason.run", "--config-dir", str(CONF), f"runs={folder}", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def run_here(folder: Path, *words: str) -> None:
    """The same in this process, its stages too: to start them is nothing that depends on the model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "run_stage", lambda folder, *_, **__: execute_planned(folder))
        patch.setenv("HYDRA_FULL_ERROR", "1")
        patch.setattr(sys, "argv", ["chexreason.run", "--config-dir", str(CONF), f"runs={folder}", *words])
        main()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module", params=["tiny_gemma", "tiny_qwen"])
def study(request: pytest.FixtureRequest, folder: Path) -> tuple[Path, str]:
    """The folder in which one command has made a GRPO checkpoint of a model, all that it stands on, and its evaluation."""
    words = [*answers(request.param), "make_missing=true"]
    if request.param == "tiny_gemma":
        done = run(folder, *words)
        assert done.returncode == 0, done.stderr[-3000:]
    else:
        run_here(folder, *words)
    return folder, request.param


def answers(model: str) -> list[str]:
    return [
        "stage=evaluate",
        f"model={model}",
        "prompt=only_label",  # short enough for a model that has hardly been trained
        "checkpoint=grpo",
        "dataset=tiny_chexpert",
        "source=tiny_mimic",
    ]


def manifests(folder: Path, model: str) -> dict[str, dict[str, Any]]:
    """The runs that a model's study holds, by stage; both studies share the runs that have no part in any model."""
    found = [manifest for _, manifest in runs.complete_runs(folder)]
    return {one["stage"]: one for one in found if one["config"].get("model", {"name": model})["name"] == model}


def log(folder: Path, manifest: dict[str, Any]) -> list[dict[str, float]]:
    return files.read_lines(folder / manifest["name"] / "log.jsonl")


def test_one_command_makes_all_that_it_stands_on(study: tuple[Path, str]) -> None:
    done = manifests(*study)
    assert set(done) == {"phantom", "curate", "teach", "standin", "sft", "grpo", "evaluate"}
    assert done["grpo"]["parents"]["policy"] == done["sft"]["name"]
    assert done["evaluate"]["parents"]["checkpoint"] == done["grpo"]["name"]


def test_training_moves_the_adapter_and_nothing_else(study: tuple[Path, str]) -> None:
    done = manifests(*study)
    for stage in ("sft", "grpo"):
        digests = done[stage]["metrics"]["digests"]
        assert digests["adapter"] != digests["adapter_at_start"]
        assert len((study[0] / done[stage]["name"] / "studies.csv").read_text().splitlines()) > 10
    assert done["sft"]["metrics"]["digests"]["frozen"] == done["grpo"]["metrics"]["digests"]["frozen"]
    assert done["grpo"]["metrics"]["digests"]["adapter_at_start"] == done["sft"]["metrics"]["digests"]["adapter"]


def test_grpo_logs_reward_kl_entropy_and_clipping(study: tuple[Path, str]) -> None:
    lines = log(study[0], manifests(*study)["grpo"])
    rollouts = [entry for entry in lines if "reward" in entry]
    assert [entry["step"] for entry in rollouts] == [1, 3], "each rollout serves two optimizer steps"
    for key in ("completions/mean_length", "rewards/jaccard", "rewards/length", "failure_rate"):
        assert all(key in entry for entry in rollouts), key
    steps = [entry for entry in lines if "kl" in entry]
    assert [entry["step"] for entry in steps] == [1, 2, 3, 4]
    assert all({"entropy", "clip_ratio/region_mean"} <= entry.keys() for entry in steps)
    # The reference is the SFT checkpoint, which the policy still is at the first step.
    assert steps[0]["kl"] == pytest.approx(0.0, abs=1e-6)
    assert steps[-1]["kl"] > 0.0


def test_every_image_has_an_answer_or_a_failure(study: tuple[Path, str]) -> None:
    path = study[0] / manifests(*study)["evaluate"]["name"] / "predictions.jsonl"
    rows = predictions.read(path)
    assert len(rows) == 24 and len({row.id for row in rows}) == 24
    assert all((row.predicted is None) == (row.failure is not None) for row in rows)
    written = [one for line in path.read_text().splitlines() for one in json.loads(line)["completions"]]
    # A model that ends its turn at once writes no text and no token.
    assert all((one["num_tokens"] > 0) == bool(one["text"]) and one["finished"] in (True, False) for one in written)


def test_the_same_command_again_is_reused(study: tuple[Path, str]) -> None:
    folder, model = study
    again = run(folder, *answers(model))
    assert again.returncode == 0 and "[evaluate] reused" in again.stderr
