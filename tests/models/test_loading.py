"""LoRA on the language model alone, for both architectures, and digests that notice what moved."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from chexreason.errors import ChexReasonError
from chexreason.families import FAMILIES
from chexreason.models.loading import (
    adapter_digest,
    add_lora,
    frozen_digest,
    load_adapter,
    load_model,
    only_language_model_trains,
    require_adapter,
    require_frozen,
    save_adapter,
)
from chexreason.runs.files import read_json, write_json, write_text
from chexreason.runs.groups import Checkpoint, Model

PROJECTIONS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
LORA = {"rank": 4, "alpha": 8, "dropout": 0.1}


def test_only_the_language_models_projections_train(checkpoint: Model) -> None:
    model = add_lora(load_model(checkpoint), seed=0, **LORA)
    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    layers = model.config.get_text_config().num_hidden_layers
    assert len(names) == layers * len(PROJECTIONS) * 2, "an A and a B matrix for each projection of each layer"
    assert all(".language_model." in name and "lora_" in name for name in names)
    assert {name.split(".lora_")[0].rsplit(".", 1)[1] for name in names} == PROJECTIONS
    assert not any("vision" in name or "visual" in name for name in names)


def test_bare_projection_names_would_reach_the_vision_tower_and_are_refused(checkpoint: Model) -> None:
    bare = get_peft_model(load_model(checkpoint), LoraConfig(target_modules="all-linear"))
    with pytest.raises(ChexReasonError, match="language model"):
        only_language_model_trains(bare)


def test_the_seed_decides_the_adapter(checkpoint: Model) -> None:
    digests = [adapter_digest(add_lora(load_model(checkpoint), seed=seed, **LORA)) for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


def test_digests_notice_which_weights_moved(checkpoint: Model) -> None:
    model = add_lora(load_model(checkpoint), seed=0, **LORA)
    frozen, adapter = frozen_digest(model), adapter_digest(model)
    with torch.no_grad():
        next(weight for name, weight in model.named_parameters() if "lora_B" in name).add_(1.0)
    assert frozen_digest(model) == frozen and adapter_digest(model) != adapter
    require_frozen(model, frozen)
    with torch.no_grad():
        next(weight for name, weight in model.named_parameters() if "lora_" not in name).add_(1e-3)
    with pytest.raises(ChexReasonError, match="weights that are frozen"):
        require_frozen(model, frozen)


def test_a_saved_adapter_comes_back(checkpoint: Model, tmp_path) -> None:
    model = add_lora(load_model(checkpoint), seed=0, **LORA)
    model.save_pretrained(tmp_path)
    again = load_adapter(load_model(checkpoint), tmp_path, trainable=True)
    assert adapter_digest(again) == adapter_digest(model)
    assert any(weight.requires_grad for weight in again.parameters())
    assert not any(weight.requires_grad for weight in load_adapter(load_model(checkpoint), tmp_path).parameters())


@pytest.mark.parametrize("harm", ["other names", "other sizes", "a layer less", "a layer more", "cut short", "empty"])
def test_an_adapter_that_fits_in_part_or_not_at_all_is_refused(harm: str, checkpoint: Model, tmp_path: Path) -> None:
    add_lora(load_model(checkpoint), seed=0, **LORA).save_pretrained(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    weights = load_file(file)
    first = next(iter(weights))
    if harm == "other names":
        weights = {name.replace("language_model", "text_model"): weight for name, weight in weights.items()}
    elif harm == "other sizes":
        weights = {name: torch.cat([weight, weight], dim=0 if "lora_A" in name else 1) for name, weight in weights.items()}
    elif harm == "a layer less":
        weights.pop(first)
    elif harm == "a layer more":
        weights[first.replace(".layers.0.", ".layers.99.")] = weights[first].clone()
    save_file({name: weight.contiguous() for name, weight in weights.items()}, file)
    if harm in ("cut short", "empty"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2 if harm == "cut short" else 0])
    with pytest.raises(ChexReasonError, match=f"{tmp_path}: this adapter does not fit the model: "):
        load_adapter(load_model(checkpoint), tmp_path)


@pytest.mark.parametrize(
    "said",
    [{"megatron_config": {"a": 1}, "megatron_core": "lent.megatron"}, {"peft_type": "PROMPT_TUNING"}, {"peft_type": None}],
)
def test_an_adapter_of_somebody_elses_has_nothing_imported(
    said: dict[str, Any], checkpoint: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "lent" / "megatron.py", "")
    monkeypatch.syspath_prepend(tmp_path)
    save_adapter(add_lora(load_model(checkpoint), seed=0, **LORA), tmp_path, checkpoint)
    write_json(tmp_path / "adapter_config.json", read_json(tmp_path / "adapter_config.json") | said)
    with pytest.raises(ChexReasonError, match="it is no plain LoRA adapter"):
        load_adapter(load_model(checkpoint), tmp_path)
    assert "lent.megatron" not in sys.modules


def test_weights_that_are_a_pickle_are_not_read(checkpoint: Model, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint.weights, tmp_path / "m")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ChexReasonError, match="cannot be loaded"):
        load_model(replace(checkpoint, weights=str(folder)))
    save_adapter(add_lora(load_model(checkpoint), seed=0, **LORA), tmp_path / "a", checkpoint)
    torch.save(load_file(tmp_path / "a" / "adapter_model.safetensors"), tmp_path / "a" / "adapter_model.bin")
    (tmp_path / "a" / "adapter_model.safetensors").unlink()
    with pytest.raises(ChexReasonError, match="adapter_model.bin is a pickle"):
        Checkpoint("own", None, str(tmp_path / "a")).require()
    with pytest.raises(ChexReasonError, match="the adapter is gone"):
        require_adapter(tmp_path / "a")


def test_a_wrong_family_is_named(checkpoint: Model) -> None:
    other = next(family for family in FAMILIES if family != checkpoint.family)
    with pytest.raises(ChexReasonError, match=f"model.family={other}, but .* holds a {checkpoint.family}"):
        load_model(replace(checkpoint, family=other))


def test_an_adapter_says_what_it_belongs_to_and_not_where_that_lay(checkpoint: Model, tmp_path) -> None:
    save_adapter(add_lora(load_model(checkpoint), seed=0, **LORA), tmp_path, checkpoint)
    assert read_json(tmp_path / "adapter_config.json")["base_model_name_or_path"] == checkpoint.name
    assert adapter_digest(load_adapter(load_model(checkpoint), tmp_path)) == adapter_digest(
        add_lora(load_model(checkpoint), seed=0, **LORA)
    )
