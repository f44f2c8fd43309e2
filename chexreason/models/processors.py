"""Processors: image and chat turned into a model's inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image
from transformers import AutoTokenizer, ProcessorMixin
from transformers.models.gemma3 import Gemma3Processor
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

from chexreason.errors import ChexReasonError
from chexreason.runs.files import read_json, write_json
from chexreason.runs.groups import Model


class QwenImageProcessor(Qwen2_5_VLProcessor):
    """Qwen2.5-VL's processor without its video half, which would need torchvision: a radiograph is no film."""

    PUBLISHED = "Qwen2_5_VLProcessor"
    # What the published video processor adds to its image processor's settings. No film of ours is a video, but vLLM and
    # transformers' own class refuse a Qwen without one.
    VIDEO = {"video_processor_type": "Qwen2VLVideoProcessor", "do_sample_frames": False, "min_frames": 4, "max_frames": 768}

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None, **_: Any):
        self.image_token = "<|image_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]

    @property
    def image_token_ids(self) -> list[int]:
        return [self.image_token_id]

    @property
    def model_input_names(self) -> list[str]:
        return [*ProcessorMixin.model_input_names.fget(self), "mm_token_type_ids"]

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> list[str]:
        """As the published class would: with a video half, and under that class's name."""
        written = super().save_pretrained(save_directory, **options)
        for name in ("processor_config.json", "tokenizer_config.json"):
            path = Path(save_directory) / name
            values = read_json(path) | {"processor_class": self.PUBLISHED}
            if "image_processor" in values:
                shared = {key: value for key, value in values["image_processor"].items() if key != "image_processor_type"}
                values["video_processor"] = shared | self.VIDEO
            write_json(path, values)
        return written


class Qwen3ImageProcessor(QwenImageProcessor):
    """Qwen3-VL's, likewise: an image becomes the same tokens there."""

    PUBLISHED = "Qwen3VLProcessor"
    VIDEO = {
        "video_processor_type": "Qwen3VLVideoProcessor",
        "do_sample_frames": True,
        "fps": 2,
        "min_frames": 4,
        "max_frames": 768,
    }


PROCESSORS: dict[str, Any] = {"gemma3": Gemma3Processor, "qwen2_5_vl": QwenImageProcessor, "qwen3_vl": Qwen3ImageProcessor}


def load_processor(model: Model, padding_side: str = "right") -> ProcessorMixin:
    """The processor beside `model`'s weights, held to its visual-token bounds (section 3.2.1).

    A Qwen spends one token on (patch x merge)^2 pixels, so the bounds become pixel bounds; Gemma 3's count is fixed.

    Raises:
        ChexReasonError: there is none, or a part of it is not there.
    """
    try:
        processor = _load_processor(model, padding_side)
    except (OSError, ValueError) as error:
        why = str(error).strip().splitlines()[0]
        raise ChexReasonError(f"model={model.name}: {model.weights} holds no processor that can be loaded: {why}") from None
    if not processor.chat_template:
        raise ChexReasonError(f"model={model.name}: {model.weights} holds no chat template (chat_template.jinja)")
    return processor


def _load_processor(model: Model, padding_side: str) -> ProcessorMixin:
    tokenizer = AutoTokenizer.from_pretrained(model.weights, padding_side=padding_side)
    if model.family == "gemma3":
        images = Gemma3ImageProcessorPil.from_pretrained(model.weights)
        return Gemma3Processor.from_pretrained(model.weights, image_processor=images, tokenizer=tokenizer)
    images = Qwen2VLImageProcessorPil.from_pretrained(model.weights)
    pixels_per_token = (images.patch_size * images.merge_size) ** 2
    images.size = {
        "shortest_edge": model.min_visual_tokens * pixels_per_token,
        "longest_edge": model.max_visual_tokens * pixels_per_token,
    }
    return PROCESSORS[model.family].from_pretrained(model.weights, image_processor=images, tokenizer=tokenizer)


def visual_tokens(processor: Any, width: int, height: int) -> int:
    """How many placeholders an image of this size becomes in a prompt, whose length varies with nothing else."""
    images = processor.image_processor
    if isinstance(processor, Gemma3Processor):
        return int(processor.image_seq_length)
    return images.get_number_of_image_patches(height, width, {}) // images.merge_size**2


def resized(processor: Any, image: Image.Image) -> Image.Image:
    """`image` at the size that the processor would give it, by the processor's own filter.

    Another engine then has nothing to resize: torchvision, which it would use, rounds otherwise than PIL does.
    """
    images, image = processor.image_processor, image.convert("RGB")
    if isinstance(processor, Gemma3Processor):
        height, width = images.size["height"], images.size["width"]
    else:
        factor = images.patch_size * images.merge_size
        bounds = images.size["shortest_edge"], images.size["longest_edge"]
        height, width = smart_resize(image.height, image.width, factor, *bounds)
    return image.resize((width, height), images.resample)
