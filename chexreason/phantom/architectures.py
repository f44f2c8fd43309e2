"""The families' architectures at two sizes: `small`, for stand-ins that two cores can train, and `published`.

Published: Gemma 3 4B, which MedGemma-4B is (Gemma Team, arXiv:2503.19786; Sellergren et al., arXiv:2507.05201), and
Qwen2.5-VL-3B (Bai et al., arXiv:2502.13923), by the names that transformers gives their settings. Qwen3-VL has the
small size alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chexreason.errors import ChexReasonError


@dataclass(frozen=True)
class Architecture:
    """Settings of transformers' text and vision configs; `image_size` in pixels a side.

    `visual_tokens` of an image, None where its size decides; `vocabulary` None: as many tokens as the tokenizer has.
    """

    text: dict[str, Any]
    vision: dict[str, Any]
    image_size: int
    visual_tokens: int | None = None
    vocabulary: int | None = None


_SMALL_TEXT = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}


_SMALL_QWEN_VISION = {  # 8 x 8 patches of 12 pixels, merged two by two into 16 visual tokens
    "depth": 4,
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_heads": 4,
    "patch_size": 12,
    "spatial_merge_size": 2,
}


def _multimodal_rope(time: int, height: int, width: int) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [time, height, width]}


ARCHITECTURES = {
    "gemma3": {
        "small": Architecture(
            text=_SMALL_TEXT | {"head_dim": 32, "sliding_window": 1024},
            vision={  # 6 x 6 patches of 16 pixels, each a visual token
                "hidden_size": 128,
                "intermediate_size": 384,
                "num_hidden_layers": 4,
                "num_attention_heads": 4,
                "patch_size": 16,
            },
            image_size=96,
            visual_tokens=36,
        ),
        "published": Architecture(
            text={
                "hidden_size": 2560,
                "intermediate_size": 10240,
                "num_hidden_layers": 34,
                "num_attention_heads": 8,
                "num_key_value_heads": 4,
                "head_dim": 256,
                "sliding_window": 1024,
                "max_position_embeddings": 131072,
                "rope_scaling": {"rope_type": "linear", "factor": 8.0},
            },
            vision={  # 64 x 64 patches of 14 pixels, pooled four by four into 256 visual tokens
                "hidden_size": 1152,
                "intermediate_size": 4304,
                "num_hidden_layers": 27,
                "num_attention_heads": 16,
                "patch_size": 14,
            },
            image_size=896,
            visual_tokens=256,
            vocabulary=262208,
        ),
    },
    "qwen2_5_vl": {
        "small": Architecture(
            text=_SMALL_TEXT | {"rope_parameters": _multimodal_rope(8, 4, 4)},
            vision=_SMALL_QWEN_VISION | {"window_size": 48, "fullatt_block_indexes": [1, 3]},
            image_size=96,
        ),
        "published": Architecture(
            text={
                "hidden_size": 2048,
                "intermediate_size": 11008,
                "num_hidden_layers": 36,
                "num_attention_heads": 16,
                "num_key_value_heads": 2,
                "max_position_embeddings": 128000,
                "rope_parameters": _multimodal_rope(16, 24, 24),
            },
            vision={  # patches of 14 pixels, merged two by two; as many as model.max_visual_tokens allows
                "depth": 32,
                "hidden_size": 1280,
                "intermediate_size": 3420,
                "num_heads": 16,
                "patch_size": 14,
                "spatial_merge_size": 2,
                "window_size": 112,
                "fullatt_block_indexes": [7, 15, 23, 31],
            },
            image_size=448,
            vocabulary=151936,
        ),
    },
    "qwen3_vl": {
        "small": Architecture(
            text=_SMALL_TEXT
            | {"head_dim": 32, "rope_parameters": _multimodal_rope(8, 4, 4) | {"rope_theta": 5e6, "mrope_interleaved": True}},
            vision=_SMALL_QWEN_VISION | {"num_position_embeddings": 64, "deepstack_visual_indexes": [1, 2]},
            image_size=96,
        )
    },
}


def architecture(family: str, size: str) -> Architecture:
    """The architecture of `family` (gemma3 | qwen2_5_vl | qwen3_vl) at `size` (small | published).

    Raises:
        ChexReasonError: there is no such size.
    """
    sizes = ARCHITECTURES[family]
    if size not in sizes:
        raise ChexReasonError(f"model.pretraining.size={size}: there is no such size. Valid: {', '.join(sizes)}")
    return sizes[size]
