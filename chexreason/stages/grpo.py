"""Group Relative Policy Optimization from the SFT checkpoint (section 3.2.2, equation 2).

Four completions per study, a label reward, Dr. GRPO's normalisation, asymmetric clipping of the token-level ratio, and a
KL term in the loss against the SFT checkpoint: the adapter that training starts from, kept frozen beside the policy's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chexreason.errors import ChexReasonError
from chexreason.runs import Run, write_json


@dataclass(frozen=True)
class Settings:
    """Section 3.2.2; `batch_size` and `accumulation` count completions, `steps_per_rollout` optimizer steps."""

    name: str
    parents: dict[str, str]
    limit: int | None
    epochs: float
    max_steps: int
    completions: int
    temperature: float
    top_p: float
    max_completion_tokens: int
    beta: float
    clip_low: float
    clip_high: float
    steps_per_rollout: int
    learning_rate: float
    schedule: str
    warmup: float
    clip_norm: float
    batch_size: int
    accumulation: int
    gradient_checkpointing: bool
    logging_steps: int
    save_steps: int


USES = ("model", "prompt", "reward")
TORCH = True


def execute(run: Run) -> dict[str, Any]:
    """Optimise; leaves `adapter/` and log.jsonl, returns how reward, entropy and clipping went."""
    from trl import GRPOConfig, GRPOTrainer

    from chexreason.data import integrity
    from chexreason.data.cache import image_reader
    from chexreason.data.curated import curated_studies
    from chexreason.models.loading import adapter_digest, frozen_digest, load_adapter, load_model
    from chexreason.models.processors import load_processor
    from chexreason.models.training import ADAPTER, CHECKPOINTS, RunLog, last_checkpoint, quiet_progress, with_images
    from chexreason.tracking import tracked

    settings = run.settings
    studies, root = curated_studies(run.parents["curated"], "rl")
    studies = studies[: settings.limit]
    integrity.vouch_for_training(studies, root, run.folder)
    read = image_reader(run.folder.parent, run.model.image_size)
    frequencies = label_frequencies([study["labels"] for study in studies])
    write_json(run.folder / "frequencies.json", frequencies)
    score = RewardFunction(run.reward, run.prompt.grammar, frequencies)
    run.note(f"{len(studies)} studies, {settings.completions} completions each, reward {run.reward.name}")

    model = load_adapter(load_model(run.model), run.parents["policy"] / ADAPTER, trainable=True)
    digests = {"frozen": frozen_digest(model), "adapter_at_start": adapter_digest(model)}

    with tracked(run) as log:
        trainer = GRPOTrainer(
            model=model,  # TRL copies its adapter to a frozen one: the reference of the KL term is the SFT checkpoint
            reward_funcs=[score],
            args=GRPOConfig(
                output_dir=str(run.folder / CHECKPOINTS),
                seed=run.seed,
                num_train_epochs=settings.epochs,
                max_steps=settings.max_steps,
                num_generations=settings.completions,
                temperature=settings.temperature,
                top_p=settings.top_p,
                top_k=0,
                max_completion_length=settings.max_completion_tokens,
                loss_type="dr_grpo",
                scale_rewards="none",  # Dr. GRPO: advantages are not divided by the group's deviation
                importance_sampling_level="token",
                beta=settings.beta,
                epsilon=settings.clip_low,
                epsilon_high=settings.clip_high,
                num_iterations=settings.steps_per_rollout,
                disable_dropout=True,  # two passes over the same tokens must agree, or the ratio is noise
                learning_rate=settings.learning_rate,
                lr_scheduler_type=settings.schedule,
                warmup_steps=settings.warmup,
                max_grad_norm=settings.clip_norm,
                per_device_train_batch_size=settings.batch_size,
                gradient_accumulation_steps=settings.accumulation,
                gradient_checkpointing=settings.gradient_checkpointing,
                bf16=run.model.dtype == "bfloat16",
                logging_steps=settings.logging_steps,
                save_steps=settings.save_steps,
                save_total_limit=2,
                report_to="none",  # the run's own log feeds the tracker
            ),
            train_dataset=with_images([example(study, run) for study in studies], root, read),
            processing_class=load_processor(run.model, padding_side="left"),
            callbacks=[RunLog(log)],
        )
        quiet_progress(trainer)
        trainer.train(resume_from_checkpoint=last_checkpoint(run.folder))

    if frozen_digest(model) != digests["frozen"]:
        raise ChexReasonError("training changed weights that are frozen: the base model or the vision encoder moved")
    model.save_pretrained(run.folder / ADAPTER, selected_adapters=["default"])
    steps = [entry for entry in trainer.state.log_history if "reward" in entry]
    return {
        "steps": trainer.state.global_step,
        "studies": len(studies),
        "reward_first_tenth": _mean(steps[: max(1, len(steps) // 10)], "reward"),
        "reward_last_tenth": _mean(steps[-max(1, len(steps) // 10) :], "reward"),
        "reward_trend": trend([entry["step"] for entry in steps], [entry["reward"] for entry in steps]),
        "entropy_first_tenth": _mean(steps[: max(1, len(steps) // 10)], "entropy"),
        "entropy_last_tenth": _mean(steps[-max(1, len(steps) // 10) :], "entropy"),
        "clipped_share": _mean(trainer.state.log_history, "clip_ratio/region_mean"),
        "digests": digests | {"adapter": adapter_digest(model)},
    }


class RewardFunction:
    """A reward in the form that TRL calls, its parts logged one by one."""

    def __init__(self, reward: Any, grammar: str, frequencies: dict[str, float]):
        self.__name__ = reward.name
        self.score = reward.scorer(grammar, frequencies)

    def __call__(
        self,
        completions: list[list[dict[str, str]]],
        completion_ids: list[list[int]],
        labels: list[list[str]],
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float]:
        scored = [
            self.score(completion[0]["content"], truth, num_tokens=len(ids))
            for completion, truth, ids in zip(completions, labels, completion_ids, strict=True)
        ]
        for part in scored[0].parts:
            log_metric(f"rewards/{part}", sum(one.parts[part] for one in scored) / len(scored))
        log_metric("failure_rate", sum(one.answer.failure is not None for one in scored) / len(scored))
        return [one.reward for one in scored]


def label_frequencies(label_sets: list[list[str]]) -> dict[str, float]:
    """Share of studies that carry each finding: what the nuanced reward weighs its false positives by."""
    from chexreason.labels import FINDINGS

    return {finding: sum(finding in labels for labels in label_sets) / max(1, len(label_sets)) for finding in FINDINGS}


def example(study: dict[str, Any], run: Run) -> dict[str, Any]:
    """A study in TRL's prompt form; further columns reach the reward by their names."""
    return study | {"prompt": [{"role": "user", "content": run.prompt.instruction}]}


def trend(steps: list[int], rewards: list[float]) -> dict[str, float] | None:
    """Least-squares change of the mean reward per 100 steps: a rollout's mean is noisy, all of them together less so."""
    from scipy.stats import linregress

    if len(steps) < 3:
        return None
    line = linregress(steps, rewards)
    return {"per_100_steps": 100 * line.slope, "standard_error": 100 * line.stderr, "p_value": float(line.pvalue)}


def _mean(entries: list[dict[str, float]], key: str) -> float | None:
    values = [entry[key] for entry in entries if key in entry]
    return sum(values) / len(values) if values else None
