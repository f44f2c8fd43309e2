"""docs/clinical.md: its commands compose, and those that name no model of their own stay in the clinical world."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from chexreason.runs.config import compose

PAGE = Path(__file__).parents[1] / "docs" / "clinical.md"
LINES = re.findall(r"^python -m chexreason.run (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("line", LINES)
def test_a_command_composes_in_the_clinical_world(line: str) -> None:
    config = compose(shlex.split(line))
    assert config.world.name == "clinical" and config.dataset.world == "clinical"


def test_the_page_has_commands() -> None:
    assert {"stage=curate", "stage=teach", "stage=sft", "stage=grpo", "stage=evaluate"} <= {line.split()[0] for line in LINES}
