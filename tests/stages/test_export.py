"""An export answers as its checkpoint does, and says what it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor

from chexreason.answers.predictions import PREDICTIONS
from chexreason.models.generation import Generator
from chexreason.models.loading import load_adapter, load_model
from chexreason.models.processors import load_processor
from chexreason.runs import files
from chexreason.runs import folders as runs
from chexreason.runs.groups import Model
from chexreason.stages.export import base_licence, card, deliver, outdated, provenance
from tests.manifests import complete
from tests.stages.conftest import execute, loaded

IMAGES = [Image.new("RGB", (64, 64), (shade,) * 3) for shade in (0, 120, 255)]


@pytest.fixture
def strong(policy: Path, tmp_path: Path) -> Path:
    """The policy with its adapter's update many times as large: it answers otherwise than its base."""
    folder = shutil.copytree(policy, tmp_path / "runs" / "strong")
    weights = folder / "adapter" / "adapter_model.safetensors"
    scaled = {name: weight * (30 if "lora_B" in name else 1) for name, weight in load_file(weights).items()}
    save_file(scaled, weights)
    return folder


@pytest.mark.parametrize("merged", [True, False])
def test_it_answers_as_its_checkpoint_does(order: Callable[..., Path], strong: Path, tiny: Model, merged: bool) -> None:
    folder = order("exported", "stage=export", "checkpoint=sft", f"stage.merged={merged}", checkpoint=strong)
    execute(folder)
    prompt = loaded(folder).prompt
    answers = []
    for source in (tiny, replace(tiny, weights=str(folder / "export"))):
        processor = load_processor(source, padding_side="left")
        if source is tiny:
            model = load_adapter(load_model(tiny), strong / "adapter")
        else:
            model = load_model(source).eval() if merged else load_adapter(load_model(tiny), folder / "export")
        answers.append(Generator(model, processor, prompt, max_tokens=24)(IMAGES))
    assert answers[0] == answers[1]
    base = Generator(load_model(tiny).eval(), load_processor(tiny, "left"), prompt, max_tokens=24)(IMAGES)
    assert base != answers[0], "or the adapter would not matter"


def test_its_files_are_those_that_the_hub_and_vllm_look_for(
    order: Callable[..., Path], policy: Path, tiny: Model, tmp_path: Path
) -> None:
    folder = order("exported", "stage=export", "checkpoint=sft", checkpoint=policy)
    execute(folder)
    deliver(folder, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "README.md", "processor_config.json"} <= names
    assert {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} <= names
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == [
        {"gemma3": "Gemma3ForConditionalGeneration", "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration"}[tiny.family]
    ]
    assert len(json.loads((tmp_path / "out" / "generation_config.json").read_text())) > 5, "all that the base has"
    published = {"gemma3": "Gemma3Processor", "qwen2_5_vl": "Qwen2_5_VLProcessor"}[tiny.family]
    assert json.loads((tmp_path / "out" / "processor_config.json").read_text())["processor_class"] == published
    everything = (
        "".join(path.read_text() for path in (tmp_path / "out").glob("*.json")) + (tmp_path / "out" / "README.md").read_text()
    )
    assert str(tmp_path) not in everything and tiny.weights not in everything, "nothing says where it was made"


