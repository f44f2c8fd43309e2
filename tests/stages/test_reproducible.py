"""The same seed gives the same losses, weights and predictions: a second time, from another checkout, in another folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chexreason.answers.predictions import PREDICTIONS
from chexreason.runs.folders import outputs_digest
from tests.stages.conftest import GRPO, SFT, execute, history

CHECKOUT = Path(__file__).parents[2]
EVALUATION = ["stage=evaluate", "prompt=only_label", "dataset=validation", "stage.batch_size=2"]
SAMPLED = ["stage.max_completion_tokens=16", "stage.sampling.repeats=3", "stage.sampling.temperature=1.5"]


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_the_same_seed_gives_the_same_losses_weights_and_predictions(
    order: Callable[..., Path], policy: Path, data: Path, tmp_path: Path
) -> None:
    def three(name: str) -> dict[str, Path]:
        evaluation = [*EVALUATION, *SAMPLED, f"dataset.root={data}"]
        return {
            "sft": order(f"{name}-sft", *SFT),
            "grpo": order(f"{name}-grpo", *GRPO, "stage.max_steps=4", policy=policy, validation=data),
            "evaluate": order(f"{name}-evaluate", *evaluation),
        }

    here, there = three("here"), three("there")
    for folder in here.values():
        execute(folder)

    other = tmp_path / "another checkout"
    for name in ("chexreason", "conf"):
        shutil.copytree(CHECKOUT / name, other / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = "import sys; from pathlib import Path; from chexreason.runs.execute import execute_planned\n"
    code += "sys.exit(sum(execute_planned(Path(folder)) for folder in sys.argv[1:]))"
    environment = os.environ | {"PYTHONPATH": str(other)}
    command = [sys.executable, "-c", code, *map(str, there.values())]
    done = subprocess.run(command, cwd=other, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]

    for stage in ("sft", "grpo"):
        assert history(here[stage]) == history(there[stage])
    assert (here["evaluate"] / PREDICTIONS).read_bytes() == (there["evaluate"] / PREDICTIONS).read_bytes()
    for stage in here:
        assert outputs_digest(here[stage]) == outputs_digest(there[stage]), stage
