"""Equation 4, part by part."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chexreason.rewards.nuanced import NuancedScorer
from chexreason.runs.config import as_dict, compose, group
from chexreason.runs.files import read_json

FREQUENCIES = {"Support Devices": 0.5, "No Finding": 0.4, "Pleural Other": 0.05}


def scorer(**changes: Any) -> NuancedScorer:
    values = as_dict(compose(("reward=nuanced",)))["reward"] | changes
    return group("reward", values).scorer("tags", FREQUENCIES)


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


SHARED = """
import json
import sys
from accelerate import PartialState
from chexreason.training.rollouts import RewardFunction
from tests.rewards.test_nuanced import FREQUENCIES, scorer, wrote
state = PartialState(cpu=True)
mine = RewardFunction(scorer(window=4).reward, "tags", FREQUENCIES, [])
rewards = []
for rollout in range(3):  # the completions of a rollout, shared among the processes
    said = ["Edema", "Edema", "Fracture" if rollout == 1 else "Edema", "Edema"]
    each = len(said) // state.num_processes
    share = said[each * state.process_index :][:each]
    completions = [[{"content": wrote(label)}] for label in share]
    count = len(share)
    rewards += mine(completions, [[0]] * count, [["Edema"]] * count, [[]] * count, log_metric=lambda *_: None)
with open(f"{sys.argv[1]}/{state.num_processes}-{state.process_index}.json", "w") as stream:
    json.dump([rewards, mine.score.memory], stream)
"""


def test_processes_that_share_a_run_look_back_on_one_window(tmp_path: Path) -> None:
    file = tmp_path / "shared.py"
    file.write_text(SHARED)
    for count in (1, 2):
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "ACCELERATE_USE_CPU": "1"}
        done = subprocess.run(
            [*launcher, str(file), str(tmp_path)], capture_output=True, text=True, timeout=120, env=environment
        )
        assert done.returncode == 0, done.stderr[-2000:]
    (alone, memory), (first, kept), (second, also_kept) = (read_json(tmp_path / f"{one}.json") for one in ("1-0", "2-0", "2-1"))
    assert min(alone) < 0 < max(alone), "the window fills, and a label dominates it"
    assert [*first[:2], *second[:2], *first[2:4], *second[2:4], *first[4:], *second[4:]] == alone
    assert kept == also_kept == memory
