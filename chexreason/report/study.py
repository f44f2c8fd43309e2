"""Reads runs from their folders alone: evaluations grouped into results, and training logs.

An arm is what is compared: model, checkpoint, prompt and reward. A result is one arm on one test set, over the seeds
that were run; its scores are the mean over seeds and repeats, and its interval is the bootstrap's over patients.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from chexreason import marks
from chexreason.answers import metrics, predictions
from chexreason.answers.intervals import RESAMPLES
from chexreason.answers.predictions import PREDICTIONS, Prediction
from chexreason.data.records import TRAINING
from chexreason.errors import ChexReasonError
from chexreason.report.published import PROMPTS
from chexreason.report.test_sets import named
from chexreason.runs.files import read_lines
from chexreason.runs.folders import LOG, changed, complete_manifest, is_of_another_version, read_manifest

REWARDS = ("hard", "nuanced")  # the paper's
CHECKPOINTS = {"base": "base", "sft": "SFT", "grpo": "SFT + GRPO", "grpo_best": "SFT + GRPO, best checkpoint"}
BENCHMARKS = {"chexpert": "CheXpert test", "nih": "NIH test", "validation": "validation (MIMIC)"}


@dataclass(frozen=True, order=True)
class Arm:
    """What is compared: a column of a table. `reward` is empty unless a reward was used in training.

    `variant`: what variant.title calls a training beyond the paper's, or what tells apart runs that else look alike; the
    paper has no number for either. `paper_model`: what the paper calls the model, or the one that it stands in for.
    """

    model: str
    checkpoint: str
    prompt: str
    reward: str = ""
    variant: str = ""
    paper_model: str = ""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One evaluate run."""

    folder: Path
    manifest: dict[str, Any]
    arm: Arm
    labels: tuple[str, ...]
    predictions: tuple[Prediction, ...]

    @property
    def dataset(self) -> dict[str, Any]:
        return self.manifest["config"]["dataset"]

    @property
    def marks(self) -> set[str]:
        """Whether this run or one of its ancestors used a stand-in model or drawn films."""
        return _marks(self.folder, self.manifest)

    @property
    def seed(self) -> int:
        return int(self.manifest["config"].get("seed", 0))


@dataclass(frozen=True, eq=False)
class Result:
    """One arm on one test set: an evaluation per seed, all over the same labels and, of each record, the same truth.

    `dataset`: the test set's name, with what tells it from the dataset's usual one where it is another.
    """

    arm: Arm
    dataset: str
    labels: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]

    @property
    def benchmark(self) -> str:
        """Which of the paper's test sets this is, over the paper's labels; else its name."""
        dataset = self.evaluations[0].dataset
        return (self.dataset == dataset["name"] and dataset.get("benchmark")) or self.dataset

    @property
    def site(self) -> str:
        """The site of the patients."""
        return self.evaluations[0].dataset["site"]

    @property
    def is_test_set(self) -> bool:
        """Whether it is neither training data nor used for choosing a checkpoint."""
        dataset = self.evaluations[0].dataset
        return dataset.get("benchmark") != "validation" and dataset["split"] not in TRAINING

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """The predictions of the first seed, which the gallery shows."""
        return self.evaluations[0].predictions

    @property
    def patients(self) -> int:
        """The number of patients, of the seed with the fewest."""
        return min(len({record.patient for record in one.predictions}) for one in self.evaluations)

    @cached_property
    def is_drawn(self) -> bool:
        """Whether the films are drawn or the model is a stand-in, so that the paper's numbers are no target."""
        return bool(self.evaluations[0].marks)

    def is_paired_with(self, other: Result) -> bool:
        """Whether the same resamples were drawn for both: the same records and patients in the same order."""
        runs = (*self.evaluations, *other.evaluations)
        return (
            self.dataset == other.dataset
            and len({tuple((one.id, one.patient) for one in run.predictions) for run in runs}) == 1
        )

    def of_trainings(self, other: Result) -> Result:
        """This result restricted to the checkpoints of `other`, so that test sets are compared by one checkpoint.

        Its `evaluations` are empty where there is none.
        """
        trained = {_recipe(one) for one in other.evaluations}
        shared = tuple(one for one in self.evaluations if _recipe(one) in trained)
        return self if shared == self.evaluations else replace(self, evaluations=shared)


