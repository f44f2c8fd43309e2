"""The gates: what a model must not learn from, and what it may."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chexreason.answers.grammars import GRAMMARS
from chexreason.teacher.gates import Gates, repetition

GATES = Gates(least_words=4, most_words=60, repeated_words=8)
SOUND = "A meniscus blunts the left costophrenic angle, and the heart is of normal size."


def refuse(thoughts: str, labels: str = "Pleural Effusion", grammar: str = "tags") -> str | None:
    refusal = GATES.refuse(GRAMMARS[grammar].write(thoughts, labels.split(", ")), ["Pleural Effusion"], grammar)
    return refusal and refusal.gate


def test_a_sound_trace_passes() -> None:
    assert refuse(SOUND) is None
    assert refuse(SOUND, grammar="braces") is None
    assert refuse("", grammar="labels") is None, "there is no reasoning to judge"


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        (None, "no_answer: nothing was written"),
        ("", "grammar: empty"),
        (f"<think>{SOUND}</think>", "grammar: no_solution"),
        (f"Here it is. <think>{SOUND}</think><solution>Pleural Effusion</solution>", "grammar: text outside the blocks"),
        (f"<think>{SOUND}</think><solution>Edema</solution>", "labels: they differ from the ground truth"),
        (f"<think>{SOUND}</think><solution>Pleural Effusion, Edema</solution>", "labels: they differ from the ground truth"),
        (f"<think>{SOUND}</think><solution>Pleural Effusion, flu</solution>", "labels: they differ from the ground truth"),
        ("<think>As provided, there is an effusion.</think><solution>Pleural Effusion</solution>", "leak: as provided"),
        ("<think>Effusion.</think><solution>Pleural Effusion</solution>", "length: 1 words"),
    ],
)
def test_a_refusal_names_its_gate(completion: str | None, reason: str) -> None:
    assert str(GATES.refuse(completion, ["Pleural Effusion"], "tags")) == reason


@pytest.mark.parametrize(
    "slip",
    [
        "The given labels include an effusion.",
        "This fits the provided diagnosis well.",
        "As provided, the angle is blunted.",
        "The ground truth is an effusion here.",
        "the ground-truth\nsays effusion, and so it is",
        "I was told that there is an effusion.",
        "We are given an effusion, so let us look for it.",
        "This is consistent with the labels of this case.",
        "According to the label, there must be fluid.",
        "The labels indicate fluid on the left.",
        "Among the established findings is an effusion.",
        "The findings that were given to me fit well.",
        "The findings provided in the request fit well.",
        "The user wants an effusion to be explained.",
        "The prompt says that there is an effusion.",
        "Reasoning as if independently, I look at the left angle.",
        "I pretend not to know the answer at first.",
        "My reading must match the expected answer here.",
        "It agrees with the reference label for the film.",
        "The dataset labels this as an effusion, rightly.",
    ],
)
def test_having_been_told_shows(slip: str) -> None:
    assert refuse(slip) == "leak"


@pytest.mark.parametrize(
    "harmless",
    [
        "The film is labelled AP portable, with a side marker labelled L at the top.",
        "The provided radiograph shows a blunted left angle.",
        "The image given here is rotated, the left angle blunted.",
        "Given the findings of volume loss and a raised dome, I favour collapse.",
        "Given these findings, an effusion is likeliest on the left.",
        "Both domes move independently, and the left angle is blunted.",
        "CT would be the gold standard; the left angle is blunted.",
        "I would label the opacity at the left base an effusion.",
        "There is a hint of fluid that was not asked about clinically.",
        "The trachea is as expected; the left angle is blunted.",
        "No annotations obscure the lungs, the left angle is blunted.",
        "Prompt attention is due; the left angle is blunted.",
        "The diagnosis is supported by a meniscus, and confirmed by its upper border.",
        "Known limits of a supine film apply; the left angle is blunted.",
    ],
)
def test_a_radiologists_words_are_no_leak(harmless: str) -> None:
    assert refuse(harmless) is None


def test_words_said_again_are_a_repetition_and_a_likeness_is_not() -> None:
    assert refuse(f"{SOUND} Then the bones. {SOUND}") == "repetition"
    assert refuse("fluid " * 20) == "repetition"
    assert refuse("Right upper zone: clear. Right middle zone: clear. Left upper zone: clear. Left middle zone: clear.") is None


@given(st.lists(st.sampled_from("ab"), max_size=40), st.integers(1, 6))
def test_repetition_is_what_a_search_finds(words: list[str], count: int) -> None:
    runs = [tuple(words[start : start + count]) for start in range(len(words) - count + 1)]
    assert (repetition(words, count) is not None) == (len(set(runs)) < len(runs))


def test_too_long_is_refused() -> None:
    assert refuse(" ".join(f"word{number}" for number in range(61))) == "length"
