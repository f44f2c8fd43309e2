"""Stand-ins with the peculiarities of the published models: a tokenizer that adds <bos> by itself, a template with its own
system prompt, and a generation_config that would change what is sampled."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from PIL import Image, ImageDraw
from trl import GRPOConfig

from chexreason.families import FAMILIES
from chexreason.models.features import FeatureStore
from chexreason.models.loading import add_lora, load_model
from chexreason.models.processors import load_processor
from chexreason.phantom.standins import build
from chexreason.training.rollouts import RolloutTrainer
from tests.conftest import Once
from tests.tiny import described

INSTRUCTION = "Look at this chest radiograph and list its findings."
TEXTS = [
    INSTRUCTION,
    "<think>The left base is dense.</think>\n<solution>Pleural Effusion</solution>",
    "system You are helpful.",
]
SYSTEM = "You are a helpful assistant."


@pytest.fixture(scope="session", params=FAMILIES)
def awkward(request: pytest.FixtureRequest, once: Once) -> Any:
    """Where an awkward stand-in lies, as `load_model` and `load_processor` take it."""
    folder = once(f"awkward-{request.param}", lambda folder: save_awkward(request.param, folder))
    return described(request.param, folder, attention="sdpa", visual_tokens=(16, 36))


def save_awkward(family: str, folder: Path) -> None:
    torch.manual_seed(0)
    model, processor = build(family, TEXTS * 20, vocabulary=500)
    if family == "gemma3":
        model.config.text_config.sliding_window = 16  # shorter than a prompt, as it can be than prompt and completion
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "mm_input_projection" in name:  # zero where it has not learnt: every film would look the same
                weight.normal_(0, 0.1)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def film(number: int) -> Image.Image:
    """A drawn film, no two of which are alike."""
    image = Image.new("RGB", (96, 96), (20 + 40 * number,) * 3)
    ImageDraw.Draw(image).ellipse((10 + 5 * number, 20, 60, 80), fill=(200, 200 - 30 * number, 90))
    return image


def watched(model: Any) -> list[int]:
    """How many films the vision tower of `model` sees in each of its passes from now on."""
    seen: list[int] = []
    body = (model.get_base_model() if hasattr(model, "get_base_model") else model).base_model
    compute = body.get_image_features

    @wraps(compute)
    def features(*args: Any, **kwargs: Any) -> Any:
        asked = [*args, *(kwargs[name] for name in ("pixel_values", "image_grid_thw") if name in kwargs)]
        seen.append(len(asked[-1]))
        return compute(*args, **kwargs)

    body.get_image_features = features
    return seen


def rows(count: int) -> Dataset:
    """Studies in TRL's prompt form; every second one is asked at greater length."""
    asked = [INSTRUCTION + " Be brief." * (number % 2) for number in range(count)]
    table = Dataset.from_list([{"number": number, "asked": words} for number, words in enumerate(asked)])
    return table.with_transform(
        lambda batch: {
            "prompt": [[{"role": "user", "content": words}] for words in batch["asked"]],
            "image": [film(number) for number in batch["number"]],
        }
    )


def by_length(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """A reward under which completions differ."""
    return [sum(ids) % 7 / 7 + len(set(ids)) / (1 + len(ids)) for ids in completion_ids]


@pytest.fixture
def grpo(awkward: Any, tmp_path: Path) -> Callable[..., RolloutTrainer]:
    """A trainer on an awkward stand-in (or `weights`), before it has trained: `options` are TRL's, `how` RolloutTrainer's;
    `shared`: features and prompts are computed once."""

    def make(
        how: dict[str, Any] | None = None, studies: int = 2, weights: Any = awkward, shared: bool = False, **options: Any
    ) -> RolloutTrainer:
        model = add_lora(load_model(weights), 0, rank=4, alpha=8, dropout=0.0)
        processor = load_processor(weights, padding_side="left")
        torch.manual_seed(1)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:  # an adapter that does something
                    weight.normal_(0, 0.05)
        chosen = {
            "output_dir": str(tmp_path),
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
            "num_generations": 4,
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": studies,
            "max_completion_length": 12,
            "num_iterations": 2,
            "beta": 0.15,
            "loss_type": "dr_grpo",
            "scale_rewards": "none",
            "temperature": 0.8,
            "top_p": 0.95,
            "top_k": 0,
            "gradient_checkpointing": False,
            "learning_rate": 1e-3,
        }
        return RolloutTrainer(
            model=model,
            reward_funcs=[by_length],
            args=GRPOConfig(**(chosen | options)),
            train_dataset=rows(studies),
            processing_class=processor,
            features=FeatureStore(model, processor) if shared else None,
            **(how or {}),
        )

    return make
