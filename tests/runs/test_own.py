"""Files and code of one's own: what is wrong in them is said by their name, before anything runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from chexreason.runs import processes
from chexreason.runs.config import CONF, FOLDERS
from chexreason.runs.files import read_json, write_text
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
            "must begin with # @package _global_",
        ),
        ("experiment/own", TABLE4.replace(PACKAGED, ""), "experiment=own", "must begin with # @package _global_"),
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
        ("variant/own", "title: own\n", "stage=grpo variant=own", "its name is wanted in its file, too: name: own in"),
        (
            "prompt/own",
            "name: own\ngrammar: tags\ncue: x\ninstruction: Look.\n",
            "stage=sft prompt=own",
            "section is wanted, and",
        ),
        (
            "prompt/own",
            "defaults: [only_label]\nname: own\ngrammar: null\n",
            "stage=sft prompt=own",
            "grammar=null: a value of type str",
        ),
        ("prompt/own", "", "stage=sft prompt=own", "prompt=own: keys are wanted in its file"),
        ("prompt/own", "- name: own\n", "stage=sft prompt=own", "prompt=own: keys are wanted in its file"),
        ("modle/own", "name: own\n", "stage=sft", "there is no group modle. Did you mean model?"),
        ("varied/stabilised/sft", "epochs: 2\n", "stage=grpo variant=stabilised", "is of stage=sft, which has no variants"),
        (
            "variant/own",
            "name: own\ntitle: null\n",
            "stage=grpo variant=own",
            "variant.title=null: null is reserved for variant=published; give own a title",
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


Bring = Callable[[str, str], list[str]]


@pytest.fixture
def bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bring:
    """Python of one's own, whose class is `Own`, as the choice `own` of a group; the words that bring it."""

    def bring(group: str, code: str) -> list[str]:
        module = f"own_{group}_{abs(hash(code))}"
        write_text(tmp_path / f"{module}.py", f"from dataclasses import dataclass\n{code}")
        write_text(tmp_path / "choices" / group / "own.yaml", f"_target_: {module}.Own\nname: own\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv(NAMED, f"lab, {module}")
        return ["--config-dir", str(tmp_path / "choices"), f"{group}=own", f"runs={tmp_path / 'runs'}", "tracker=none"]

    return bring


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("USES = ()", "says no execute, which a stage has"),
        ("def execute(run): return {}", "says no USES, which a stage has"),
        ("USES = ('promt',)\ndef execute(run): return {}", "USES names 'promt', which is no group. Did you mean prompt?"),
        ("USES = 'prompt'\ndef execute(run): return {}", "USES names 'p', which is no group."),
    ],
)
def test_a_stage_that_lacks_what_a_stage_has_says_so(code: str, said: str, bring: Bring, command: Command) -> None:
    done = command(*bring("stage", f"@dataclass\nclass Own:\n    name: str\n{code}\n"), "dry_run=true")
    assert done.returncode == 1 and said in done.stderr.splitlines()[-1], done.stderr[-500:]


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        ("return {'mean': numpy.float64(0.5), 'studies': numpy.int64(3)}", "complete"),
        ("return {'mean': torch.tensor(0.5)}", "complete"),
        ("return", "complete"),
        ("return 0.5", "gave 0.5; metrics by name are wanted"),
        ("return {'run': run}", "Run cannot be written as JSON"),
        ("sys.exit('no more')", "SystemExit: no more"),
        ("sys.exit(0)", "SystemExit: 0"),
    ],
)
def test_what_a_stage_ends_with_is_kept_or_said(gives: str, said: str, bring: Bring, command: Command, tmp_path: Path) -> None:
    code = "import sys, numpy, torch\n@dataclass\nclass Own:\n    name: str\nUSES = ()\ndef execute(run):\n"
    words = bring("stage", f"{code}    {gives}\n")
    for again in (said, "reused" if said == "complete" else said):
        done = command(*words)
        assert done.returncode == int(said != "complete") and again in done.stderr.splitlines()[-1]
    kept = [read_json(one).get("metrics", {}).get("mean") for one in (tmp_path / "runs").glob("own-*/manifest.json")]
    assert (0.5 in kept) == ("mean" in gives)


OWN = "@dataclass(frozen=True, kw_only=True)\nclass Own{}:\n    name: str\n"
PARTS = "    def parts(self, answer, truth, num_tokens, uncertain, scorer): return {'all': 1.0}\n"


