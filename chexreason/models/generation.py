"""Batched generation: greedy by default, and no smaller memory is fatal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from chexreason.completion import Answer, parse
from chexreason.data.images import read_image
from chexreason.models.loading import image_token_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

    from chexreason.prompts import Prompt


@dataclass(frozen=True)
class Completion:
    """What the model wrote, how many tokens it took, and whether it stopped by itself."""

    text: str
    num_tokens: int
    finished: bool


@torch.inference_mode()
def generate(
    model: PreTrainedModel, processor: ProcessorMixin, instruction: str, images: Sequence[Image.Image], max_tokens: int
) -> list[Completion]:
    """Greedy completions of one instruction for a batch of images. The processor must pad on the left."""
    message = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": instruction}]}]
    text = processor.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    inputs = processor(
        images=[[image] for image in images],
        text=[text] * len(images),
        return_tensors="pt",
        padding=True,
        add_special_tokens=False,  # the chat template has written them
    ).to(model.device)
    if "pixel_values" in inputs:
        inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
    written = model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False, suppress_tokens=[image_token_id(model)])[
        :, inputs["input_ids"].shape[1] :
    ]
    stops = model.generation_config.eos_token_id
    stop_ids = torch.tensor(stops if isinstance(stops, list) else [stops], device=written.device)
    return [_completion(row, stop_ids, processor) for row in written]


def _completion(row: torch.Tensor, stop_ids: torch.Tensor, processor: Any) -> Completion:
    stopped = torch.isin(row, stop_ids).nonzero()
    length = int(stopped[0, 0]) if len(stopped) else len(row)
    text = processor.tokenizer.decode(row[:length], skip_special_tokens=True)
    return Completion(text=text, num_tokens=length, finished=bool(len(stopped)))


def answers(
    model: PreTrainedModel, processor: ProcessorMixin, prompt: Prompt, files: Sequence[Path], max_tokens: int, batch_size: int
) -> Iterator[Answer]:
    """What the parser reads from the model's greedy completion for each image file, in their order."""
    for batch in halving_batches(len(files), batch_size):
        images = [read_image(files[index]) for index in batch.indices]
        try:
            written = generate(model, processor, prompt.instruction, images, max_tokens)
        except torch.OutOfMemoryError:
            batch.too_large = True
            continue
        yield from (parse(completion.text, prompt.grammar, completion.finished) for completion in written)


def halving_batches(count: int, batch_size: int) -> Iterator[_Batch]:
    """Batches over range(count); one that runs out of memory is tried again at half the size."""
    start = 0
    while start < count:
        batch = _Batch(range(start, min(start + batch_size, count)))
        yield batch
        if batch.too_large:
            if batch_size == 1:
                raise torch.OutOfMemoryError("one image at a time does not fit into memory")
            batch_size = max(1, batch_size // 2)
            torch.cuda.empty_cache()
        else:
            start = batch.indices.stop


@dataclass
class _Batch:
    indices: range
    too_large: bool = False
