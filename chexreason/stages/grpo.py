"""Group Relative Policy Optimization from the SFT checkpoint (section 3.2.2, equation 2).

Four completions per study, a label reward, Dr. GRPO's normalisation, asymmetric clipping of the token-level ratio, and a
KL term in the loss against the SFT checkpoint: the adapter that training starts from, kept frozen beside the policy's.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from chexreason.errors import above, at_least, one_of, share
from chexreason.runs.files import is_first_process, write_json
from chexreason.runs.folders import CHECKPOINTS, Run
from chexreason.runs.identity import CIRCUMSTANCE
from chexreason.training.collapse import Collapse
from chexreason.training.keys import SHARED, check_trainer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL import Image
    from trl import GRPOConfig

    from chexreason.models.vllm_engine import Rollouts


@dataclass
class Selection:
    """`limit` validation studies at most; `patience` checkpoints without a better macro-F1 end the run (null: never)."""

    limit: int | None
    batch_size: int = field(metadata=CIRCUMSTANCE)  # the answers are greedy
    patience: int | None


@dataclass(frozen=True)
class Settings:
    """Section 3.2.2; `batch_size` and `accumulation` count completions, `steps_per_rollout` optimizer steps."""

    name: str
    parents: dict[str, str | None] = field(metadata=CIRCUMSTANCE)
    limit: int | None
    epochs: float
    max_steps: int
    completions: int
    temperature: float
    top_p: float
    max_completion_tokens: int
    beta: float
    scale_rewards: str
    clip_low: float
    clip_high: float
    steps_per_rollout: int
    learning_rate: float
    batch_size: int
    accumulation: int
    gradient_checkpointing: bool = field(metadata=CIRCUMSTANCE)
    plain: bool = field(metadata=CIRCUMSTANCE)
    logging_steps: int  # defines the run, since the collapse watch reads the log
    save_steps: int
    selection: Selection
    collapse: Collapse
    trainer: dict[str, Any]

    def __post_init__(self) -> None:
        above(0, epochs=self.epochs, temperature=self.temperature, top_p=self.top_p)
        share(top_p=self.top_p)
        at_least(0, learning_rate=self.learning_rate, beta=self.beta, clip_high=self.clip_high)
        share(clip_low=self.clip_low)
        at_least(2, completions=self.completions)
        at_least(1, limit=self.limit, max_completion_tokens=self.max_completion_tokens, save_steps=self.save_steps)
        at_least(1, steps_per_rollout=self.steps_per_rollout, batch_size=self.batch_size, accumulation=self.accumulation)
        at_least(1, logging_steps=self.logging_steps, selection__limit=self.selection.limit)
        at_least(1, selection__batch_size=self.selection.batch_size, selection__patience=self.selection.patience)
        at_least(1, collapse__window=self.collapse.window)
        at_least(1, max_steps=None if self.max_steps == -1 else self.max_steps)
        if self.batch_size * self.accumulation % self.completions:
            raise ValueError(
                f"completions={self.completions}: stage.batch_size={self.batch_size} times stage.accumulation="
                f"{self.accumulation} completions are written at once; a multiple of {self.completions} is wanted"
            )
        for kind in ("warn", "stop"):
            limits = asdict(getattr(self.collapse, kind))
            share(**{f"collapse__{kind}__{sign}": limit for sign, limit in limits.items()})
        check_trainer("GRPOConfig", self.trainer, OWN)
        one_of(("none", "group", "batch"), scale_rewards=self.scale_rewards)
        if self.selection.patience is not None and self.parents.get("validation") is None:
            raise ValueError(
                f"selection.patience={self.selection.patience} waits for a better validation macro-F1, and "
                "stage.parents.validation is null: set patience to null, or name a run that has a validation set"
            )


PARENTS = {"curated": ("curate",), "policy": ("sft", "grpo"), "validation": ("curate",)}
SEVERAL, OPTIONAL = ("curated",), ("validation",)
# TRL arguments set by `arguments`, with the stage key that controls each; the trainer block may not set them.
OWN = SHARED | {
    "max_steps": "max_steps",
    "num_generations": "completions",
    "temperature": "temperature",
    "top_p": "top_p",
    "max_completion_length": "max_completion_tokens",
    "scale_rewards": "scale_rewards",
    "beta": "beta",
    "epsilon": "clip_low",
    "epsilon_high": "clip_high",
    "num_iterations": "steps_per_rollout",
}
USES = ("model", "prompt", "reward", "engine", "variant")
TORCH = True
MODEL = True
TRAINS = True


def execute(run: Run) -> dict[str, Any]:
    """Train; writes `adapter/` (the last), `adapter_best/` and log.jsonl; returns how reward, entropy and clipping went."""
    from chexreason.data.cache import feature_entries, image_reader
    from chexreason.models import loading
    from chexreason.models.features import FeatureStore
    from chexreason.models.processors import load_processor
    from chexreason.runs.tracking import tracked
    from chexreason.training import checkpoints, selection
    from chexreason.training.errors import memory_explained
    from chexreason.training.reward_function import RewardFunction
    from chexreason.training.rollouts import RolloutTrainer
    from chexreason.training.trainer import ADAPTER, RunLog, quiet_progress, with_images
    from chexreason.training.validation import validator

    settings: Settings = run.settings
    wanted = arguments(run)  # first: TRL may refuse them
    read = image_reader(run.folder.parent, run.model.image_size)
    studies = read_studies(run, read)
    frequencies = label_frequencies([study["labels"] for study in studies])
    write_json(run.folder / "frequencies.json", frequencies)
    run.note(f"{len(studies)} studies, {settings.completions} completions each, reward {run.reward.name}")

    start = loading.require_adapter(run.parents["policy"] / ADAPTER)
    model = loading.load_adapter(loading.load_model(run.model), start, trainable=True)
    processor = load_processor(run.model, padding_side="left")
    # Gemma's end-of-turn token ends a completion, but is not one of the tokenizer's special ids.
    stops = {*processor.tokenizer.all_special_ids, *loading.stop_ids(model.generation_config)}
    score = RewardFunction(run.reward, run.prompt.grammar, frequencies, stops)
    features = None if settings.plain else FeatureStore(model, processor, feature_entries(run.folder.parent))
    rollouts = vllm_rollouts(run, start) if run.engine.name == "vllm" else None  # None: transformers writes completions
    digests: dict[str, Any] = {"frozen": loading.frozen_digest(model), "adapter_at_start": loading.adapter_digest(model)}
    checkpoint = checkpoints.last_checkpoint(run.folder)
    watch = selection.CollapseWatch(settings.collapse, run.note)
    validate = None
    if "validation" in run.parents:
        limit, batch_size = settings.selection.limit, settings.selection.batch_size
        longest = settings.max_completion_tokens
        validate = validator(run.parents["validation"], processor, run.prompt, read, limit, longest, batch_size, features)

    with tracked(run) as log, memory_explained(run):
        save = partial(loading.save_adapter, model=run.model)
        trainer = RolloutTrainer(
            model=model,  # TRL copies its adapter to a frozen one: the reference of the KL term is the SFT checkpoint
            reward_funcs=[score],
            args=wanted,
            train_dataset=with_images([example(study, run) for study in studies], read),
            processing_class=processor,
            callbacks=[
                RunLog(log),
                watch,
                selection.ClipWatch(settings.clip_low, settings.clip_high, run.note),
                selection.BestAdapter(run.folder, watch, save, validate, log, settings.selection.patience),
                checkpoints.Checkpoints(score.score.memory),
            ],
            epochs_before=checkpoints.epochs_before(checkpoint),
            unit=run.reward.unit,
            features=features,
            rollouts=rollouts,
        )
        quiet_progress(trainer)
        checkpoints.train(trainer, checkpoint, settings.steps_per_rollout)
        loading.save_adapter(model, run.folder / ADAPTER, run.model)
        if is_first_process() and not (run.folder / selection.BEST).exists():
            # The policy collapsed before its first checkpoint: the starting adapter is the best.
            shutil.copytree(start, run.folder / selection.BEST)

    digests["adapter"] = loading.adapter_digest(model)
    digests["reference"] = loading.adapter_digest(model, "ref") if settings.beta else None
    loading.require_frozen(model, digests["frozen"])
    return {
        "steps": trainer.state.global_step,
        "studies": len(studies),
        **course(trainer.state.log_history),
        "best": selection.chosen(run.folder),
        "collapsed": watch.collapsed(trainer.state),
        "digests": digests,
    }


def course(history: list[dict[str, float]]) -> dict[str, Any]:
    """The course of reward, entropy, failures and clipping over a run, from its trainer's history; None for missing values."""
    steps = [entry for entry in history if "reward" in entry]
    tenth = max(1, len(steps) // 10)
    first, last = steps[:tenth], steps[-tenth:]
    return {
        "reward_first_tenth": _mean(first, "reward"),
        "reward_last_tenth": _mean(last, "reward"),
        "reward_trend": trend([int(entry["step"]) for entry in steps], [entry["reward"] for entry in steps]),
        "entropy_first_tenth": _mean(first, "entropy"),
        "entropy_last_tenth": _mean(last, "entropy"),
        "failure_rate_last_tenth": _mean(last, "failure_rate"),
        "clipped_share": _mean(history, "clip_ratio/region_mean"),
        "top_p_log_ratio": _mean(history, "sampling/top_p_log_ratio"),
        "log_ratio": _mean(history, "sampling/log_ratio"),
        "log_ratio_spread": _mean(history, "sampling/log_ratio_spread"),
    }


def headline(metrics: dict[str, Any]) -> str:
    """The result in one line: reward, failures, and whether the policy collapsed."""
    first, last = metrics["reward_first_tenth"], metrics["reward_last_tenth"]
    said = f"reward {first:.3f} -> {last:.3f}, failures {metrics['failure_rate_last_tenth']:.3f}, {metrics['steps']} steps"
    return f"{said}; collapsed: {metrics['collapsed']}" if metrics["collapsed"] else said


def read_studies(run: Run, read: Callable[[Path], Image.Image] | None = None) -> list[dict[str, Any]]:
    """The RL sets of all parent curate runs (`curated`, `curated_<site>`), at most `limit` studies of each.

    Raises:
        ChexReasonError: a study has an image or a patient of a registered test set.
    """
    from chexreason.data import integrity
    from chexreason.data.curated import curated_studies

    studies = []
    for folder in run.every("curated"):
        chosen, root = curated_studies(folder, "rl")
        studies += [study | {"root": str(root)} for study in chosen[: run.settings.limit]]
    integrity.vouch_for_training(studies, run.folder, read)
    return studies


def vllm_rollouts(run: Run, start: Path) -> Rollouts:
    """vLLM with the base weights, to generate rollouts for policies that start from the adapter in `start`."""
    from chexreason.models.generation import Sampling
    from chexreason.models.vllm_engine import load_rollouts

    settings: Settings = run.settings
    sampling = Sampling(settings.temperature, settings.top_p, run.seed)
    sent = run.folder / CHECKPOINTS / "sent"
    longest, memory = settings.max_completion_tokens, run.engine.rollout_memory
    return load_rollouts(run.model, run.prompt, start, longest, sampling, memory, sent)


def arguments(run: Run) -> GRPOConfig:
    """TRL's arguments for equation 2."""
    from trl import GRPOConfig

    from chexreason.training.trainer import in_full, shared_arguments

    settings: Settings = run.settings
    # A checkpoint between two steps on the same rollout would lose it, so save only after whole rollouts.
    rollouts_per_save = -(-settings.save_steps // settings.steps_per_rollout)
    said = dict(
        **shared_arguments(run),
        max_steps=settings.max_steps,
        num_generations=settings.completions,
        temperature=settings.temperature,
        top_p=settings.top_p,
        top_k=0,
        max_completion_length=settings.max_completion_tokens,
        use_vllm=False,  # TRL's own would merge the adapter into the base weights at each update: engine=vllm is ours
        vllm_importance_sampling_correction=True,  # of the mismatch between the two engines' log-probabilities
        vllm_importance_sampling_mode="token_truncate",  # the paper's ratio is per token
        loss_type="dr_grpo",
        scale_rewards=settings.scale_rewards,
        importance_sampling_level="token",
        beta=settings.beta,
        epsilon=settings.clip_low,
        epsilon_high=settings.clip_high,
        num_iterations=settings.steps_per_rollout,
        disable_dropout=True,  # two passes over the same tokens must agree, or the ratio is noise
        save_steps=rollouts_per_save * settings.steps_per_rollout,
        save_total_limit=2,
    )
    return in_full(GRPOConfig, said, settings.trainer)


def label_frequencies(label_sets: list[list[str]]) -> dict[str, float]:
    """Share of studies with each finding, by which the nuanced reward weights false positives."""
    from chexreason.labels import FINDINGS

    return {finding: sum(finding in labels for labels in label_sets) / max(1, len(label_sets)) for finding in FINDINGS}


def example(study: dict[str, Any], run: Run) -> dict[str, Any]:
    """A study in TRL's prompt form; further columns reach the reward by their names."""
    return study | {"prompt": [{"role": "user", "content": run.prompt.instruction}]}


def trend(steps: list[int], rewards: list[float]) -> dict[str, float] | None:
    """Least-squares change of the mean reward per 100 steps: a fit over all rollouts is less noisy than single means."""
    from scipy.stats import linregress

    if len(steps) < 3:
        return None
    line = linregress(steps, rewards)
    return {"per_100_steps": 100 * line.slope, "standard_error": 100 * line.stderr, "p_value": float(line.pvalue)}


def _mean(entries: list[dict[str, float]], key: str) -> float | None:
    values = [entry[key] for entry in entries if key in entry]
    return sum(values) / len(values) if values else None
