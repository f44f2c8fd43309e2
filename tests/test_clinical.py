"""docs/clinical.md: its commands compose, and those that name no model of their own stay in the clinical world."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import open_dict

from chexreason.runs.config import CONF, compose
from chexreason.runs.sweep import foresee

PAGE = Path(__file__).parents[1] / "docs" / "clinical.md"
LINES = re.findall(r"^python -m chexreason.run (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("line", LINES)
def test_a_command_composes_in_the_clinical_world(line: str) -> None:
    config = compose(shlex.split(line))
    assert config.world.name == "clinical" and config.dataset.world == "clinical"


def planned(*words: str) -> str:
    """What a sweep over several experiments prints of itself."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra_compose("config", list(words[1:]), return_hydra_config=True)
    with open_dict(config):  # as Hydra does, which composes such a sweep's own config without them
        config.hydra.overrides.task = list(words)
    return str(foresee(config))


def test_what_the_study_costs_is_what_its_plan_prints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    paper = "table1,table2,table3,table4,table5,table6,figure1,figure2,figure3"
    two, whole = (planned(f"experiment={names}", "world=clinical", f"runs={tmp_path}") for names in ("table2,table3", paper))
    page, readme = PAGE.read_text(encoding="utf-8"), PAGE.parents[1].joinpath("README.md").read_text(encoding="utf-8")
    asked, paid, disk = re.findall(r"^(?:gemini|disk): .*$", page, re.MULTILINE)
    assert asked in two and asked in whole and paid in two and disk in whole
    gigabytes, runs = re.findall(r"\d+", disk)[:2]
    said = " ".join(readme.split())
    assert asked.partition("gemini: ")[2].partition(";")[0] in said and "at most 180 USD" in said
    assert f"its {runs} runs of a model take {gigabytes} GB of disk" in said


def test_the_page_has_commands() -> None:
    assert {"stage=curate", "stage=teach", "stage=sft", "stage=grpo", "stage=evaluate"} <= {line.split()[0] for line in LINES}
