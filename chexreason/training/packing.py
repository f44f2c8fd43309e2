"""The log-probabilities of a group of completions in one row: their prompt once, then each of them.

A group shares its whole prompt, the image included. The plain batch computes it once for each completion; here a row holds
prompt and completions, each completion with the positions that it has after the prompt, and a mask by which it sees the prompt
and itself. The prompt's last token stands before each completion again, for it predicts the first token of each.
The result is the plain batch's to within rounding, gradients included: they flow through the shared part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from chexreason.models.encoding import IGNORED
from chexreason.models.features import GRID, ImageFeatures, image_inputs


@dataclass(frozen=True)
class Row:
    """A packed row of `tokens` ids: `segments` 0 for the prompt, then 1, 2, ... for the completions; `positions` after the
    prompt's start; `labels` the token that follows; each of shape (tokens,)."""

    ids: torch.Tensor
    segments: torch.Tensor
    positions: torch.Tensor
    labels: torch.Tensor


def packed(prompt: torch.Tensor, completions: Sequence[torch.Tensor]) -> Row:
    """A row of one prompt (tokens,) and its completions, each (tokens,)."""
    shared, last = prompt[:-1], prompt[-1:]
    parts = [torch.cat([last, completion]) for completion in completions]
    nothing = torch.full_like(last, IGNORED)
    start = torch.arange(len(shared), device=prompt.device)
    return Row(
        ids=torch.cat([shared, *parts]),
        segments=torch.cat([torch.full_like(part, number) for number, part in enumerate([shared, *parts])]),
        positions=torch.cat([start, *(len(shared) + torch.arange(len(part), device=prompt.device) for part in parts)]),
        labels=torch.cat([torch.full_like(shared, IGNORED), *(torch.cat([part[1:], nothing]) for part in parts)]),
    )


def masks(row: Row, image: torch.Tensor, config: Any) -> dict[str, torch.Tensor]:
    """Which token sees which, (1, 1, tokens, tokens), for each kind of layer that the text model has.

    A token sees what comes before it, in the prompt and in its own completion; `image` (tokens,) marks the tokens that
    see each other both ways (Gemma 3); none where they do not.
    """
    order = torch.arange(len(row.ids), device=row.ids.device)
    own = (row.segments == 0)[None] | (row.segments[:, None] == row.segments[None])
    causal = (order[None] <= order[:, None]) & own
    both = image[:, None] & image[None]
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    seen = {"full_attention": causal | both}  # as in transformers' create_masks_for_vision_model
    if "sliding_attention" in kinds:
        near = row.positions[:, None] - row.positions[None] < config.sliding_window
        seen["sliding_attention"] = near & (causal | both)
    return {kind: mask[None, None] for kind, mask in seen.items()}


def score(
    model: Any, base: Any, prompt: torch.Tensor, kinds: torch.Tensor, film: ImageFeatures, completions: Sequence[torch.Tensor]
) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
    """For each completion its tokens' log-probabilities after `prompt` and the entropies before them, each (tokens,).

    `model` has TRL's fused head, which divides logits by the temperature and says whether it computes entropies; `base` is
    the same model without the adapter's and the processes' wrapping. `kinds`: the prompt's token types.
    """
    row = packed(prompt, completions)
    image = torch.zeros_like(row.ids, dtype=torch.bool)
    positions = row.positions[None]
    if film.grid is None:
        image[: len(kinds)] = kinds == 1
    else:
        there, _ = base.base_model.get_rope_index(input_ids=prompt[None], mm_token_type_ids=kinds[None], **{GRID: film.grid})
        there = there[:, 0]  # (3, tokens): a prompt ends in text, which counts on from the furthest position
        after = there[:, -1:] + row.positions[len(prompt) - 1 :] - (len(prompt) - 1)
        positions = torch.cat([there[:, :-1], after], dim=1)[:, None]
    seen = masks(row, image, base.config.get_text_config())
    if base.config.get_text_config()._attn_implementation == "eager":  # adds its mask to the scores
        least = torch.finfo(base.dtype).min
        seen = {kind: torch.zeros_like(mask, dtype=base.dtype).masked_fill(~mask, least) for kind, mask in seen.items()}
    found = model(
        input_ids=row.ids[None],
        # A config without layer types uses one kind for all layers and takes the mask itself.
        attention_mask=seen if getattr(base.config.get_text_config(), "layer_types", None) else seen["full_attention"],
        position_ids=positions,
        shift_labels=row.labels[None],
        fused_lm_head=True,
        mm_encoder_outputs=image_inputs([film])["mm_encoder_outputs"],
    )
    lengths = [len(prompt) - 1, *(len(completion) + 1 for completion in completions)]

    log_probs = [part[:-1] for part in found.log_probs[0].split(lengths)[1:]]
    if found.entropy is None:
        return [(part, None) for part in log_probs]
    return list(zip(log_probs, (part[:-1] for part in found.entropy[0].split(lengths)[1:]), strict=True))


def can_pack(base: Any) -> bool:
    """Whether the model's attention takes a mask as it is given. (Flash attention makes its own.)"""
    return base.config.get_text_config()._attn_implementation in ("eager", "sdpa")


def groups(rows: Sequence[int], most: int) -> list[slice]:
    """Runs of equal neighbours, none longer than `most`."""
    found: list[slice] = []
    for place, row in enumerate(rows):
        if found and rows[place - 1] == row and place - found[-1].start < most:
            found[-1] = slice(found[-1].start, place + 1)
        else:
            found.append(slice(place, place + 1))
    return found
