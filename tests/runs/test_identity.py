"""What defines a run and what does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chexreason.errors import ChexReasonError
from chexreason.runs import files, identity
from chexreason.runs.config import compose
from chexreason.runs.files import write_json
from chexreason.runs.imports import NAMED
from chexreason.runs.plan import plan
from tests.manifests import complete
from tests.runs.conftest import EVALUATE, name, planned, weights


def test_who_would_have_written_what_nobody_was_asked_for_defines_nothing(tmp_path: Path) -> None:
    for stage in ("teach", "sft"):
        line = [f"stage={stage}", "prompt=only_label", "model=medgemma"]
        assert name(tmp_path, *line) == name(tmp_path, *line, "teacher=openai", "teacher.temperature=0")
        line.append("prompt=free_reasoning")
        assert len({name(tmp_path, *line, *more) for more in ([], ["teacher=openai"], ["teacher.temperature=0"])}) == 3


def test_a_base_evaluation_depends_on_nothing_of_training(tmp_path: Path) -> None:
    base = name(tmp_path, *EVALUATE)
    for word in ("source=phantom_nih", "reward=nuanced", "variant=two_sites", "teacher=openai", "tracker=none"):
        assert name(tmp_path, *EVALUATE, word) == base, word
    for word in (
        "prompt=reasoning_a",
        "dataset=phantom_nih",
        "model=phantom_qwen",
        "stage.limit=3",
        "checkpoint=sft",
    ):
        assert name(tmp_path, *EVALUATE, word) != base, word


def test_a_seed_that_nothing_is_drawn_by_makes_no_other_evaluation(tmp_path: Path) -> None:
    for line, same in (
        (EVALUATE, True),  # greedy, and the drawn world has a seed of its own
        (["stage=evaluate", "model=medgemma", "dataset=nih"], True),
        ([*EVALUATE, "stage.sampling.temperature=0.8"], False),
        ([*EVALUATE, "checkpoint=sft"], False),
        (["stage=sft"], False),
    ):
        assert (name(tmp_path, *line, "seed=0") == name(tmp_path, *line, "seed=1")) == same, line


def test_what_only_a_draw_depends_on_defines_nothing_where_nothing_is_drawn(tmp_path: Path) -> None:
    predict = ["stage=predict", f"stage.input={Path(__file__)}"]
    for greedy, drawn, words in (
        (EVALUATE, [*EVALUATE, "stage.sampling.temperature=0.8"], ("stage.sampling.top_p=0.5", "stage.batch_size=3")),
        (predict, [*predict, "stage.samples=3"], ("stage.temperature=0.5", "stage.top_p=0.5", "stage.batch_size=3", "seed=1")),
    ):
        for word in words:
            assert name(tmp_path, *greedy, word) == name(tmp_path, *greedy), word
            assert name(tmp_path, *drawn, word) != name(tmp_path, *drawn), word


@pytest.mark.parametrize("site", ["mimic", "chexpert", "nih", "padchest", "vindr", "openi", "phantom_validation"])
def test_a_list_that_is_a_set_counts_in_any_order(site: str, tmp_path: Path) -> None:
    line = ["stage=evaluate", "mixed_worlds=true", f"dataset={site}", "dataset.made_by=null", f"dataset.root={tmp_path}/no"]
    for key, some in (("findings", ["Edema", "Pneumonia"]), ("views", ["AP", "PA"])):
        if key == "findings" and site == "openi":
            some = ["Cardiomegaly", "Edema"]
        forth, back, fewer = (name(tmp_path, *line, f"dataset.{key}=[{','.join(one)}]") for one in (some, some[::-1], some[:1]))
        assert forth == back != fewer, key


@pytest.mark.parametrize(
    ("stage", "key", "one", "other"), [("phantom", "sites", "nih", "mimic"), ("metrics", "labels", "Edema", "Fracture")]
)
def test_the_sets_of_a_stage_count_in_any_order(stage: str, key: str, one: str, other: str, tmp_path: Path) -> None:
    file = tmp_path / "predictions.jsonl"
    file.write_text('{"id": "a", "patient": "1", "labels": ["Edema"], "predicted": ["Edema"]}\n')
    line = [f"stage={stage}", *([f"stage.input={file}"] if stage == "metrics" else [])]
    forth, back, fewer = (name(tmp_path, *line, f"stage.{key}=[{some}]") for some in (f"{one},{other}", f"{other},{one}", one))
    assert forth == back != fewer


def test_a_number_of_the_trainers_is_the_same_however_it_is_written(tmp_path: Path) -> None:
    usual = name(tmp_path, "stage=grpo")  # whose max_grad_norm is 1.0
    assert name(tmp_path, "stage=grpo", "stage.trainer.max_grad_norm=1") == usual
    assert name(tmp_path, "stage=grpo", "stage.trainer.max_grad_norm=0.5") != usual


def test_what_trained_a_checkpoint_defines_its_evaluation(tmp_path: Path) -> None:
    line = [*EVALUATE, "checkpoint=grpo"]
    recipes = {name(tmp_path, *line, word) for word in ("seed=0", "source=phantom_nih", "reward=nuanced", "variant=two_sites")}
    assert len(recipes) == 4
    assert name(tmp_path, *line) != name(tmp_path, *EVALUATE, "checkpoint=grpo_best")


def test_what_writes_rollouts_defines_a_run_of_grpo_and_nothing_before_it(tmp_path: Path) -> None:
    plain, vllm = (planned(tmp_path, *EVALUATE, "checkpoint=grpo", f"engine={name}") for name in ("transformers", "vllm"))
    assert plain.folder != vllm.folder
    grpo = vllm.parents["checkpoint"]
    assert grpo.folder.name == name(tmp_path, "stage=grpo", "engine=vllm") != plain.parents["checkpoint"].folder.name
    assert grpo.parents["policy"].folder == plain.parents["checkpoint"].parents["policy"].folder
    assert name(tmp_path, "stage=grpo", "engine=vllm", "engine.rollout_memory=0.5") == grpo.folder.name
    # What transformers trained can be evaluated by vLLM.
    mixed = planned(
        tmp_path, *EVALUATE, "checkpoint=grpo", "engine=vllm", "checkpoint.made_by='stage=grpo engine=transformers'"
    )
    assert mixed.parents["checkpoint"].folder == plain.parents["checkpoint"].folder
    assert mixed.manifest["config"]["engine"]["name"] == "vllm"
    # Two processes may share what vLLM has no part in.
    assert planned(tmp_path, "stage=sft", "engine=vllm", "processes=2", "stage.accumulation=2").processes == 2


def test_weights_count_by_their_content_wherever_they_lie(tmp_path: Path) -> None:
    line = ["stage=predict", "model=medgemma", f"stage.input={Path(__file__)}"]
    first = name(tmp_path, *line, weights(tmp_path / "a", "one"))
    assert name(tmp_path, *line, weights(tmp_path / "elsewhere", "one")) == first
    assert name(tmp_path, *line, weights(tmp_path / "a", "two")) != first


def test_a_hub_model_and_its_folder_in_the_hubs_cache_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = ["stage=evaluate", "model=medgemma", "dataset=phantom_chexpert", "mixed_worlds=true"]
    cache = tmp_path / "models--google--medgemma-4b-it" / "snapshots"
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(cache / ("a" * 40) / "config.json"))
    same, other = (weights(cache / (letter * 40), "one") for letter in "ab")
    (tmp_path / "link").symlink_to(cache / ("a" * 40))
    by_name = name(tmp_path, *line, "model.weights=google/medgemma-4b-it")
    assert name(tmp_path, *line, same) == name(tmp_path, *line, f"model.weights={tmp_path / 'link'}") == by_name
    assert name(tmp_path, *line, other) != by_name


def test_circumstances_do_not_make_another_run(tmp_path: Path) -> None:
    line = ["stage=sft", "make_missing=true"]
    same = name(tmp_path, *line)
    for word in ("stage.logging_steps=1", "stage.save_steps=7", "stage.gradient_checkpointing=true", "model.paper_name=X"):
        assert name(tmp_path, *line, word) == same, word
    assert name(tmp_path, *line, "+stage.trainer.optim=sgd") != same and name(tmp_path, *line, "stage.lora.rank=4") != same


def test_neither_do_they_while_the_data_is_missing(tmp_path: Path) -> None:
    line = ["stage=evaluate", "model=medgemma", "dataset=mimic", f"dataset.root={tmp_path / 'no'}", "model.weights=org/none"]
    usual = name(tmp_path, *line)
    for word in ("dataset.download=https://host/", "dataset.agreement=another", "prompt.cue=x", "prompt.section='9'"):
        assert name(tmp_path, *line, word) == usual, word
    for word in ("dataset.split=test", "dataset.root=/elsewhere", "model.weights=org/other", "prompt.instruction=Look."):
        assert name(tmp_path, *line, word) != usual, word


def test_an_adapter_from_outside_counts_by_its_files(tmp_path: Path) -> None:
    line = [*EVALUATE, "checkpoint.name=own"]
    assert any("no adapter" in lack for lack in planned(tmp_path, *line, f"checkpoint.adapter={tmp_path / 'no'}").every_lack())
    names = {}
    for place, text in (("a", "one"), ("b", "one"), ("c", "two")):
        files.write_text(tmp_path / place / "adapter_config.json", text)
        files.write_text(tmp_path / place / "adapter_model.safetensors", text)
        names[place] = name(tmp_path / "runs", *line, f"checkpoint.adapter={tmp_path / place}")
    assert names["a"] == names["b"] != names["c"]
    files.write_text(tmp_path / "a" / "README.md", "PEFT writes one")
    assert name(tmp_path / "runs", *line, f"checkpoint.adapter={tmp_path / 'a'}") == names["a"]


def test_a_label_table_that_is_named_alone_counts_by_its_content(tmp_path: Path) -> None:
    names = []
    for table, text in (("a.csv", "Path,Edema\nx/y.jpg,1\n"), ("b.csv", "Path,Edema\nx/y.jpg,1\n"), ("b.csv", "Path,Edema\n")):
        files.write_text(tmp_path / table, text)
        names.append(name(tmp_path / "runs", "stage=curate", "dataset=chexpert", f"dataset.table={tmp_path / table}"))
    assert names[0] == names[1] != names[2]


def test_an_answered_image_counts_with_its_name_and_by_the_parser_that_read_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["stage=predict", "checkpoint=base"]
    for film in ("a.png", "b.png", "elsewhere/a.png"):
        files.write_text(tmp_path / film, "film")
    same, other, elsewhere = (
        name(tmp_path, *line, f"stage.input={tmp_path / one}") for one in ("a.png", "b.png", "elsewhere/a.png")
    )
    assert same == elsewhere != other, "the page names the image"
    monkeypatch.setattr(identity, "PACKAGE", tmp_path / "package")
    for version in "12":
        files.write_text(tmp_path / "package" / "answers" / "parser.py", version)
        assert name(tmp_path, *line, f"stage.input={tmp_path / 'a.png'}") != same
        same = name(tmp_path, *line, f"stage.input={tmp_path / 'a.png'}")


def test_a_sweep_that_is_only_planned_reads_weights_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    word, read = weights(tmp_path / "w", "one"), []
    monkeypatch.setattr(identity, "sha256_of", lambda file: read.append(file) or "0" * 64)
    monkeypatch.setattr(identity.path_digest, "__defaults__", (None, None, identity.sha256_of))
    for prompt in ("free_reasoning", "reasoning_a"):
        planned(tmp_path / "none", "stage=evaluate", "model=medgemma", f"prompt={prompt}", word, "dry_run=true")
    assert len(read) == len(set(read)) > 2


@pytest.mark.parametrize("module", ["alone", "lab.rewards"])
def test_a_reward_of_ones_own_counts_by_its_code(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, beside = tmp_path / f"{module.replace('.', '/')}.py", tmp_path / "lab" / "helpers.py"
    files.write_text(beside, "")
    files.write_text(
        code, "from chexreason.rewards.hard import HardReward\nclass Mine(HardReward): ...\nclass Other(Mine): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(NAMED, module)

    def named(kind: str = "Mine") -> str:
        values = "name: mine\nmin_tokens: 1\nlength_penalty: 0\nunit: 1\n"
        files.write_text(tmp_path / kind / "reward" / "mine.yaml", f"_target_: {module}.{kind}\n{values}")
        return name(tmp_path / "runs", "stage=grpo", "reward=mine", f"hydra.searchpath=['{tmp_path / kind}']")

    first = named()
    assert named() == first != named("Other"), "a class by its name"
    files.write_text(code, code.read_text() + "# better now\n")
    second = named()
    assert second != first
    files.write_text(beside, "# in its package, or not\n")
    assert (named() != second) == (module == "lab.rewards")


def test_an_adapter_of_ones_own_does_not_pass_for_the_base(tmp_path: Path) -> None:
    with pytest.raises(ChexReasonError, match="checkpoint.name=mine: without an adapter it is the base model"):
        planned(tmp_path, *EVALUATE, "checkpoint.name=mine")
    for words in ([f"checkpoint.adapter={tmp_path}"], ["checkpoint.made_by='stage=sft seed=3'"]):
        with pytest.raises(ChexReasonError, match="checkpoint.name=base: .*checkpoint.name=mine"):
            planned(tmp_path, *EVALUATE, *words)


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("dataset.table", ["stage=curate", "dataset=phantom_chexpert"]),
        ("dataset.table", ["stage=inspect", "dataset=phantom_validation"]),
        ("dataset.lists", ["stage=inspect", "dataset=phantom_nih"]),
        ("dataset.projections", ["stage=inspect", "dataset=phantom_openi"]),
    ],
)
def test_what_is_named_from_outside_beside_a_run_that_makes_the_rest_counts_by_its_content(
    key: str, line: list[str], tmp_path: Path
) -> None:
    usual, names = name(tmp_path / "runs", *line), {}
    for place, text in (("a", "one"), ("b", "one"), ("c", "two")):
        file = files.write_text(tmp_path / place / "list.csv", text)
        names[place] = name(tmp_path / "runs", *line, f"{key}={file.parent if key == 'dataset.lists' else file}")
    assert usual != names["a"] == names["b"] != names["c"]
    assert any(f"{key}=/no" in lack for lack in planned(tmp_path / "runs", *line, f"{key}=/no").every_lack())


@pytest.mark.parametrize("words", ["checkpoint=sft checkpoint.adapter=/abs", "checkpoint=sft checkpoint.adapter=null",
    "checkpoint=sft checkpoint.adapter=../x", "model.weights=/abs", "dataset.root=/abs"])  # fmt: skip
def test_what_a_run_makes_lies_inside_that_run(words: str, tmp_path: Path) -> None:
    key = words.split()[-1].split("=")[0]
    with pytest.raises(ChexReasonError, match=rf"{key}=.*made_by=null"):
        planned(tmp_path, *EVALUATE, *words.split())


def test_a_report_on_other_runs_is_another(tmp_path: Path) -> None:
    made = []
    for run in ("a", "b"):
        write_json(tmp_path / run / "manifest.json", complete("sft", outputs={"x": run}))
        line = ["stage=report", f"runs={tmp_path}", f"stage.runs=[{tmp_path / run}]"]
        made += [plan(compose(line), line).folder for _ in range(2)]
    assert made[0] == made[1] != made[2] == made[3]


TABLES = {  # by site: what one split is read from, and what lies beside it and is not
    "mimic": (
        "mimic-cxr-2.1.0-metadata.csv mimic-cxr-2.1.0-split.csv mimic-cxr-2.0.0-chexpert.csv.gz",
        "mimic-cxr-2.0.0-negbio.csv",
    ),
    "chexpert": ("test_labels.csv", "train.csv"),
    "nih": ("Data_Entry_2017_v2020.csv train_val_list.txt test_list.txt", "BBox_List_2017.csv"),
    "padchest": ("PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", "notes.csv"),
    "vindr": ("image_labels_test.csv", "image_labels_train.csv"),
    "openi": ("indiana_reports.csv indiana_projections.csv", "notes.csv"),
}


@pytest.mark.parametrize("site", TABLES)
def test_a_dataset_counts_by_the_files_that_it_is_read_from(site: str, tmp_path: Path) -> None:
    read, beside = (names.split() for names in TABLES[site])
    root = tmp_path / "root"
    line = ["stage=inspect", f"dataset={site}", "dataset.split=test", f"dataset.root={root}"]
    for table in (*read, beside[0]):
        files.write_text(root / table, "")
    made = planned(tmp_path / "runs", *line)
    assert made.every_lack() == []
    for table in (beside[0], "my-notes.csv", "below/other.csv"):
        files.write_text(root / table, "changed")
        assert planned(tmp_path / "runs", *line).folder == made.folder, table
    for table in read:
        files.write_text(root / table, "changed")
        changed = planned(tmp_path / "runs", *line).folder
        assert changed != made.folder, table
        files.write_text(root / table, "")
    shutil.copytree(root, tmp_path / "elsewhere")
    line[-1] = f"dataset.root={tmp_path / 'elsewhere'}"
    assert planned(tmp_path / "runs", *line).folder == made.folder


def test_what_a_table_alone_is_read_with_counts_too(tmp_path: Path) -> None:
    reports, projections = (files.write_text(tmp_path / f"{name}.csv", "") for name in ("indiana_reports", "mine"))
    line = ["stage=inspect", "dataset=openi", f"dataset.table={reports}", f"dataset.projections={projections}"]
    before = name(tmp_path, *line)
    files.write_text(projections, "changed")
    assert name(tmp_path, *line) != before


@pytest.mark.parametrize("stage", ["report", "metrics"])
def test_a_better_parser_reads_the_same_completions_anew(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = [f"stage={stage}", *([f"stage.input={__file__}"] if stage == "metrics" else [])]
    before, written = name(tmp_path, *line), name(tmp_path, *EVALUATE)
    for part in ("answers", "report"):
        shutil.copytree(identity.PACKAGE / part, tmp_path / part)
    monkeypatch.setattr(identity, "PACKAGE", tmp_path)
    assert name(tmp_path, *line) == before, "wherever it is installed"
    with (tmp_path / "answers" / "parser.py").open("a") as parser:
        parser.write("# a better one\n")
    assert name(tmp_path, *line) != before
    assert name(tmp_path, *EVALUATE) == written, "completions are kept as they were written"
