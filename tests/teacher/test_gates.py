"""The gates: what a model must not learn from, and what it may."""

from __future__ import annotations

import json
import time
from pathlib import Path

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


SENTENCES = [json.loads(line) for line in (Path(__file__).parent / "sentences.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("kind", sorted({one["kind"] for one in SENTENCES}))
def test_a_sentence_is_refused_where_it_shows_that_its_writer_was_told(kind: str) -> None:
    """However it is typeset, wherever it stands, and not where a radiologist's words only look alike."""
    for one in (one for one in SENTENCES if one["kind"] == kind):
        text, expected = one["text"], "leak" if one["leak"] else None
        typeset = (text, text.upper(), text.replace("'", "\u2019"), text.replace(" ", "\n"), f"- **{text}**")
        for written in (*typeset, f"The ribs are intact. {text}"):
            assert refuse(f"{written}\n{SOUND}") == expected, written


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


def test_a_teacher_that_repeats_one_word_without_end_is_refused_at_once() -> None:
    begun = time.process_time()
    assert {refuse(f"{word} " * 10_000) for word in ("the", "no", "a", "label-less opacity")} <= {"length", "leak"}
    assert time.process_time() - begun < 30
