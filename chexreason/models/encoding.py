"""Prompts and their images as a model's inputs: tokenised once, and checked in every batch.

The chat template writes the special tokens. A tokenizer that adds its own as well (Gemma's does) doubles the <bos>, and where
token types come from one tokenisation and ids from another, the image mask shifts by one without an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from transformers import BatchFeature, ProcessorMixin

from chexreason.errors import ChexReasonError
from chexreason.prompts import messages

IMAGE = 1  # the token type of an image's tokens
IGNORED = -100  # the label of tokens without a loss


def chat(processor: ProcessorMixin, instruction: str) -> str:
    """One image and one instruction as the chat template writes them, up to where the model answers."""
    return processor.apply_chat_template(messages(instruction), tokenize=False, add_generation_prompt=True)


def encode(processor: ProcessorMixin, texts: Sequence[str], images: Sequence[Image.Image]) -> BatchFeature:
    """Prompts that the chat template has written, one image each, as padded inputs of shape (prompts, tokens).

    Raises:
        ChexReasonError: as `check_inputs` does.
    """
    inputs = processor(
        images=[[image] for image in images],
        text=list(texts),
        return_tensors="pt",
        padding=True,
        add_special_tokens=False,  # the chat template has written them
    )
    check_inputs(processor, inputs)
    check_starts(processor, inputs, texts)
    return inputs


def image_token_of(processor: Any) -> int:
    """The token that an image's features replace. (A Gemma processor's own `image_token_id` is that of the image's start.)"""
    own = getattr(processor.tokenizer, "image_token_id", None)
    return int(processor.image_token_id if own is None else own)


def token_types(inputs: Mapping[str, Any]) -> str:
    """The name that a family gives the tensor of token types (1: an image's token).

    Raises:
        ChexReasonError: there is none.
    """
    for name in ("token_type_ids", "mm_token_type_ids"):
        if inputs.get(name) is not None:
            return name
    raise ChexReasonError("a batch without token types: the model could not tell an image's tokens; report this")


def check_inputs(processor: Any, inputs: Mapping[str, Any]) -> None:
    """Check that token types mark the image's tokens and nothing else.

    Raises:
        ChexReasonError: they are shifted against the ids, or of another length.
    """
    ids, kinds = inputs["input_ids"], inputs[token_types(inputs)]
    if ids.shape != kinds.shape:
        raise ChexReasonError(
            f"a batch's ids have {ids.shape[1]} tokens and its token types {kinds.shape[1]}: it was tokenised twice, "
            "once with special tokens; report this with the model's name"
        )
    if not torch.equal(ids == image_token_of(processor), kinds == IMAGE):
        raise ChexReasonError(
            "a batch's token types do not mark the tokens of its images: the image mask would be shifted; "
            "report this with the model's name"
        )


def check_starts(processor: Any, inputs: Mapping[str, Any], texts: Sequence[str]) -> None:
    """Check that each row begins, padding aside, as the chat template says: one <bos> or none, and its system prompt.

    Raises:
        ChexReasonError: one does not; shows both.
    """
    tokenizer = processor.tokenizer
    starts = {text: _start(processor, text) for text in set(texts)}
    for row, mask, text in zip(inputs["input_ids"], inputs["attention_mask"], texts, strict=True):
        wanted = starts[text]
        found = row[mask.bool()][: len(wanted)].tolist()
        if found != wanted:
            raise ChexReasonError(
                f"a prompt begins {tokenizer.decode(found)!r}, the chat template says {tokenizer.decode(wanted)!r}: "
                "its special tokens were added twice or not at all; report this with the model's name"
            )


def _start(processor: Any, text: str) -> list[int]:
    """The tokens of a text up to its image, less the line's end, which some processors join with lines of their own."""
    head = text.partition(processor.image_token)[0].rstrip()
    return list(processor.tokenizer(head, add_special_tokens=False)["input_ids"])
