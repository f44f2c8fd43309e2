"""The families' architectures at two sizes: `small`, for stand-ins that two cores can train, and `published`.

Published: Gemma 3 4B, which MedGemma-4B is (Gemma Team, arXiv:2503.19786; Sellergren et al., arXiv:2507.05201), and
Qwen2.5-VL-3B (Bai et al., arXiv:2502.13923), by the names that transformers gives their settings. Qwen3-VL has the
small size alone.
"""

from __future__ import annotations

from collections.abc import Mapping
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


# fmt: off
#                              small  Gemma 3 4B  Qwen2.5-VL-3B
_TEXT = {
    "hidden_size":             (128,  2560,       2048),
    "intermediate_size":       (320,  10240,      11008),
    "num_hidden_layers":       (3,    34,         36),
    "num_attention_heads":     (4,    8,          16),
    "num_key_value_heads":     (2,    4,          2),
    "max_position_embeddings": (4096, 131072,     128000),
}
#                              small  published
_SIGLIP = {  # of Gemma 3
    "hidden_size":             (128,  1152),
    "intermediate_size":       (384,  4304),
    "num_hidden_layers":       (4,    27),
    "num_attention_heads":     (4,    16),
    "patch_size":              (16,   14),
}
_QWEN_VISION = {
    "hidden_size":             (128,  1280),
    "intermediate_size":       (384,  3420),
    "depth":                   (4,    32),
    "num_heads":               (4,    16),
    "patch_size":              (12,   14),
    "spatial_merge_size":      (2,    2),
}
# fmt: on


def _column(settings: Mapping[str, tuple[int, ...]], place: int) -> dict[str, Any]:
    return {name: values[place] for name, values in settings.items()}


def _multimodal_rope(time: int, height: int, width: int) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [time, height, width]}


_SMALL_TEXT, _SMALL_QWEN_VISION = _column(_TEXT, 0), _column(_QWEN_VISION, 0)
_SMALL_QWEN3_ROPE = _multimodal_rope(8, 4, 4) | {"rope_theta": 5e6, "mrope_interleaved": True}
ARCHITECTURES = {
    "gemma3": {
        "small": Architecture(  # 6 x 6 patches, each a visual token
            text=_SMALL_TEXT | {"head_dim": 32, "sliding_window": 1024},
            vision=_column(_SIGLIP, 0),
            image_size=96,
            visual_tokens=36,
        ),
        "published": Architecture(  # 64 x 64 patches, pooled four by four into 256 visual tokens
            text=_column(_TEXT, 1)
            | {"head_dim": 256, "sliding_window": 1024, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
            vision=_column(_SIGLIP, 1),
            image_size=896,
            visual_tokens=256,
            vocabulary=262208,
        ),
    },
    "qwen2_5_vl": {
        "small": Architecture(  # 8 x 8 patches, merged two by two into 16 visual tokens
            text=_SMALL_TEXT | {"rope_parameters": _multimodal_rope(8, 4, 4)},
            vision=_SMALL_QWEN_VISION | {"window_size": 48, "fullatt_block_indexes": [1, 3]},
            image_size=96,
        ),
        "published": Architecture(  # patches merged two by two; as many as model.max_visual_tokens allows
            text=_column(_TEXT, 2) | {"rope_parameters": _multimodal_rope(16, 24, 24)},
            vision=_column(_QWEN_VISION, 1) | {"window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31]},
            image_size=448,
            vocabulary=151936,
        ),
    },
    "qwen3_vl": {
        "small": Architecture(
            text=_SMALL_TEXT | {"head_dim": 32, "rope_parameters": _SMALL_QWEN3_ROPE},
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
