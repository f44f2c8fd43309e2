"""Sampling several completions of one prompt: the prompt is computed once, and its cache copied for each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from chexreason.models.features import ImageFeatures, image_inputs
from chexreason.models.kv_cache import growing_cache


def generate(
    write: Callable[..., torch.Tensor],
    base: Any,
    inputs: dict[str, torch.Tensor],
    films: Sequence[ImageFeatures],
    same: Sequence[int],
    **how: Any,
) -> torch.Tensor:
    """What `write` (the model's `generate`) makes of prompts, of which only the first of equals is computed.

    `inputs`: ids, attention mask and token types, each (prompts, tokens), padded on the left; `same`: for each prompt, the
    first one that equals it; `films`: of each prompt. The result is that of `write` on all prompts to within rounding.
    """
    first = sorted(set(same))
    rows = torch.tensor(first, device=inputs["input_ids"].device)
    asked = {name: values[rows, :-1] for name, values in inputs.items()}  # the last token is the first step's
    cache = growing_cache(base.config)
    if films[0].grid is None:  # the Qwens, whose images have grids, count their positions by themselves
        asked["position_ids"] = (asked["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    base(**asked, **image_inputs([films[row] for row in first]), past_key_values=cache, use_cache=True, logits_to_keep=1)
    place = torch.tensor([first.index(row) for row in same], device=rows.device)
    cache.batch_select_indices(place)
    body = base.base_model
    if getattr(body, "rope_deltas", None) is not None:  # by how much a film's positions are ahead of its tokens
        body.rope_deltas = body.rope_deltas[place]
    return write(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], past_key_values=cache, **how)
