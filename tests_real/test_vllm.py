"""Real vLLM, on the CPU: it writes what transformers writes, with and without an adapter, and serves rollouts unmerged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from chexreason.errors import ChexReasonError
from chexreason.models.generation import Generator, Sampling
from chexreason.models.loading import frozen_digest, load_adapter, load_model
from chexreason.models.processors import load_processor
from chexreason.models.vllm_engine import Rollouts, VllmGenerator, VllmModel, load, load_engine, lora_request
from tests_real.conftest import PROMPT, Trained, require_vllm

require_vllm()

GREEDY = Sampling()
AGREEMENT = 0.95


@pytest.fixture(scope="module")
def engine(trained: Trained) -> VllmModel:
    return load_engine(trained.model, PROMPT, trained.max_tokens, rank=16, memory=0.5)


def by_transformers(trained: Trained, adapted: bool, films: list[Image.Image]) -> list[str]:
    model = load_model(trained.model).eval()
    if adapted:
        model = load_adapter(model, trained.adapter)
    generator = Generator(model, load_processor(trained.model, "left"), PROMPT, trained.max_tokens)
    return [one.text for start in range(0, len(films), 8) for one in generator(films[start : start + 8])]


def test_greedy_answers_agree_with_and_without_the_adapter(
    trained: Trained, engine: VllmModel, films: list[Image.Image]
) -> None:
    found = {}
    for adapted in (False, True):
        request = lora_request(1, trained.adapter) if adapted else None
        found[adapted] = [one.text for one in VllmGenerator(engine, GREEDY, request)(films)]
        expected = by_transformers(trained, adapted, films)
        same = sum(a == b for a, b in zip(found[adapted], expected, strict=True)) / len(films)
        print(f"\n{trained.model.family}, adapter {adapted}: {same:.1%} of greedy completions agree")
        assert same >= AGREEMENT
    assert found[False] != found[True], "or the adapter would not matter"


def test_the_prompt_is_the_one_that_transformers_reads(trained: Trained, engine: VllmModel, films: list[Image.Image]) -> None:
    processor = load_processor(trained.model)
    (one,) = engine(films[3:4], GREEDY, 0)
    assert list(one.prompt_token_ids) == prompt_ids(processor, films[3])


def test_rollouts_follow_the_adapter_and_leave_the_base_alone(
    trained: Trained, engine: VllmModel, films: list[Image.Image], tmp_path: Path
) -> None:
    policy = load_adapter(load_model(trained.model), trained.adapter, trainable=True)
    processor, frozen = load_processor(trained.model), frozen_digest(policy)
    rollouts = Rollouts(engine, Sampling(temperature=0.8, top_p=1.0, seed=3), tmp_path / "adapter")
    prompts = [prompt_ids(processor, film) for film in films[:8]]
    ids, drawn = rollouts(policy, 0, prompts, films[:8])
    own, others = ([log_probabilities(policy, processor, films[n + shift], ids[n]) for n in range(8)] for shift in (0, 1))
    assert furthest(own, drawn) < 1e-3, "the policy gives the drawn tokens the probabilities that vLLM drew them with"
    assert furthest(others, drawn) > 1e-2, "or the films would not matter"
    base = [one.text for one in VllmGenerator(engine, GREEDY)(films[:8])]
    with torch.no_grad():
        for name, weight in policy.named_parameters():
            if "lora_B" in name:
                weight.mul_(-3.0)
    _, moved = rollouts(policy, 1, prompts, films[:8])
    assert moved != drawn and rollouts.request.lora_int_id == 2
    assert [one.text for one in VllmGenerator(engine, GREEDY)(films[:8])] == base, "the base answers as before"
    assert frozen_digest(policy) == frozen


def furthest(one: list[list[float]], other: list[list[float]]) -> float:
    return max(abs(a - b) for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=True))


def prompt_ids(processor: Any, film: Image.Image) -> list[int]:
    return _inputs(processor, film)["input_ids"][0].tolist()


def log_probabilities(policy: torch.nn.Module, processor: Any, film: Image.Image, ids: list[int]) -> list[float]:
    inputs = _inputs(processor, film)
    prompt = inputs["input_ids"].shape[1]
    written = torch.tensor([ids])
    for name in ("token_type_ids", "mm_token_type_ids"):
        if name in inputs:
            inputs[name] = torch.cat([inputs[name], torch.zeros_like(written)], dim=1)
    inputs["attention_mask"] = torch.ones(1, prompt + len(ids), dtype=torch.long)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], written], dim=1)
    with torch.no_grad():
        logits = policy.eval()(**inputs).logits[0, prompt - 1 : -1]
    # What vLLM draws from: the image placeholder never, and the temperature on the rest.
    logits[:, policy.config.image_token_id] -= 100.0
    return torch.log_softmax(logits / 0.8, -1).gather(-1, written[0, :, None])[:, 0].tolist()


def _inputs(processor: Any, film: Image.Image) -> dict[str, torch.Tensor]:
    from chexreason.prompts import messages

    text = processor.apply_chat_template(messages(PROMPT.instruction), tokenize=False, add_generation_prompt=True)
    return dict(processor(images=[[film]], text=[text], return_tensors="pt", add_special_tokens=False))


def test_on_a_cpu_it_refuses_a_model_that_it_would_misread(trained: Trained) -> None:
    if trained.model.family != "gemma3":
        pytest.skip("vLLM reads this family on a CPU as it is")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU, where vLLM reads Gemma 3 as it is")
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AttentionBackendEnum, "get_path", lambda backend: backend.value)  # its own, that is
        with pytest.raises(ChexReasonError, match="engine=transformers"):
            load(trained.model, PROMPT, None, 8, memory=0.5)
