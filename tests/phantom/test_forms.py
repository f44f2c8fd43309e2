"""The offline teacher's forms: true to the labels, and readable in the prompt's grammar."""

from __future__ import annotations

import random
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chexreason.answers.parser import parse_strict
from chexreason.labels import FINDINGS, NO_FINDING
from chexreason.phantom.drawing import draw
from chexreason.phantom.forms import FORMS
from chexreason.phantom.scene import scene_of
from chexreason.phantom.styles import MIMIC
from chexreason.prompts import write_answer
from chexreason.runs.config import every

PATHOLOGIES = [finding for finding in FINDINGS if finding != NO_FINDING]


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=25)
@given(labels=st.sets(st.sampled_from(PATHOLOGIES), max_size=5), seed=st.integers(0, 999))
def test_a_form_names_every_finding_and_no_other(form: str, labels: set[str], seed: int) -> None:
    chosen = [finding for finding in FINDINGS if finding in labels] or [NO_FINDING]
    signs = [asdict(sign) for sign in draw(chosen, MIMIC, seed, 64).signs]
    text = FORMS[form](scene_of(chosen, signs, random.Random(seed)))
    shown = "\n".join(line for line in text.lower().splitlines() if "not shown" not in line)  # the matrix has a row for each
    assert all(finding.lower() in shown for finding in labels), text
    rivals = [finding for finding in PATHOLOGIES if finding not in labels and finding.lower() in shown]
    assert not rivals, (rivals, text)
    assert text.strip() == text and ".." not in text and "  " not in text


@pytest.mark.parametrize("prompt", every("prompt"), ids=lambda prompt: prompt.name)
def test_a_trace_in_a_prompts_grammar_is_read_back_strictly(prompt) -> None:  # type: ignore[no-untyped-def]
    labels = ["Cardiomegaly", "Pleural Effusion"]
    form = FORMS.get(prompt.name, FORMS["free_reasoning"])
    text = form(scene_of(labels, [asdict(sign) for sign in draw(labels, MIMIC, 1, 64).signs], random.Random(0)))
    answer = parse_strict(write_answer(prompt.grammar, text, labels), prompt.grammar)
    assert answer.failure is None and list(answer.labels) == labels


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"free_reasoning"}))  # which is terse on purpose
@settings(max_examples=40)
@given(label=st.sampled_from([finding for finding in PATHOLOGIES if finding != "Support Devices"]), seed=st.integers(0, 999))
def test_a_form_says_where_the_sign_lies_and_how_marked_it_is(form: str, label: str, seed: int) -> None:
    signs = [asdict(sign) for sign in draw([label], MIMIC, seed, 64).signs]
    seen = scene_of([label], signs, random.Random(seed)).seen[0]
    text = FORMS[form](scene_of([label], signs, random.Random(seed))).lower()
    drawn = [sign for sign in signs if sign["finding"] == label]
    assert seen.severity in {sign["severity"] for sign in drawn} and seen.severity in text, text
    assert seen.sides <= {
        side for sign in drawn for side in (("left", "right") if sign["side"] == "bilateral" else (sign["side"],))
    }
    assert seen.place in text and (len(seen.sides) != 1 or not seen.place or next(iter(seen.sides)) in seen.place), text
