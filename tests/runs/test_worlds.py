"""A world is one choice: what belongs together is composed together, and a mixture is refused by name."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.types import RunMode
from omegaconf import open_dict

import chexreason
from chexreason.errors import ChexReasonError
from chexreason.report import published
from chexreason.runs.config import CONF, as_dict, choice_names, compose
from chexreason.runs.plan import plan
from chexreason.runs.sweep import Multirun, foresee
from tests.runs.conftest import Command


def chosen(*words: str) -> tuple[str, ...]:
    cfg = compose(words)
    return tuple(cfg[group].name for group in ("world", "model", "dataset", "teacher", "scale"))


def test_a_model_brings_its_world() -> None:
    assert chosen("stage=sft", "model=medgemma") == ("clinical", "medgemma", "mimic", "gemini", "paper")
    assert chosen("stage=sft") == ("phantom", "phantom_gemma", "phantom_mimic", "phantom", "small")
    assert chosen("stage=grpo", "model=untrained_qwen") == (
        "phantom",
        "untrained_qwen",
        "phantom_mimic",
        "phantom",
        "footprint",
    )


@pytest.mark.parametrize("words", itertools.permutations(["stage=teach", "model=medgemma", "teacher.concurrency=4"]))
def test_typed_keys_refine_the_worlds_choice_in_any_order(words: tuple[str, ...]) -> None:
    cfg = compose(words)
    assert (cfg.teacher.name, cfg.teacher.concurrency, cfg.dataset.name) == ("gemini", 4, "mimic")


@pytest.mark.parametrize("words", itertools.permutations(["model=medgemma", "teacher=openai", "dataset=chexpert"]))
def test_a_typed_choice_beats_the_worlds(words: tuple[str, ...]) -> None:
    assert chosen("stage=teach", *words) == ("clinical", "medgemma", "chexpert", "openai", "paper")


@pytest.mark.parametrize(
    "words",
    [
        ["stage=sft", "world=clinical"],
        ["stage=sft", "world=phantom", "model=medgemma"],
        ["stage=sft", "model=medgemma", "source=phantom_mimic"],
        ["stage=sft", "model=medgemma", "teacher=phantom"],
        ["stage=evaluate", "dataset=chexpert"],
        ["stage=evaluate", "model=medgemma", "dataset=phantom_nih"],
        ["stage=teach", "teacher=gemini"],
        ["stage=score", "reward=hard", "world=clinical"],  # a reward is sized by a model's scale
    ],
)
def test_a_mixture_is_refused_by_name_unless_it_is_meant(words: list[str], tmp_path: Path) -> None:
    line = [*words, f"runs={tmp_path}"]
    with pytest.raises(ChexReasonError, match=r"worlds are mixed: .*\(clinical\) with .*\(phantom\).*(?s:.*)mixed_worlds=true"):
        plan(compose(line), line)
    plan(compose([*line, "mixed_worlds=true"]), line)


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        ("stage=sft model=medgemma dataset=phantom_mimic", True),
        ("stage=evaluate dataset=chexpert", True),
        ("stage=sft world=clinical", True),
        ("stage=sft teacher=gemini", True),
        ("stage=sft model=medgemma dataset=phantom_mimic mixed_worlds=true", False),
        ("stage=curate dataset=chexpert", False),
        ("stage=evaluate model=medgemma dataset=chexpert", False),
        ("stage=score reward=hard", False),
    ],
)
def test_a_mixture_is_shown_with_a_word_of_warning(words: str, refused: bool, command: Command) -> None:
    shown = command(*words.split(), "--cfg", "job")
    assert shown.returncode == 0 and shown.stdout.startswith("source:")
    assert ("this would not run: worlds are mixed" in shown.stderr) == refused
    assert "worlds" not in command(*words.split(), "--cfg", "job", "mixed_worlds=true").stderr


def test_an_experiment_that_brings_its_models_is_shown_without_one(command: Command) -> None:
    assert "worlds" not in command("experiment=table4", "world=clinical", "--cfg", "job").stderr


@pytest.mark.parametrize("stage", ["curate", "sft", "evaluate"])
def test_a_world_that_makes_another_smaller_is_not_composed_at_that_ones_size(stage: str, tmp_path: Path) -> None:
    line = [f"stage={stage}", "world=rehearsal", f"runs={tmp_path}"]
    with pytest.raises(ChexReasonError, match=r"with world=rehearsal .*\n.*rehearsal: model=medgemma, qwen"):
        plan(compose(line), line)
    assert plan(compose([*line, "model=medgemma"]), line).parents


@pytest.mark.parametrize("stage", ["sft", "grpo", "teach", "review"])
def test_a_dataset_that_training_would_not_read_is_refused_and_its_source_is_named(stage: str, tmp_path: Path) -> None:
    line = [f"stage={stage}", "dataset=phantom_nih", f"runs={tmp_path}"]
    with pytest.raises(ChexReasonError, match="dataset=phantom_nih: no run of .*\n.*Did you mean source=phantom_nih"):
        plan(compose(line), line)
    for read in (["dataset=phantom_nih", "source=phantom_nih"], ["dataset=phantom_mimic"], ["dataset.missing=skip"]):
        line = [f"stage={stage}", *read, f"runs={tmp_path}"]
        plan(compose(line), line)


def test_data_alone_is_of_no_world(tmp_path: Path) -> None:
    for stage in ("curate", "inspect"):
        line = [f"stage={stage}", "dataset=chexpert", f"runs={tmp_path}"]
        plan(compose(line), line)


SCALES = {  # by scale: what the stages and rewards are composed with
    "small": {"grpo": ("max_steps", 120), "sft": ("epochs", 0.4), "evaluate": ("max_completion_tokens", 256)},
    "paper": {"grpo": ("max_steps", -1), "sft": ("epochs", 6), "evaluate": ("max_completion_tokens", 1024)},
    "footprint": {"grpo": ("max_steps", 8), "sft": ("epochs", 0.04), "evaluate": ("max_completion_tokens", 1024)},
}
MIN_TOKENS = {"small": 20, "paper": 250, "footprint": 250}
MODELS = {"small": "phantom_qwen", "paper": "medgemma", "footprint": "untrained_medgemma"}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("variant", choice_names("variant"))
def test_every_stage_variant_reward_and_scale_composes_to_its_values(scale: str, variant: str) -> None:
    rewards = ("hard", "balanced", "nuanced") if variant == "published" else ("hard",)  # which no variant changes
    for stage, reward in itertools.product(("grpo", "sft", "evaluate", "score", "predict"), rewards):
        cfg = compose([f"stage={stage}", f"model={MODELS[scale]}", f"reward={reward}", f"variant={variant}"])
        assert cfg.scale.name == scale
        if reward != "nuanced":
            assert cfg.reward.min_tokens == MIN_TOKENS[scale], (stage, reward)
        if stage in SCALES[scale]:
            key, value = SCALES[scale][stage]
            assert cfg.stage[key] == value, (stage, variant)
        if stage == "grpo":
            assert ("curated_chexpert" in cfg.stage.parents) == (variant == "two_sites")
            assert cfg.stage.selection.patience == (2 if variant == "other_site_stops" else None)
            usual = compose(["stage=grpo", f"model={MODELS[scale]}"]).stage
            larger = cfg.stage.learning_rate / usual.learning_rate
            assert larger == pytest.approx(3 if variant.endswith("stabilised") else 1, rel=0.05), "at any scale"
            assert cfg.stage.save_steps <= usual.save_steps, "what stops or is chosen between saved steps needs some"
            assert (cfg.stage.beta == 0.0) == (variant == "unstabilised")
            stops = [value for value in cfg.stage.collapse.stop.values() if value is not None]
            assert bool(stops) == (scale != "footprint"), "nothing stops an untrained model"


def test_every_file_under_sized_and_varied_is_one_that_some_choice_composes() -> None:
    """Their defaults are optional, so a wrong name would never fail by itself."""
    for path in (CONF / "varied").rglob("*.yaml"):
        scale, _, stage = path.stem.rpartition("_")
        assert path.parent.name in choice_names("variant") and stage in choice_names("stage"), path
        assert (scale in choice_names("scale")) == (path.parents[1].name == "sized"), path
    composed = set(re.findall(r"optional sized@(\w+)", (CONF / "config.yaml").read_text()))
    for path in (CONF / "sized").rglob("*.yaml"):
        group, _, choice = path.stem.partition("_")
        assert path.parent.name in choice_names("scale") and group in composed and choice in choice_names(group), path


# In what the rehearsal may differ from the clinical world: how much there is of it, where it lies, and whose it is.
SIZES = {
    "dataset.draw", "model.max_visual_tokens", "model.min_visual_tokens", "model.pretraining.corpus",
    "model.pretraining.images", "model.pretraining.prompt_share", "model.pretraining.size", "model.pretraining.steps",
    "model.pretraining.vision_steps", "reward.min_tokens", "scale.gpu_gigabytes", "scale.min_tokens", "scale.run_gigabytes",
    "stage.max_completion_tokens", "stage.save_steps",
    "stage.selection.limit", "stage.sizes.rl", "stage.sizes.sft", "stage.sizes.validation", "world.jobs",
    "world.second_site",
}  # fmt: skip
PLACES = {
    "dataset.made_by", "dataset.root", "model.made_by", "model.weights", "runs", "stage.tokenizer.made_by",
    "stage.tokenizer.weights", "teacher.base_url",
}  # fmt: skip
NAMES = {"dataset.world", "model.world", "teacher.world", "scale.name", "world.name"}


def keys(values: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from keys(value, f"{path}{key}.")
        else:
            yield path + key, value


@pytest.mark.parametrize("stage", ["curate", "teach", "sft", "grpo", "evaluate", "predict", "export", "score", "inspect"])
def test_the_rehearsal_is_the_clinical_world_with_nothing_changed_but_size(stage: str) -> None:
    for model, dataset, teacher, reward in (
        ("medgemma", "mimic", "gemini", "hard"),
        ("qwen", "chexpert", "openai", "balanced"),
        ("nv_reason", "nih", "gemini", "nuanced"),
    ):
        words = (f"stage={stage}", f"model={model}", f"dataset={dataset}", f"teacher={teacher}", f"reward={reward}")
        clinical, rehearsal = (dict(keys(as_dict(compose((*words, f"world={world}"))))) for world in ("clinical", "rehearsal"))
        differ = {key for key in clinical | rehearsal if clinical.get(key) != rehearsal.get(key)}
        assert {"model.weights", "dataset.root", "world.name"} <= differ <= SIZES | PLACES | NAMES


NOWHERE = Path("no-runs").absolute()  # the same for every sweep, so that what two of them stand on is composed once


def foreseen(*words: str) -> Multirun:
    """The sweep that Hydra would run."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra_compose("config", list(words), return_hydra_config=True)
    assert cfg.hydra.mode == RunMode.MULTIRUN
    return foresee(cfg)


