"""Processors: image and chat turned into a model's inputs."""

from __future__ import annotations

from PIL import Image
from transformers import AutoTokenizer

from chexreason.errors import ChexReasonError
from chexreason.families import family
from chexreason.families._processor import FilmProcessor
from chexreason.runs.groups import Model


def load_processor(model: Model, padding_side: str = "right") -> FilmProcessor:
    """The processor beside `model`'s weights, held to its visual-token bounds (section 3.2.1).

    Raises:
        ChexReasonError: there is none, or a part of it is not there.
    """
    kind = family(model.family).processor
    try:
        tokenizer = AutoTokenizer.from_pretrained(model.weights, padding_side=padding_side, trust_remote_code=False)
        images = kind.IMAGES.from_pretrained(model.weights)
        processor = kind.from_pretrained(model.weights, image_processor=images, tokenizer=tokenizer)
    except (OSError, ValueError, KeyError) as error:
        why = str(error).strip().splitlines()[0]
        raise ChexReasonError(f"model={model.name}: {model.weights} holds no processor that can be loaded: {why}") from None
    if not processor.chat_template:
        raise ChexReasonError(f"model={model.name}: {model.weights} holds no chat template (chat_template.jinja)")
    processor.hold(model.min_visual_tokens, model.max_visual_tokens)
    return processor


def resized(processor: FilmProcessor, image: Image.Image) -> Image.Image:
    """`image` at the size that the processor would give it, by the processor's own filter.

    Another engine then has nothing to resize: torchvision, which it would use, rounds otherwise than PIL does.
    """
    return image.convert("RGB").resize(processor.film_size(*image.size), processor.image_processor.resample)
