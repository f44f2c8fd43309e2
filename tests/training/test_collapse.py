"""Signs of mode collapse, and what a trainer's history says of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from chexreason.answers.parser import parse_strict
from chexreason.runs.config import as_dict, compose, group
from chexreason.training.collapse import LOGGED, Limits, beyond, repeated_share, signs
from chexreason.training.selection import CollapseWatch

SETTINGS = group("stage", as_dict(compose(("stage=grpo", "model=medgemma")))["stage"])
HEALTHY = {
    "reward": 0.5,
    "entropy": 0.4,
    "completions/mean_length": 300.0,
    "frac_reward_zero_std": 0.2,
    "failure_rate": 0.02,
    LOGGED["distinct"]: 1.0,
    LOGGED["dominant_label"]: 0.4,
    LOGGED["repetition"]: 0.05,
}


def history(*changes: dict[str, float], window: int = 5) -> list[dict[str, Any]]:
    """A healthy first window, then one rollout for each change."""
    entries = [HEALTHY] * (2 * window) + [HEALTHY | change for change in changes]
    return [{"step": step, **entry} for step, entry in enumerate(entries, start=1)]


def watched() -> tuple[CollapseWatch, list[str]]:
    notes: list[str] = []
    return CollapseWatch(SETTINGS.collapse, notes.append), notes


def test_signs_in_one_rollout() -> None:
    texts = ["<think>a</think><solution>Edema</solution>"] * 3 + ["<think>a b c d a b c d</think><solution>x</solution>"]
    found = signs(texts, [parse_strict(text, "tags") for text in texts])
    assert found[LOGGED["distinct"]] == 0.5
    assert found[LOGGED["dominant_label"]] == 0.75
    assert found["failure_rate"] == 0.25


def test_the_repeated_share_counts_4_grams_that_came_before() -> None:
    assert repeated_share("one two three") == 0.0
    assert repeated_share("a b c d e f g") == 0.0
    assert repeated_share("a b c d a b c d") == pytest.approx(1 - 4 / 5)
    assert repeated_share("x " * 100) == pytest.approx(1 - 1 / 97)


@pytest.mark.parametrize(
    ("sign", "warns", "stops"),
    [
        ("entropy", 0.1, 0.01),
        ("length", 50.0, None),
        ("distinct", 0.2, 0.05),
        ("dominant_label", 0.8, 1.0),
        ("repetition", 0.5, 0.95),
        ("no_spread", 0.95, None),
        ("failure_rate", 0.5, 1.0),
    ],
)
def test_every_sign_warns_and_the_plain_ones_stop(sign: str, warns: float, stops: float | None) -> None:
    window, warn, stop = SETTINGS.collapse.window, SETTINGS.collapse.warn, SETTINGS.collapse.stop
    slight = history(*[{LOGGED[sign]: warns}] * window)
    assert [line.split()[0] for line in beyond(slight, warn, window)] == [sign]
    assert not beyond(slight, stop, window)
    if stops is not None:
        assert beyond(history(*[{LOGGED[sign]: stops}] * window), stop, window)


def test_longer_completions_count_as_shorter_ones_do() -> None:
    assert beyond(history(*[{LOGGED["length"]: 900.0}] * 5), SETTINGS.collapse.warn, 5)


def test_one_odd_rollout_is_no_collapse_and_null_is_not_watched() -> None:
    odd = history({LOGGED["failure_rate"]: 1.0, "entropy": 0.0})
    assert not beyond(odd, SETTINGS.collapse.warn, 5)
    nothing = Limits(**dict.fromkeys(LOGGED, None))
    assert not beyond(history(*[{"entropy": 0.0, "failure_rate": 1.0}] * 5), nothing, 5)
    assert not beyond(odd[:9], SETTINGS.collapse.warn, 5), "too early to compare"


def test_the_watch_notes_when_a_warning_begins_and_ends_and_stops_a_collapsed_run() -> None:
    watch, notes = watched()
    state = SimpleNamespace(log_history=[], global_step=0)
    control = SimpleNamespace(should_training_stop=False, should_save=False)
    course = [HEALTHY] * 10 + [HEALTHY | {"entropy": 0.1}] * 5 + [HEALTHY] * 5 + [HEALTHY | {"failure_rate": 1.0}] * 5
    for step, entry in enumerate(course, start=1):
        assert not control.should_training_stop
        state.global_step = step
        state.log_history.append({"step": step, **entry})
        watch.on_log(None, state, control)
    assert control.should_training_stop and control.should_save
    assert "entropy" in notes[0] and "within all limits again" in notes[1]
    assert "collapsed" in notes[-1] and "failure_rate" in notes[-1]
    assert watch.collapsed(state) and not watch.calm(state)