def test_experiments_in_one_sweep_have_the_jobs_of_each_and_show_what_each_shows() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra_compose("config", [f"runs={NOWHERE}"], return_hydra_config=True)
    with open_dict(cfg):  # as Hydra does, which composes such a sweep's own config without them
        cfg.hydra.overrides.task = ["experiment=table4,figure2", f"runs={NOWHERE}"]
    together, *each = foresee(cfg), *(foreseen(f"experiment={name}", f"runs={NOWHERE}") for name in ("table4", "figure2"))
    assert together.show == ["table4", "figure2"]
    planned = [[job.planned.folder for job in sweep.jobs if job.planned] for sweep in (together, *each)]
    assert planned[0] == planned[1] + planned[2] and len(planned[1]) == 4
    assert "2 grpo of phantom_gemma" in str(together)
    cfg.sweep.show = ["claims"]
    assert foresee(cfg).show == ["claims"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("experiment=table5,table6 stage.sampling.repeats=5 stage.sampling.temperature=0.8", "8 jobs, 0 complete"),
        ("experiment=figure2,figure3 stage.beta=0.1 seed=0,1", "4 jobs, 0 complete"),
        ("experiment=table4,table4", "4 jobs, 0 complete"),
        ("experiment=figure1,figure2 stage.beta=0.1", "stage.beta: there is no such key"),  # figure1 is of SFT
        ("experiment=table4,figure2 sweep.show=[table9]", "sweep.show: there is no table9"),
        ("experiment=footprint,figure2", "footprint: 1 at once, figure2: 2 at once"),
        ("experiment=footprint,figure2 hydra/launcher=joblib", "3 jobs, 0 complete"),
        ("experiment=table4,", "a choice is wanted"),
        ("experiment=_sweep,table4", "a choice is wanted"),
    ],
)
def test_what_stands_beside_several_experiments_is_said_of_each(words: str, said: str, command: Command) -> None:
    assert said in command(*words.split(), "dry_run=true", f"runs={NOWHERE}").stderr


