"""Errors of the machine, said for a person."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from chexreason.errors import ChexReasonError
from chexreason.runs.config import as_dict, compose, group
from chexreason.runs.folders import Run
from chexreason.training.errors import memory_explained

OUT = "CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has a total capacity of 79.15 GiB. If reserved but ..."


def run(stage: str, folder: Path, *overrides: str) -> Run:
    plain = as_dict(compose((f"stage={stage}", "model=qwen", *overrides)))
    settings: Any = group("stage", plain["stage"])
    groups = {name: group(name, plain[name]) for name in ("model", "engine")}
    return Run(settings=settings, folder=folder, **groups)


def message(run: Run, error: Exception) -> str:
    with pytest.raises(ChexReasonError) as caught, memory_explained(run):
        raise error
    return str(caught.value)


def test_memory_that_runs_out_says_what_to_lower_and_by_how_much(tmp_path: Path) -> None:
    said = message(run("grpo", tmp_path, "stage.batch_size=8", "stage.accumulation=4"), torch.OutOfMemoryError(OUT))
    assert "Tried to allocate 9.00 GiB" in said and "If reserved" not in said
    assert "1. stage.batch_size=4 stage.accumulation=8" in said, "first what changes no result"
    assert "every update stays the same" in said
    odd = message(run("sft", tmp_path, "stage.batch_size=3", "stage.accumulation=2"), torch.OutOfMemoryError(OUT))
    assert "stage.batch_size=1 stage.accumulation=4" in odd and "stays the same" not in odd
    assert "stage.max_completion_tokens=512" in said and "model.max_visual_tokens=256" in said
    assert "gradient_checkpointing" not in said, "it is on already"
    said = message(run("sft", tmp_path, "stage.gradient_checkpointing=false"), torch.OutOfMemoryError(OUT))
    assert "1. stage.gradient_checkpointing=true" in said and "batch_size" not in said and "completions" not in said


def test_beside_vllm_its_share_of_the_gpu_is_the_first_to_lower(tmp_path: Path) -> None:
    lower = "1. engine.rollout_memory=0.22 "
    assert lower in message(run("grpo", tmp_path, "engine=vllm"), torch.OutOfMemoryError(OUT))
    assert "rollout_memory" not in message(run("grpo", tmp_path), torch.OutOfMemoryError(OUT))


def test_where_nothing_is_left_to_lower_it_says_so(tmp_path: Path) -> None:
    least = run("sft", tmp_path)
    least = replace(least, model=replace(least.model, max_visual_tokens=256))
    assert "larger GPU" in message(least, torch.OutOfMemoryError(OUT))


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), FileNotFoundError(2, "No such file", "x.png")])
def test_other_errors_keep_their_own_words(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)), memory_explained(run("sft", tmp_path)):
        raise error
