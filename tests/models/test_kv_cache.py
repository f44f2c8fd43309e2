"""The growing cache holds what transformers' own holds, whatever is done to it between tokens."""

from __future__ import annotations

import torch
from transformers import DynamicCache, Gemma3TextConfig

from chexreason.models import kv_cache
from chexreason.models.kv_cache import growing_cache

CONFIG = Gemma3TextConfig(
    num_hidden_layers=2, layer_types=["sliding_attention", "full_attention"], sliding_window=20, use_cache=True
)


def test_it_holds_what_transformers_own_holds() -> None:
    torch.manual_seed(0)
    own, theirs = growing_cache(CONFIG), DynamicCache(config=CONFIG)
    assert [type(layer).__name__ for layer in own.layers] == ["GrowingSlidingLayer", "GrowingLayer"]
    rows, steps = 4, {5: torch.tensor([0, 2, 3]), 90: torch.tensor([2, 0]), 91: torch.tensor([0, 0, 1]), 150: torch.tensor([1])}
    for step in range(200):
        if (chosen := steps.get(step)) is not None:
            own.batch_select_indices(chosen)
            theirs.batch_select_indices(chosen)
            rows = len(chosen)
        new = [torch.randn(rows, 2, 12 if step == 0 else 1, 8) for _ in range(2)]
        for layer in range(2):
            for found, expected in zip(own.update(*new, layer), theirs.update(*new, layer), strict=True):
                assert torch.equal(found, expected), f"step {step}, layer {layer}"
            assert own.layers[layer].get_mask_sizes(1) == theirs.layers[layer].get_mask_sizes(1)
    assert own.get_seq_length() == theirs.get_seq_length() == 12 + 199


def test_a_token_is_written_and_the_others_stay_where_they_are() -> None:
    cache = growing_cache(CONFIG)
    places = set()
    for step in range(kv_cache.ROOM + 1):
        new = torch.randn(1, 2, 100 if step == 0 else 1, 8)
        for layer in range(2):
            places.add((layer, cache.update(new, new, layer)[0].untyped_storage().data_ptr()))
    assert len(places) == 2, "one buffer for each layer"
