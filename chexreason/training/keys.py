"""The arguments of TRL's configs, read from the source of TRL and transformers, since importing them takes seconds."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from chexreason.errors import at_least, nearest, one_of, share

# Arguments that both stages set, and the key of SFT and GRPO that says each.
SHARED = {
    "num_train_epochs": "epochs",
    "learning_rate": "learning_rate",
    "per_device_train_batch_size": "batch_size",
    "gradient_accumulation_steps": "accumulation",
    "gradient_checkpointing": "gradient_checkpointing",
    "logging_steps": "logging_steps",
    "save_steps": "save_steps",
}
SOURCES = {
    "SFTConfig": ("trl", "trainer/sft_config.py"),
    "GRPOConfig": ("trl", "trainer/grpo_config.py"),
    "_BaseConfig": ("trl", "trainer/base_config.py"),
    "TrainingArguments": ("transformers", "training_args.py"),
    "OptimizerNames": ("transformers", "training_args.py"),
    "SchedulerType": ("transformers", "trainer_utils.py"),
}
KINDS: dict[str, tuple[type, ...]] = {
    "float": (float, int), "int": (int,), "bool": (bool,), "str": (str,), "None": (type(None),)
}  # fmt: skip
# Arguments by which training would send weights, prompts or completions to a third party.
SENDS = tuple("push_to_hub hub_ trackio_ log_completions log_multimodal log_unique_prompts vllm_server_".split())
# Arguments that the stages set themselves: folder, seed, device; saving, resuming, evaluation, rollouts; GRPO as in the paper.
KEPT = frozenset(
    "output_dir seed use_cpu bf16 report_to max_length save_total_limit "
    "eval_strategy eval_steps eval_delay eval_on_start logging_strategy save_strategy save_only_model save_on_each_node "
    "enable_jit_checkpoint load_best_model_at_end metric_for_best_model greater_is_better ignore_data_skip "
    "restore_callback_states_from_checkpoint resume_from_checkpoint auto_find_batch_size remove_unused_columns label_names "
    "generation_batch_size steps_per_generation num_generations_eval reward_weights use_vllm vllm_mode "
    "vllm_importance_sampling_correction vllm_importance_sampling_mode loss_type importance_sampling_level top_k "
    "disable_dropout model_init_kwargs trust_remote_code".split()
)
# Numeric arguments that may be negative, and those that are shares.
SIGNED = {"local_rank", "max_steps", "entropy_coef"}
SHARES = set("adam_beta1 adam_beta2 label_smoothing_factor min_p top_entropy_quantile ref_model_mixup_alpha".split())
WORDS = {"optim": "OptimizerNames", "lr_scheduler_type": "SchedulerType"}


def check_trainer(config: str, trainer: dict[str, Any], own: Mapping[str, str]) -> None:
    """Check that the `trainer:` block has only arguments that TRL's `config` knows and the stage does not set.

    `own`: by TRL's name, the key of the stage that says the same.

    Raises:
        ValueError: names the key and the nearest one there is.
    """
    known = _fields(config) if trainer else {}
    for name, value in trainer.items():
        if name.startswith(SENDS):  # its value may be a key
            raise ValueError(f"trainer.{name}: no training sends anything to others; stage=export writes what the hub expects")
        if known and name not in known:  # empty if TRL's source is laid out otherwise; TRL then reports unknown keys
            free = known.keys() - own.keys() - KEPT
            raise ValueError(f"trainer.{name}={value}: TRL's {config} has no such key.{nearest(name, free)}")
        if name in own:
            raise ValueError(f"trainer.{name}={value}: stage.{own[name]} says it; leave it out of trainer")
        if name in KEPT:
            raise ValueError(f"trainer.{name}={value}: the stage itself sets it; leave it out of trainer")
        if name in WORDS:
            check_word(name, f"trainer__{name}", value)
        kinds = {word.strip() for word in known.get(name, "").split("|")}
        if value is not None and kinds and kinds <= KINDS.keys() and not any(_is_of(value, kind) for kind in kinds):
            raise ValueError(f"trainer.{name}={value}: {known[name]} is wanted")
        if type(value) in (int, float) and name not in SIGNED:  # TRL checks most ranges only during training
            check = share if name in SHARES else partial(at_least, 0)
            check(**{f"trainer__{name}": value})


def check_word(name: str, key: str, value: str) -> None:
    """Check that `value` is valid for the enumerated argument `name` of transformers; `key` is our name for it."""
    if words := _words(WORDS[name]):
        one_of(words, **{key: value})


def _is_of(value: Any, kind: str) -> bool:
    return type(value) in KINDS[kind] and value == value  # nan is no number


@lru_cache
def _fields(name: str) -> dict[str, str]:
    """The fields of a dataclass and of those that it is made from, with their types."""
    found = _class(name)
    if found is None:
        return {}
    bases = [_fields(base.id) for base in found.bases if isinstance(base, ast.Name)]
    lines = (line for line in found.body if isinstance(line, ast.AnnAssign))
    own = {line.target.id: ast.unparse(line.annotation) for line in lines if isinstance(line.target, ast.Name)}
    return {field: kind for one in (*reversed(bases), own) for field, kind in one.items()}


@lru_cache
def _words(name: str) -> tuple[str, ...]:
    """The values of an enumeration."""
    found = _class(name)
    values = [line.value for line in found.body if isinstance(line, ast.Assign)] if found else []
    return tuple(str(value.value) for value in values if isinstance(value, ast.Constant))


def _class(name: str) -> ast.ClassDef | None:
    package, file = SOURCES.get(name, ("", ""))
    there = find_spec(package) if package else None
    path = Path(there.origin).parent / file if there and there.origin else None
    if path is None or not path.is_file():
        return None
    classes = (one for one in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(one, ast.ClassDef))
    return next((one for one in classes if one.name == name), None)
