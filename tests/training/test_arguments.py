"""What a stage and its `trainer:` block say to TRL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trl import GRPOConfig, SFTConfig

from chexreason.errors import ChexReasonError
from chexreason.training.trainer import in_full


def said(tmp_path: Path) -> dict[str, Any]:
    return {"output_dir": str(tmp_path), "learning_rate": 1e-5, "use_cpu": True, "bf16": False}


@pytest.mark.parametrize("config", [SFTConfig, GRPOConfig])
def test_trls_own_names_pass_through(config: type, tmp_path: Path) -> None:
    made = in_full(config, said(tmp_path), {"optim": "sgd"})
    assert (made.optim, made.learning_rate) == ("sgd", 1e-5)


@pytest.mark.parametrize("config", [SFTConfig, GRPOConfig])
@pytest.mark.parametrize(
    ("trainer", "why"),
    [
        ({"optimm": "sgd"}, "stage.trainer.optimm: TRL's .* has no such key. Did you mean 'optim'"),
        ({"learning_rate": 1.0}, r"stage.trainer.learning_rate: the stage itself sets it \(1e-05\)"),
        ({"lr_scheduler_type": "zigzag"}, "refuses a value: .*zigzag"),
    ],
)
def test_what_trl_cannot_take_is_an_error_for_people(config: type, trainer: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(ChexReasonError, match=why):
        in_full(config, said(tmp_path), trainer)
