"""Small stand-ins that have learnt to answer, and films to ask them about.

These tests need an environment of their own (tests_real/environment.sh) and run only when asked for: `make test-real`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

# vLLM reads these when it is imported: one process, a gigabyte for keys and values.
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

import torch
from PIL import Image

from chexreason.families import FAMILIES, family
from chexreason.labels import FINDINGS
from chexreason.models.loading import add_lora, load_model, save_adapter
from chexreason.models.processors import load_processor
from chexreason.phantom.drawing import draw
from chexreason.phantom.standins import build, save
from chexreason.phantom.styles import MIMIC
from chexreason.prompts import Prompt, messages, write_answer
from chexreason.runs.config import choices, every
from chexreason.runs.groups import Model
from tests.chats import answered

FILMS = 24
PROMPT = next(prompt for prompt in every("prompt") if prompt.name == "reasoning_a")
KINDS = 4  # of film, told apart by how bright they are: what a few dozen steps can teach
LABELS = [[FINDINGS[1 + 3 * (number % KINDS) + step] for step in range(1 + number % 3)] for number in range(FILMS)]


CPU = Path("/proc/cpuinfo")


def require_vllm() -> Any:
    """vLLM. A file that calls this is skipped, and it is said why, where vLLM is not there or cannot run."""
    if find_spec("vllm") is None:
        pytest.skip("no vLLM here: tests_real/environment.sh makes an environment that has it", allow_module_level=True)
    if not torch.cuda.is_available() and "avx512" not in (CPU.read_text() if CPU.is_file() else ""):
        pytest.skip("vLLM on a CPU needs AVX-512, which this one lacks", allow_module_level=True)
    return import_module("vllm")


@dataclass(frozen=True)
class Trained:
    """A stand-in's folder, an adapter for it, and how long its answers may be."""

    model: Model
    adapter: Path
    max_tokens: int = 48


@pytest.fixture(scope="session")
def films() -> list[Image.Image]:
    bright = [draw(labels, MIMIC, seed).image * ((1 + seed % KINDS) / KINDS) for seed, labels in enumerate(LABELS)]
    drawn = [Image.fromarray(pixels.astype("uint8")) for pixels in bright]
    return [film.resize((250 + 3 * number, 300)) for number, film in enumerate(drawn)]


@pytest.fixture(scope="session", params=FAMILIES)
def trained(
    request: pytest.FixtureRequest, films: list[Image.Image], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trained]:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    answers = [write_answer(PROMPT.grammar, f"The image shows {', '.join(labels)}.", labels) for labels in LABELS]
    built, processor = build(request.param, [PROMPT.instruction, *answers] * 20, vocabulary=1500)
    learn(built, processor, PROMPT, films, answers, list(built.parameters()), 80)
    save(built, processor, folder / "model")
    own = choices("model", ["phantom_gemma" if request.param == "gemma3" else "phantom_qwen"])[0]
    model = replace(own, family=request.param, weights=str(folder / "model"), made_by=None)
    adapted = add_lora(load_model(model), seed=0, rank=16, alpha=32, dropout=0.0)
    weights = [weight for weight in adapted.parameters() if weight.requires_grad]
    learn(adapted, load_processor(model), PROMPT, films, [*answers[5:], *answers[:5]], weights, 30)
    save_adapter(adapted, folder / "adapter", model)
    with attention_for(request.param):
        yield Trained(model, folder / "adapter")


def attention_for(name: str) -> AbstractContextManager[None]:
    """What vLLM lacks on a CPU for a family, if anything."""
    if not family(name).images_at_once or torch.cuda.is_available() or find_spec("vllm") is None:
        return nullcontext()
    from tests_real.image_attention import in_place_of_the_cpu_backend

    return in_place_of_the_cpu_backend()


def learn(
    model: Any, processor: Any, prompt: Prompt, films: list[Image.Image], answers: list[str], weights: list[Any], steps: int
) -> None:
    """Some steps on the answers, eight films each: enough to write the grammar, and to differ from film to film."""
    asked = processor.apply_chat_template(messages(prompt.instruction), tokenize=False, add_generation_prompt=True)
    texts = [processor.apply_chat_template(answered(prompt.instruction, answer), tokenize=False) for answer in answers]
    optimizer = torch.optim.AdamW(weights, lr=2e-3)
    processor.tokenizer.padding_side = "right"
    how = {"return_tensors": "pt", "padding": True, "add_special_tokens": False}
    model.train()
    for step in range(steps):
        chosen = [(8 * step + place) % len(texts) for place in range(8)]
        images = [[films[index]] for index in chosen]
        inputs = processor(images=images, text=[texts[index] for index in chosen], **how)
        labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
        lengths = processor(images=images, text=[asked] * 8, **how)["attention_mask"].sum(1)
        labels[torch.arange(labels.shape[1]) < lengths[:, None]] = -100  # it learns to answer, not to ask
        model(**inputs, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
