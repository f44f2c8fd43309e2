"""What the stand-ins are shown: which visual tokens a sign lies under, and what an incomplete caption leaves out."""

from __future__ import annotations

import random
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS
from chexreason.phantom.drawing import draw
from chexreason.phantom.film import Box, Sign
from chexreason.phantom.forms import FORMS
from chexreason.phantom.scene import scene_of
from chexreason.phantom.styles import MIMIC
from chexreason.runs.config import choices, compose, every, group
from chexreason.runs.plan import plan

pytest.importorskip("torch")
from chexreason.phantom.pretraining import brief, draw_corpus, under_tokens  # noqa: E402

NAMES = ["Edema", "Fracture"]


@pytest.mark.parametrize(
    ("box", "cells"),
    [
        ((0.0, 0.0, 0.25, 0.25), {(0, 0)}),  # exactly one token
        ((0.26, 0.51, 0.49, 0.74), {(2, 1)}),  # inside one: row first, as the tokens are read
        ((0.3, 0.3, 0.32, 0.32), {(1, 1)}),  # far smaller than a token, and still under it
        ((0.0, 0.0, 1.0, 0.5), {(row, column) for row in (0, 1) for column in range(4)}),
        ((0.0, 0.0, 0.3, 0.25), {(0, 0)}),  # a fifth of the next token is not enough
    ],
)
def test_a_sign_lies_under_the_tokens_that_share_a_quarter_with_it(box: Box, cells: set[tuple[int, int]]) -> None:
    under = under_tokens([("Fracture", box)], NAMES, 4).reshape(4, 4, 2)
    assert {(int(row), int(column)) for row, column in np.argwhere(under[..., 1])} == cells
    assert not under[..., 0].any()


def test_two_signs_of_a_finding_count_once() -> None:
    box = (0.0, 0.0, 0.25, 0.25)
    assert under_tokens([("Edema", box), ("Edema", box)], NAMES, 4).max() == 1.0


def test_every_drawn_sign_lies_under_some_token() -> None:
    for seed in range(30):
        for sign in draw(FINDINGS[1:], MIMIC, seed).signs:
            assert under_tokens([(sign.finding, sign.box)], list(FINDINGS), 6).any(), sign


def test_a_brief_caption_keeps_the_two_largest_in_the_order_of_the_findings() -> None:
    signs = [
        Sign("Edema", "bilateral", "hilum", "mild", "haze", (0.1, 0.1, 0.9, 0.9)),
        Sign("Lung Lesion", "left", "mid", "mild", "round nodule", (0.1, 0.1, 0.2, 0.2)),
        Sign("Pleural Effusion", "left", "base", "mild", "meniscus", (0.1, 0.1, 0.4, 0.4)),
    ]
    assert brief(["Lung Lesion", "Edema", "Pleural Effusion"], signs) == ["Edema", "Pleural Effusion"]
    assert brief(["No Finding"], []) == ["No Finding"]


@pytest.mark.parametrize("kind", ["radiographs", "shapes"])
def test_a_corpus_repeats_and_says_of_shapes_nothing_that_they_show(kind: str) -> None:
    prompts = choices("prompt", ["only_label", "reasoning_a"])
    corpus, again = (draw_corpus(kind, 12, prompts, 0.1, 3) for _ in range(2))
    assert corpus.captions == again.captions and corpus.labels == again.labels and corpus.regions == again.regions
    assert len(corpus.images) == len(corpus.scenes) == len(corpus.labels) == 12
    named = {name for placed in corpus.regions for name, _ in placed}
    assert named <= set(FINDINGS) if kind == "radiographs" else not named & set(FINDINGS)


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


@pytest.mark.parametrize("kind", ["radiographs", "shapes"])
def test_a_stand_in_has_read_every_word_that_its_teacher_will_write(kind: str) -> None:
    """Fine-tuning on a few hundred traces teaches what to say and not how words are spelt."""
    read = words(" ".join(draw_corpus(kind, 200, choices("prompt", ["only_label"]), 0.1, 3).texts()))
    rng = random.Random(0)
    written: set[str] = set()
    for seed in range(60):
        labels = rng.sample(FINDINGS[1:], 2)
        signs = [asdict(sign) for sign in draw(labels, MIMIC, seed, 64).signs]
        written |= words(FORMS["free_reasoning"](scene_of(labels, signs, rng)))
    assert len(written) > 60 and not written - read


def test_the_wording_of_the_prompts_that_it_has_read_defines_a_stand_in(tmp_path: Path) -> None:
    line = ["stage=standin", "model=phantom_gemma", f"runs={tmp_path}"]
    settings = plan(compose(line), line).manifest["config"]["stage"]
    read = group("stage", settings).inputs(None)["prompts"]
    versions = {prompt.name: prompt.version for prompt in every("prompt")}
    assert len(read) == 11 and all(versions[name] == version for name, version in read.items())
    with pytest.raises(ChexReasonError, match="prompt=reasoning_z: there is no such choice"):
        choices("prompt", ["only_label", "reasoning_z"])
