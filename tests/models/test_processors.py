"""Images and chats as each architecture wants them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from chexreason.models.loading import load_model
from chexreason.models.processors import load_processor, resized
from chexreason.runs.groups import Model

MESSAGE = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "List the findings."}]}]


def placeholders(model: Model, size: tuple[int, int]) -> int:
    processor = load_processor(model)
    text = processor.apply_chat_template(MESSAGE, tokenize=False, add_generation_prompt=True)
    inputs = processor(images=[[Image.new("RGB", size)]], text=[text], return_tensors="pt")
    return int((inputs["input_ids"] == load_model(model).config.image_token_id).sum())


def test_every_image_becomes_as_many_placeholders_as_features(checkpoint: Model) -> None:
    assert placeholders(checkpoint, (256, 256)) == 36


@pytest.mark.parametrize("size", [(100, 100), (2544, 3056), (3000, 1000)])
def test_visual_token_bounds_are_honoured(checkpoint: Model, size: tuple[int, int]) -> None:
    bounded = replace(checkpoint, min_visual_tokens=64, max_visual_tokens=128)
    count = placeholders(bounded, size)
    assert count == 36 if checkpoint.family == "gemma3" else 64 <= count <= 128


def test_an_image_at_its_size_is_the_image_that_the_processor_would_make(checkpoint: Model) -> None:
    """So that another engine has nothing left to resize, in whichever way it would."""
    processor = load_processor(replace(checkpoint, min_visual_tokens=16, max_visual_tokens=64))
    noise = np.random.default_rng(0).integers(0, 255, (301, 259, 3), np.uint8)
    for film in (Image.fromarray(noise), Image.fromarray(noise[..., 0])):
        plain, before = (processor.image_processor([image], return_tensors="pt") for image in (film, resized(processor, film)))
        assert torch.equal(plain["pixel_values"], before["pixel_values"])
