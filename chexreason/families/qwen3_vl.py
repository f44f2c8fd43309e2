"""Qwen3-VL: Qwen2.5-VL's tokens and image processor, no system prompt, and DeepStack, by which the vision tower's middle layers
speak to the language model's first ones. Its small size alone is known here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from transformers import PreTrainedModel, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from chexreason.families import Architecture, Family
from chexreason.families._processor import FilmProcessor
from chexreason.families._standin import SMALL_TEXT
from chexreason.families.qwen2_5_vl import (
    PLAIN_TEMPLATE,
    SMALL_VISION,
    QwenProcessor,
    config_of,
    generation_config,
    images_of,
    rope,
    tokenizer_of,
)


class Qwen3Processor(QwenProcessor):
    PUBLISHED = "Qwen3VLProcessor"
    VIDEO: ClassVar[dict[str, Any]] = {
        "video_processor_type": "Qwen3VLVideoProcessor",
        "do_sample_frames": True,
        "fps": 2,
        "min_frames": 4,
        "max_frames": 768,
    }


def stand_in(size: Architecture, texts: Iterable[str], vocabulary: int) -> tuple[PreTrainedModel, FilmProcessor]:
    tokenizer = tokenizer_of(texts, vocabulary)
    model = Qwen3VLForConditionalGeneration(config_of(Qwen3VLConfig, size, tokenizer))
    model.generation_config = generation_config(tokenizer, top_k=20, top_p=0.8, temperature=0.7)
    return model, Qwen3Processor(images_of(size), tokenizer, chat_template=PLAIN_TEMPLATE)


SMALL = Architecture(
    text=SMALL_TEXT | {"head_dim": 32, "rope_parameters": rope(8, 4, 4) | {"rope_theta": 5e6, "mrope_interleaved": True}},
    vision=SMALL_VISION | {"num_position_embeddings": 64, "deepstack_visual_indexes": [1, 2]},
    image_size=96,
)
FAMILY = Family(Qwen3Processor, {"small": SMALL}, stand_in)
