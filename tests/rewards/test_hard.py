"""Equation 3, case by case."""

from __future__ import annotations

import pytest

from chexreason.rewards.hard import HardReward
from chexreason.rewards.scored import Scorer

SCORE = Scorer(HardReward(name="hard", min_tokens=250, length_penalty=0.1, unit=1), "tags", {})
GOOD = "<think>t</think><solution>Edema, Fracture</solution>"


@pytest.mark.parametrize(
    ("completion", "tokens", "reward"),
    [
        (GOOD, 250, 1 / 3),
        (GOOD, 249, 1 / 3 - 0.1),
        ("<think>t</think><solution>Cardiomegaly, Edema</solution>", 300, 1.0),
        ("<think>t</think><solution>Pneumonia</solution>", 300, 0.0),
        ("<think>t</think><solution>Pneumonia</solution>", 10, -0.1),
        ("<think>t</think><solution></solution>", 300, 0.0),
        ("<solution>Cardiomegaly, Edema</solution>", 300, 0.0),
        (GOOD + GOOD, 300, 0.0),
        ("<think>t<solution>Edema</solution>", 10, 0.0),
        ("", 0, 0.0),
    ],
)
def test_equation_3(completion: str, tokens: int, reward: float) -> None:
    scored = SCORE(completion, ["Cardiomegaly", "Edema"], tokens)
    assert scored.reward == pytest.approx(reward)
    assert sum(scored.parts.values()) == pytest.approx(scored.reward)


def test_two_empty_sets_agree() -> None:
    assert SCORE("<think>t</think><solution></solution>", [], 300).reward == 1.0
