"""Batched generation: greedy by default, or sampled; if memory runs out, the batch is split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

from chexreason.data.cache import Entries
from chexreason.models.decoding import decode
from chexreason.models.encoding import chat, encode
from chexreason.models.features import FeatureStore, image_inputs
from chexreason.models.kv_cache import growing_cache
from chexreason.models.loading import load_adapter, load_model, require_adapter, stop_ids
from chexreason.models.processors import load_processor
from chexreason.prompts import Prompt
from chexreason.runs.groups import Engine, Model


@dataclass(frozen=True)
class Completion:
    """What the model wrote, how many tokens it took, and whether it stopped by itself."""

    text: str
    num_tokens: int
    finished: bool


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen: greedily at temperature 0, else drawn from the likeliest `top_p` of the distribution."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Generator:
    """A model that answers one prompt. Its processor must pad on the left; image placeholders are never written.

    `features`: keeps what the vision tower makes of images that are asked about again.
    """

    model: PreTrainedModel
    processor: ProcessorMixin
    prompt: Prompt
    max_tokens: int
    sampling: Sampling = Sampling()
    features: FeatureStore | None = None

    def __call__(self, images: Sequence[Image.Image], draw: int = 0) -> list[Completion]:
        """A completion for each image; where they are sampled, the same `draw` gives the same ones."""
        inputs = self._inputs([chat(self.processor, self.prompt.instruction)] * len(images), images)
        cache = growing_cache(self.model.config)
        how: dict[str, Any] = {"do_sample": False, "custom_generate": decode, "past_key_values": cache}
        if self.sampling.temperature > 0:
            torch.manual_seed(seed_of(self.sampling, draw))
            how |= {"do_sample": True, "temperature": self.sampling.temperature, "top_p": self.sampling.top_p, "top_k": 0}
        placeholder = self.model.config.image_token_id  # it would refer to an image that does not exist
        with torch.inference_mode():
            written = self.model.generate(**inputs, **how, max_new_tokens=self.max_tokens, suppress_tokens=[placeholder])
        stops = torch.tensor(stop_ids(self.model.generation_config), device=written.device)
        return [_completion(row, stops, self.processor) for row in written[:, inputs["input_ids"].shape[1] :]]

    def _inputs(self, texts: list[str], images: Sequence[Image.Image]) -> dict[str, Any]:
        if self.features is not None:
            inputs, films = self.features.encode(texts, images)
            return {name: values.to(self.model.device) for name, values in inputs.items()} | image_inputs(films)
        plain = encode(self.processor, texts, images).to(self.model.device)
        return dict(plain) | {"pixel_values": plain["pixel_values"].to(self.model.dtype)}


def seed_of(sampling: Sampling, draw: int) -> int:
    """The random state of one draw."""
    return sampling.seed * 1_000_003 + draw


def load_generator(
    engine: Engine, model: Model, prompt: Prompt, adapter: str | None, max_tokens: int, entries: Entries | None = None
) -> Callable[[Sampling], Callable[[Sequence[Image.Image], int], list[Completion]]]:
    """The model, loaded once, as what answers images after it is told how to sample.

    `adapter`: the folder of a trained checkpoint's adapter; None: the model as it comes. `entries`: where image features are
    kept for other runs.
    """
    folder = require_adapter(Path(adapter)) if adapter else None
    if engine.name == "vllm":
        from chexreason.models.vllm_engine import load

        return load(model, prompt, folder, max_tokens, engine.memory)
    loaded = load_model(model).eval()
    if folder:
        loaded = load_adapter(loaded, folder)
        if loaded.dtype == torch.float32:  # saves a fifth; in bfloat16, rounding would lose part of the adapter
            loaded.merge_adapter()
    processor = load_processor(model, padding_side="left")
    features = FeatureStore(loaded, processor, entries)
    return lambda sampling: Generator(loaded, processor, prompt, max_tokens, sampling, features)


def completions(
    generator: Callable[[Sequence[Image.Image], int], list[Completion]],
    files: Sequence[Path],
    read: Callable[[Path], Image.Image],
    batch_size: int,
    first_draw: int = 0,
) -> Iterator[Completion]:
    """What the model writes about each image file, in the files' order.

    A batch that runs out of memory is tried again at half the size. Each batch has a draw of its own, so that a run that goes
    on at the start of a batch samples what it would have sampled without the interruption.
    """
    start = 0
    while start < len(files):
        images = [read(file) for file in files[start : start + batch_size]]
        try:
            written = generator(images, first_draw + start)
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise
            batch_size //= 2
            torch.cuda.empty_cache()
            continue
        yield from written
        start += len(images)


def _completion(row: torch.Tensor, stops: torch.Tensor, processor: Any) -> Completion:
    stopped = torch.isin(row, stops).nonzero()
    length = int(stopped[0, 0]) if len(stopped) else len(row)
    text = processor.tokenizer.decode(row[:length], skip_special_tokens=True)
    return Completion(text=text, num_tokens=length, finished=bool(len(stopped)))
