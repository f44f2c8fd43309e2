"""Qwen2.5-VL (Bai et al., arXiv:2502.13923).

An image becomes a token for each (patch x merge)^2 of its pixels, within bounds. No `<bos>`, single digits, and a system
prompt where a chat has none.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import (
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)
from transformers.models.qwen2 import Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX
from transformers.models.qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

from chexreason.families import Architecture, Family
from chexreason.families._processor import FilmProcessor
from chexreason.families._standin import SMALL_TEXT, learnt, text_config
from chexreason.runs.files import read_json, write_json


class QwenProcessor(FilmProcessor, Qwen2_5_VLProcessor):
    """Without its video half, which would need torchvision."""

    PUBLISHED = "Qwen2_5_VLProcessor"
    IMAGES = Qwen2VLImageProcessorPil
    # What the published video processor adds to its image processor's settings: vLLM and transformers' own class refuse a
    # Qwen without one.
    VIDEO: ClassVar[dict[str, Any]] = {
        "video_processor_type": "Qwen2VLVideoProcessor",
        "do_sample_frames": False,
        "min_frames": 4,
        "max_frames": 768,
    }

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

    @property
    def side(self) -> int:
        """Pixels a side of what becomes one visual token."""
        return int(self.image_processor.patch_size * self.image_processor.merge_size)

    def hold(self, least: int, most: int) -> None:
        self.image_processor.size = self._pixels(least, most)

    def _pixels(self, least: int, most: int) -> dict[str, int]:
        return {"shortest_edge": least * self.side**2, "longest_edge": most * self.side**2}

    def visual_tokens(self, width: int, height: int) -> int:
        images = self.image_processor
        return int(images.get_number_of_image_patches(height, width, {}) // images.merge_size**2)

    def film_size(self, width: int, height: int) -> tuple[int, int]:
        bounds = self.image_processor.size
        height, width = smart_resize(height, width, self.side, bounds["shortest_edge"], bounds["longest_edge"])
        return width, height

    def as_it_is(self, most: int) -> dict[str, Any]:
        return {"limit_mm_per_prompt": {"image": 1, "video": 0}, "mm_processor_kwargs": {"size": self._pixels(1, most)}}

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> list[str]:
        """As the published class would: with a video half."""
        written = super().save_pretrained(save_directory, **options)
        path = Path(save_directory) / "processor_config.json"
        parts = read_json(path)
        shared = {key: value for key, value in parts["image_processor"].items() if key != "image_processor_type"}
        write_json(path, parts | {"video_processor": shared | self.VIDEO})
        return written


SYSTEM_PROMPT = "You are a helpful assistant."
# What a published template writes for a chat of text and images; the wording of no file is copied.
PLAIN_TEMPLATE = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['content'] is string -%}{{ message['content'] }}
{%- else -%}
{%- for part in message['content'] -%}
{{ '<|vision_start|><|image_pad|><|vision_end|>' if part['type'] == 'image' else part['text'] }}
{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""
TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' -%}{{ '<|im_start|>system\\nSYSTEM<|im_end|>\\n' }}{%- endif -%}\n" + PLAIN_TEMPLATE
).replace("SYSTEM", SYSTEM_PROMPT)
# In the order in which they follow each other at the end of the published vocabulary.
SPECIAL = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> <|quad_start|> "
    "<|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>"
).split()


def tokenizer_of(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level byte-pair encoding of at most `vocabulary` tokens, learnt from `texts`; nothing is unknown to it."""
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated")
    bpe.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    texts = itertools.chain(texts, [SYSTEM_PROMPT] * 20)
    return Qwen2Tokenizer(
        **learnt(bpe, texts, vocabulary, SPECIAL, pre_tokenizers.ByteLevel.alphabet()),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
        model_max_length=131072,
        extra_special_tokens=[token for token in SPECIAL if token not in ("<|endoftext|>", "<|im_end|>")],
    )


def config_of(kind: type[PreTrainedConfig], size: Architecture, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
    ids = tokenizer.get_vocab()
    return kind(
        text_config=text_config(size, tokenizer) | {"bos_token_id": ids["<|endoftext|>"]},
        vision_config=size.vision | {"out_hidden_size": size.text["hidden_size"]},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )


def generation_config(tokenizer: PreTrainedTokenizerFast, **sampling: float) -> GenerationConfig:
    end, turn = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    return GenerationConfig(bos_token_id=end, pad_token_id=end, eos_token_id=[turn, end], do_sample=True, **sampling)


def images_of(size: Architecture) -> Qwen2VLImageProcessorPil:
    pixels = size.image_size**2
    return Qwen2VLImageProcessorPil(
        patch_size=size.vision["patch_size"], merge_size=size.vision["spatial_merge_size"], min_pixels=pixels, max_pixels=pixels
    )


def stand_in(size: Architecture, texts: Iterable[str], vocabulary: int) -> tuple[PreTrainedModel, FilmProcessor]:
    tokenizer = tokenizer_of(texts, vocabulary)
    model = Qwen2_5_VLForConditionalGeneration(config_of(Qwen2_5_VLConfig, size, tokenizer))
    model.generation_config = generation_config(tokenizer, repetition_penalty=1.05, temperature=1e-6)
    return model, QwenProcessor(images_of(size), tokenizer, chat_template=TEMPLATE)


def published_config(config: dict[str, Any]) -> dict[str, Any]:
    """With the language model's settings flat."""
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    mrope = {"type": "mrope", "mrope_section": rope["mrope_section"]}
    return text | config | {"rope_theta": rope["rope_theta"], "rope_scaling": mrope}


def rope(time: int, height: int, width: int) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [time, height, width]}


SMALL_VISION = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "depth": 4,
    "num_heads": 4,
    "patch_size": 12,
    "spatial_merge_size": 2,
}
SMALL = Architecture(  # 8 x 8 patches, merged two by two into 16 visual tokens
    text=SMALL_TEXT | {"rope_parameters": rope(8, 4, 4)},
    vision=SMALL_VISION | {"window_size": 48, "fullatt_block_indexes": [1, 3]},
    image_size=96,
)
PUBLISHED_3B = Architecture(  # patches merged two by two; as many as model.max_visual_tokens allows
    text={
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128000,
        "rope_parameters": rope(16, 24, 24),
    },
    vision={
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "depth": 32,
        "num_heads": 16,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
    },
    image_size=448,
    vocabulary=151936,
)
FAMILY = Family(QwenProcessor, {"small": SMALL, "published": PUBLISHED_3B}, stand_in, published_config)
