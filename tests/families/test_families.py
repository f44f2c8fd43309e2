"""Families: published sizes with as many parameters as the models that they stand for, and all about each in its own file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from PIL import Image

import chexreason
from chexreason.errors import ChexReasonError
from chexreason.families import FAMILIES, family
from chexreason.models.loading import add_lora
from chexreason.phantom.standins import architecture, build
from chexreason.prompts import messages

TEXTS = ["Look at this chest radiograph and list its findings."] * 20


# Of google/medgemma-4b-it (Gemma 3 4B) and Qwen/Qwen2.5-VL-3B-Instruct, as the hub counts them; and LoRA at rank 16
# by hand: 16 x (inputs + outputs) of each of the seven projections, in every layer.
@pytest.mark.parametrize(
    ("name", "parameters", "adapter"),
    [
        ("gemma3", 4_300_079_472, 34 * 16 * (2 * (2560 + 2048) + 2 * (2560 + 1024) + 3 * (2560 + 10240))),
        ("qwen2_5_vl", 3_754_622_976, 36 * 16 * (2 * (2048 + 2048) + 2 * (2048 + 256) + 3 * (2048 + 11008))),
    ],
)
def test_a_published_architecture_is_as_large_as_its_model(name: str, parameters: int, adapter: int) -> None:
    with torch.device("meta"):  # shapes, and no memory
        model, _ = build(name, TEXTS, 400, "published", "bfloat16")
        assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
        assert sum(weight.numel() for weight in model.parameters()) == parameters
        trained = add_lora(model, seed=0, rank=16, alpha=32, dropout=0.1)
    assert sum(weight.numel() for weight in trained.parameters() if weight.requires_grad) == adapter


@pytest.mark.parametrize("name", ["gemma3", "qwen2_5_vl"])
def test_its_processor_makes_256_visual_tokens_of_a_film(name: str) -> None:
    with torch.device("meta"):
        model, processor = build(name, TEXTS, 400, "published")
    turn = messages("List the findings.")
    text = processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    inputs = processor(images=[[Image.new("RGB", (2544, 2544))]], text=[text], return_tensors="pt", add_special_tokens=False)
    assert int((inputs["input_ids"] == model.config.image_token_id).sum()) == 256


def test_there_are_two_sizes() -> None:
    with pytest.raises(ChexReasonError, match="Valid: small, published"):
        architecture("gemma3", "large")
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("name", FAMILIES)
def test_all_that_is_said_of_a_family_stands_in_its_own_file(name: str) -> None:
    """A further family is one file more, and a model of it one YAML file."""
    assert family(name).architectures["small"] and name in family.__module__ + family(name).stand_in.__module__
    package = Path(chexreason.__file__).parent
    for file in package.rglob("*.py"):
        if file.parent.name != "families":
            assert not re.search(rf"\b{name}\b", file.read_text()), f"{file} asks for {name}"
