"""The command line and the schema behind it."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import reduce
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from chexreason.errors import ChexReasonError
from chexreason.runs import config
from chexreason.runs.config import GROUPS, as_dict, check, choice_names, compose, described_by
from chexreason.runs.identity import CONTENT
from chexreason.runs.overrides import quoted
from chexreason.runs.plan import plan
from tests.runs.conftest import Command

CHOICES = {group: choice_names(group) for group in GROUPS if group != "sweep"}


@pytest.mark.parametrize("place", range(max(map(len, CHOICES.values()))))
def test_every_choice_is_valid_and_lists_every_key_it_has(place: int) -> None:
    chosen = {group: names[place % len(names)] for group, names in CHOICES.items()}  # many at once: composing is slow
    plain = as_dict(compose([f"{group}={name}" for group, name in chosen.items()]))
    check(plain)
    for group, name in chosen.items():
        assert plain[group]["name"] == name, "run folders and parent lookup go by the choice's name"
        missing = {field.name for field in fields(described_by(group, plain[group]))} - plain[group].keys()
        assert not missing, f"conf/{group}/{name}.yaml leaves out {missing}: they could not be overridden"


@pytest.mark.parametrize("line", ["stage=sft", "stage=grpo", "stage=evaluate", "stage=standin"])
@pytest.mark.parametrize("model", ["phantom_gemma", "phantom_qwen", "medgemma", "qwen", "untrained_medgemma", "untrained_qwen"])
def test_stage_settings_fit_every_model(line: str, model: str) -> None:
    check(as_dict(compose((line, f"model={model}"))))


def test_clinical_settings_are_the_papers() -> None:
    """Section 3.2.1 and 3.2.2."""
    sft = compose(("stage=sft", "model=medgemma")).stage
    assert (sft.lora.rank, sft.lora.alpha, sft.lora.dropout) == (16, 32, 0.1)
    assert (sft.epochs, sft.patience, sft.held_out) == (6, 2, 0.1)
    assert (sft.learning_rate, sft.schedule, sft.warmup, sft.weight_decay) == (5e-5, "cosine", 0.05, 0.01)
    assert (sft.clip_norm, sft.batch_size, sft.accumulation, sft.gradient_checkpointing) == (5.0, 1, 8, True)
    grpo = compose(("stage=grpo", "model=medgemma")).stage
    assert (grpo.completions, grpo.temperature, grpo.top_p, grpo.beta) == (4, 0.8, 0.95, 0.15)
    assert (grpo.clip_low, grpo.clip_high) == (0.15, 0.22)
    assert grpo.steps_per_rollout > 1, "with one step per rollout the ratio is 1 and clipping never acts"
    assert compose(("model=medgemma",)).model.max_visual_tokens == 256
    qwen = compose(("model=qwen",)).model
    assert (qwen.min_visual_tokens, qwen.max_visual_tokens) == (256, 512)


def test_stand_ins_override_only_what_does_not_fit_them() -> None:
    phantom, paper = (compose(("stage=grpo", f"model={name}")).stage for name in ("phantom_gemma", "medgemma"))
    assert phantom.learning_rate != paper.learning_rate
    assert (phantom.beta, phantom.clip_low, phantom.top_p) == (paper.beta, paper.clip_low, paper.top_p)


def test_command_line_beats_a_models_own_stage_settings() -> None:
    assert compose(("stage=sft", "stage.epochs=9")).stage.epochs == 9


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("stage.lerning_rate=1", "learning_rate"),
        ("modle=medgemma", "model"),
        ("model=medgema", "medgemma"),
        ("stage.lora.rnk=3", "rank"),
        ("sed=3", "seed"),
        ("stage.lra.rank=3", "lora"),
    ],
)
def test_a_misspelt_override_names_the_nearest_valid_one(override: str, named: str, command: Command) -> None:
    answer = command("stage=sft", override)
    assert answer.returncode == 1
    assert override.split("=")[0] in answer.stderr and f"Did you mean {named}?" in answer.stderr


@pytest.mark.parametrize(
    "override", ["stage.learning_rate=fast", "stage.epochs=[1]", "model.max_visual_tokens=many", "stage.lerning_rate=1"]
)
def test_a_wrong_type_or_key_is_refused_even_when_only_shown(override: str, command: Command) -> None:
    answer = command("stage=sft", override, "--cfg", "job")
    assert answer.returncode == 1 and override.split("=")[0] in answer.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stage=evaluate", "checkpoint=bas"], "checkpoint=bas: there is no such choice. Did you mean base"),
        (["seed=1"], "stage=NAME is wanted"),
        (["stage=sft", "stage.learning_rate=-1"], "stage.learning_rate=-1.0: 0 at least"),
        (["stage=sft", "stage.held_out=1.5"], "stage.held_out=1.5: a share is wanted"),
        (["stage=grpo", "stage.collapse.window=0"], "stage.collapse.window=0: 1 at least"),
        (["dataset.name=../..", "stage=curate"], "dataset.name='../..'"),
        (["=3"], "an override is key=value"),
        (["stage=evaluate", "source=phantom_nihh"], "source=phantom_nihh: there is no such dataset. Did you mean phantom_nih"),
        (["stage=sft", "~seed"], "~seed: .* neither be taken away"),
        (["stage@here=sft"], "stage@here=sft: .* nor moved"),
        (["stage=sft", "stage.name=grpo"], "a stage keeps its name"),
        (["stage=./sft"], "stage=./sft: one choice is wanted, by its name"),
        (["stage=score", "reward=../reward/hard"], "one choice is wanted, by its name"),
        (["stage=sft", "prompt=[only_label,free_reasoning]"], "one choice is wanted, by its name"),
        (["stage=sft", "prompt.instruction=' '"], "instruction=: what is asked"),
        (["stage=sft", "model.attention=banana"], "model.attention=banana: one of"),
        (["stage=evaluate", "dataset.benchmark=banana"], "dataset.benchmark=banana: one of chexpert"),
        (["stage=curate", "dataset.views=[]"], r"dataset.views=\[\]: the views"),
        (["stage=curate", "dataset.views=[AP,XX]"], "dataset.views=XX: one of AP, PA, LATERAL"),
        (
            ["stage=curate", "dataset=chexpert", "dataset.views=[frontl]"],
            "dataset.views=frontl: one of AP, PA, frontal, lateral, LL",
        ),
        (["stage=curate", "dataset=nih", "dataset.views=[pa]"], "dataset.views=pa: one of AP, PA is wanted"),
        (["stage=evaluate", "dataset=validation", "dataset.views=[XX]"], "dataset.views=XX: one of AP, PA, frontal"),
        (["stage=evaluate", "dataset=validation", "dataset.views=[]"], r"dataset.views=\[\]: the views"),
        (["stage=evaluate", "stage.sampling.top_p=0"], "stage.sampling.top_p=0.0: more than 0"),
        (["stage=metrics", "~stage.name"], "a choice keeps its name"),
        (["stage=report", "stage.show=table4"], "stage.show=table4: a list is wanted, such as stage.show=.table4.$"),
        (["stage=report", "stage.show=[tabel4]"], "stage.show: there is no tabel4. Did you mean table4"),
        (["stage=evaluate", "sweep.show=[headlines]"], "sweep.show: there is no headlines. Did you mean headline"),
        (["+sede=1"], "sede: there is no such key. Did you mean seed"),
        (["+sede=1", "+sed=1", "+sead=1", "+run=1"], "sede: there is no such key"),  # of several the first
        (["seed=-1"], "seed=-1: a number from 0"),
        (["processes=0"], "one process at least"),
        (["engine=vllm", "stage=evaluate", "engine.memory=2"], "engine.memory=2.0: a share is wanted"),
        (["stage=evaluate", "stage.batch_size=-4"], "stage.batch_size=-4: 1 at least"),
        (["stage=evaluate", "stage.sampling.repeats=0"], "stage.sampling.repeats=0: 1 at least"),
        (["stage=predict", "stage.temperature=-1"], "stage.temperature=-1"),
        (
            ["stage=predict", "stage.input=a film (1).png"],
            "Quote a value with special characters for Hydra and again for the shell",
        ),
        (["stage=grpo", "stage.max_steps=0"], "stage.max_steps=0: 1 at least"),
        (["stage=grpo", "stage.learning_rate=inf"], "stage.learning_rate=inf: .*finite"),
        (["stage=grpo", "stage.learning_rate=nan"], "stage.learning_rate=nan: 0 at least"),
        (["stage=grpo", "stage.selection.patience=1", "stage.parents.validation=null"], "parents.validation is null"),
        (["stage=sft", "model.dtype=float99"], "model.dtype=float99: one of"),
        (["stage=sft", "model.family=gemma4"], "model.family=gemma4: one of"),
        (["stage=sft", "model.min_visual_tokens=0"], "model.min_visual_tokens=0: 1 at least"),
        (["stage=sft", "model.max_visual_tokens=3"], "model.max_visual_tokens=3: 36 at least"),
        (["stage=sft", "model.pretraining.corpus=films"], "model.pretraining.corpus=films: one of"),
        (["stage=sft", "model.pretraining.prompt_share=2"], "model.pretraining.prompt_share=2.0: a share"),
        (["stage=sft", "prompt.grammar=xml"], "prompt.grammar='xml': one of tags"),
        (["stage=grpo", "reward.min_tokens=-4"], "reward.min_tokens=-4: 0 at least"),
        (["stage=grpo", "reward=nuanced", "reward.window=0"], "reward.window=0: 1 at least"),
        (["stage=grpo", "reward=nuanced", "reward.duplicate=-1"], "reward.duplicate=-1.0: 0 at least"),
        (["stage=grpo", "reward=balanced", "reward.rarest=0"], "reward.rarest=0.0: more than 0"),
        (["stage=sft", "tracker.mode=sometimes"], "tracker.mode=sometimes: one of offline"),
        (["stage=teach", "stage.gates.most_words=1"], "stage.gates.most_words=1: 4 at least"),
        (["stage=teach", "model=medgemma", "teacher.retries=-1"], "teacher.retries=-1: 0 at least"),
        (["stage=report", "stage.resamples=0"], "stage.resamples=0: 1 at least"),
        (["stage=metrics", "stage.resamples=1000000000"], "stage.resamples=1000000000: 1,000,000 at most"),
        (["stage=metrics", "stage.labels=[Foo]"], "stage.labels: 'Foo' is not one of"),
        (["stage=curate", "dataset=mimic", "dataset.split=tset"], "dataset.split=tset: one of train"),
        (["stage=curate", "dataset=mimic", "dataset.labels=x"], "dataset.labels=x: one of chexpert"),
        (["stage=curate", "dataset=chexpert", "dataset.all_zero=x"], "dataset.all_zero=x: one of keep"),
        (["stage=curate", "dataset=nih", "dataset.draw=0"], "dataset.draw=0: 1 at least"),
        (["stage=curate", "dataset=nih", "dataset.findings=[Fracture]"], "'Fracture' is not one of those that NIH"),
        (["stage=curate", "dataset=vindr", "dataset.votes=4"], "dataset.votes=4: a number of readers"),
        (["stage=curate", "dataset=padchest", "dataset.labeller=x"], "dataset.labeller=x: one of physician"),
        (["stage=curate", "dataset=openi", "dataset.outside=x"], "dataset.outside=x: one of keep"),
        (["stage=curate", "dataset=mimic", "dataset.uncertain=maybe"], "dataset.uncertain=maybe: one of negative"),
        (["stage=evaluate", "dataset=validation", "dataset.split=test"], "dataset.split=test: one of sft"),
        (["stage=sft", "stage.parents.traces='stage=teach \"x'"], "stage.parents.traces=.*No closing quotation"),
        (["stage=sft", "prompt=null"], "prompt=null: a choice is wanted. Valid: free_reasoning"),
        (["stage=sft", "reward="], "reward=: a choice is wanted. Valid: balanced"),
        (["stage=sft", "~prompt"], "a choice keeps its name"),
        (["stage=sft", "runs="], "runs=: the folder"),
        (["stage=sft", "stage.trainer={optim: sgd}"], r"stage.trainer: .*\+stage.trainer.KEY=VALUE"),
        (["stage=sft", "~dataset.root"], "~dataset.root: .* neither be taken away"),
        (["stage=sft", "stage.held_out=1"], "stage.held_out=1.0: less than 1"),
        (["stage=sft", "stage.learning_rate=${stage.learning_rate}"], "stage.learning_rate"),
        (["stage=sft", "+stage.parents.trace='stage=teach'"], "stage.parents.trace: .*Did you mean traces"),
        (["stage=grpo", "+stage.parents.curate='stage=curate'"], "stage.parents.curate: .*Did you mean curated"),
        (["stage=grpo", "stage.parents.policy=runs/sft-1"], "stage.parents.policy=runs/sft-1: .* runs/sft-1 has no ="),
        (["stage=evaluate", "checkpoint=sft", "checkpoint.made_by=sft"], "checkpoint.made_by=sft: must be a line of overrides"),
        (
            ["stage=grpo", "stage.parents.policy=stage=sft"],
            "stage.parents.policy=stage=sft: .*not valid override syntax.*'stage=sft'",
        ),
        (["stage=grpo", "stage.batch_size=6", "stage.accumulation=1"], "stage.completions=4: .*a multiple of 4 is wanted"),
        (["stage=grpo", "stage.collapse.stop.entropy=-1"], "stage.collapse.stop.entropy=-1.0: a share"),
        (["stage=SFT"], "stage=SFT: there is no such choice. Did you mean sft"),
        (["stage=grpo", "stage.trainer.max_grad_norm=x"], "stage.trainer.max_grad_norm=x: float is wanted"),
        (["stage=sft", "+stage.trainer.fp16=1"], "stage.trainer.fp16=1: bool is wanted"),
        (["stage=standin", "stage.weight_decay=-1"], "stage.weight_decay=-1.0: 0 at least"),
        (["stage=inspect", "dataset=nih", "dataset.draw_seed=-1"], "dataset.draw_seed=-1: 0 at least"),
        (["stage=sft", "world.jobs=0"], "world.jobs=0: 1 at least"),
        (["stage=score", "stage.input=x", "stage.tokenizer.made_by=zzz"], "stage.tokenizer.made_by=zzz: must be a line"),
        (["stage=score", "stage.input=x", "stage.tokenizer.made_by='stage=standin foo'"], "foo has no ="),
        (["stage=predict", "stage.samples=5", "stage.temperature=0"], "samples=5: greedy answers are all alike"),
        (["stage=sft", "stage.lora=8"], "stage.lora: its keys are set one by one, as stage.lora.KEY=VALUE: rank, alpha"),
        (["stage=evaluate", "stage.sampling=null"], "stage.sampling: its keys are set one by one"),
        (["stage=sft", "stage.trainer=[1]"], r"stage.trainer=\[1\]: that key holds a block"),
        (["stage=sft", "model.weights=google/medgemma-4b-it"], "model.weights=.*for one from outside, set model.made_by=null"),
        (["stage=sft", "stage.trainer.foo=1"], "stage.trainer.foo: there is no such key. .*\\+stage.trainer.foo=VALUE"),
    ],
)
def test_what_cannot_be_composed_says_why(words: list[str], message: str) -> None:
    with pytest.raises(ChexReasonError, match=message):
        plan(compose(tuple(words)), words)


@pytest.mark.parametrize("name", ["stage", "dataset", "model", "checkpoint"])
@pytest.mark.parametrize("blank", ["", " "])
def test_a_file_or_folder_of_no_name_is_not_the_current_folder(name: str, blank: str) -> None:
    """What `KEY=$NOT_SET` gives."""
    tried = 0
    for choice in choice_names(name):
        values = as_dict(compose([f"{name}={choice}"]))[name]
        described = described_by(name, values)
        for key in (one.name for one in fields(described) if one.metadata == CONTENT and "list" not in str(one.type)):
            with pytest.raises(ChexReasonError, match=rf"^{name}\.{key}=: nothing stands there"):
                config.group(name, values | {key: blank})
            tried += 1
    assert tried


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stage=null"], "stage=null: a choice is wanted. Valid: curate"),
        (["arm="], "arm=: a choice is wanted. Valid: balanced"),
        (["stage", "=sft"], "Did you mean stage=sft?"),
        (["stage", "sft"], "Did you mean stage=sft?"),
        (["stage", "=", "sft"], "Did you mean stage=sft?"),
        (["stage==sft"], "Did you mean stage=sft?"),
        (["stage:sft"], "Did you mean stage=sft?"),
        (["SFT"], "Did you mean stage=sft?"),
        (["Stage:", "sft"], "Did you mean stage=sft?"),
        (["Stage: sft"], "Did you mean stage=sft?"),
        (["run", "sft"], "Did you mean stage=sft?"),
        (["--sft"], "Did you mean stage=sft?"),
        (["sft,grpo"], "Did you mean stage=sft?"),
        (["stage = sft"], "Did you mean stage=sft, each a word of its own?"),
        (["stage=sft seed=3"], "Did you mean stage=sft seed=3, each a word of its own?"),
        (
            ["stage=predict", "stage.input=a film b=(1).png"],
            "Quote a value with special characters for Hydra and again for the shell",
        ),
        (["stage=sft", "seed:3"], "Did you mean seed=3?"),
        (["stage=sft", "--stage.epochs", "3"], "Did you mean stage.epochs=3?"),
        (["stage=sft", "epochs=3"], "epochs: a key of stage. Did you mean stage.epochs?"),
        (["train"], "train: an override is key=value. What there is: --help"),
        (["stage=sft", "reasoning_a"], "Did you mean prompt=reasoning_a?"),
        (["phantom_nih", "stage=evaluate"], "Did you mean dataset=phantom_nih?"),
        (["stage=sft", "foo"], "foo: an override is key=value"),
        (["experiment=glob(table*)", "dry_run=true"], "experiments are named one by one"),
        (["experiment=table1,table2", "--cfg", "job"], "--cfg shows one composed config"),
        (["experiment=table1,tabel2"], "tabel2"),
        (["stage=sft", "--dry-run"], "Did you mean dry_run=true?"),
        (["stage=sft", "--config-dir"], "--config-dir: its value is wanted"),
        (
            ["stage=predict", "stage.input=a film (1).png"],
            "Quote a value with special characters for Hydra and again for the shell",
        ),
        (["stage=predict", "stage.input=caf\udce9.png"], r"caf\udce9.png: it has bytes that are no UTF-8. Name the folder"),
        (["stage=", "sft"], "Did you mean stage=sft?"),
        (["--dry_run", "stage=sft"], "Did you mean dry_run=true?"),
        (["--prompt", "only_label", "stage=sft"], "Did you mean prompt=only_label?"),
        (
            ["--multirun", "stage=sft,grpo", "stage.epochs=1"],
            "stage.epochs: it belongs to one choice",
        ),
        (["stage=sft", "runs=~/x"], "Write the folder out: runs=$HOME/x"),
        (["stage=prompts", "stage.shown=tabel"], "stage.shown=tabel: there is no such choice"),
        (["--cfg", "job", "--multirun", "stage=sft"], "leave out --multirun"),
    ],
)
def test_a_command_that_is_none_says_in_its_last_line_what_is_meant_and_makes_nothing(
    words: list[str], said: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = command(*words)
    assert answer.returncode == 1 and said in answer.stderr.strip().splitlines()[-1]
    assert "Traceback" not in answer.stderr and not [*tmp_path.iterdir()]


WRONG: dict[type, list[Any]] = {  # by what stands there
    bool: ["x", 7.5], int: ["x", [1], {"a": 1}], float: ["x", [1], float("nan")], str: [["a"], [["a"]], {"a": 1}],
    list: ["x", [["a"]], [None], {"a": 1}], dict: ["x", [1]], type(None): [[["a"]]],
}  # fmt: skip


def leaves(node: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not isinstance(node, dict) or not node:
        yield place, node
        return
    for key in node.keys() - {"_target_"}:
        yield from leaves(node[key], (*place, str(key)))


@pytest.mark.parametrize("stage", choice_names("stage"))
def test_a_wrong_value_of_any_key_is_refused_by_its_name(stage: str) -> None:
    plain = as_dict(compose([f"stage={stage}"]))
    seen = plain if stage == "grpo" else {"stage": plain["stage"]}
    for place, value in leaves(seen):
        for wrong in WRONG[type(value)]:
            tried = copy.deepcopy(plain)
            node = reduce(lambda inside, key: inside[key], place[:-1], tried)
            node[place[-1]] = wrong
            with pytest.raises(ChexReasonError) as refused:
                check(tried)
            assert place[-1] in str(refused.value) or place[-2] in str(refused.value), (place, wrong)


def test_a_number_is_no_choice(tmp_path: Path) -> None:
    for word in ("prompt=5", "stage=3", "model=true", "reward=1.5", "prompt=only_label,2"):
        with pytest.raises(ChexReasonError, match="there is no such choice"):
            compose(["stage=evaluate", word])


@pytest.mark.parametrize(
    "word",
    ["dataset.download=https://me:a-SECRET-of-mine@host/", "prompt.instruction='say ${oc.env:MY_API_KEY}'",
     "teacher.base_url=https://host/a-SECRET-of-mine/v1", "stage.data_use_agreement=a-SECRET-of-mine"],
)  # fmt: skip
def test_a_secret_in_a_config_is_refused_and_not_repeated(
    word: str, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", "a-SECRET-of-mine")
    chosen = ("stage=review", "dataset=mimic", "teacher=openai", word, "mixed_worlds=true", f"runs={tmp_path / 'runs'}")
    done = command(*chosen)
    assert done.returncode == 1 and f"{word.partition('=')[0]}: " in done.stderr, done.stderr
    assert "SECRET" not in done.stderr and not (tmp_path / "runs").exists()


def test_a_text_that_looks_like_a_place_in_the_config_is_a_text() -> None:
    said = "${seed}, \\${seed} and $"
    cfg = compose(["stage=curate", f"prompt.instruction={quoted(said)}"])
    assert check(as_dict(cfg)).prompt.instruction == said


def test_top_level_types_are_checked() -> None:
    with pytest.raises(ChexReasonError, match="seed='many': a value of type int"):
        check(as_dict(compose(("stage=sft", "seed=many"))))


@pytest.mark.parametrize("arguments", [["--cfg", "job"], ["--help"]])
def test_help_and_composing_import_nothing_heavy(arguments: list[str]) -> None:
    """What they take is measured by `make bench`; a crowded machine would make a bound here fail."""
    watched = f"import runpy, sys; sys.argv = ['run', *{arguments!r}]\n"
    watched += "try:\n    runpy.run_module('chexreason.run', run_name='__main__')\nexcept SystemExit:\n    pass\n"
    watched += "heavy = {'torch', 'transformers', 'trl', 'pandas', 'sklearn', 'matplotlib', 'wandb'} & set(sys.modules)\n"
    watched += "print(sorted(heavy), file=sys.stderr)"
    answer = subprocess.run([sys.executable, "-c", watched], capture_output=True, text=True, timeout=60)
    assert answer.stderr.strip().splitlines()[-1] == "[]"


def test_a_model_without_weights_says_what_to_do(monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    answer = command("stage=sft", "model=medgemma", "model.weights=google/medgemma-4b-it-absent")
    assert answer.returncode == 1
    for needed in ("google/medgemma-4b-it-absent", "physionet.org", "credentialed", "model=phantom_gemma"):
        assert needed in answer.stderr


def test_every_key_of_the_root_config_is_read() -> None:
    assert set(as_dict(compose(("stage=sft",)))) == {field.name for field in fields(config.Config)}


@pytest.mark.parametrize("plus", ["+", "++"])
def test_a_choice_may_be_typed_as_one_that_is_added(plus: str, command: Command) -> None:
    """Other projects' experiments are not in their defaults, and want the +."""
    shown = command(f"{plus}experiment=table4", "--cfg", "hydra")
    assert shown.returncode == 0 and "mode: MULTIRUN" in shown.stdout


def test_the_version_is_this_products(command: Command) -> None:
    assert command("--version").stdout == f"chexreason {version('chexreason')}\n"


@pytest.mark.parametrize("words", [["--help"], ["stage=sft", "--cfg", "job"]])
def test_a_reader_that_has_seen_enough_is_no_error(words: list[str]) -> None:
    line = [sys.executable, "-m", "chexreason.run", *words]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        assert command.stdout and command.stderr
        command.stdout.close()
        assert command.stderr.read() == b"" and command.wait() == 141


def test_the_last_line_says_what_was_wrong_where_ways_on_stand_above_it(tmp_path: Path, command: Command) -> None:
    for words, wrong in (
        (["stage=evaluate", "checkpoint=sft"], "stage=evaluate needs a complete run in"),
        (["stage=curate", "dataset=mimic", "dataset.root=/no/where"], "there is no folder /no/where"),
        (["stage=sft", "model=medgemma", "source=phantom_mimic"], "worlds are mixed"),
    ):
        said = command(*words, f"runs={tmp_path}").stderr.strip().splitlines()
        assert said[-1].startswith("Not done: ") and wrong in said[-1] and said[-2].startswith("  "), said
