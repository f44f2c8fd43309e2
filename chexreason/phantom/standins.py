"""Stand-in models: the real architectures of Gemma 3, Qwen2.5-VL and Qwen3-VL with random weights, small or as published.

They are as awkward as what they stand for: tokenizer, chat template, generation settings and the names of their weights have
the published form, so that every stage and every engine that runs on them runs on the clinical models too.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.models.gemma3 import Gemma3Processor
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from chexreason.models.processors import Qwen3ImageProcessor, QwenImageProcessor
from chexreason.phantom.architectures import Architecture, architecture
from chexreason.phantom.vocabulary import GEMMA_TEMPLATE, QWEN3_TEMPLATE, QWEN_TEMPLATE, gemma_tokenizer, qwen_tokenizer
from chexreason.runs.files import read_json, write_json, write_text


def build(
    family: str, texts: Iterable[str], vocabulary: int, size: str = "small", dtype: str = "float32"
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """A model of `family` (gemma3 | qwen2_5_vl | qwen3_vl) with random weights of `dtype`, and its processor.

    Its tokenizer is learnt from `texts`; a published architecture keeps its own larger embedding matrix.
    """
    default = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))  # so that 4 billion weights are never there in float32
    try:
        model, processor = {"gemma3": _gemma, "qwen2_5_vl": _qwen, "qwen3_vl": _qwen3}[family](
            architecture(family, size), texts, vocabulary
        )
    finally:
        torch.set_default_dtype(default)
    # Saved under the published names of the weights, as a model that was loaded from the published repository is.
    model._weight_conversions = get_model_conversion_mapping(model, add_legacy=False)
    return model, processor


def save(model: PreTrainedModel, processor: ProcessorMixin, folder: Path) -> None:
    """Write both to `folder` as the published repositories hold them.

    Image and video settings lie in files of their own, and Qwen2.5-VL's config holds the language model's settings flat.
    """
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    config = read_json(folder / "config.json")
    config["torch_dtype"] = config.pop("dtype")
    if model.config.model_type == "qwen2_5_vl":
        text = config.pop("text_config")
        rope = text.pop("rope_parameters")
        mrope = {"type": "mrope", "mrope_section": rope["mrope_section"]}
        config = text | config | {"rope_theta": rope["rope_theta"], "rope_scaling": mrope}
    write_json(folder / "config.json", config)
    write_text(folder / "README.md", README.format(architecture=config["architectures"][0]))
    parts = read_json(folder / "processor_config.json")
    for part, file in (("image_processor", "preprocessor_config"), ("video_processor", "video_preprocessor_config")):
        if part in parts:
            write_json(folder / f"{file}.json", parts.pop(part) | {"processor_class": parts["processor_class"]})
    write_json(folder / "processor_config.json", parts)


README = """---
license: apache-2.0
tags: [chexreason, stand-in]
---

A stand-in: a network of the architecture {architecture}, built by ChexReason to try the code on. It is no published model, and
nothing that it writes says anything about a patient.
"""


def _text_config(size: Architecture, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return size.text | {
        "vocab_size": size.vocabulary or len(tokenizer),
        "tie_word_embeddings": True,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _gemma(size: Architecture, texts: Iterable[str], vocabulary: int) -> tuple[PreTrainedModel, ProcessorMixin]:
    tokenizer = gemma_tokenizer(texts, vocabulary)
    stops = tokenizer.convert_tokens_to_ids(["<eos>", "<end_of_turn>"])
    vision = {"model_type": "siglip_vision_model", "image_size": size.image_size, "vision_use_head": False}
    config = Gemma3Config(
        text_config=_text_config(size, tokenizer),
        vision_config=size.vision | vision,
        mm_tokens_per_image=size.visual_tokens,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
        eos_token_id=stops,
        tie_word_embeddings=True,
    )
    model = Gemma3ForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=stops,
        do_sample=True,
        top_k=64,
        top_p=0.95,
        cache_implementation="hybrid",
    )
    square = {"height": size.image_size, "width": size.image_size}
    images = Gemma3ImageProcessorPil(size=square, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return model, Gemma3Processor(images, tokenizer, chat_template=GEMMA_TEMPLATE, image_seq_length=size.visual_tokens)


def _qwen(size: Architecture, texts: Iterable[str], vocabulary: int) -> tuple[PreTrainedModel, ProcessorMixin]:
    tokenizer = qwen_tokenizer(texts, vocabulary)
    model = Qwen2_5_VLForConditionalGeneration(_qwen_config(Qwen2_5_VLConfig, size, tokenizer))
    _qwen_generation(model, tokenizer, repetition_penalty=1.05, temperature=1e-6)
    return model, QwenImageProcessor(_qwen_images(size), tokenizer, chat_template=QWEN_TEMPLATE)


def _qwen3(size: Architecture, texts: Iterable[str], vocabulary: int) -> tuple[PreTrainedModel, ProcessorMixin]:
    tokenizer = qwen_tokenizer(texts, vocabulary)
    model = Qwen3VLForConditionalGeneration(_qwen_config(Qwen3VLConfig, size, tokenizer))
    _qwen_generation(model, tokenizer, top_k=20, top_p=0.8, temperature=0.7)
    return model, Qwen3ImageProcessor(_qwen_images(size), tokenizer, chat_template=QWEN3_TEMPLATE)


def _qwen_config(kind: type[PreTrainedConfig], size: Architecture, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
    ids = tokenizer.get_vocab()
    return kind(
        text_config=_text_config(size, tokenizer) | {"bos_token_id": ids["<|endoftext|>"]},
        vision_config=size.vision | {"out_hidden_size": size.text["hidden_size"]},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )


def _qwen_generation(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, **sampling: float) -> None:
    end, turn = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    model.generation_config = GenerationConfig(
        bos_token_id=end, pad_token_id=end, eos_token_id=[turn, end], do_sample=True, **sampling
    )


def _qwen_images(size: Architecture) -> Qwen2VLImageProcessorPil:
    pixels = size.image_size**2
    return Qwen2VLImageProcessorPil(
        patch_size=size.vision["patch_size"], merge_size=size.vision["spatial_merge_size"], min_pixels=pixels, max_pixels=pixels
    )
