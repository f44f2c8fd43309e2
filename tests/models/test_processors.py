"""Images and chats as each architecture wants them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image

from chexreason.config import Model
from chexreason.models.generation import generate, halving_batches
from chexreason.models.loading import image_token_id, load_model
from chexreason.models.processors import load_processor

MESSAGE = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "List the findings."}]}]


def placeholders(model: Model, size: tuple[int, int]) -> int:
    processor = load_processor(model)
    text = processor.apply_chat_template(MESSAGE, tokenize=False, add_generation_prompt=True)
    inputs = processor(images=[[Image.new("RGB", size)]], text=[text], return_tensors="pt")
    return int((inputs["input_ids"] == image_token_id(load_model(model))).sum())


def test_every_image_becomes_as_many_placeholders_as_features(checkpoint: Model) -> None:
    assert placeholders(checkpoint, (256, 256)) == 36


@pytest.mark.parametrize("size", [(100, 100), (2544, 3056), (3000, 1000)])
def test_visual_token_bounds_are_honoured(checkpoint: Model, size: tuple[int, int]) -> None:
    bounded = replace(checkpoint, min_visual_tokens=64, max_visual_tokens=128)
    count = placeholders(bounded, size)
    assert count == 36 if checkpoint.family == "gemma3" else 64 <= count <= 128


def test_a_batch_is_answered_as_its_images_are_one_by_one(checkpoint: Model) -> None:
    model, processor = load_model(checkpoint).eval(), load_processor(checkpoint, padding_side="left")
    images = [Image.new("RGB", (256, 256), (shade,) * 3) for shade in (0, 90, 255)]
    together = generate(model, processor, "List the findings.", images, max_tokens=12)
    alone = [generate(model, processor, "List the findings.", [image], max_tokens=12)[0] for image in images]
    assert together == alone


def test_the_image_token_is_never_written(checkpoint: Model) -> None:
    model, processor = load_model(checkpoint).eval(), load_processor(checkpoint, padding_side="left")
    wanted = image_token_id(model)
    head = model.get_output_embeddings()
    bias = torch.zeros(head.out_features)
    bias[wanted] = 1e4
    head.bias = torch.nn.Parameter(bias)  # a policy that wants nothing but image tokens
    written = generate(model, processor, "List.", [Image.new("RGB", (64, 64))], max_tokens=6)[0]
    assert processor.tokenizer.convert_ids_to_tokens(wanted) not in written.text
    assert written.num_tokens > 0


def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_skipped() -> None:
    done: list[int] = []
    tried: list[int] = []
    for batch in halving_batches(10, 8):
        tried.append(len(batch.indices))
        if len(batch.indices) > 2:
            batch.too_large = True
            continue
        done.extend(batch.indices)
    assert done == list(range(10)) and tried[:3] == [8, 4, 2]


def test_one_image_that_does_not_fit_is_an_error_and_no_endless_loop() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        for batch in halving_batches(2, 2):
            batch.too_large = True