@pytest.mark.parametrize(
    ("group", "code", "said"),
    [
        ("reward", OWN.replace("@dataclass(frozen=True, kw_only=True)\n", "").format("") + PARTS, ".Own is no dataclass"),
        ("reward", OWN.format(""), ".Own has no unit, parts; "),
        ("reward", OWN.format("") + PARTS, ".Own has no unit; "),
        *[
            ("reward", OWN.format("") + f"    unit: float | None = {unit}\n" + PARTS, "reward.unit=")
            for unit in ("0.0", "-1.0", "1e999", "None")
        ],
        ("teacher", OWN.format(""), ".Own has no address, "),
        ("dataset", OWN.format(""), ".Own has no world, "),
        ("dataset", OWN.format("(Published)"), ".Own has no read, access, variable, drawn, layout, splits, sources; "),
    ],
)
def test_a_class_that_lacks_what_its_group_has_says_so(
    group: str, code: str, said: str, bring: Bring, command: Command
) -> None:
    stage = {"reward": "grpo", "teacher": "teach", "dataset": "curate"}[group]
    imported = "from chexreason.data.sites.published import Published\n"
    done = command(*bring(group, imported + code), f"stage={stage}", "dry_run=true")
    assert done.returncode == 1 and said in done.stderr.splitlines()[-1], done.stderr[-500:]


@pytest.mark.parametrize("word", ["runs=elsewhere", "+seed=1"])
def test_a_folder_that_is_called_as_a_key_is_makes_no_group_of_it(word: str, tmp_path: Path, command: Command) -> None:
    write_text(tmp_path / "prompt" / "mine.yaml", "defaults: [only_label]\nname: mine\n")
    words = ["--config-dir", str(tmp_path), "stage=sft", "prompt=mine", "dry_run=true"]
    folder = tmp_path / word.lstrip("+").partition("=")[0]
    folder.mkdir()
    assert command(*words).returncode == 0
    said = command(*words, word).stderr.splitlines()[-1]
    assert f"{folder} is a folder among your choices" in said


@pytest.mark.parametrize("brought", ["--config-dir={}", "hydra.searchpath=[{}]"])
@pytest.mark.parametrize("sweep", ["", "seed=1,2", "seed=range(2)", "reward=glob(*)", "teacher=choice(phantom,gemini)"])
def test_the_nearest_key_is_named_of_ones_own_choices_and_in_a_sweep(
    brought: str, sweep: str, tmp_path: Path, command: Command
) -> None:
    write_text(tmp_path / "prompt" / "mine.yaml", "defaults: [only_label]\nname: mine\n")
    words = ["prompt=mine", "stage=grpo", "stage.beeta=1", f"runs={tmp_path / 'runs'}"]
    done = command(brought.format(tmp_path), *words, *(["--multirun", sweep] if sweep else []))
    assert done.returncode and "stage.beeta: there is no such key. Did you mean beta?" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("content", ["name: x\n\tbad: 1\n", "name: x\nlist: [1, 2\n", "name: 'x\n"])
def test_a_file_that_is_no_yaml_is_named_with_its_row(content: str, tmp_path: Path, command: Command) -> None:
    file = tmp_path / "prompt" / "mine.yaml"
    write_text(file, content)
    done = command("--config-dir", str(tmp_path), "stage=sft", "prompt=mine", "dry_run=true", f"runs={tmp_path / 'runs'}")
    assert done.returncode == 1 and re.search(rf"{file}, row [23]: it is no YAML: .", done.stderr.splitlines()[-1]), done.stderr


def test_an_experiments_single_job_is_still_one(tmp_path: Path, command: Command) -> None:
    words = ["hydra.mode=RUN", "checkpoint=grpo", "reward=hard", "model=phantom_gemma", "dataset=phantom_validation"]
    done = command("experiment=table4", *words, "dry_run=true", f"runs={tmp_path / 'runs'}")
    assert done.returncode == 0 and "missing:  sft-" in done.stdout


def test_a_file_of_ones_own_that_hydra_would_pass_over_is_refused(tmp_path: Path, command: Command) -> None:
    for place in ("prompt/free_reasoning.yaml", "sized/small/stage_grpo.yaml"):
        own = tmp_path / place.partition("/")[0]
        write_text(own / place, "name: x\n")
        shown = command("--config-dir", str(own), "stage=evaluate", "dry_run=true", f"runs={tmp_path / 'runs'}")
        assert shown.returncode and "give yours another name" in shown.stderr, shown.stderr
    twice = command("--config-dir", "a", "--config-dir", "b", "stage=evaluate")
    assert twice.returncode and "one folder is taken" in twice.stderr


def test_a_reward_of_ones_own_has_the_length_of_its_scale(tmp_path: Path, command: Command) -> None:
    usual = (CONF / "reward" / "hard.yaml").read_text(encoding="utf-8")
    write_text(tmp_path / "reward" / "mine.yaml", usual.replace("name: hard", "name: mine"))
    for model, length in (("phantom_gemma", 20), ("medgemma", 250)):
        shown = command("--config-dir", str(tmp_path), "stage=grpo", "reward=mine", f"model={model}", "--cfg", "job")
        assert f"name: mine\n  min_tokens: {length}\n" in shown.stdout, "the value, not the place that it is taken from"


