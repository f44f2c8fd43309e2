"""Image features of a frozen vision tower: computed without gradients, and once per image.

The tower never changes while a model trains, so its work is the same in every epoch, rollout and scoring pass, and in every run
of the same base model. The store keeps each image's projected features, in memory and beside the runs, and hands them to the
model by its own door, `mm_encoder_outputs`.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any

import torch
import transformers
from PIL import Image
from safetensors.torch import load, save
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, ProcessorMixin

from chexreason.data.cache import Entries
from chexreason.models.encoding import check_inputs, check_starts, encode, token_types

LANGUAGE_MODEL = "language_model"  # name, in all families, of the part of the model that is not frozen
GRID = "image_grid_thw"
LIMIT_BYTES = 4 * 2**30  # 3,000 images at MedGemma's size
TRIED = 16  # images whose features are read from disk before reading is compared with computing


def without_gradients(model: PreTrainedModel) -> PreTrainedModel:
    """`model`, whose image features are computed without gradients: its vision tower and projector are frozen.

    Gradient checkpointing makes transformers ask for gradients of every embedding's output, the tower's patch embeddings
    among them (`enable_input_require_grads`): backward would then run through the whole tower, for nothing.
    """
    body, frozen = model.base_model, list(_frozen_parts(model).values())
    compute = body.get_image_features

    @wraps(compute)
    def features(*args: Any, **kwargs: Any) -> Any:
        training = [part.training for part in frozen]
        try:
            for part in frozen:
                part.eval()  # frozen parts need neither dropout nor gradient checkpointing
            with torch.no_grad():
                return compute(*args, **kwargs)
        finally:
            for part, before in zip(frozen, training, strict=True):
                part.train(before)

    body.get_image_features = features
    return model


def _frozen_parts(model: PreTrainedModel) -> dict[str, torch.nn.Module]:
    """The vision tower and projector, by their names."""
    return {name: part for name, part in model.base_model.named_children() if name != LANGUAGE_MODEL}


@dataclass(frozen=True)
class ImageFeatures:
    """An image as the language model takes it: `features` (tokens, width), and its `grid` of patches, (1, 3), where the
    family's positions follow it (the Qwens); None where every image has the same. `deeper`: what its first layers add to
    their states, each (tokens, width) (Qwen3-VL's DeepStack)."""

    features: torch.Tensor
    grid: torch.Tensor | None
    deeper: tuple[torch.Tensor, ...] = ()

    @property
    def nbytes(self) -> int:
        return sum(one.nbytes for one in (self.features, *self.deeper))

    @property
    def shape(self) -> tuple[int, ...]:
        """The properties of an image that determine the length of its prompt."""
        return (len(self.features), *(self.grid.flatten().tolist() if self.grid is not None else ()))


@dataclass(frozen=True)
class Encoded:
    """The form that `mm_encoder_outputs` expects. It is no mapping, so that trainers pass it on unchanged."""

    pooler_output: Any
    deepstack_features: Any = None


def image_inputs(films: Sequence[ImageFeatures]) -> dict[str, Any]:
    """Films, in the order of a batch's prompts, as keyword arguments of the model in the place of pixels."""
    features = [film.features for film in films]
    if films[0].grid is None:
        return {"mm_encoder_outputs": {"image": Encoded(torch.stack(features))}}
    grids = torch.cat([film.grid for film in films if film.grid is not None])
    deeper = [list(layer) for layer in zip(*(film.deeper for film in films), strict=True)]
    return {"mm_encoder_outputs": {"image": Encoded(tuple(features), deeper)}, GRID: grids}


class FeatureStore:
    """Films of one model, by the content of their pixels; those used least recently are dropped beyond `limit_bytes`.

    In memory (the model's device) they live as long as the model does: weights and processor cannot change under them.
    `entries`: where they are kept between runs, by all that they depend on; each image is computed by itself, so that its
    features are the same to the bit whichever run asked first. No longer used once reading proves slower than computing.
    """

    def __init__(self, model: Any, processor: ProcessorMixin, entries: Entries | None = None, limit_bytes: int = LIMIT_BYTES):
        self.model = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.processor, self.entries, self.limit_bytes = processor, entries, limit_bytes
        self.bytes = 0
        self._films: OrderedDict[str, ImageFeatures] = OrderedDict()
        self._tokens: dict[tuple[str, tuple[int, ...]], tuple[torch.Tensor, torch.Tensor]] = {}
        self._read, self._spared = list[float](), 0.0  # seconds

    def films(self, images: Sequence[Image.Image]) -> list[ImageFeatures]:
        """The features of `images`; the tower computes those that are neither in memory nor on disk."""
        found = []
        for image in images:
            key = _digest(image)
            film = self._films.get(key) or self._load(key) or self._store(key, image)
            self._keep(key, film)
            found.append(film)
        return found

    def encode(
        self, texts: Sequence[str], images: Sequence[Image.Image]
    ) -> tuple[dict[str, torch.Tensor], list[ImageFeatures]]:
        """Prompts as `encode` gives them, without pixels, and their films.

        Raises:
            ChexReasonError: as `encode` does.
        """
        films = self.films(images)
        rows = [self._tokenised(*prompt) for prompt in zip(texts, films, images, strict=True)]
        tokenizer = self.processor.tokenizer

        def padded(values: list[torch.Tensor], filler: int = 0) -> torch.Tensor:
            return pad_sequence(values, batch_first=True, padding_value=filler, padding_side=tokenizer.padding_side)

        name = "token_type_ids" if films[0].grid is None else "mm_token_type_ids"
        inputs = {
            "input_ids": padded([ids for ids, _ in rows], tokenizer.pad_token_id),
            "attention_mask": padded([torch.ones_like(ids) for ids, _ in rows]),
            name: padded([kinds for _, kinds in rows]),
        }
        check_inputs(self.processor, inputs)
        check_starts(self.processor, inputs, texts)
        return inputs, films

    def _tokenised(self, text: str, film: ImageFeatures, image: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and token types of a prompt: the processor is asked once for each text and shape of image."""
        key = (text, film.shape)
        if key not in self._tokens:
            inputs = encode(self.processor, [text], [image])
            self._tokens[key] = (inputs["input_ids"][0], inputs[token_types(inputs)][0])
        return self._tokens[key]

    def _load(self, key: str) -> ImageFeatures | None:
        if self.entries is None:
            return None
        began = time.perf_counter()
        body = self.entries.load(self._kind, f"{key}.safetensors")
        if body is None:
            return None
        kept = {name: values.to(self.model.device) for name, values in load(body).items()}
        spared = float(kept.pop("seconds"))
        film = ImageFeatures(kept.pop("features"), kept.pop("grid", None), tuple(kept[name] for name in sorted(kept)))
        self._weigh(time.perf_counter() - began, spared)
        return film

    def _weigh(self, seconds: float, spared: float) -> None:
        """Compare the time for reading the first films with the time for computing them."""
        self._read.append(seconds)
        self._spared += spared
        if self.entries and len(self._read) == TRIED and sum(self._read) > self._spared:
            self.entries.tell("reading image features takes longer than computing them")
            self.entries = None

    def _store(self, key: str, image: Image.Image) -> ImageFeatures:
        began = time.perf_counter()
        film = self._compute(image)
        if self.entries is not None:
            kept = {f"deeper.{place:03}": layer for place, layer in enumerate(film.deeper)} | {"features": film.features}
            kept |= {} if film.grid is None else {"grid": film.grid}
            body = {name: values.cpu().contiguous() for name, values in kept.items()}
            body["seconds"] = torch.tensor(time.perf_counter() - began)
            self.entries.store(self._kind, f"{key}.safetensors", save(body))
        return film

    @cached_property
    def _kind(self) -> str:
        """Everything that features depend on besides the image: weights, processor, libraries and device."""
        weights = {
            f"{name}.{key}": values.detach().cpu().contiguous()
            for name, part in _frozen_parts(self.model).items()
            for key, values in part.state_dict().items()
        }
        if self.model.device.type == "cuda":
            computer = torch.cuda.get_device_name(self.model.device)
        else:
            computer = f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
        kind = hashlib.sha256(save(weights))
        for one in (self.processor.image_processor.to_json_string(), torch.__version__, transformers.__version__, computer):
            kind.update(one.encode())
        return kind.hexdigest()[:16]

    def _compute(self, image: Image.Image) -> ImageFeatures:
        text = self.processor.image_token  # it asks for one, which is not used here
        inputs = self.processor(images=[[image]], text=[text], return_tensors="pt")
        pixels = inputs["pixel_values"].to(self.model.device, self.model.dtype)
        grid = inputs[GRID].to(self.model.device) if GRID in inputs else None
        seen = (pixels,) if grid is None else (pixels, grid)
        made = self.model.base_model.get_image_features(*seen, return_dict=True)
        layers = getattr(made, "deepstack_features", None) or ()
        return ImageFeatures(made.pooler_output[0].detach().clone(), grid, tuple(layer[0].detach().clone() for layer in layers))

    def _keep(self, key: str, film: ImageFeatures) -> None:
        if key not in self._films:
            self.bytes += film.nbytes
        self._films[key] = film
        self._films.move_to_end(key)
        while self.bytes > self.limit_bytes and len(self._films) > 1:
            _, dropped = self._films.popitem(last=False)
            self.bytes -= dropped.nbytes


def _digest(image: Image.Image) -> str:
    content = hashlib.blake2b(image.tobytes(), digest_size=32)
    content.update(f"{image.mode} {image.size}".encode())
    return content.hexdigest()
