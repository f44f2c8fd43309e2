"""Equation 4, part by part."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chexreason.rewards.scored import Scorer
from chexreason.runs.config import as_dict, compose, group
from chexreason.runs.files import read_json
from chexreason.training.reward_function import RewardFunction

FREQUENCIES = {"Support Devices": 0.5, "No Finding": 0.4, "Pleural Other": 0.05}


def scorer(**changes: Any) -> Scorer:
    values = as_dict(compose(("reward=nuanced",)))["reward"] | changes
    return Scorer(group("reward", values), "tags", FREQUENCIES)


def wrote(*labels: str) -> str:
    return f"<think>t</think><solution>{', '.join(labels)}</solution>"


def test_an_exact_match_earns_150() -> None:
    scored = scorer()(wrote("Edema", "Fracture"), ["Edema", "Fracture"], 10)
    assert scored.reward == 150
    assert (scored.parts["match"], scored.parts["recall"], scored.parts["precision"]) == (100, 30, 20)


def test_partial_credit_follows_recall_and_precision() -> None:
    parts = scorer()(wrote("Edema", "Pleural Other"), ["Edema", "Fracture", "Pneumonia"], 10).parts
    assert parts["match"] == 0
    assert parts["recall"] == pytest.approx(10) and parts["precision"] == pytest.approx(10)
    assert parts["false_positives"] == pytest.approx(-(5 + 20 * 0.05))


def test_a_common_label_costs_more_when_wrong() -> None:
    rare, common = (
        scorer()(wrote(label), ["Edema"], 10).parts["false_positives"] for label in ("Pleural Other", "Support Devices")
    )
    assert common < rare < 0


def test_format_penalties_add_up() -> None:
    parts = scorer()("Hm. <think>t</think><solution>Edema, Flu, Edema</solution>", ["Edema"], 10).parts
    assert parts["format"] == -(100 + 25 + 10)
    assert scorer()("nothing", ["Edema"], 10).parts["format"] == -(100 + 10)


def test_the_window_acts_once_it_is_full_and_only_on_dominant_labels() -> None:
    score = scorer()
    collapse = [score(wrote("Edema"), ["Edema"], 10).parts["collapse"] for _ in range(100)]
    assert collapse[:99] == [0.0] * 99
    assert collapse[99] == -(50 + 30 * 30)
    assert score(wrote("Fracture"), ["Fracture"], 10).parts["collapse"] == 0.0


def test_exactly_seventy_percent_is_not_dominant() -> None:
    score = scorer()
    for number in range(99):
        score(wrote("Edema" if number < 69 else "Fracture"), ["Edema"], 10)
    assert score(wrote("Edema"), ["Edema"], 10).parts["collapse"] == 0.0


def test_the_window_slides() -> None:
    score = scorer(window=4)
    for _ in range(4):
        score(wrote("Edema"), ["Edema"], 10)
    for _ in range(3):
        score(wrote("Fracture"), ["Fracture"], 10)
    assert len(score.memory) == 4
    assert score(wrote("Edema"), ["Edema"], 10).parts["collapse"] == 0.0


def test_parts_add_up() -> None:
    scored = scorer()("x " + wrote("Edema", "Flu"), ["Fracture"], 10)
    assert scored.reward == pytest.approx(sum(scored.parts.values()))


def rewarded(process: int, processes: int) -> tuple[list[float], list[list[str]]]:
    """What one of the processes that share a run is rewarded over three rollouts, and what the reward remembers then."""
    function = RewardFunction(scorer(window=4).reward, "tags", FREQUENCIES, [])
    rewards: list[float] = []
    for said in (["Edema"] * 4, ["Edema", "Edema", "Fracture", "Edema"], ["Edema"] * 4):
        each = len(said) // processes
        written = [[{"content": wrote(label)}] for label in said[each * process :][:each]]
        rewards += function(written, [[0]] * each, [["Edema"]] * each, [[]] * each, log_metric=lambda *_: None)
    return rewards, function.score.memory


SHARED = """
import json, sys
from accelerate import PartialState
from tests.rewards.test_nuanced import rewarded
state = PartialState(cpu=True)
with open(f"{sys.argv[1]}/{state.process_index}.json", "w") as stream:
    json.dump(rewarded(state.process_index, state.num_processes), stream)
state.wait_for_everyone()
state.destroy_process_group()
"""


def test_processes_that_share_a_run_look_back_on_one_window(tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text(SHARED)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "ACCELERATE_USE_CPU": "1"}
    line = [*launcher, str(tmp_path / "shared.py"), str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    alone, memory = rewarded(0, 1)
    assert min(alone) < 0 < max(alone), "the window fills, and a label dominates it"
    (first, kept), (second, also_kept) = (read_json(tmp_path / f"{process}.json") for process in (0, 1))
    assert [*first[:2], *second[:2], *first[2:4], *second[2:4], *first[4:], *second[4:]] == alone
    assert kept == also_kept == memory
