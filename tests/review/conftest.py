"""A teach run on the small curated set of the teacher's tests, and reviews of it: packs made and pages filled."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chexreason.data.paths import write_root
from chexreason.labels import FINDINGS, in_order
from chexreason.prompts import write_answer
from chexreason.runs.config import as_dict, compose
from chexreason.runs.files import read_json, write_json
from chexreason.runs.folders import Run
from chexreason.runs.identity import path_digest
from chexreason.stages.review import PACK, Settings, execute
from chexreason.stages.sft import read_traces
from chexreason.teacher.traces import write_traces
from tests.manifests import complete
from tests.teacher.conftest import STUDIES
from tests.teacher.conftest import curated as curated

HOSTILE = '</script><img src=x onerror="document.title=1"><b>bold</b> {{ 7 * 7 }}'
AGREEMENT = "PhysioNet Credentialed Health Data Use Agreement 1.5.0"


def thoughts(number: int) -> str:
    return f"Case {number} has a sign of its own, {HOSTILE}, and the other regions are clear."


@pytest.fixture
def taught(curated: Path) -> Path:
    """The folder of a teach run on the curated set, in a runs folder."""
    folder = curated.parent / "teach-1"
    traces = []
    for number in range(STUDIES):
        labels = in_order({FINDINGS[1 + number], FINDINGS[1 + (number * 5) % 13]})
        trace = {"schema": 1, "site": "test", "path": f"{number}.png", "patient": f"patient{number}", "labels": labels}
        trace["sha256"] = path_digest(curated.parent / "images" / f"{number}.png")
        traces.append(trace | {"completion": write_answer("tags", thoughts(number), labels), "num_attempts": 1})
    write_traces(folder, traces)
    write_root(folder, curated.parent / "images")
    prompt = as_dict(compose(("prompt=free_reasoning",)))["prompt"]
    gates = {"least_words": 4, "most_words": 100, "repeated_words": 12}
    config = {"prompt": prompt, "teacher": {"name": "phantom"}, "stage": {"gates": gates}}
    write_json(
        folder / "manifest.json",
        complete("teach", finished="1", config=config, parents={"curated": curated.name}),
    )
    return folder


def learnt(taught: Path, reviewed: str | None) -> list[dict[str, Any]]:
    """What stage=sft learns from."""
    return read_traces(Run(SimpleNamespace(reviewed=reviewed), taught.parent / "sft-1", parents={"traces": taught}))


def review(taught: Path, name: str = "review-1", **settings: Any) -> Path:
    values = {"name": "review", "parents": {}, "sample": 8, "image_side": 64, "data_use_agreement": None, "filled": []}
    run = Run(Settings(**(values | settings)), taught.parent / name, parents={"traces": taught})
    execute(run)
    write_json(run.folder / "manifest.json", complete("review", finished=name))
    return run.folder


def fill(made: Path, judged: dict[int, dict[str, Any]], reader: str = "Dr A", **changed: Any) -> str:
    """A saved page: what a reader said of cases by their place in the pack."""
    pack = read_json(made / PACK)
    empty = {"verdict": "", "text": "", "comment": "", "marks": {}, "missed": []}
    said = {pack["cases"][place]["id"]: empty | verdict for place, verdict in judged.items()}
    path = made.parent / f"{reader}.json"
    write_json(path, {"schema": 1, "pack": pack["digest"], "reader": reader, "verdicts": said} | changed)
    return str(path)
