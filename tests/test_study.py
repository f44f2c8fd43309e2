"""The whole study on a tiny phantom world, for both architectures: every stage real, every step small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chexreason.answers import predictions
from chexreason.runs import files
from chexreason.runs import folders as runs

CONF = Path(__file__).parent / "conf"


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chexreason.run", "--config-dir", str(CONF), f"runs={folder}", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=os.environ | environment)


@pytest.fixture(scope="module", params=["tiny_gemma", "tiny_qwen"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which one command has made a GRPO checkpoint, all that it stands on, and its evaluation."""
    folder = tmp_path_factory.mktemp(request.param)
    done = run(folder, *answers(request.param, "grpo"), "make_missing=true")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, request.param


def answers(model: str, checkpoint: str) -> list[str]:
    return [
        "stage=evaluate",
        f"model={model}",
        "prompt=only_label",  # short enough for a model that has hardly been trained
        f"checkpoint={checkpoint}",
        "dataset=tiny_chexpert",
        "source=tiny_mimic",
    ]


def manifests(folder: Path) -> dict[str, dict[str, Any]]:
    return {manifest["stage"]: manifest for _, manifest in runs.complete_runs(folder)}


def log(folder: Path, stage: str) -> list[dict[str, float]]:
    path = next(folder.glob(f"{stage}-*/log.jsonl"))
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_command_makes_all_that_it_stands_on(study: tuple[Path, str]) -> None:
    done = manifests(study[0])
    assert set(done) == {"phantom", "curate", "teach", "standin", "sft", "grpo", "evaluate"}
    assert done["grpo"]["parents"]["policy"] == done["sft"]["name"]
    assert done["evaluate"]["parents"]["checkpoint"] == done["grpo"]["name"]


def test_training_moves_the_adapter_and_nothing_else(study: tuple[Path, str]) -> None:
    done = manifests(study[0])
    for stage in ("sft", "grpo"):
        digests = done[stage]["metrics"]["digests"]
        assert digests["adapter"] != digests["adapter_at_start"]
    assert done["sft"]["metrics"]["digests"]["frozen"] == done["grpo"]["metrics"]["digests"]["frozen"]
    assert done["grpo"]["metrics"]["digests"]["adapter_at_start"] == done["sft"]["metrics"]["digests"]["adapter"]


def test_grpo_logs_reward_kl_entropy_and_clipping(study: tuple[Path, str]) -> None:
    rollouts = [entry for entry in log(study[0], "grpo") if "reward" in entry]
    assert [entry["step"] for entry in rollouts] == [1, 3], "each rollout serves two optimizer steps"
    for key in ("completions/mean_length", "rewards/jaccard", "rewards/length", "failure_rate"):
        assert all(key in entry for entry in rollouts), key
    steps = [entry for entry in log(study[0], "grpo") if "kl" in entry]
    assert [entry["step"] for entry in steps] == [1, 2, 3, 4]
    assert all({"entropy", "clip_ratio/region_mean"} <= entry.keys() for entry in steps)
    # The reference is the SFT checkpoint, which the policy still is at the first step.
    assert steps[0]["kl"] == pytest.approx(0.0, abs=1e-6)
    assert steps[-1]["kl"] > 0.0


def test_every_image_has_an_answer_or_a_failure(study: tuple[Path, str]) -> None:
    path = next(study[0].glob("evaluate-*/predictions.jsonl"))
    rows = predictions.read(path)
    assert len(rows) == 24 and len({row.id for row in rows}) == 24
    assert all((row.predicted is None) == (row.failure is not None) for row in rows)
    written = [one for line in path.read_text().splitlines() for one in json.loads(line)["completions"]]
    assert all(one["num_tokens"] > 0 and one["finished"] in (True, False) for one in written)


def test_the_same_command_again_is_reused(study: tuple[Path, str]) -> None:
    folder, model = study
    again = run(folder, *answers(model, "grpo"))
    assert again.returncode == 0 and "[evaluate] reused" in again.stderr


def test_evaluation_goes_on_where_it_was_cut_off(study: tuple[Path, str]) -> None:
    folder, model = study
    assert run(folder, *answers(model, "sft")).returncode == 0
    sft = (
        path for path, manifest in runs.complete_runs(folder) if "-sft-tiny" in path.name and manifest["stage"] == "evaluate"
    )
    done = next(sft)
    whole = (done / "predictions.jsonl").read_text()
    kept = whole.splitlines(keepends=True)
    (done / "predictions.jsonl.part").write_text("".join(kept[:10]) + kept[10][:30])
    (done / "predictions.jsonl").unlink()
    (done / runs.MANIFEST).unlink()
    again = run(folder, *answers(model, "sft"))
    # Whole batches of four are kept: a batch that the interruption cut is answered again, in the same company.
    assert again.returncode == 0 and "8 studies were answered before; 16 to go" in again.stderr
    assert (done / "predictions.jsonl").read_text() == whole


def test_wandb_may_be_switched_off_by_config_or_environment(study: tuple[Path, str]) -> None:
    folder, model = study
    words = [*answers(model, "base"), "stage.limit=4"]
    assert run(folder, *words, "tracker=none", "seed=1").returncode == 0
    assert run(folder, *words, "seed=2", WANDB_MODE="disabled").returncode == 0
    offline = [path for path in folder.glob("evaluate-*/wandb/offline-run-*")]
    assert offline
    # A resumed run goes on under the id that it had: its folder's name.
    assert all(path.name.endswith(path.parents[1].name) for path in offline)
    assert not any("seed=" in json.loads((path.parents[1] / runs.MANIFEST).read_text())["command"] for path in offline)


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_no_training_on_a_patient_of_a_test_set(study: tuple[Path, str], stage: str) -> None:
    folder, model = study
    curated = next(folder.glob("curate-*"))
    assert len((next(folder.glob(f"{stage}-*")) / "studies.csv").read_text().splitlines()) > 10
    path, patient = (curated / {"sft": "sft.csv", "grpo": "rl.csv"}[stage]).read_text().splitlines()[1].split(",")[:2]
    site = files.read_json(curated / "card.json")["site"]
    held_out = folder / "test-sets" / "held_out.csv"
    held_out.parent.mkdir(exist_ok=True)
    held_out.write_text(f"patient,path,site,sha256\n{patient},{path},{site},\n")
    try:
        rate = "stage.learning_rate=1e-4"  # another run than the one that is complete
        refused = run(folder, f"stage={stage}", f"model={model}", "prompt=only_label", "source=tiny_mimic", rate)
    finally:
        held_out.unlink()
    assert refused.returncode == 1
    assert f"image {path}, patient {patient}" in refused.stderr and "held_out" in refused.stderr
