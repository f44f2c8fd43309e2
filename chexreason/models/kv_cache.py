"""A key-value cache with spare capacity: transformers' own copies its whole content for every decoded token."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

ROOM = 64  # tokens, for which there is room before the next copy


class Grown:
    """States (rows, heads, tokens, width) and room behind them for more tokens."""

    def __init__(self) -> None:
        self.buffer = torch.empty(0)
        self.end = 0  # the token in `buffer` before which its states end

    def append(self, states: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        """`states` and behind them `new`, which is only written into the room where `states` are the last of this buffer."""
        before, added = states.shape[-2] if states.numel() else 0, new.shape[-2]
        if not self._ends_in(states) or self.end + added > self.buffer.shape[-2]:
            self.buffer = new.new_empty((*new.shape[:-2], before + added + ROOM, new.shape[-1]))
            if before:
                self.buffer[..., :before, :] = states
            self.end = before
        self.buffer[..., self.end : self.end + added, :] = new
        self.end += added
        return self.buffer[..., self.end - before - added : self.end, :]

    def _ends_in(self, states: torch.Tensor) -> bool:
        """Whether `states` are the buffer's last tokens; not after rows were chosen, say, which copies them elsewhere."""
        return states.numel() > 0 and states[..., -1:, :].data_ptr() == self.buffer[..., self.end - 1 :, :].data_ptr()


class Growing(DynamicLayer):
    """The growth that both kinds of layer share."""

    keys: torch.Tensor
    values: torch.Tensor

    def appended(self, new_keys: torch.Tensor, new_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(new_keys, new_values)
            self.grown = Grown(), Grown()
        return self.grown[0].append(self.keys, new_keys), self.grown[1].append(self.values, new_values)


class GrowingLayer(Growing):
    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys, self.values = self.appended(key_states, value_states)
        return self.keys, self.values


class GrowingSlidingLayer(Growing, DynamicSlidingWindowLayer):
    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = self.appended(key_states, value_states)
        self.cumulative_length += key_states.shape[-2]
        self.keys, self.values = (states[..., 1 - self.sliding_window :, :] for states in (keys, values))
        return keys, values


def growing_cache(config: Any) -> DynamicCache:
    """transformers' dynamic cache for a model of `config`, which grows in steps of ROOM tokens."""
    cache = DynamicCache(config=config.get_text_config())
    for place, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:
            cache.layers[place] = GrowingLayer()
        elif type(layer) is DynamicSlidingWindowLayer:
            cache.layers[place] = GrowingSlidingLayer(layer.sliding_window)
    return cache
