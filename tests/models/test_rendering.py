"""What a model sees of a prompt, and the page that a clinician reviews."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from chexreason.errors import ChexReasonError
from chexreason.models.rendering import processor_at_hand, render
from chexreason.prompts import Prompt
from chexreason.runs.config import FOLDERS, as_dict, compose, every, group
from chexreason.runs.folders import Run
from chexreason.runs.groups import Model
from chexreason.stages.prompts import PAGE, Settings, execute, lacks, show


def run(folder: Path, prompt: str = "reasoning_a", **settings: object) -> Run:
    values = {"name": "prompts", "shown": prompt, "model": "medgemma", "all": False, "image_size": [400, 500]}
    chosen = group("prompt", as_dict(compose((f"prompt={prompt}",)))["prompt"])
    return Run(Settings(**(values | settings)), folder, prompt=chosen)  # type: ignore[arg-type]


def test_tokens_are_those_of_text_and_film(checkpoint: Model, tmp_path: Path) -> None:
    processor = processor_at_hand(checkpoint, tmp_path, None)
    short, long = (render(processor, text, (2544, 3056)) for text in ("List.", "List every one of the findings."))
    # Gemma 3's count is fixed, Qwen's follows the film's shape within its bounds.
    assert short.visual_tokens == long.visual_tokens == (36 if checkpoint.family == "gemma3" else 30)
    words = len(processor.tokenizer(long.text, add_special_tokens=False)["input_ids"])
    assert long.tokens > short.tokens and 0 <= long.tokens - long.visual_tokens - words + 1 <= 6
    assert "List every one of the findings." in long.text and long.text.rstrip().endswith(("model", "assistant"))


def test_a_model_of_which_something_is_missing_is_not_at_hand(checkpoint: Model, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for weights in ("nobody/no-such-model", "empty", str(tmp_path / "empty")):
        with pytest.raises(ChexReasonError, match="hub's cache|no processor"):
            processor_at_hand(checkpoint, tmp_path, weights)


def test_the_page_holds_every_prompt_as_the_models_at_hand_see_it(
    checkpoint: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "medgemma" if checkpoint.family == "gemma3" else "qwen"
    found = execute(run(tmp_path / "run", model=name, weights={name: checkpoint.weights}))
    page = (tmp_path / "run" / PAGE).read_text()
    for prompt in every("prompt"):
        assert f"## {prompt.name}\n" in page and prompt.instruction.strip() in page and prompt.version in page
        assert f"| {found['tokens'][name][prompt.name]} " in page
    assert page.count(f"As {name} sees it") == len(every("prompt"))
    absent = {model.name for model in every("model")} - {name}
    assert set(re.findall(r"^(\w+) is not at hand", page, re.MULTILINE)) == absent
    show(tmp_path / "run")
    printed = capsys.readouterr().out
    assert f"=== reasoning_a: as {name} sees it" in printed and "12. Synthesis" in printed and "=== only_label" not in printed


def test_without_any_model_the_prompts_are_shown_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(run(tmp_path / "run", all=True))["prompts"] == len(every("prompt"))
    show(tmp_path / "run")
    printed = capsys.readouterr().out
    assert printed.count("=== ") == len(every("prompt")) and "(medgemma is not at hand)" in printed
    misspelt = run(tmp_path / "run", weights={"medgema": "x"})
    (lack,) = lacks(misspelt.settings, {"prompt": misspelt.prompt}, None)
    assert lack.startswith("stage.weights.medgema=medgema: there is no such choice. Did you mean medgemma?")


def test_a_prompts_version_is_that_of_its_words() -> None:
    one = Prompt("a", "tags", "cue", "4.1", "Look.")
    assert one.version == Prompt("b", "tags", "other cue", "4.2", "Look.").version
    assert one.version != Prompt("a", "braces", "cue", "4.1", "Look.").version


def test_what_an_instruction_does_not_say_of_its_answers_is_said_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for prompt in every("prompt"):
        assert not prompt.unsaid or prompt.name == "nv_reason", "trained to its own format"
    one = run(tmp_path / "run")
    own = Prompt("own", "tags", "", "", one.prompt.instruction.replace("<solution>", "the end").replace("Fracture", "break"))
    execute(replace(one, prompt=own, settings=replace(one.settings, shown="own")))
    assert "own: its instruction does not say <solution>, Fracture;" in capsys.readouterr().err
    assert "form (its instruction does not say <solution>, Fracture):" in (tmp_path / "run" / PAGE).read_text()


def test_a_stage_knows_the_choices_of_its_commands_own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prompt").mkdir()
    (tmp_path / "prompt" / "own.yaml").write_text("defaults: [only_label, _self_]\nname: own\n")
    monkeypatch.setenv(FOLDERS, str(tmp_path))
    assert "own" in {prompt.name for prompt in every("prompt")}
    assert execute(run(tmp_path / "run", all=True))["prompts"] == len(every("prompt"))
