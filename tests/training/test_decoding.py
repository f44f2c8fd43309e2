"""Rows that have ended leave the batch, and those that go on write what they would have written."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
from transformers import LogitsProcessor

from chexreason.models import shared_prompt
from chexreason.models.decoding import decode
from chexreason.models.encoding import chat, encode
from chexreason.models.features import FeatureStore, image_inputs
from chexreason.models.generation import Generator, Sampling
from chexreason.models.loading import load_model, stop_ids
from chexreason.models.processors import load_processor
from chexreason.prompts import Prompt, messages
from tests.training.conftest import INSTRUCTION, film

LENGTHS = (9, 3, 12, 1, 6, 12)  # the last: of as many tokens as may be written
LIMIT = max(LENGTHS)


@dataclass
class Told(LogitsProcessor):
    """Ends each row at a length of its own, jogs every other choice, and keeps the scores that the model gave.

    A row is known by its padding, so that the same is done to it in whatever batch it stands.
    """

    ids: torch.Tensor
    pad: int
    stop: int
    kept: dict[tuple[int, int], torch.Tensor] = field(default_factory=dict)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        length = self.ids.shape[1]
        paddings = (self.ids == self.pad).sum(dim=1).tolist()
        step = input_ids.shape[1] - length + 1
        for ids, given in zip(input_ids, scores, strict=True):
            row = paddings.index(int((ids[:length] == self.pad).sum()))
            self.kept[row, step] = given.clone()
            given += 5 * torch.randn(given.shape, generator=torch.Generator().manual_seed(1000 * row + step))
            given[self.stop] = torch.inf if step == LENGTHS[row] < LIMIT else -torch.inf
        return scores


def asked(weights: Any) -> tuple[Any, Any, dict[str, Any]]:
    """A model, its processor, and a prompt of another length about another film for each of LENGTHS."""
    model, processor = load_model(weights).eval(), load_processor(weights, padding_side="left")
    turns = [messages(INSTRUCTION + " Be brief." * number) for number in range(len(LENGTHS))]
    texts = [processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True) for turn in turns]
    return model, processor, dict(encode(processor, texts, [film(number) for number in range(len(LENGTHS))]))


def rows_seen(model: Any) -> list[int]:
    """How many rows `model` computes in each of its passes from now on."""
    seen: list[int] = []
    model.base_model.register_forward_pre_hook(lambda _, __, given: seen.append(len(given["input_ids"])), with_kwargs=True)
    return seen


def test_completions_and_scores_are_those_of_generate_and_ended_rows_cost_nothing(awkward: Any) -> None:
    model, processor, inputs = asked(awkward)
    stop = stop_ids(model.generation_config)[0]
    seen = rows_seen(model)
    found = []
    for how in ({}, {"custom_generate": decode}):
        told = Told(inputs["input_ids"], processor.tokenizer.pad_token_id, stop)
        seen.clear()
        ids = model.generate(**inputs, **how, do_sample=False, max_new_tokens=LIMIT, logits_processor=[told])
        found.append((ids, told.kept))
    assert sum(seen) == sum(LENGTHS)
    assert torch.equal(found[0][0], found[1][0])
    for place, scores in found[1][1].items():
        assert (scores - found[0][1][place]).abs().max() < 1e-5, place


@pytest.mark.parametrize("draw", [0, 1])
def test_what_is_drawn_is_what_generate_draws_as_long_as_no_row_has_ended(awkward: Any, draw: int) -> None:
    model, _, inputs = asked(awkward)
    how = {"do_sample": True, "temperature": 1.0, "top_p": 0.9, "top_k": 0, "max_new_tokens": 8, "min_new_tokens": 8}
    both = []
    for custom in ({}, {"custom_generate": decode}):
        torch.manual_seed(draw)
        both.append(model.generate(**inputs, **how, **custom))
    assert torch.equal(both[0], both[1])


def test_answers_are_decoded_this_way(awkward: Any) -> None:
    model, processor, _ = asked(awkward)
    model.generation_config.eos_token_id = list(range(100, 150))  # a tenth of the vocabulary: rows end soon
    sampling = Sampling(temperature=1.0, seed=1)
    answer = Generator(model, processor, Prompt("test", "labels", "", "", INSTRUCTION), 40, sampling)
    seen = rows_seen(model)
    written = answer([film(number) for number in range(4)])
    assert len({one.num_tokens for one in written}) > 1
    assert sum(seen) == sum(one.num_tokens + one.finished for one in written)


def test_a_groups_completions_leave_as_they_end(awkward: Any) -> None:
    model, processor, _ = asked(awkward)
    studies = [study for study in range(len(LENGTHS)) for _ in range(2)]
    texts = [chat(processor, INSTRUCTION + " Be brief." * study) for study in studies]
    inputs, films = FeatureStore(model, processor).encode(texts, [film(study) for study in studies])
    stops = stop_ids(model.generation_config)

    def written(generate: Any, **how: Any) -> torch.Tensor:
        told = Told(inputs["input_ids"][::2], processor.tokenizer.pad_token_id, stops[0])
        return generate(**how, do_sample=False, max_new_tokens=LIMIT, logits_processor=[told])

    plain = written(model.generate, **inputs, **image_inputs(films))
    seen = rows_seen(model)
    firsts = [2 * study for study in studies]
    shared = partial(shared_prompt.generate, model.generate, model, inputs, films, firsts)
    assert torch.equal(plain, written(shared, custom_generate=decode))
    assert sum(seen) == len(LENGTHS) + 2 * sum(LENGTHS), "each prompt once, then each token once"
