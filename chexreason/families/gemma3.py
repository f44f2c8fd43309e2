"""Gemma 3, which MedGemma is (Gemma Team, arXiv:2503.19786; Sellergren et al., arXiv:2507.05201).

Every image becomes the same number of tokens, which attend to each other both ways. The tokenizer writes a `<bos>` of its own
accord, has runs of newlines as single tokens, and spaces as `▁` with bytes to fall back on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.gemma import GemmaTokenizer
from transformers.models.gemma3 import Gemma3Processor
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

from chexreason.families import Architecture, Family
from chexreason.families._processor import FilmProcessor
from chexreason.families._standin import SMALL_TEXT, learnt, text_config


class GemmaProcessor(FilmProcessor, Gemma3Processor):
    PUBLISHED = "Gemma3Processor"
    IMAGES = Gemma3ImageProcessorPil

    def hold(self, least: int, most: int) -> None:
        """The weights decide: every image becomes `image_seq_length` tokens."""

    def visual_tokens(self, width: int, height: int) -> int:
        return int(self.image_seq_length)

    def film_size(self, width: int, height: int) -> tuple[int, int]:
        return self.image_processor.size["width"], self.image_processor.size["height"]

    def as_it_is(self, most: int) -> dict[str, Any]:
        return {"limit_mm_per_prompt": {"image": 1}}


# What the published template writes for a chat of text and images; its wording is not copied.
TEMPLATE = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
{%- set system = messages[0]['content'] if messages[0]['content'] is string else messages[0]['content'][0]['text'] -%}
{%- set before = system + '\\n\\n' -%}
{%- set turns = messages[1:] -%}
{%- else -%}
{%- set before = '' -%}
{%- set turns = messages -%}
{%- endif -%}
{%- for message in turns -%}
{{ '<start_of_turn>' + (message['role'] | replace('assistant', 'model')) + '\\n' }}
{%- if loop.first -%}{{ before }}{%- endif -%}
{%- if message['content'] is string -%}{{ message['content'] | trim }}
{%- else -%}
{%- for part in message['content'] -%}
{{ '<start_of_image>' if part['type'] == 'image' else (part['text'] | trim) }}
{%- endfor -%}
{%- endif -%}
{{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}
"""
FIRST = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
RUNS = ["\n" * length for length in range(1, 32)] + ["\t"]
IMAGE = ["<start_of_image>", "<end_of_image>", "<image_soft_token>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def tokenizer_of(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-pair encoding of at most `vocabulary` tokens, learnt from `texts`; a character that they lack becomes its bytes."""
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Replace(" ", "▁")
    # Only while it learns: words and punctuation apart, newlines aside, single digits. The published vocabulary was learnt so,
    # and the published tokenizer splits nothing when it encodes.
    words = [
        pre_tokenizers.Split(Regex("\n+"), "removed"),
        pre_tokenizers.Split("▁", "merged_with_next"),
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.Punctuation("contiguous"),
    ]
    bpe.pre_tokenizer = pre_tokenizers.Sequence(words)
    tokenizer = GemmaTokenizer(
        **learnt(bpe, texts, vocabulary + len(BYTES), [*FIRST, *RUNS, *IMAGE, *BYTES], alphabet=["▁"]),
        boi_token="<start_of_image>",
        eoi_token="<end_of_image>",
        image_token="<image_soft_token>",
        clean_up_tokenization_spaces=False,
        model_max_length=131072,
    )
    special = [token for token in (*FIRST, *IMAGE) if token != "<mask>"]
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in RUNS])
    bos = ("<bos>", tokenizer.bos_token_id)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[bos]
    )
    return tokenizer


def stand_in(size: Architecture, texts: Iterable[str], vocabulary: int) -> tuple[PreTrainedModel, FilmProcessor]:
    tokenizer = tokenizer_of(texts, vocabulary)
    stops = tokenizer.convert_tokens_to_ids(["<eos>", "<end_of_turn>"])
    vision = {"model_type": "siglip_vision_model", "image_size": size.image_size, "vision_use_head": False}
    config = Gemma3Config(
        text_config=text_config(size, tokenizer),
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
    return model, GemmaProcessor(images, tokenizer, chat_template=TEMPLATE, image_seq_length=size.visual_tokens)


SMALL = Architecture(  # 6 x 6 patches, each a visual token
    text=SMALL_TEXT | {"head_dim": 32, "sliding_window": 1024},
    vision={
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "patch_size": 16,
    },
    image_size=96,
    visual_tokens=36,
)
PUBLISHED_4B = Architecture(  # 64 x 64 patches, pooled four by four into 256 visual tokens
    text={
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "max_position_embeddings": 131072,
        "head_dim": 256,
        "sliding_window": 1024,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    },
    vision={
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "patch_size": 14,
    },
    image_size=896,
    visual_tokens=256,
    vocabulary=262208,
)
FAMILY = Family(GemmaProcessor, {"small": SMALL, "published": PUBLISHED_4B}, stand_in, images_at_once=True)