def test_its_weights_have_their_published_names_and_its_processor_its_video_half(
    order: Callable[..., Path], policy: Path, tiny: Model
) -> None:
    folder = order("exported", "stage=export", "checkpoint=sft", checkpoint=policy)
    execute(folder)
    with (
        safe_open(folder / "export" / "model.safetensors", "pt") as exported,
        safe_open(Path(tiny.weights) / "model.safetensors", "pt") as base,
    ):
        assert set(exported.keys()) == set(base.keys())
    parts = files.read_json(folder / "export" / "processor_config.json")
    if tiny.family == "qwen2_5_vl":
        assert parts["video_processor"]["video_processor_type"] == "Qwen2VLVideoProcessor"
        assert parts["video_processor"]["size"] == parts["image_processor"]["size"]
    if tiny.family == "gemma3" or find_spec("torchvision"):  # Qwen's own class wants torchvision for its video half
        assert type(AutoProcessor.from_pretrained(folder / "export")).__name__ == parts["processor_class"]


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_the_program_on_its_card_answers_as_its_checkpoint_does(
    order: Callable[..., Path],
    strong: Path,
    tiny: Model,
    merged: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = order("exported", "stage=export", "checkpoint=sft", f"stage.merged={merged}", checkpoint=strong)
    execute(folder)
    assert "base_model:" not in (folder / "export" / "README.md").read_text(), "its base has no name on the hub"
    monkeypatch.chdir(folder / "export")
    IMAGES[1].save("film.png")
    program = Path("README.md").read_text().split("```python\n")[1].split("```")[0].replace("1024", "24")
    capsys.readouterr()
    exec(program, {})
    model = load_adapter(load_model(tiny), strong / "adapter")
    (expected,) = Generator(model, load_processor(tiny, "left"), loaded(folder).prompt, max_tokens=24)(IMAGES[1:2])
    assert capsys.readouterr().out.strip() == expected.text.strip()


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_a_bfloat16_export_is_the_exact_sum_rounded_once(
    order: Callable[..., Path], policy: Path, tiny: Model, tmp_path: Path
) -> None:
    published = replace(tiny, dtype="bfloat16", weights=str(shutil.copytree(tiny.weights, tmp_path / "published")))
    load_model(replace(tiny, dtype="bfloat16")).save_pretrained(published.weights)  # as repositories hold them
    folder = order("exported", "stage=export", "checkpoint=sft", checkpoint=policy)
    manifest = files.read_json(folder / runs.MANIFEST)
    manifest["config"]["model"] |= {"dtype": "bfloat16", "weights": published.weights}
    files.write_json(folder / runs.MANIFEST, manifest)
    execute(folder)

    base = load_model(replace(published, dtype="float32"))
    before = {name: weight.clone() for name, weight in base.state_dict().items()}
    exact = load_adapter(base, policy / "adapter").merge_and_unload().state_dict()
    exported = load_model(replace(published, weights=str(folder / "export"))).state_dict()
    assert all(torch.equal(exported[name], exact[name].to(torch.bfloat16)) for name in exported)
    moved = [name for name in exported if not torch.equal(exact[name], before[name])]
    updates = torch.cat([(exact[name] - before[name]).flatten() for name in moved])
    found = torch.cat([(exported[name].float() - before[name]).flatten() for name in moved])
    assert 0.99 < float(found @ updates / (updates @ updates)) < 1.01, "rounding takes nothing of the update on the whole"


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_a_stand_in_and_drawn_films_are_called_so_and_nothing_else_is(
    order: Callable[..., Path], policy: Path, tiny: Model, tmp_path: Path
) -> None:
    cards = []
    for number, stages in enumerate(((), ("standin",), ("phantom",), ("standin", "phantom"))):
        parent = shutil.copytree(policy, tmp_path / "runs" / f"policy{number}")
        for stage in stages:
            files.write_json(parent.parent / f"{stage}-{number}" / runs.MANIFEST, complete(stage))
        manifest = files.read_json(parent / runs.MANIFEST)
        files.write_json(parent / runs.MANIFEST, manifest | {"parents": {stage: f"{stage}-{number}" for stage in stages}})
        folder = order(f"exported{number}", "stage=export", "checkpoint=sft", checkpoint=parent)
        execute(folder)
        cards.append((folder / "export" / "README.md").read_text())
    assert [("**A stand-in.**" in card, "**Drawn films.**" in card) for card in cards] == [
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    ]
    assert "chexreason, stand-in, drawn-films]" in cards[3]


@pytest.mark.parametrize("merged", [True, False])
def test_a_base_on_the_hub_is_named_by_its_id(order: Callable[..., Path], policy: Path, tiny: Model, merged: bool) -> None:
    folder = order("exported", "stage=export", "checkpoint=sft", f"stage.merged={merged}", checkpoint=policy)
    run = replace(loaded(folder), model=replace(tiny, weights="google/medgemma-4b-it"))
    written = card(run, "google/medgemma-4b-it", {"metrics": {}, "runs": {}, "data_cards": {}, "marks": []})
    assert "\nbase_model: google/medgemma-4b-it\n" in written
    assert merged or 'base = "google/medgemma-4b-it"\n' in written


def test_the_licence_is_the_one_that_the_bases_card_gives(tmp_path: Path) -> None:
    assert base_licence(str(tmp_path)) == {"license": "unknown"}
    (tmp_path / "README.md").write_text("---\nlicense: other\nlicense_name: qwen-research\n---\n# Q\n")
    assert base_licence(str(tmp_path)) == {"license": "other", "license_name": "qwen-research"}


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_its_card_says_what_it_was_trained_on_and_how_it_did(order: Callable[..., Path], policy: Path, tmp_path: Path) -> None:
    policy = shutil.copytree(policy, tmp_path / "runs" / "policy")
    folder = order("exported", "stage=export", "checkpoint=sft", checkpoint=policy)
    beside = policy.parent
    for name, stage, outputs in (("teach-1", "teach", {"card.json": "abc"}), ("curate-1", "curate", {"card.json": "def"})):
        parents = {"curated": "curate-1"} if stage == "teach" else {}
        files.write_json(beside / name / runs.MANIFEST, complete(stage, parents=parents, outputs=outputs))
    asked = loaded(folder).prompt.name
    rows = [{"id": str(number), "labels": ["Edema"], "predicted": ["Edema"] if number else None} for number in range(8)]
    for name, checkpoint, prompt, stage, answered in (
        ("evaluate-1", "sft", asked, {}, rows),
        ("evaluate-2", "grpo", asked, {}, rows),
        # Later ones, which are not how the export is asked, or about a few records alone.
        ("evaluate-3", "sft", "reasoning_a", {}, rows[1:]),
        ("evaluate-4", "sft", asked, {"limit": 3}, rows[:3]),
        ("evaluate-5", "sft", asked, {"sampling": {"temperature": 0.8}}, rows[1:]),
    ):
        dataset = {"name": f"site_of_{checkpoint}", "findings": ["Edema"]}
        config = {"checkpoint": {"name": checkpoint}, "dataset": dataset, "prompt": {"name": prompt}, "stage": stage}
        files.write_json(beside / name / runs.MANIFEST, complete("evaluate", parents={"checkpoint": "policy"}, config=config))
        files.write_text(beside / name / PREDICTIONS, files.as_lines(answered))
    manifest = runs.read_manifest(policy)
    assert manifest is not None
    files.write_json(policy / runs.MANIFEST, manifest | {"parents": {"traces": "teach-1"}})
    execute(folder)
    card = (folder / "export" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n") and "Research only" in card
    assert "`teach-1`: sha256 `abc`" in card and "`curate-1`: sha256 `def`" in card
    assert "| site_of_sft | 8 | 0.933 [" in " ".join(card.split()) and "| 0.933 | 0.125 |" in " ".join(card.split())
    assert "site_of_grpo" not in card


def test_a_card_tells_evaluations_by_other_findings_apart_and_leaves_changed_ones_out(tmp_path: Path) -> None:
    files.write_json(tmp_path / "sft-1" / runs.MANIFEST, complete("sft"))
    changed = {PREDICTIONS: "0" * 64}
    for number, (name, findings, outputs) in enumerate(
        [
            ("here", ["Edema"], {}),
            ("here", ["Edema", "Fracture"], {}),
            ("there", ["Edema"], {}),
            ("elsewhere", ["Edema"], changed),
        ]
    ):
        dataset = {"name": name, "findings": findings}
        config = {"checkpoint": {"name": "sft"}, "dataset": dataset, "prompt": {"name": "p"}, "stage": {}}
        folder = tmp_path / f"evaluate-{number}"
        made = complete("evaluate", parents={"checkpoint": "sft-1"}, config=config, outputs=outputs)
        files.write_json(folder / runs.MANIFEST, made)
        files.write_text(folder / PREDICTIONS, files.as_lines([{"id": "1", "labels": ["Fracture"], "predicted": ["Fracture"]}]))
    found = provenance(tmp_path / "sft-1", "sft", "p")["metrics"]
    assert {name: one["micro_f1"] for name, one in found.items()} == {
        "here (Edema)": 0.0,
        "here (Edema, Fracture)": 1.0,
        "there": 0.0,
    }


def test_a_card_from_before_an_evaluation_is_not_used_again(tmp_path: Path) -> None:
    files.write_json(tmp_path / "sft-1" / runs.MANIFEST, complete("sft"))
    config = {
        "checkpoint": {"name": "sft"},
        "prompt": {"name": "p"},
        "stage": {},
        "dataset": {"name": "a", "findings": ["Edema"]},
    }

    def evaluated(name: str) -> None:
        made = complete("evaluate", parents={"checkpoint": "sft-1"}, config=config)
        files.write_json(tmp_path / name / runs.MANIFEST, made)
        line = {"id": "1", "labels": ["Edema"], "predicted": ["Edema"]}
        files.write_text(tmp_path / name / PREDICTIONS, files.as_lines([line]))

    evaluated("evaluate-1")
    facts = provenance(tmp_path / "sft-1", "sft", "p")
    export = complete("export", parents={"checkpoint": "sft-1"}, config=config, metrics=facts)
    files.write_json(tmp_path / "export-1" / runs.MANIFEST, export)
    assert outdated(tmp_path / "export-1") is None
    evaluated("evaluate-2")
    said = outdated(tmp_path / "export-1")
    assert said and "export/README.md is from before evaluate-2 was made" in said
    shutil.rmtree(tmp_path / "evaluate-1")
    shutil.rmtree(tmp_path / "evaluate-2")
    assert outdated(tmp_path / "export-1") is None, "what a card tells stays true"
