"""What a stage and its `trainer:` block say to TRL."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames
from trl import GRPOConfig, SFTConfig

from chexreason.errors import ChexReasonError
from chexreason.runs.config import Config, as_dict, check, compose
from chexreason.runs.folders import Run
from chexreason.stages import grpo, sft
from chexreason.training import keys
from chexreason.training.trainer import in_full


def said(tmp_path: Path) -> dict[str, Any]:
    return {"output_dir": str(tmp_path), "learning_rate": 1e-5, "use_cpu": True, "bf16": False}


def settings(stage: ModuleType, *words: str) -> Config:
    return check(as_dict(compose([f"stage={stage.__name__.rpartition('.')[2]}", *words])))


@pytest.mark.parametrize("config", [SFTConfig, GRPOConfig])
def test_trls_own_names_pass_through(config: type, tmp_path: Path) -> None:
    made = in_full(config, said(tmp_path), {"optim": "sgd"})
    assert (made.optim, made.learning_rate) == ("sgd", 1e-5)


@pytest.mark.parametrize("config", [SFTConfig, GRPOConfig])
def test_what_trl_cannot_take_is_an_error_for_people(config: type, tmp_path: Path) -> None:
    with pytest.raises(ChexReasonError, match="refuses a value: .*zigzag"):
        in_full(config, said(tmp_path), {"lr_scheduler_type": "zigzag"})


@pytest.mark.parametrize("stage", [sft, grpo])
@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("+stage.trainer.optimm=sgd", "stage.trainer.optimm=sgd: TRL's .* has no such key. Did you mean 'optim'"),
        ("+stage.trainer.per_device_train_batch_size=2", "stage.trainer.per_device.*=2: stage.batch_size says it"),
        ("+stage.trainer.optim=adamz", "stage.trainer.optim=adamz: one of adamw_torch"),
        ("+stage.trainer.adam_epsilon=-1", "stage.trainer.adam_epsilon=-1: 0 at least is wanted"),
        ("+stage.trainer.adam_epsilon=inf", "stage.trainer.adam_epsilon=inf: 0 at least .* a number that is finite"),
        ("+stage.trainer.save_strategy=no", "stage.trainer.save_strategy=no: the stage itself sets it"),
        ("+stage.trainer.adam_beta2=1.5", "stage.trainer.adam_beta2=1.5: a share is wanted"),
    ],
)
def test_a_name_or_word_that_trl_does_not_know_is_refused_where_it_is_composed(stage: ModuleType, word: str, why: str) -> None:
    with pytest.raises(ChexReasonError, match=why):
        settings(stage, word)


def test_a_schedule_that_transformers_does_not_know_is_refused_where_it_is_composed() -> None:
    for stage, word in ((sft, "stage.schedule=zigzag"), (grpo, "stage.trainer.lr_scheduler_type=zigzag")):
        with pytest.raises(ChexReasonError, match=f"{word}: one of linear, cosine"):
            settings(stage, word)


@pytest.mark.parametrize("stage", [sft, grpo])
def test_a_stage_keeps_for_itself_what_it_sets(stage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr("chexreason.training.trainer.in_full", lambda config, said, trainer: told.update(said))
    composed = settings(stage)
    stage.arguments(Run(settings=composed.stage, folder=tmp_path, model=composed.model))
    assert told.keys() <= stage.OWN.keys() | keys.KEPT and not stage.OWN.keys() & keys.KEPT
    rounded = {"save_steps"}  # to whole epochs or whole rollouts
    assert stage.OWN.keys() - rounded <= told.keys()
    assert all(told[name] == getattr(composed.stage, key) for name, key in stage.OWN.items() if name not in rounded)


@pytest.mark.parametrize("stage", [sft, grpo])
@pytest.mark.parametrize("word", ["push_to_hub=true", "hub_token=hf_0123456789", "trackio_space_id=me/space"])
def test_a_training_sends_nothing_to_others_and_a_key_is_not_repeated(stage: ModuleType, word: str) -> None:
    name, value = word.split("=")
    with pytest.raises(ChexReasonError, match=f"^stage.trainer.{name}: no training sends") as refused:
        settings(stage, f"+stage.trainer.{word}")
    assert value not in str(refused.value)


def may_be_said(name: str) -> bool:
    return name not in keys.KEPT and not name.startswith(keys.SENDS)


def test_what_is_kept_from_the_trainer_block_is_there_in_trl() -> None:
    every = keys._fields("SFTConfig").keys() | keys._fields("GRPOConfig").keys()
    assert every >= keys.KEPT and all(any(name.startswith(sent) for name in every) for sent in keys.SENDS)


@pytest.mark.parametrize("config", [SFTConfig, GRPOConfig])
def test_no_number_below_0_is_taken_but_where_trl_has_a_use_for_it(config: type) -> None:
    every = keys._fields(config.__name__).items()
    numbers = {name for name, kind in every if {"int", "float"} & set(kind.split(" | ")) and may_be_said(name)}
    assert len(numbers) > 20
    for name in numbers - keys.SIGNED:
        with pytest.raises(ValueError, match=rf"trainer\.{name}=-1: (0 at least|a share)"):
            keys.check_trainer(config.__name__, {name: -1}, {})
    keys.check_trainer(config.__name__, dict.fromkeys(numbers & keys.SIGNED, -1), {})


def test_the_keys_and_words_read_from_the_source_are_those_of_trl_and_transformers() -> None:
    for config in (SFTConfig, GRPOConfig):
        assert keys._fields(config.__name__).keys() == {field.name for field in fields(config)}
        defaults = {field.name: field.default for field in fields(config) if field.default is not MISSING}
        taken = {name: value for name, value in defaults.items() if may_be_said(name) and name not in keys.WORDS}
        keys.check_trainer(config.__name__, taken, {})
    for name, words in (("OptimizerNames", OptimizerNames), ("SchedulerType", SchedulerType)):
        assert set(keys._words(name)) == {word.value for word in words}
