"""What vLLM is asked for; whether it answers as transformers does, real vLLM says in tests_real."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from PIL import Image

from chexreason.models.generation import Completion, Sampling, seed_of
from chexreason.models.processors import load_processor
from chexreason.models.vllm_engine import VllmGenerator, VllmModel
from chexreason.runs.groups import Model


class Recorder:
    """An engine that writes two tokens and a stop, or is cut off, and remembers what it was asked."""

    def generate(self, asked: list[Any], how: list[Any], lora_request: Any, use_tqdm: bool) -> list[Any]:
        self.asked, self.how, self.lora = asked, how, lora_request
        ends = [([5, 6, 1], "stop"), ([5, 6, 7], "length")]
        written = [types.SimpleNamespace(token_ids=ids, finish_reason=end) for ids, end in ends[: len(asked)]]
        return [types.SimpleNamespace(outputs=[one]) for one in written]


@pytest.mark.parametrize("seeds_requests", [True, False])
def test_vllm_is_asked_what_transformers_would_be(
    checkpoint: Model, monkeypatch: pytest.MonkeyPatch, seeds_requests: bool
) -> None:
    package = types.ModuleType("vllm")
    package.SamplingParams = dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", package)
    llm, processor = Recorder(), load_processor(checkpoint)
    engine = VllmModel(llm, processor, [2, 3], stops=[1], image_token=9, max_tokens=7, seeds_requests=seeds_requests)
    sampling = Sampling(0.8, 0.95, seed=3)
    films = [Image.new("L", (8, 9)), Image.new("L", (9, 9))]
    written = VllmGenerator(engine, sampling, adapter="sent beside")(films, 10)

    words = processor.tokenizer.decode([5, 6], skip_special_tokens=True)
    assert written[0] == Completion(words, 2, True), "the stop is no part of the answer, nor of its length"
    assert written[1].num_tokens == 3 and not written[1].finished
    assert llm.lora == "sent beside" and [one["prompt_token_ids"] for one in llm.asked] == [[2, 3]] * 2
    assert all(one["multi_modal_data"]["image"].mode == "RGB" for one in llm.asked)
    drawn = [seed_of(sampling, 10), seed_of(sampling, 11)] if seeds_requests else [None, None]
    assert [one["seed"] for one in llm.how] == drawn
    assert all(one.items() >= {"max_tokens": 7, "temperature": 0.8, "top_p": 0.95}.items() for one in llm.how)
    assert all(one["logit_bias"] == {9: -100.0} and one["stop_token_ids"] == [1] for one in llm.how)
