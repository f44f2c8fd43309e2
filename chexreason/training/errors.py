"""Turns out-of-memory errors in training into messages that say which settings to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from chexreason.errors import ChexReasonError
from chexreason.runs.folders import Run


@contextmanager
def memory_explained(run: Run) -> Iterator[None]:
    """Turn an out-of-memory error into one that says what to change."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ChexReasonError(smaller(run, str(error))) from error


def smaller(run: Run, reason: str) -> str:
    """The settings to lower, and by how much, when the GPU's memory does not hold a step of SFT or GRPO."""
    settings, model, advice = run.settings, run.model, []
    if run.engine and run.engine.name == "vllm" and run.engine.rollout_memory:  # its share of the GPU is taken from the start
        share = 0.75 * run.engine.rollout_memory
        advice.append(f"engine.rollout_memory={share:.2g} (vLLM leaves more to training, and writes fewer at a time)")
    if settings.batch_size > 1:
        advice.append(
            f"stage.batch_size={settings.batch_size // 2} stage.accumulation={settings.accumulation * 2}"
            f" (half as much at a time{'; every update stays the same' * (settings.batch_size % 2 == 0)})"
        )
    if not settings.gradient_checkpointing:
        advice.append("stage.gradient_checkpointing=true (activations are computed again, not kept; some 30 % slower)")
    if getattr(settings, "max_completion_tokens", 0) > 256:
        advice.append(f"stage.max_completion_tokens={settings.max_completion_tokens // 2} (changes what may be written)")
    if getattr(settings, "completions", 0) > 2:
        advice.append(f"stage.completions={settings.completions // 2} (a noisier baseline: another experiment)")
    if model.max_visual_tokens > model.min_visual_tokens:
        advice.append(f"model.max_visual_tokens={model.min_visual_tokens} (coarser images: another experiment)")
    steps = "".join(f"\n  {number}. {line}" for number, line in enumerate(advice, start=1))
    return (
        f"memory ran out: {reason.split('. If reserved')[0].strip()}\nIn this order, lower:{steps}"
        if advice
        else (f"memory ran out: {reason}\nNothing in the settings is left to lower: this model needs a larger GPU")
    )
