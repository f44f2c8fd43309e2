"""Tokenizers and chat templates in the published form of Gemma 3's, Qwen2.5-VL's and Qwen3-VL's, with small vocabularies.

What is awkward in the published ones is in these too: Gemma's writes a `<bos>` of its own accord, has runs of newlines as
single tokens, and spaces as `▁` with bytes to fall back on; the Qwens' has no `<bos>` and single digits, and Qwen2.5-VL's
template a system prompt.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast
from transformers.models.gemma import GemmaTokenizer
from transformers.models.qwen2 import Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

GEMMA_FIRST = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
GEMMA_RUNS = ["\n" * length for length in range(1, 32)] + ["\t"]
GEMMA_IMAGE = ["<start_of_image>", "<end_of_image>", "<image_soft_token>"]
GEMMA_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
# In the order in which they follow each other at the end of the published vocabulary.
QWEN_SPECIAL = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> <|quad_start|> "
    "<|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>"
).split()

SYSTEM_PROMPT = "You are a helpful assistant."  # Qwen2.5-VL's template writes it where a chat has none

# What each published template writes for a chat of text and images; the wording of no file is copied.
GEMMA_TEMPLATE = """\
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
QWEN3_TEMPLATE = """\
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
# Qwen2.5-VL's has a system prompt of its own.
QWEN_TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' -%}{{ '<|im_start|>system\\nSYSTEM<|im_end|>\\n' }}{%- endif -%}\n" + QWEN3_TEMPLATE
).replace("SYSTEM", SYSTEM_PROMPT)


def gemma_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-pair encoding of at most `vocabulary` tokens, learnt from `texts`; a character that they lack becomes its bytes."""
    fixed = [*GEMMA_FIRST, *GEMMA_RUNS, *GEMMA_IMAGE, *GEMMA_BYTES]
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
    learnt = _learnt(bpe, texts, vocabulary + len(GEMMA_BYTES), fixed, alphabet=["▁"])
    tokenizer = GemmaTokenizer(
        **learnt,
        boi_token="<start_of_image>",
        eoi_token="<end_of_image>",
        image_token="<image_soft_token>",
        clean_up_tokenization_spaces=False,
        model_max_length=131072,
    )
    special = [token for token in (*GEMMA_FIRST, *GEMMA_IMAGE) if token != "<mask>"]
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in GEMMA_RUNS])
    bos = ("<bos>", tokenizer.bos_token_id)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[bos]
    )
    return tokenizer


def qwen_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level byte-pair encoding of at most `vocabulary` tokens, learnt from `texts`; nothing is unknown to it."""
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated")
    bpe.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    texts = itertools.chain(texts, [SYSTEM_PROMPT] * 20)
    learnt = _learnt(bpe, texts, vocabulary, QWEN_SPECIAL, pre_tokenizers.ByteLevel.alphabet())
    return Qwen2Tokenizer(
        **learnt,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
        model_max_length=131072,
        extra_special_tokens=[token for token in QWEN_SPECIAL if token not in ("<|endoftext|>", "<|im_end|>")],
    )


def _learnt(
    bpe: Tokenizer, texts: Iterable[str], vocabulary: int, fixed: list[str], alphabet: list[str]
) -> dict[str, dict[str, int] | list[tuple[str, str]]]:
    """Train `bpe` with `fixed` as its first tokens; its vocabulary and its merges."""
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=fixed, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(texts, trainer)
    model = json.loads(bpe.to_str())["model"]
    return {"vocab": bpe.get_vocab(with_added_tokens=True), "merges": [tuple(pair) for pair in model["merges"]]}