@dataclass(frozen=True)
class Training:
    """One SFT or GRPO run with its log: TRL's own names, an object per logged step."""

    folder: Path
    manifest: dict[str, Any]
    log: tuple[dict[str, Any], ...]

    @property
    def stage(self) -> str:
        return self.manifest["stage"]

    @property
    def marks(self) -> set[str]:
        """The same as for an evaluation."""
        return _marks(self.folder, self.manifest)

    @property
    def arm(self) -> Arm:
        config = self.manifest["config"]
        reward = config["reward"]["name"] if self.stage == "grpo" else ""
        variant = config.get("variant", {}).get("title") or ""
        return Arm(config["model"]["name"], self.stage, config["prompt"]["name"], reward, variant, _paper_model(config))

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of one logged quantity."""
        points = [(entry["step"], entry[name]) for entry in self.log if _is_number(entry.get(name)) and "step" in entry]
        steps, values = zip(*points, strict=True) if points else ((), ())
        return np.array(steps, dtype=float), np.array(values, dtype=float)


@dataclass(frozen=True)
class Study:
    """All data of a report."""

    results: tuple[Result, ...]
    trainings: tuple[Training, ...]
    manifests: tuple[dict[str, Any], ...]
    problems: tuple[str, ...] = ()
    resamples: int = RESAMPLES
    titles: dict[Arm, str] = field(default_factory=dict)

    @cached_property
    def marks(self) -> str:
        """The disclaimer for titles about stand-ins and drawn films; "" if no run uses either."""
        of_each = [*(one.evaluations[0].marks for one in self.results), *(one.marks for one in self.trainings)]
        said = marks.in_words(set().union(*of_each))
        return f"{'in part ' * (not all(of_each))}{said}" if said else ""

    @property
    def datasets(self) -> list[str]:
        """Test sets with results, in the order of BENCHMARKS."""
        order, place = list(BENCHMARKS), {result.dataset: result.benchmark for result in self.results}
        return sorted(place, key=lambda name: (order.index(place[name]) if place[name] in order else len(order), name))

    @property
    def arms(self) -> list[Arm]:
        """Arms with results: by model, then base, SFT, GRPO."""
        rank = {name: place for place, name in enumerate(CHECKPOINTS)}
        arms = {result.arm for result in self.results}
        return sorted(arms, key=lambda arm: (arm.model, rank.get(arm.checkpoint, len(rank)), arm))

    def result(self, arm: Arm, dataset: str) -> Result | None:
        """The arm's result on a test set."""
        return next((one for one in self.results if one.arm == arm and one.dataset == dataset), None)

    def on(self, benchmark: str) -> list[Result]:
        """Results on one of the paper's test sets, in the order of the arms."""
        arms = self.arms
        return sorted((one for one in self.results if one.benchmark == benchmark), key=lambda one: arms.index(one.arm))

    @cached_property
    def unmoved(self) -> list[str]:
        """Checkpoints whose completions all equal those of their base model, as if the adapter had no effect."""
        found = []
        for one in self.results:
            asked = how_asked(one.evaluations[0].manifest["config"])
            base = self.result(replace(one.arm, checkpoint="base", reward="", variant=asked), one.dataset)
            if base not in (None, one) and _written(base) == _written(one):
                found.append(f"{self.title(one.arm)} on {one.dataset}")
        return found

    def scores(self, result: Result, labels: Sequence[str] = ()) -> tuple[metrics.Scores, metrics.Scores]:
        """Point scores and their resamples over `labels` (those of the test set where none are given)."""
        return _scores(result, tuple(labels) or result.labels, self.resamples)

    def title(self, arm: Arm) -> str:
        """The arm's name in tables."""
        return self.titles.get(arm, arm.model)


def read(folders: Iterable[Path], resamples: int = RESAMPLES) -> Study:
    """The study in these run folders; runs of other stages serve as provenance alone."""
    evaluations, trainings, manifests, problems = [], [], [], []
    for folder in dict.fromkeys(Path(folder).absolute() for folder in folders):
        manifest = complete_manifest(folder)
        if manifest is None:
            old = is_of_another_version(folder)
            why = "another version of chexreason made it: make it again" if old else "it is not a complete run"
            problems.append(f"{folder.name}: left out, {why}")
            continue
        harmed = changed(folder) if manifest["stage"] in ("evaluate", "sft", "grpo") else None
        if harmed:
            problems.append(f"{folder.name}: left out, {harmed} is not what the run left there")
            continue
        manifests.append(manifest)
        try:
            if manifest["stage"] == "evaluate":
                evaluations.append(_evaluation(folder, manifest))
            elif manifest["stage"] in ("sft", "grpo"):
                log = folder / LOG
                trainings.append(Training(folder, manifest, tuple(read_lines(log)) if log.is_file() else ()))
        except (ChexReasonError, OSError, KeyError) as error:
            problems.append(f"{folder.name}: left out, {error if isinstance(error, ChexReasonError) else repr(error)}")
    results = _group(evaluations)
    return Study(results, tuple(trainings), tuple(manifests), tuple(problems), resamples, _titles({one.arm for one in results}))


