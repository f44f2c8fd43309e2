"""Stand-ins with random weights, saved to disk and loaded as any checkpoint is."""

from __future__ import annotations

from pathlib import Path

import pytest

from chexreason.families import FAMILIES
from chexreason.phantom.standins import build, save
from chexreason.runs.groups import Model
from tests.conftest import Once
from tests.tiny import described

TEXTS = [
    "Look at this chest radiograph and list its findings.",
    "<think>The left base is dense, with a meniscus.</think>\n<solution>Pleural Effusion</solution>",
] * 20


@pytest.fixture(scope="session", params=FAMILIES)
def checkpoint(request: pytest.FixtureRequest, once: Once) -> Model:
    def fill(folder: Path) -> None:
        model, processor = build(request.param, TEXTS, vocabulary=600)
        save(model, processor, folder)

    folder = once(f"checkpoint-{request.param}", fill)
    return described(request.param, folder, attention="eager", visual_tokens=(36, 36))
