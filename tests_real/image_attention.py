"""Attention for vLLM on a CPU under which the tokens of one image attend to each other both ways, as Gemma 3's do.

vLLM's GPU backends do this and its CPU backend does not. This one is plain torch, a request at a time: slow, and enough to see
that everything else between a Gemma and vLLM is as it should be.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend, CPUAttentionBackendImpl, CPUAttentionMetadataBuilder
from vllm.v1.attention.backends.registry import AttentionBackendEnum, register_backend


@contextmanager
def in_place_of_the_cpu_backend() -> Iterator[None]:
    """By the door that vLLM keeps for other backends; what it loads meanwhile has this one."""
    register_backend(AttentionBackendEnum.CPU_ATTN, f"{__name__}.{ImageAttentionBackend.__name__}")
    try:
        yield
    finally:
        AttentionBackendEnum.CPU_ATTN.clear_override()


class ImageAttentionBackend(CPUAttentionBackend):
    @classmethod
    def supports_mm_prefix(cls) -> bool:
        return True

    @staticmethod
    def get_impl_cls() -> type[ImageAttention]:
        return ImageAttention

    @staticmethod
    def get_builder_cls() -> type[ImageSpans]:
        return ImageSpans


class ImageSpans(CPUAttentionMetadataBuilder):
    """vLLM's own metadata, and where the images lie: `images[request]` holds pairs of a first and a last position."""

    def build(self, common_prefix_len: int, common_attn_metadata: Any, fast_build: bool = False) -> Any:
        metadata = super().build(common_prefix_len, common_attn_metadata, fast_build)
        metadata.images = common_attn_metadata.mm_req_doc_ranges or {}
        return metadata


class ImageAttention(CPUAttentionBackendImpl):
    def do_kv_cache_update(self, layer: Any, key: Any, value: Any, kv_cache: Any, slot_mapping: Any) -> None:
        """`key`, `value`: (tokens, heads, size); `kv_cache`: (blocks, heads, block size, 2 x size)."""
        block = kv_cache.shape[2]
        written = torch.cat([key, value], dim=-1)[: len(slot_mapping)]
        kv_cache[slot_mapping // block, :, slot_mapping % block] = written.to(kv_cache.dtype)

    def forward(
        self, layer: Any, query: Any, key: Any, value: Any, kv_cache: Any, attn_metadata: Any, output: Any, *_: Any, **__: Any
    ) -> Any:
        """`query`, `output`: (tokens, heads, size), the requests' new tokens one after the other."""
        if attn_metadata is None:  # vLLM warms up
            return output
        block, starts = kv_cache.shape[2], attn_metadata.query_start_loc.tolist()
        for request, (start, end) in enumerate(zip(starts, starts[1:], strict=False)):
            length = int(attn_metadata.seq_lens[request])
            blocks = attn_metadata.block_table[request, : -(-length // block)].long()
            keys, values = kv_cache[blocks].transpose(0, 1).flatten(1, 2)[:, :length].chunk(2, dim=-1)
            seen = self._seen(length - (end - start), length, attn_metadata.images.get(request, ()))
            asked = query[start:end].transpose(0, 1)
            found = scaled_dot_product_attention(
                asked[None], keys[None], values[None], attn_mask=seen, scale=self.scale, enable_gqa=True
            )
            output[start:end] = found[0].transpose(0, 1)
        return output

    def _seen(self, computed: int, length: int, images: Any) -> torch.Tensor:
        """Which of `length` positions each position from `computed` on attends to. Shape: (length - computed, length)."""
        asking, asked = torch.arange(computed, length)[:, None], torch.arange(length)
        seen = asked <= asking
        if self.sliding_window > 0:
            seen &= asking - asked < self.sliding_window
        for first, last in images:
            seen |= (asking >= first) & (asking <= last) & (asked >= first) & (asked <= last)
        return seen
