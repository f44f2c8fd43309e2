"""Training runs on tiny models with random weights: the stages' own code, in this process or in one that may be killed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from chexreason.data import curated
from chexreason.labels import FINDINGS
from chexreason.prompts import write_answer
from chexreason.runs import files
from chexreason.runs import folders as runs
from chexreason.runs.config import as_dict, compose, group
from chexreason.runs.execute import load
from chexreason.runs.groups import Model
from chexreason.runs.identity import path_digest
from tests.chats import answered
from tests.conftest import Once
from tests.tiny import described

STUDIES = 12
CLOCKS = ("runtime", "per_second", "step_time")  # logged values that only say how fast the machine was
loaded = load  # the run that a folder plans, as its stage is given it
LABELS = [["Edema"], ["Fracture", "Support Devices"], ["No Finding"], ["Pneumonia", "Pleural Effusion"]]
# Steps of a second and runs of a few seconds; what a test is about, it sets itself.
QUICK = [
    "prompt=only_label",
    "stage.learning_rate=1e-3",
    "stage.batch_size=2",
    "stage.accumulation=2",
    "stage.gradient_checkpointing=false",
    "stage.logging_steps=1",
]
SFT = [*QUICK, "stage=sft", "stage.epochs=3", "stage.held_out=0.34", "stage.save_steps=3", "stage.logging_steps=2"]
GRPO = [
    *QUICK,
    "stage=grpo",
    "stage.max_steps=10",
    "stage.completions=2",
    "stage.max_completion_tokens=8",
    "stage.save_steps=3",
    "stage.selection.limit=3",
]


@pytest.fixture(scope="session", params=["gemma3", "qwen2_5_vl"])
def tiny(request: pytest.FixtureRequest, once: Once) -> Model:
    """A model with a tokenizer of its own that names findings, whatever it is shown."""
    folder = once(f"tiny-{request.param}", lambda folder: save_tiny(request.param, folder))
    return described(request.param, folder, attention="sdpa", visual_tokens=(16, 36))


def save_tiny(family: str, folder: Path) -> None:
    import torch

    from chexreason.phantom import standins

    torch.manual_seed(0)
    instruction = as_dict(compose(("stage=sft", "prompt=only_label")))["prompt"]["instruction"]
    model, processor = standins.build(family, [instruction, *map(", ".join, LABELS)] * 20, vocabulary=400)
    learn_to_name_findings(model, processor, instruction)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def learn_to_name_findings(model: Any, processor: Any, instruction: str) -> None:
    import torch
    from PIL import Image

    model.train()
    turns = [answered(instruction, ", ".join(labels)) for labels in LABELS]
    images = [[Image.new("RGB", (64, 64), (60 * number,) * 3)] for number in range(len(turns))]

    def tokens(texts: list[str]) -> Any:
        return processor(images=images, text=texts, return_tensors="pt", padding=True, add_special_tokens=False)

    inputs = tokens([processor.apply_chat_template(turn, tokenize=False) for turn in turns])
    asked = tokens([processor.apply_chat_template(turn[:1], tokenize=False, add_generation_prompt=True) for turn in turns])
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    labels[:, : asked["input_ids"].shape[1]] = -100  # it learns to answer, and not to repeat what it is asked
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        model(**inputs, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture(scope="session")
def data(once: Once) -> Path:
    """A folder that is a teach run and a curate run at once."""
    return once("data", save_data)


def save_data(folder: Path) -> None:
    from PIL import Image

    studies = [{"path": f"{number}.png", "patient": f"p{number}", "labels": LABELS[number % 4]} for number in range(STUDIES)]
    for number, study in enumerate(studies):
        ramp = Image.linear_gradient("L").resize((64, 64))
        ramp.point([(grey + 20 * number) % 256 for grey in range(256)]).save(folder / study["path"])
    traces = [
        {
            "schema": 1,
            "site": "here",
            **study,
            "sha256": path_digest(folder / study["path"]),
            "completion": write_answer("labels", "", study["labels"]),
        }
        for study in studies
    ]
    (folder / "traces.jsonl").write_text("".join(json.dumps(trace) + "\n" for trace in traces))
    curate(folder, studies, sft=slice(4), rl=slice(4, 8), validation=slice(8, None))


def curate(folder: Path, studies: Sequence[dict[str, Any]], **sets: slice) -> None:
    """Leave what a curate run would: which of the studies (path, patient, labels) each set holds; images lie in `folder`."""
    import pandas as pd

    rows = pd.DataFrame(
        {
            "path": study["path"],
            "patient": study["patient"],
            "study": None,
            "view": "PA",
            "sex": None,
            "age": None,
            "sha256": path_digest(folder / study["path"]),
            **{name: float(name in study["labels"]) for name in FINDINGS},
        }
        for study in studies
    )
    curated.write(folder, {name: rows[part] for name, part in sets.items()}, curated.Origin("here", None, FINDINGS, folder), {})


@pytest.fixture
def order(tiny: Model, data: Path, tmp_path: Path) -> Callable[..., Path]:
    """Plan a training run (manifest.json), and return its folder."""
    return lambda name, *overrides, **parents: write_order(tmp_path / "runs" / name, tiny, data, overrides, parents)


@pytest.fixture(scope="session")
def policy(tiny: Model, data: Path, once: Once) -> Path:
    """A finished SFT run: what GRPO starts from."""
    words = [*SFT, "stage.epochs=1", "stage.learning_rate=1e-2"]
    return once(f"sft-{tiny.family}", lambda runs: execute(write_order(runs / "policy", tiny, data, words, {}))) / "policy"


def write_order(folder: Path, model: Model, data: Path, overrides: Sequence[str], parents: dict[str, Path]) -> Path:
    plain = as_dict(compose(tuple(overrides)))
    uses = sys.modules[type(group("stage", plain["stage"])).__module__].USES
    groups = plain | {"model": asdict(model)}
    stands_on = {"curated": data, "traces": data} if plain["stage"]["name"] in ("sft", "grpo") else {}
    manifest = {
        "schema": runs.SCHEMA,
        "name": folder.name,
        "stage": plain["stage"]["name"],
        "status": "planned",
        "config": {"stage": plain["stage"], **{name: groups[name] for name in uses}, "seed": 0},
        "tracker": {"name": "none", "mode": "disabled", "project": "", "group": ""},
        "experiment": "study",
        "parents": {role: str(path) for role, path in (stands_on | parents).items()},
        "inputs": {},
        "command": "",
    }
    files.write_json(folder / runs.MANIFEST, manifest)
    return folder


def execute(folder: Path) -> dict[str, Any]:
    """Execute in this process, as `python -m chexreason.stages` would in its own; the metrics."""
    from chexreason.runs.execute import execute_planned

    assert execute_planned(folder) == 0, (folder / "error.txt").read_text()
    manifest = runs.read_manifest(folder)
    assert manifest is not None
    return manifest["metrics"]


def log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def history(folder: Path) -> list[dict[str, float]]:
    """What the run logged, without what only says how fast it was."""
    return [{key: value for key, value in line.items() if not any(word in key for word in CLOCKS)} for line in log(folder)]
