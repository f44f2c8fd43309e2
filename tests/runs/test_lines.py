"""What the line of a parent run says, brings with it and inherits."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from chexreason.errors import ChexReasonError
from chexreason.runs.config import compose
from chexreason.runs.files import write_text
from chexreason.runs.plan import plan
from tests.runs.conftest import EVALUATE, Command, name, planned


def test_a_parent_inherits_what_its_child_says_and_a_refined_dataset_reaches_the_run_that_curates(tmp_path: Path) -> None:
    sft = planned(tmp_path, "stage=sft", "prompt=reasoning_a", "dataset.missing=skip", "seed=3")
    teach = sft.parents["traces"]
    curate = teach.parents["curated"]
    assert teach.manifest["config"]["prompt"]["name"] == "reasoning_a" and teach.manifest["config"]["seed"] == 3
    assert curate.manifest["config"]["dataset"]["missing"] == "skip"
    # What an evaluation says of its dataset is not said of the one that training drew from.
    line = [*EVALUATE, "dataset=phantom_mimic", "dataset.split=validate", "checkpoint=sft"]
    evaluated = planned(tmp_path, *line).parents["checkpoint"].parents["traces"].parents["curated"]
    assert evaluated.manifest["config"]["dataset"]["split"] == "train"


@pytest.mark.parametrize(("words", "epochs"), [(["model=medgemma", "dataset=nih"], 6), (["dataset=phantom_nih"], 0.4)])
def test_a_parent_is_made_at_its_childs_scale_and_in_its_variant(words: list[str], epochs: float, tmp_path: Path) -> None:
    grpo = planned(tmp_path, "stage=evaluate", "checkpoint=grpo", "variant=unstabilised", *words).parents["checkpoint"]
    assert grpo.manifest["config"]["stage"]["beta"] == 0.0
    assert grpo.parents["policy"].manifest["config"]["stage"]["epochs"] == epochs


def test_what_a_parents_line_brings_with_it_counts(tmp_path: Path) -> None:
    line = [*EVALUATE, "checkpoint=sft"]
    arm = planned(tmp_path, *line, "checkpoint.made_by='stage=sft arm=phantom_qwen'").parents["checkpoint"]
    assert arm.manifest["config"]["model"]["name"] == "phantom_qwen"
    for model, reward in (("medgemma", 250), ("untrained_qwen", 250), ("phantom_qwen", 20)):
        made_by = f"stage.parents.other='stage=grpo model={model}'"
        below = planned(tmp_path, "stage=report", f"+{made_by}", "mixed_worlds=true").parents["other"]
        direct = planned(tmp_path, "stage=grpo", f"model={model}")
        assert below.recipe == direct.recipe and below.manifest["config"]["reward"]["min_tokens"] == reward, model
    scale = planned(tmp_path, *line, "checkpoint.made_by='stage=sft scale=paper'").parents["checkpoint"]
    assert scale.manifest["config"]["stage"]["epochs"] == 6
    line = [word for word in shlex.split(scale.manifest["command"])[3:] if not word.startswith("runs=")]
    assert name(tmp_path, *line) == scale.folder.name, "its own command gives the same run"


@pytest.mark.parametrize(
    "words",
    [
        ["source=phantom_chexpert", "dataset.split=train"],
        ["source=phantom_nih", "dataset.missing=skip"],
        ["stage.parents.traces='stage=teach dataset=phantom_nih'"],
    ],
)
def test_keys_of_a_dataset_that_no_run_reads_are_refused(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(ChexReasonError, match="no run of stage=.* would read dataset=.*\n.*source=NAME dataset=NAME"):
        planned(tmp_path, "stage=sft", *words)
    line = ["stage=sft", "source=phantom_chexpert", "dataset=phantom_chexpert", "dataset.split=train"]
    curate = planned(tmp_path, *line).parents["traces"].parents["curated"]
    assert curate.manifest["config"]["dataset"]["split"] == "train" and not planned(tmp_path, *line).every_lack()
    assert any("test split" in lack for lack in planned(tmp_path, "stage=sft", "source=phantom_chexpert").every_lack())


def test_who_would_train_and_test_on_one_site_is_told_of_a_file_of_ones_own(tmp_path: Path, command: Command) -> None:
    on_it = ["stage=evaluate", "checkpoint=sft", "dataset=phantom_chexpert", f"runs={tmp_path / 'runs'}", "dry_run=true"]
    said = command(*on_it, "source=phantom_chexpert", "dataset.split=train").stdout  # which is the evaluation's
    assert "source=MINE, a file beside phantom_chexpert.yaml with another `name` and `split`" in said
    own = "defaults: [phantom_chexpert, _self_]\nname: mine\nsplit: train\n"
    write_text(tmp_path / "own" / "dataset" / "mine.yaml", own)
    done = command("--config-dir", str(tmp_path / "own"), *on_it, "source=mine")
    assert done.returncode == 0 and "curate-mine-" in done.stdout and "not at hand" not in done.stdout


def test_a_curated_set_may_be_curated_from(tmp_path: Path) -> None:
    parent = planned(tmp_path, "stage=curate", "dataset=phantom_validation").parents["dataset"]
    assert parent.stage == "curate" and parent.manifest["config"]["dataset"]["name"] == "phantom_mimic"


def test_what_a_parents_line_refines_is_its_childs_choice(tmp_path: Path) -> None:
    line = "model.made_by='stage=standin seed=0 model.pretraining.steps=2'"
    made = planned(tmp_path, *EVALUATE, "model=phantom_qwen", line).parents["model"].manifest["config"]["model"]
    assert (made["name"], made["pretraining"]["steps"]) == ("phantom_qwen", 2)


@pytest.mark.parametrize(
    "words",
    [
        ["experiment=table5", "checkpoint=sft", "stage.batch_size=4"],
        ["experiment=table4", "checkpoint=grpo", "stage.max_completion_tokens=64", "engine=vllm"],
        ["stage=evaluate", "arm=medgemma_sft", "dataset=chexpert", "teacher.data_use_agreement=X", "teacher.concurrency=2"],
    ],
)
def test_an_arm_or_an_experiment_may_be_refined(words: list[str], tmp_path: Path) -> None:
    words = [*words, f"runs={tmp_path}"]
    made = plan(compose(words), words)
    assert made.stage == "evaluate" and any(one.stage in ("sft", "grpo") for one in made.parents.values())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("stage=sft stage.parents.traces='stage=curate'", "stage.parents.traces: .*stage=curate, not of stage=teach"),
        ("stage=grpo stage.parents.policy='stage=teach'", "stage.parents.policy: .*not of stage=sft or stage=grpo"),
        ("stage=grpo stage.parents.curated=null", "stage.parents.curated: .*stage=curate"),
        ("stage=grpo +stage.parents.policy_old='stage=sft seed=7'", "stage.parents.policy_old: there is no such role"),
        ("stage=grpo +stage.parents.curted='stage=curate'", "stage.parents.curted: .*Did you mean curated"),
        ("stage=review +stage.parents.trace='stage=teach'", "stage.parents.trace: .*Did you mean traces"),
        ("stage=teach ~stage.parents.curated", "stage.parents.curated: .*stage=curate"),
        ("stage=teach stage.parents.curated=null", "stage.parents.curated: .*stage=curate"),
        ("stage=sft stage.parents.traces=null", "stage.parents.traces: .*stage=teach"),
        ("stage=sft stage.parents.traces=", "stage.parents.traces=: .*names no stage"),
        ("stage=sft stage.parents.traces='seed=1'", "stage.parents.traces=seed=1: .*names no stage"),
        ("stage=sft stage.parents.traces=[a]", "stage.parents=.*: each of its entries is a text"),
        ("stage=curate source=phantom_chexpert", "source=phantom_chexpert: .*Did you mean dataset=phantom_chexpert"),
    ],
)
def test_a_parent_of_no_known_role_or_of_another_stage_is_refused_beforehand(words: str, said: str, tmp_path: Path) -> None:
    stage, _, word = words.partition(" ")
    line = [stage, word, f"runs={tmp_path}"]
    with pytest.raises(ChexReasonError, match=said):
        plan(compose(line), line)


def test_commands_that_a_plan_prints_are_taken(tmp_path: Path) -> None:
    own = ["stage=evaluate", "arm=phantom_gemma", "dataset=phantom_nih", "checkpoint.name=mine"]
    twin = tmp_path / "~mine" / "arm" / "twin.yaml"  # what it chooses, the runs below are told in words
    twin.parent.mkdir(parents=True)
    twin.write_text("# @package _global_\ndefaults: [override /model: phantom_gemma, override /checkpoint: sft]\nseed: 1\n")
    for words in (
        ["stage=grpo", "variant=two_sites", "source=phantom_mimic"],
        ["stage=grpo", "variant=other_site_stops", "source=phantom_mimic"],
        [*own, f"checkpoint.adapter={tmp_path}"],
        ["stage=evaluate", "arm=twin", "dataset=phantom_nih", f"hydra.searchpath=['{tmp_path}/~mine']"],
    ):
        for one in planned(tmp_path / "runs", *words).every():
            line = shlex.split(one.manifest["command"])[3:]
            assert plan(compose(line), line).folder == one.folder, line


def test_a_role_may_be_taken_by_several_or_by_none_where_its_stage_says_so(tmp_path: Path) -> None:
    made = planned(tmp_path, "stage=sft", "+stage.parents.traces_more='stage=teach seed=1'")
    assert {"traces", "traces_more"} <= made.parents.keys()
    for none in ("~stage.parents.traces", "stage.parents.traces=null"):
        assert planned(tmp_path, "stage=review", none, f"stage.filled=[{__file__}]").parents == {}