def _written(result: Result) -> dict[str, str]:
    return {one.id: one.completion for one in result.predictions}


def _marks(folder: Path, manifest: dict[str, Any]) -> set[str]:
    parents = (folder.parent / name for name in manifest["parents"].values())
    return marks.of_manifest(manifest) | marks.of_lineage(*parents)


def _evaluation(folder: Path, manifest: dict[str, Any]) -> Evaluation:
    config, reward, variant = manifest["config"], "", ""
    if "checkpoint" in manifest["parents"]:
        trained = (read_manifest(folder.parent / manifest["parents"]["checkpoint"]) or {}).get("config", {})
        reward = trained.get("reward", {}).get("name", "") if trained else "unknown"
        variant = trained.get("variant", {}).get("title") or ""
    variant = ", ".join(filter(None, [variant, how_asked(config)]))
    model, checkpoint, prompt = (config[group]["name"] for group in ("model", "checkpoint", "prompt"))
    return Evaluation(
        folder=folder,
        manifest=manifest,
        arm=Arm(model, checkpoint, prompt, reward, variant, _paper_model(config)),
        labels=tuple(config["dataset"]["findings"]),
        predictions=tuple(predictions.read(folder / PREDICTIONS)),
    )


def _paper_model(config: dict[str, Any]) -> str:
    return config["model"].get("paper_name") or config["model"]["name"]


def how_asked(config: dict[str, Any]) -> str:
    """How an evaluation differs from one greedy answer to every record, such as a limit on the number of records."""
    stage, sampling = config["stage"], config["stage"].get("sampling") or {}
    first = [f"first {stage['limit']} records"] if stage.get("limit") else []
    return ", ".join([*first, *([f"sampled at {sampling['temperature']:g}"] if sampling.get("temperature") else [])])


def _group(evaluations: list[Evaluation]) -> tuple[Result, ...]:
    """One result per arm and test set. Of runs that differ in nothing but settings, the latest keeps the plain name.

    Which checkpoint of a seed is the latest is decided once for all test sets.
    """
    ordered = sorted(evaluations, key=lambda one: one.manifest["finished"])
    test_sets = named(ordered)
    latest = {(one.arm, one.seed): _recipe(one) for one in ordered}
    cells: dict[tuple[Arm, str, int], list[Evaluation]] = defaultdict(list)
    for one in ordered:
        plain = _recipe(one) == latest[one.arm, one.seed]
        cells[one.arm if plain else _variant(one.arm, _recipe(one)), test_sets[one], one.seed].append(one)
    groups: dict[tuple[Arm, str], list[Evaluation]] = defaultdict(list)
    for (arm, dataset, _), (*older, last) in sorted(cells.items(), key=lambda item: item[0]):
        groups[arm, dataset].append(last)
        for one in older:
            groups[_variant(arm, one.folder.name), dataset].append(one)
    return tuple(Result(arm, dataset, chosen[0].labels, tuple(chosen)) for (arm, dataset), chosen in groups.items())


def _recipe(evaluation: Evaluation) -> str:
    """The run that trained the checkpoint, or the digest of an external adapter; "" for a base model."""
    adapter = evaluation.manifest.get("inputs", {}).get("checkpoint.adapter", "")
    return str(evaluation.manifest["parents"].get("checkpoint", adapter and f"adapter-{adapter[:8]}"))


def _variant(arm: Arm, run: str) -> Arm:
    """The arm, with the digest in its training run's name added, which is the same on every test set."""
    digest = f"run {run.rpartition('-')[2]}"
    return replace(arm, variant=f"{arm.variant}, {digest}" if arm.variant else digest)


def _titles(arms: set[Arm]) -> dict[Arm, str]:
    """Names for tables: model and checkpoint, and any other settings that differ between arms."""
    prompts, rewards = {arm.prompt for arm in arms}, {arm.reward for arm in arms if arm.reward}
    titles = {}
    for arm in arms:
        parts = [arm.model, CHECKPOINTS.get(arm.checkpoint, arm.checkpoint)]
        parts += [PROMPTS.get(arm.prompt, arm.prompt)] if len(prompts) > 1 or arm.prompt not in PROMPTS else []
        parts += [f"{arm.reward} reward"] if arm.reward and (len(rewards) > 1 or arm.reward not in REWARDS) else []
        parts += [arm.variant] if arm.variant else []
        titles[arm] = ", ".join(parts)
    return titles


@lru_cache(maxsize=512)
def _scores(result: Result, labels: tuple[str, ...], resamples: int) -> tuple[metrics.Scores, metrics.Scores]:
    given = [answers for one in result.evaluations for answers in predictions.as_answers(one.predictions, labels)]
    return metrics.mean([metrics.scores(one) for one in given]), metrics.resampled(given, resamples)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
