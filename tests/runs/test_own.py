"""Files and code of one's own: what is wrong in them is said by their name, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from chexreason.runs.config import CONF
from chexreason.runs.files import write_text
from chexreason.runs.imports import NAMED
from tests.runs.conftest import Command

TABLE4 = (CONF / "experiment" / "table4.yaml").read_text(encoding="utf-8")
PACKAGED = "# @package _global_\n"


@pytest.mark.parametrize(
    ("file", "text", "words", "said"),
    [
        (
            "arm/own",
            f"{PACKAGED}model: phantom_gemma\n",
            "stage=evaluate arm=own",
            "`override /model: phantom_gemma` among its defaults",
        ),
        (
            "arm/own",
            "defaults: [override /model: phantom_gemma]\n",
            "stage=evaluate arm=own",
            "begins with # @package _global_",
        ),
        ("experiment/own", TABLE4.replace(PACKAGED, ""), "experiment=own", "begins with # @package _global_"),
        (
            "experiment/own",
            TABLE4.replace("  - _sweep\n", ""),
            "experiment=own",
            "experiment=own is no sweep: `- _sweep` is wanted",
        ),
        (
            "variant/own",
            "name: own\ntitle: own\n",
            "stage=grpo variant=own",
            "variant=own changes nothing: varied/own/grpo.yaml",
        ),
        (
            "varied/stabilised/gpro",
            "beta: 1\n",
            "stage=grpo variant=stabilised",
            "stabilised/gpro.yaml: it is of no stage. Did you mean grpo",
        ),
        ("varied/sized/stabilised/smal_grpo", "beta: 1\n", "stage=sft", "it is of no stage. Did you mean small_grpo"),
        ("sized/smal/stage_sft", "epochs: 2\n", "stage=sft", "smal is none of those that there are. Did you mean small?"),
        ("sized/small/stage_stf", "epochs: 2\n", "stage=sft", "a scale changes stage, model, dataset, teacher"),
        ("sized/small/reward_hard", "min_tokens: 2\n", "stage=grpo", "a scale changes stage, model, dataset, teacher"),
        (
            "varied/two_site/grpo",
            "beta: 1\n",
            "stage=grpo",
            "two_site is none of those that there are. Did you mean two_sites?",
        ),
        ("modle/own", "name: own\n", "stage=sft", "there is no group modle. Did you mean model?"),
        ("varied/stabilised/sft", "epochs: 2\n", "stage=grpo variant=stabilised", "is of stage=sft, which has no variants"),
        (
            "variant/own",
            "name: own\ntitle: null\n",
            "stage=grpo variant=own",
            "variant.title=null: that is the paper's own training",
        ),
    ],
)
def test_a_file_that_is_not_what_it_should_be_says_so(
    file: str, text: str, words: str, said: str, tmp_path: Path, command: Command
) -> None:
    write_text(tmp_path / f"{file}.yaml", text)
    if "title: null" in text:
        write_text(tmp_path / "varied" / "own" / "grpo.yaml", "beta: 1\n")
    done = command("--config-dir", str(tmp_path), *words.split(), "dry_run=true", f"runs={tmp_path / 'runs'}")
    assert done.returncode == 1 and said in done.stderr.splitlines()[-1], done.stderr[-500:]


def test_a_file_that_nobody_chose_is_named_where_it_cannot_be_used(tmp_path: Path, command: Command) -> None:
    usual = (
        (CONF / "model" / "medgemma.yaml")
        .read_text(encoding="utf-8")
        .replace("oc.env:MEDGEMMA,google", "oc.env:NOWHERE}google")
    )
    write_text(tmp_path / "model" / "own.yaml", usual.replace("name: medgemma", "name: own"))
    mixed = ("stage=evaluate", "model=medgemma", "dataset=phantom_chexpert")
    done = command("--config-dir", str(tmp_path), *mixed, "dry_run=true", f"runs={tmp_path / 'runs'}")
    assert done.returncode == 1 and f"model=own, whose file is {tmp_path}/model/own.yaml: " in done.stderr, done.stderr[-300:]


def test_folders_of_ones_own_are_there_and_no_two_have_the_same_file(tmp_path: Path, command: Command) -> None:
    for folder in ("one", "two"):
        write_text(tmp_path / folder / "arm" / "own.yaml", f"{PACKAGED}defaults: [override /model: phantom_gemma]\n")
    for searched, said in (
        ("one,two", f"{tmp_path}/one/arm/own.yaml is there before it"),
        ("three", "no such folder of choices"),
    ):
        path = ",".join(f"{tmp_path}/{folder}" for folder in searched.split(","))
        done = command("stage=evaluate", f"hydra.searchpath=[{path}]", "dry_run=true", f"runs={tmp_path / 'runs'}")
        assert done.returncode == 1 and said in done.stderr.splitlines()[-1], done.stderr[-300:]
    done = command("stage=sft", "prompt=free_reasoning.yaml", f"runs={tmp_path / 'runs'}")
    assert done.stderr.endswith("a choice goes by its file's name alone: prompt=free_reasoning")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("USES = ()", "says no execute, which a stage has"),
        ("def execute(run): return {}", "says no USES, which a stage has"),
        ("USES = ('promt',)\ndef execute(run): return {}", "USES names 'promt', which is no group. Did you mean prompt?"),
        ("USES = 'prompt'\ndef execute(run): return {}", "USES names 'p', which is no group."),
    ],
)
def test_a_stage_that_lacks_what_a_stage_has_says_so(
    code: str, said: str, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"own_stage_{abs(hash(code))}"
    write_text(
        tmp_path / f"{module}.py", f"from dataclasses import dataclass\n@dataclass\nclass Settings:\n    name: str\n{code}\n"
    )
    write_text(tmp_path / "stage" / "own.yaml", f"_target_: {module}.Settings\nname: own\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(NAMED, f"lab, {module}")
    done = command("--config-dir", str(tmp_path), "stage=own", "dry_run=true", f"runs={tmp_path / 'runs'}")
    assert done.returncode == 1 and said in done.stderr.splitlines()[-1], done.stderr[-500:]


def test_an_experiments_single_job_is_still_one(tmp_path: Path, command: Command) -> None:
    words = ["hydra.mode=RUN", "checkpoint=grpo", "reward=hard", "model=phantom_gemma", "dataset=phantom_validation"]
    done = command("experiment=table4", *words, "dry_run=true", f"runs={tmp_path / 'runs'}")
    assert done.returncode == 0 and "missing:  sft-" in done.stdout
