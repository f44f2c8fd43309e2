"""An export answers as its checkpoint does, and says what it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from chexreason.answers.predictions import PREDICTIONS
from chexreason.models.generation import Generator
from chexreason.models.loading import load_adapter, load_model
from chexreason.models.processors import load_processor
from chexreason.runs import files
from chexreason.runs import folders as runs
from chexreason.runs.config import Model
from tests.stages.conftest import execute, loaded

IMAGES = [Image.new("RGB", (64, 64), (shade,) * 3) for shade in (0, 120, 255)]


@pytest.mark.parametrize("merged", [True, False])
def test_it_answers_as_its_checkpoint_does(order: Callable[..., Path], policy: Path, tiny: Model, merged: bool) -> None:
    folder = order("exported", "stage=export", "checkpoint=sft", f"stage.merged={merged}", checkpoint=policy)
    execute(folder)
    prompt = loaded(folder).prompt
    answers = []
    for source in (tiny, replace(tiny, weights=str(folder / "export"))):
        processor = load_processor(source, padding_side="left")
        if source is tiny:
            model = load_adapter(load_model(tiny), policy / "adapter")
        else:
            model = load_model(source).eval() if merged else load_adapter(load_model(tiny), folder / "export")
        answers.append(Generator(model, processor, prompt, max_tokens=12)(IMAGES))
    assert answers[0] == answers[1]
    base = Generator(load_model(tiny).eval(), load_processor(tiny, "left"), prompt, max_tokens=12)(IMAGES)
    assert base != answers[0], "or the adapter would not matter"


def test_its_files_are_those_that_the_hub_and_vllm_look_for(
    order: Callable[..., Path], policy: Path, tiny: Model, tmp_path: Path
) -> None:
    words = ["stage=export", "checkpoint=sft", f"stage.output={tmp_path / 'out'}"]
    execute(order("exported", *words, checkpoint=policy))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "README.md", "processor_config.json"} <= names
    assert {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} <= names
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == [
        {"gemma3": "Gemma3ForConditionalGeneration", "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration"}[tiny.family]
    ]
    published = {"gemma3": "Gemma3Processor", "qwen2_5_vl": "Qwen2_5_VLProcessor"}[tiny.family]
    assert json.loads((tmp_path / "out" / "processor_config.json").read_text())["processor_class"] == published
    everything = (
        "".join(path.read_text() for path in (tmp_path / "out").glob("*.json")) + (tmp_path / "out" / "README.md").read_text()
    )
    assert str(tmp_path) not in everything and tiny.weights not in everything, "nothing says where it was made"


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_its_card_says_what_it_was_trained_on_and_how_it_did(order: Callable[..., Path], policy: Path, data: Path) -> None:
    folder = order("exported", "stage=export", "checkpoint=sft", checkpoint=policy)
    beside = policy.parent
    for name, stage, outputs in (("teach-1", "teach", {"card.json": "abc"}), ("curate-1", "curate", {"card.json": "def"})):
        parents = {"curated": "curate-1"} if stage == "teach" else {}
        files.write_json(beside / name / runs.MANIFEST, _complete(stage, parents, outputs=outputs))
    rows = [{"id": str(number), "labels": ["Edema"], "predicted": ["Edema"] if number else None} for number in range(8)]
    for name, checkpoint in (("evaluate-1", "sft"), ("evaluate-2", "grpo")):
        config = {"checkpoint": {"name": checkpoint}, "dataset": {"name": f"site_of_{checkpoint}", "findings": ["Edema"]}}
        files.write_json(beside / name / runs.MANIFEST, _complete("evaluate", {"checkpoint": "policy"}, config=config))
        files.write_text(beside / name / PREDICTIONS, files.as_lines(rows))
    manifest = runs.read_manifest(policy)
    assert manifest is not None
    files.write_json(policy / runs.MANIFEST, manifest | {"parents": {"traces": "teach-1"}})
    execute(folder)
    card = (folder / "export" / "README.md").read_text()
    assert card.startswith("---\nbase_model: gemma3\n") and "Research only" in card
    assert "`teach-1`: sha256 `abc`" in card and "`curate-1`: sha256 `def`" in card
    assert "| site_of_sft | 8 | 0.933 [" in card and "| 0.933 | 0.125 |" in card and "site_of_grpo" not in card


def _complete(stage: str, parents: dict[str, str], **more: object) -> dict[str, object]:
    return {
        "schema": runs.SCHEMA,
        "status": "complete",
        "stage": stage,
        "parents": parents,
        "finished": "",
        "outputs": {},
        **more,
    }
