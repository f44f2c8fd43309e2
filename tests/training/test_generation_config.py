"""What a checkpoint's own generation_config says changes no answer and no rollout."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from chexreason.models.generation import Generator, Sampling
from chexreason.models.loading import load_model
from chexreason.models.processors import load_processor
from chexreason.prompts import Prompt
from tests.training.conftest import INSTRUCTION, film

LEAKS: dict[str, dict[str, Any]] = {
    "sampling cut to one token": {"do_sample": True, "top_k": 1, "top_p": 0.01},
    "no temperature": {"do_sample": True, "temperature": 1e-6},
    "repetition": {"repetition_penalty": 8.0},
    "ngrams": {"no_repeat_ngram_size": 1},
    "length": {"min_new_tokens": 12, "max_length": 3},
    "static cache": {"cache_implementation": "static"},
    "beams": {"num_beams": 3},
    "bad words": {"bad_words_ids": [[number] for number in range(20, 200)]},
}


def copy_with(weights: Any, folder: Path, generation: dict[str, Any]) -> Any:
    """The same weights beside another generation_config."""
    shutil.copytree(weights.weights, folder)
    stops = GenerationConfig.from_pretrained(folder).eos_token_id
    config = GenerationConfig(eos_token_id=stops, pad_token_id=0, **generation)
    (folder / "generation_config.json").write_text(config.to_json_string())
    return replace(weights, weights=str(folder))


def answers(weights: Any) -> list[list[str]]:
    """What is written about two films, greedily and drawn."""
    model, processor = load_model(weights).eval(), load_processor(weights, padding_side="left")
    asked = Prompt("test", "labels", "", "", INSTRUCTION)
    return [
        [completion.text for completion in Generator(model, processor, asked, 12, sampling)([film(0), film(1)])]
        for sampling in (Sampling(), Sampling(temperature=1.0, top_p=0.95, seed=1))
    ]


def leaking(written: Callable[[str, dict[str, Any]], Any]) -> list[str]:
    """Which of them change what is written: all at once are tried first, and each by itself only where something leaks."""
    plain = written("plain", {})
    together = {key: value for generation in LEAKS.values() for key, value in generation.items()}
    if written("together", together) == plain:
        return []
    return [leak for leak, generation in LEAKS.items() if written(leak, generation) != plain] or ["several together"]


def test_answers_are_those_of_the_run_s_own_settings(awkward: Any, tmp_path: Path) -> None:
    assert not leaking(lambda name, generation: answers(copy_with(awkward, tmp_path / name, generation)))


def test_rollouts_are_those_of_the_run_s_own_settings(awkward: Any, tmp_path: Path, grpo: Callable[..., Any]) -> None:
    def rollout(name: str, generation: dict[str, Any]) -> list[list[int]]:
        trainer = grpo(weights=copy_with(awkward, tmp_path / name, generation))
        trainer.model.train()
        torch.manual_seed(3)
        made = trainer._generate_and_score_completions([trainer.train_dataset[index // 4] for index in range(8)])
        return made["completion_ids"].tolist()

    assert not leaking(rollout)


def test_a_turn_still_ends_where_the_checkpoint_says(awkward: Any) -> None:
    assert load_model(awkward).generation_config.eos_token_id == GenerationConfig.from_pretrained(awkward.weights).eos_token_id