EXPERIMENTS = {
    "phantom": choice_names("experiment"),
    "clinical": [name for name in choice_names("experiment") if name != "footprint"],  # whose models are of the phantom world
    # The others' runs are among these, or among what these stand on.
    "rehearsal": ["collapse", "demo", "table1", "table2", "table3", "table4", "transfer"],
}


@pytest.mark.parametrize(("world", "experiment"), [(world, name) for world, names in EXPERIMENTS.items() for name in names])
def test_every_job_of_every_experiment_plans(world: str, experiment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PATH", "")  # no nvidia-smi
    sweep = foreseen(f"experiment={experiment}", f"world={world}", f"runs={NOWHERE}", "dry_run=true")
    assert sweep.config.sweep.name == experiment and sweep.config.sweep.show
    for job in sweep.jobs:
        assert job.planned is not None, job.refused
        assert {kind for _, kind in job.planned.worlds} == {world}
        lacks = job.planned.every_lack()
        assert bool(lacks) == (world == "clinical") or world == "rehearsal"
        wanted = ("model=", "(dataset.root)", "teacher=", "scale=")  # weights, data, key and agreement, a GPU
        assert all(any(word in lack for word in wanted) for lack in lacks), "this machine's disk and engine are at hand"
        if world == "phantom":
            # Each job is planned as it would be alone: what its own stage does not use may be what a run that it stands on
            # does, as the reward is to an evaluation.
            assert job.planned.recipe == plan(compose(job.words), job.words).recipe
    assert len({job.planned.folder for job in sweep.jobs if job.planned}) == len(sweep.jobs), "each cell is a run of its own"
    assert not NOWHERE.exists(), "to plan is not to make"


def test_as_many_jobs_at_once_as_the_world_affords() -> None:
    for world, count in (("phantom", 2), ("clinical", 1)):
        launcher = foreseen("experiment=figure2", f"world={world}", f"runs={NOWHERE}", "dry_run=true").config.hydra.launcher
        assert "JoblibLauncher" in launcher["_target_"] and launcher.n_jobs == count, world


def test_tables_5_and_6_have_the_papers_columns() -> None:
    for world, count in (("phantom", 4), ("clinical", 5), ("rehearsal", 5)):
        jobs = foreseen("experiment=table5", f"world={world}", f"runs={NOWHERE}", "dry_run=true").jobs
        facts = [job.planned.manifest["config"] for job in jobs if job.planned]
        columns = [(one["model"]["paper_name"], one["checkpoint"]["name"]) for one in facts]
        assert len(columns) == count and set(columns) <= set(published.COLUMNS)
        assert [one["prompt"]["name"] for one in facts if one["model"]["paper_name"] == "NV-Reason"] == ["nv_reason"] * (
            count - 4
        )


def imported(file: Path) -> set[str]:
    """What it imports anywhere, also within a function: `chexreason.data.records.choose`."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named += [f"{node.module}.{alias.name}" for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
    return {name for name in named if name.startswith("chexreason.")}


def test_the_clinical_path_imports_nothing_of_the_phantom_package() -> None:
    root = Path(chexreason.__file__).parent
    phantom = [file for file in root.rglob("*.py") if any(name.startswith("chexreason.phantom") for name in imported(file))]
    found = {file.relative_to(root).as_posix() for file in phantom}
    assert {name for name in found if not name.startswith("phantom/")} == {"stages/phantom.py", "stages/standin.py"}


def test_what_plans_and_executes_runs_imports_nothing_that_stands_above_it() -> None:
    """Of what only runs of one kind are about, it asks which families there are, and whether weights are at hand."""
    files = (Path(chexreason.__file__).parent / "runs").glob("*.py")
    packages = {name.split(".")[1] for file in files for name in imported(file)}
    assert packages <= {"runs", "errors", "labels", "prompts", "parts", "families", "models", "__version__"}