def test_a_search_path_reaches_the_runs_below_sweeps_and_help(tmp_path: Path, command: Command) -> None:
    own = tmp_path / "own"
    usual = (CONF / "prompt" / "free_reasoning.yaml").read_text(encoding="utf-8")
    write_text(own / "prompt" / "mine.yaml", usual.replace("name: free_reasoning", "name: mine"))
    write_text(own / "experiment" / "our.yaml", (CONF / "experiment" / "table4.yaml").read_text(encoding="utf-8"))
    write_text(own / "stage" / "ours.yaml", "# What we do.\n_target_: chexreason.stages.inspect.Settings\nname: ours\n")
    path = f"hydra.searchpath=[{own}]"
    for words in (["stage=sft", "prompt=mine"], ["experiment=our"], ["--multirun", "stage=sft", "prompt=mine,only_label"]):
        found = command(*words, path, "dry_run=true", f"runs={tmp_path / 'runs'}")
        assert found.returncode == 0 and "no such choice" not in found.stderr + found.stdout, found.stderr
    assert "ours       What we do." in command("--config-dir", str(own), "--help").stdout


def test_choices_of_ones_own_are_found_wherever_the_flag_stands(tmp_path: Path, command: Command) -> None:
    (tmp_path / "prompt").mkdir()
    (tmp_path / "prompt" / "own.yaml").write_text("defaults: [free_reasoning, _self_]\nname: own\n")
    shown = command("stage=sft", "prompt=own", "--config-dir", str(tmp_path), "--cfg", "job")
    assert shown.returncode == 0 and "name: own" in shown.stdout
    searched = [[f"hydra.searchpath=[{scheme}{tmp_path}]"] for scheme in ("", "file://")]
    for words in (["--config-dir", str(tmp_path)], *searched):
        said = command("stage=sft", "prompt=own", *words, f"runs={tmp_path / 'runs'}").stderr
        (line,) = (line.partition("make it:")[2] for line in said.splitlines() if "make it:" in line)
        made = command(*shlex.split(line)[3:], "dry_run=true")
        assert made.returncode == 0 and "complete: no" in made.stdout, (line, made.stderr)


def test_a_choice_of_ones_own_does_not_pass_for_the_one_that_it_is_made_from(tmp_path: Path, command: Command) -> None:
    for group, like in (("prompt", "free_reasoning"), ("reward", "hard"), ("stage", "sft")):
        (tmp_path / group).mkdir()
        (tmp_path / group / "own.yaml").write_text(f"defaults: [{like}, _self_]\n")
        said = command(f"{group}=own", *(["stage=sft"] * (group != "stage")), "--config-dir", str(tmp_path), "dry_run=true")
        assert said.returncode == 1 and f"{group}=own: its file calls it {like}" in said.stderr.splitlines()[-1], said.stderr


def test_an_experiment_that_is_copied_runs_from_a_folder_of_ones_own(tmp_path: Path, command: Command) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "own.yaml").write_text(
        (CONF / "experiment" / "table4.yaml").read_text().replace(": table4", ": own")
    )
    words = ("--config-dir", str(tmp_path), f"runs={tmp_path / 'runs'}", "dry_run=true")
    said = command("experiment=own", *words)
    assert said.returncode == 0 and "[own] 4 jobs" in said.stderr and "4 evaluate" in said.stderr, said.stderr
    others = command("experiment=_swep", *words).stderr
    assert "Valid: collapse" in others and "_sweep" not in others, "a part that experiments share is none"


@pytest.mark.parametrize("word", ["--config-dir={}", "hydra.searchpath=[{}]"])
def test_a_stages_process_is_told_the_folders_of_choices(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    own = tmp_path / "own"
    (own / "prompt").mkdir(parents=True)
    (own / "prompt" / "mine.yaml").write_text("defaults: [only_label, _self_]\nname: mine\n")
    told: list[str] = []
    monkeypatch.setattr(processes, "run_stage", lambda *_: told.append(processes._environment()[FOLDERS]) or 1)
    command("stage=prompts", "prompt=mine", word.format(own), f"runs={tmp_path / 'runs'}", "tracker=none")
    assert told == [str(own)]


@pytest.mark.parametrize("word", ["--config-dir={}", "-cd={}", "hydra.searchpath=[{}]", "hydra.searchpath=['file://{}']"])
def test_a_config_of_ones_own_is_checked_before_it_is_shown(tmp_path: Path, command: Command, word: str) -> None:
    write_text(tmp_path / "prompt" / "bad.yaml", "defaults: [only_label, _self_]\nname: bad\ninstructin: Look.\n")
    write_text(tmp_path / "dataset" / "mine.yaml", "defaults: [phantom_nih, _self_]\nname: mine\n")
    shown = command("stage=sft", "source=mine", "--cfg", "job", word.format(tmp_path))
    assert shown.returncode == 0 and "\nsource: mine\n" in f"\n{shown.stdout}", shown.stderr
    refused = command("stage=sft", "prompt=bad", "--cfg", "job", word.format(tmp_path))
    assert refused.returncode == 1 and "prompt.instructin: there is no such key" in refused.stderr.splitlines()[-1]
