"""Stand-in models: the real architectures of Gemma 3 and Qwen2.5-VL with random weights, small or at their published size.

They are saved and loaded like any checkpoint, so every stage that runs on them runs on the clinical models too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)
from transformers.models.gemma3 import Gemma3Processor
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from chexreason.models.processors import QwenImageProcessor
from chexreason.phantom.architectures import Architecture, architecture

GEMMA_TOKENS = {
    "pad": "<pad>",
    "eos": "<eos>",
    "bos": "<bos>",
    "turn": "<start_of_turn>",
    "end": "<end_of_turn>",
    "boi": "<start_of_image>",
    "image": "<image_soft_token>",
    "eoi": "<end_of_image>",
}
QWEN_TOKENS = {
    "pad": "<|endoftext|>",
    "turn": "<|im_start|>",
    "end": "<|im_end|>",
    "boi": "<|vision_start|>",
    "image": "<|image_pad|>",
    "eoi": "<|vision_end|>",
    "video": "<|video_pad|>",
}

# The turn structure of each family's published chat template, for text and images.
_TURNS = (
    "{{ bos_token or '' }}{% for message in messages %}"
    "{{ 'TURN' + (message['role'] | replace('assistant', 'ASSISTANT')) + '\\n' }}"
    "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ 'IMAGE' }}{% else %}{{ part['text'] | trim }}{% endif %}"
    "{% endfor %}{% endif %}{{ 'END\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'TURNASSISTANT\\n' }}{% endif %}"
)


def chat_template(turn: str, end: str, image: str, assistant: str) -> str:
    """A Jinja chat template with these markers."""
    names = {"TURN": turn, "END": end, "IMAGE": image, "ASSISTANT": assistant}
    template = _TURNS
    for placeholder, marker in names.items():
        template = template.replace(placeholder, marker)
    return template


def train_tokenizer(texts: Iterable[str], special: dict[str, str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of at most `vocabulary` tokens, learnt from `texts`; no text is unknown to it."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(special.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    named = {f"{name}_token": special[name] for name in ("boi", "image", "eoi") if "bos" in special}
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=special["pad"],
        eos_token=special.get("eos", special["end"]),
        bos_token=special.get("bos"),
        extra_special_tokens=named or [special[name] for name in ("turn", "boi", "image", "eoi", "video")],
        clean_up_tokenization_spaces=False,
    )


def build(
    family: str, texts: Iterable[str], vocabulary: int, size: str = "small", dtype: str = "float32"
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """A model of `family` (gemma3 | qwen2_5_vl) with random weights of `dtype`, and its processor.

    Its tokenizer is learnt from `texts`; a published architecture keeps its own larger embedding matrix.
    """
    default = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))  # so that 4 billion weights are never there in float32
    try:
        return {"gemma3": _gemma, "qwen2_5_vl": _qwen}[family](architecture(family, size), texts, vocabulary)
    finally:
        torch.set_default_dtype(default)


def _text_config(size: Architecture, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return size.text | {
        "vocab_size": size.vocabulary or len(tokenizer),
        "tie_word_embeddings": True,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _stops(tokenizer: PreTrainedTokenizerFast, end: str) -> GenerationConfig:
    stops = sorted({tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(end)})
    return GenerationConfig(
        eos_token_id=stops, pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id, do_sample=False
    )


def _gemma(size: Architecture, texts: Iterable[str], vocabulary: int) -> tuple[PreTrainedModel, ProcessorMixin]:
    special = GEMMA_TOKENS
    tokenizer = train_tokenizer(texts, special, vocabulary)
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in special.items()}
    vision = {"model_type": "siglip_vision_model", "image_size": size.image_size, "vision_use_head": False}
    config = Gemma3Config(
        text_config=_text_config(size, tokenizer),
        vision_config=size.vision | vision,
        mm_tokens_per_image=size.visual_tokens,
        boi_token_index=ids["boi"],
        eoi_token_index=ids["eoi"],
        image_token_index=ids["image"],
        eos_token_id=[ids["eos"], ids["end"]],
        tie_word_embeddings=True,
    )
    model = Gemma3ForConditionalGeneration(config)
    model.generation_config = _stops(tokenizer, special["end"])
    square = {"height": size.image_size, "width": size.image_size}
    images = Gemma3ImageProcessorPil(size=square, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    template = chat_template(special["turn"], special["end"], special["boi"], "model")
    processor = Gemma3Processor(images, tokenizer, chat_template=template, image_seq_length=size.visual_tokens)
    return model, processor


def _qwen(size: Architecture, texts: Iterable[str], vocabulary: int) -> tuple[PreTrainedModel, ProcessorMixin]:
    special = QWEN_TOKENS
    tokenizer = train_tokenizer(texts, special, vocabulary)
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in special.items()}
    config = Qwen2_5_VLConfig(
        text_config=_text_config(size, tokenizer),
        vision_config=size.vision | {"out_hidden_size": size.text["hidden_size"]},
        image_token_id=ids["image"],
        video_token_id=ids["video"],
        vision_start_token_id=ids["boi"],
        vision_end_token_id=ids["eoi"],
        tie_word_embeddings=True,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config = _stops(tokenizer, special["end"])
    pixels = size.image_size**2
    images = Qwen2VLImageProcessorPil(
        patch_size=size.vision["patch_size"], merge_size=size.vision["spatial_merge_size"], min_pixels=pixels, max_pixels=pixels
    )
    around_image = special["boi"] + special["image"] + special["eoi"]
    template = chat_template(special["turn"], special["end"], around_image, "assistant")
    return model, QwenImageProcessor(images, tokenizer, chat_template=template)
