"""The balanced reward, and the page of worked examples of all three."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chexreason.rewards.balanced import BalancedReward
from chexreason.rewards.hard import HardReward
from chexreason.rewards.scored import Scorer
from chexreason.training.reward_function import RewardFunction

ROOT = Path(__file__).parents[2]
FREQUENCIES = {"Support Devices": 0.5, "Edema": 0.25, "Fracture": 0.05}


def scorer(**changes: Any) -> Scorer:
    settings = {"power": 1.0, "rarest": 0.02, "min_tokens": 250, "length_penalty": 0.1, "unit": 1} | changes
    return Scorer(BalancedReward(name="balanced", **settings), "tags", FREQUENCIES)


def wrote(*labels: str) -> str:
    return f"<think>t</think><solution>{', '.join(labels)}</solution>"


def test_a_rare_finding_weighs_as_much_as_its_rarity() -> None:
    # 1 / 0.5 = 2, 1 / 0.25 = 4, 1 / 0.05 = 20.
    assert scorer()(wrote("Edema"), ["Edema", "Fracture"], 300).reward == pytest.approx(4 / 24)
    assert scorer()(wrote("Fracture"), ["Edema", "Fracture"], 300).reward == pytest.approx(20 / 24)
    assert scorer()(wrote("Edema", "Support Devices"), ["Edema"], 300).reward == pytest.approx(4 / 6)


def test_what_the_training_set_lacks_weighs_as_the_rarest() -> None:
    assert scorer()(wrote("Edema", "Pneumonia"), ["Edema"], 300).reward == pytest.approx(4 / (4 + 50))


@pytest.mark.parametrize("text", [wrote("Edema"), wrote("Edema", "Fracture"), wrote("No Finding"), "no blocks", wrote()])
@pytest.mark.parametrize("tokens", [10, 300])
def test_without_weights_it_is_equation_3(text: str, tokens: int) -> None:
    hard = Scorer(HardReward(name="hard", min_tokens=250, length_penalty=0.1, unit=1), "tags", {})
    assert scorer(power=0.0)(text, ["Edema"], tokens).reward == pytest.approx(hard(text, ["Edema"], tokens).reward)


def test_an_uncertain_finding_is_neither_rewarded_nor_penalised() -> None:
    silent = scorer()(wrote("Edema"), ["Edema"], 300, uncertain=["Fracture"])
    named = scorer()(wrote("Edema", "Fracture"), ["Edema"], 300, uncertain=["Fracture"])
    assert silent.reward == named.reward == 1.0
    assert scorer()(wrote("Edema", "Fracture"), ["Edema"], 300).reward < 1.0


def test_parts_add_up() -> None:
    scored = scorer()(wrote("Edema", "Fracture"), ["Edema"], 10)
    assert scored.reward == pytest.approx(sum(scored.parts.values())) and scored.parts["length"] == -0.1


def test_the_page_of_worked_examples_is_what_the_code_computes() -> None:
    command = [sys.executable, str(ROOT / "benches" / "reward_examples.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    page = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60).stdout
    assert page == (ROOT / "docs" / "rewards.md").read_text(encoding="utf-8")


ROUNDED = """
from chexreason.data.frequencies import finding_frequencies
from chexreason.labels import FINDINGS
from chexreason.rewards.scored import Scorer
from chexreason.runs.config import as_dict, compose, group
wrote = f"<think>t</think><solution>{', '.join(FINDINGS[1:10])}</solution>"
for name in ("balanced", "nuanced"):
    reward = group("reward", as_dict(compose((f"reward={name}",)))["reward"])
    score = Scorer(reward, "tags", finding_frequencies())
    print(repr(score(wrote, ["Fracture", "Edema", "Pneumonia"], 300).reward))
"""


def test_rounding_does_not_differ_between_processes() -> None:
    said = set()
    for seed in range(4):  # by which Python orders sets of texts
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(seed)}
        command = [sys.executable, "-c", ROUNDED]
        said.add(subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60).stdout)
    assert len(said) == 1


def test_the_trainer_hands_each_studys_uncertain_findings_on() -> None:
    function = RewardFunction(BalancedReward("balanced", 0.0, 0.02, 250, 0.1, 1), "tags", FREQUENCIES, special_ids=[1])
    completions = [[{"content": wrote("Edema", "Pneumonia")}]] * 2
    sure, doubtful = function(completions, [[0] * 300] * 2, [["Edema"]] * 2, [[], ["Pneumonia"]], log_metric=lambda *_: None)
    assert (sure, doubtful) == (0.5, 1.0)


def test_the_end_of_the_turn_is_no_part_of_a_completions_length() -> None:
    function = RewardFunction(BalancedReward("balanced", 0.0, 0.02, 250, 0.1, 1), "tags", FREQUENCIES, special_ids=[1])
    completions = [[{"content": wrote("Edema")}]] * 2
    short, enough = function(
        completions, [[0] * 249 + [1], [0] * 250 + [1]], [["Edema"]] * 2, [[], []], log_metric=lambda *_: None
    )
    assert (short, enough) == (0.9, 1.0)
