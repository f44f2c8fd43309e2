"""Shared parts of the families' stand-ins: the language model's size, and the training of tokenizers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, trainers
from transformers import PreTrainedTokenizerFast

from chexreason.families import Architecture

SMALL_TEXT = {
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}


def text_config(size: Architecture, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return size.text | {
        "vocab_size": size.vocabulary or len(tokenizer),
        "tie_word_embeddings": True,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def learnt(
    bpe: Tokenizer, texts: Iterable[str], vocabulary: int, fixed: list[str], alphabet: list[str]
) -> dict[str, dict[str, int] | list[tuple[str, str]]]:
    """Train `bpe` with `fixed` as its first tokens; its vocabulary and its merges."""
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=fixed, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(texts, trainer)
    model = json.loads(bpe.to_str())["model"]
    return {"vocab": bpe.get_vocab(with_added_tokens=True), "merges": [tuple(pair) for pair in model["merges"]]}
