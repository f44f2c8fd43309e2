"""What vLLM is asked for; whether it answers as transformers does, real vLLM says in tests_real."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chexreason.errors import ChexReasonError
from chexreason.models.encoding import chat, encode
from chexreason.models.generation import Completion, Sampling, seed_of
from chexreason.models.processors import load_processor
from chexreason.models.vllm_engine import Rollouts, VllmGenerator, VllmModel
from chexreason.runs.groups import Model


def likely(ids: list[int]) -> list[dict[int, Any]]:
    return [{token: types.SimpleNamespace(logprob=-1.0)} for token in ids]


class Recorder:
    """An engine that writes two tokens and a stop, or is cut off, and remembers what it was asked.

    `read`: the prompts that it makes of what it is asked.
    """

    def __init__(self, read: list[list[int]]):
        self.read = read

    def generate(self, asked: list[Any], how: list[Any], lora_request: Any, use_tqdm: bool) -> list[Any]:
        self.asked, self.how, self.lora = asked, how, lora_request
        ends = [([5, 6, 1], "stop"), ([5, 6, 7], "length")]
        written = [
            types.SimpleNamespace(token_ids=ids, finish_reason=end, logprobs=likely(ids)) for ids, end in ends[: len(asked)]
        ]
        return [types.SimpleNamespace(outputs=[one], prompt_token_ids=ids) for one, ids in zip(written, self.read, strict=True)]


def recorded(
    checkpoint: Model, monkeypatch: pytest.MonkeyPatch, films: list[Image.Image], seeds_requests: bool = True
) -> tuple[Recorder, VllmModel]:
    package = types.ModuleType("vllm")
    package.SamplingParams = dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", package)
    processor = load_processor(checkpoint)
    text = chat(processor, "List.")
    llm = Recorder([encode(processor, [text], [film.convert("RGB")])["input_ids"][0].tolist() for film in films])
    return llm, VllmModel(llm, processor, text, [2, 3], [1], image_token=9, max_tokens=7, seeds_requests=seeds_requests)


def test_another_prompt_than_our_processors_is_refused_whoever_asks(
    checkpoint: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    film = Image.new("L", (30, 40))
    llm, engine = recorded(checkpoint, monkeypatch, [film])
    (own,) = llm.read
    rollouts = Rollouts(engine, Sampling(0.8), tmp_path, update=0, request="sent beside")
    VllmGenerator(engine, Sampling())([film])
    rollouts(None, 0, [own], [film])  # type: ignore[arg-type]
    with pytest.raises(ChexReasonError, match="vLLM read a prompt of .* our processor writes one of 3"):
        rollouts(None, 0, [[1, 2, 3]], [film])  # type: ignore[arg-type]
    llm.read = [[7, *own]]  # a <bos> too many
    with pytest.raises(ChexReasonError, match=f"vLLM read a prompt of {len(own) + 1} tokens .* writes one of {len(own)}"):
        VllmGenerator(engine, Sampling())([film])


@pytest.mark.parametrize("seeds_requests", [True, False])
def test_vllm_is_asked_what_transformers_would_be(
    checkpoint: Model, monkeypatch: pytest.MonkeyPatch, seeds_requests: bool
) -> None:
    films = [Image.new("L", (8, 9)), Image.new("L", (9, 9))]
    llm, engine = recorded(checkpoint, monkeypatch, films, seeds_requests)
    processor = engine.processor
    sampling = Sampling(0.8, 0.95, seed=3)
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
