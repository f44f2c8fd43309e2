"""Decoding in which finished rows leave the batch, so that a long completion does not cost computation for all rows."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

BY_ROW = ("attention_mask", "position_ids", "token_type_ids", "mm_token_type_ids")  # each (..., rows, tokens)


def decode(
    model: Any, input_ids: torch.Tensor, logits_processor: Any, stopping_criteria: Any, generation_config: Any, **state: Any
) -> torch.Tensor:
    """What `generate` writes greedily, or draws, when it is given this as `custom_generate`: (rows, tokens), padded.

    `generate` has prepared everything else: `state` holds the model's inputs and a dynamic cache. Drawn completions differ
    from those of transformers' own loop, whose random numbers are drawn for ended rows, too.
    """
    rows = torch.arange(len(input_ids), device=input_ids.device)  # which of the batch are being written
    written: list[torch.Tensor] = [row for row in input_ids]
    outputs = model._prefill(input_ids, generation_config, state)
    while True:
        state = model._update_model_kwargs_for_generation(outputs, state)
        scores = logits_processor(input_ids, outputs.logits[:, -1].float())
        if generation_config.do_sample:
            tokens = torch.multinomial(scores.softmax(dim=-1), num_samples=1)
        else:
            tokens = scores.argmax(dim=-1, keepdim=True)
        input_ids = torch.cat([input_ids, tokens], dim=-1)
        ended = stopping_criteria(input_ids, None)
        if ended.any():
            for row in ended.nonzero().flatten().tolist():
                written[int(rows[row])] = input_ids[row]
            going = (~ended).nonzero().flatten()
            if not len(going):
                return pad_sequence(written, batch_first=True, padding_value=float(generation_config._pad_token_tensor))
            rows, input_ids = rows[going], input_ids[going]
            state |= {name: state[name][..., going, :] for name in BY_ROW if state.get(name) is not None}
            state["past_key_values"].batch_select_indices(going)
        outputs = model(**model.prepare_inputs_for_generation(input_ids, next_sequence_length=1, **state), return_dict=True)
