"""What a frozen vision tower makes of images: computed without gradients, and once for each image.

The tower never changes while a model trains, so its work is the same in every epoch, rollout and scoring pass. The store keeps
each image's projected features and hands them to the model by its own door, `mm_encoder_outputs`.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence

from chexreason.models.encoding import check_inputs, check_starts, encode, token_types

if TYPE_CHECKING:
    from PIL import Image
    from transformers import PreTrainedModel, ProcessorMixin

LANGUAGE_MODEL = "language_model"  # what both families call the part of the model that is not frozen
GRID = "image_grid_thw"
LIMIT_BYTES = 4 * 2**30  # 3,000 images at MedGemma's size
TOGETHER = 8  # images that the tower sees at once


def without_gradients(model: PreTrainedModel) -> PreTrainedModel:
    """`model`, whose image features are computed without gradients: its vision tower and projector are frozen.

    Gradient checkpointing makes transformers ask for gradients of every embedding's output, the tower's patch embeddings
    among them (`enable_input_require_grads`): backward would then run through the whole tower, for nothing.
    """
    body = model.base_model
    frozen = [part for name, part in body.named_children() if name != LANGUAGE_MODEL]
    compute = body.get_image_features

    @wraps(compute)
    def features(*args: Any, **kwargs: Any) -> Any:
        training = [part.training for part in frozen]
        try:
            for part in frozen:
                part.eval()  # what is frozen has no dropout, and nothing to checkpoint
            with torch.no_grad():
                return compute(*args, **kwargs)
        finally:
            for part, before in zip(frozen, training, strict=True):
                part.train(before)

    body.get_image_features = features
    return model


@dataclass(frozen=True)
class Film:
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
        """What decides how many tokens a prompt about this image has."""
        return (len(self.features), *(self.grid.flatten().tolist() if self.grid is not None else ()))


@dataclass(frozen=True)
class Encoded:
    """What `mm_encoder_outputs` wants to find. No mapping, so that trainers hand it on as it is."""

    pooler_output: Any
    deepstack_features: Any = None


def image_inputs(films: Sequence[Film]) -> dict[str, Any]:
    """Films, in the order of a batch's prompts, as keyword arguments of the model in the place of pixels."""
    features = [film.features for film in films]
    if films[0].grid is None:
        return {"mm_encoder_outputs": {"image": Encoded(torch.stack(features))}}
    grids = torch.cat([film.grid for film in films if film.grid is not None])
    deeper = [list(layer) for layer in zip(*(film.deeper for film in films), strict=True)]
    return {"mm_encoder_outputs": {"image": Encoded(tuple(features), deeper)}, GRID: grids}


class FeatureStore:
    """Films of one model, by the content of their pixels; those used least recently are dropped beyond `limit_bytes`.

    It lives as long as the model does, on the model's device: weights and processor cannot change under it.
    """

    def __init__(self, model: Any, processor: ProcessorMixin, limit_bytes: int = LIMIT_BYTES):
        self.model = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.processor, self.limit_bytes = processor, limit_bytes
        self.bytes = 0
        self._films: OrderedDict[bytes, Film] = OrderedDict()
        self._tokens: dict[tuple[str, tuple[int, ...]], tuple[torch.Tensor, torch.Tensor]] = {}

    def films(self, images: Sequence[Image.Image]) -> list[Film]:
        """The films of `images`; the tower computes those that are not there."""
        keys = [_digest(image) for image in images]
        found = {key: self._films[key] for key in keys if key in self._films}
        missing = {key: image for key, image in zip(keys, images, strict=True) if key not in found}
        waiting = list(missing)
        for start in range(0, len(waiting), TOGETHER):
            now = waiting[start : start + TOGETHER]
            found |= dict(zip(now, self._compute([missing[key] for key in now]), strict=True))
        for key, film in found.items():
            self._keep(key, film)
        return [found[key] for key in keys]

    def encode(self, texts: Sequence[str], images: Sequence[Image.Image]) -> tuple[dict[str, torch.Tensor], list[Film]]:
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

    def _tokenised(self, text: str, film: Film, image: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and token types of a prompt: the processor is asked once for each text and shape of image."""
        key = (text, film.shape)
        if key not in self._tokens:
            inputs = encode(self.processor, [text], [image])
            self._tokens[key] = (inputs["input_ids"][0], inputs[token_types(inputs)][0])
        return self._tokens[key]

    def _compute(self, images: list[Image.Image]) -> list[Film]:
        text = self.processor.image_token
        asked = {"images": [[image] for image in images], "text": [text] * len(images)}
        inputs = self.processor(**asked, return_tensors="pt", padding=True)  # the texts are not looked at
        pixels = inputs["pixel_values"].to(self.model.device, self.model.dtype)
        grids = inputs[GRID].to(self.model.device) if GRID in inputs else None
        seen = (pixels,) if grids is None else (pixels, grids)
        made = self.model.base_model.get_image_features(*seen, return_dict=True)
        layers = getattr(made, "deepstack_features", None) or ()
        return [
            Film(
                one.detach().clone(),
                None if grids is None else grids[row : row + 1],
                tuple(layer[row].detach().clone() for layer in layers),
            )
            for row, one in enumerate(made.pooler_output)
        ]

    def _keep(self, key: bytes, film: Film) -> None:
        if key not in self._films:
            self.bytes += film.nbytes
        self._films[key] = film
        self._films.move_to_end(key)
        while self.bytes > self.limit_bytes and len(self._films) > 1:
            _, dropped = self._films.popitem(last=False)
            self.bytes -= dropped.nbytes


def _digest(image: Image.Image) -> bytes:
    content = hashlib.blake2b(image.tobytes(), digest_size=32)
    content.update(f"{image.mode} {image.size}".encode())
    return content.digest()
