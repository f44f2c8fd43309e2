"""Supervised fine-tuning on the teacher's traces (section 3.2.1, equation 1).

LoRA on the language model alone, the vision encoder frozen, loss on the assistant's tokens only, early stopping on the
loss over held-out patients; the best checkpoint's adapter is the result.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from chexreason.errors import ChexReasonError, above, at_least, share
from chexreason.runs.folders import Run
from chexreason.runs.identity import CIRCUMSTANCE, CONTENT
from chexreason.training.keys import SHARED, check_trainer, check_word

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL import Image
    from trl import SFTConfig


@dataclass
class Lora:
    """Section 3.2.1's adapter."""

    rank: int
    alpha: int
    dropout: float


@dataclass(frozen=True)
class Settings:
    """Section 3.2.1; rates are per optimizer step, `warmup` and `held_out` are shares of one."""

    name: str
    parents: dict[str, str | None] = field(metadata=CIRCUMSTANCE)
    reviewed: str | None = field(metadata=CONTENT)
    held_out: float
    epochs: float
    patience: int
    learning_rate: float
    schedule: str
    warmup: float
    weight_decay: float
    clip_norm: float
    batch_size: int
    accumulation: int
    gradient_checkpointing: bool = field(metadata=CIRCUMSTANCE)
    plain: bool = field(metadata=CIRCUMSTANCE)
    logging_steps: int = field(metadata=CIRCUMSTANCE)
    save_steps: int | None = field(metadata=CIRCUMSTANCE)
    lora: Lora
    trainer: dict[str, Any]

    def __post_init__(self) -> None:
        share(held_out=self.held_out, warmup=self.warmup, lora__dropout=self.lora.dropout)
        above(0, held_out=self.held_out, epochs=self.epochs, clip_norm=self.clip_norm)
        at_least(0, learning_rate=self.learning_rate, weight_decay=self.weight_decay, patience=self.patience)
        at_least(1, batch_size=self.batch_size, accumulation=self.accumulation, lora__rank=self.lora.rank)
        at_least(1, logging_steps=self.logging_steps, save_steps=self.save_steps, lora__alpha=self.lora.alpha)

        if self.held_out == 1:
            raise ValueError("held_out=1.0: less than 1 is wanted, or there is nothing left to learn from")
        check_word("lr_scheduler_type", "schedule", self.schedule)
        check_trainer("SFTConfig", self.trainer, OWN)


# TRL arguments set by `arguments`, with the stage key that controls each; the trainer block may not set them.
OWN = SHARED | {
    "lr_scheduler_type": "schedule",
    "warmup_steps": "warmup",
    "weight_decay": "weight_decay",
    "max_grad_norm": "clip_norm",
    "per_device_eval_batch_size": "batch_size",
}
USES = ("model", "prompt")
PARENTS, SEVERAL = {"traces": ("teach",)}, ("traces",)
TORCH = True
MODEL = True
TRAINS = True


def execute(run: Run) -> dict[str, Any]:
    """Fine-tune; writes `adapter/` and log.jsonl, returns losses and digests that show which weights were trained."""
    from transformers import EarlyStoppingCallback
    from trl import SFTTrainer

    from chexreason.data.cache import feature_entries, image_reader
    from chexreason.models import loading
    from chexreason.models.features import FeatureStore
    from chexreason.models.processors import load_processor
    from chexreason.runs.tracking import tracked
    from chexreason.training.checkpoints import Checkpoints, last_checkpoint, mean_loss, train
    from chexreason.training.collator import TraceCollator
    from chexreason.training.errors import memory_explained
    from chexreason.training.trainer import ADAPTER, RunLog, quiet_progress, with_images

    settings: Settings = run.settings
    wanted = arguments(run)  # first: TRL may refuse them
    read = image_reader(run.folder.parent, run.model.image_size)
    traces = read_traces(run, read)
    learnt, held_out = split_by_patient(traces, settings.held_out, run.seed)
    run.note(f"{len(learnt)} traces to learn from, {len(held_out)} of other patients for the validation loss")

    model = loading.add_lora(loading.load_model(run.model), run.seed, **asdict(settings.lora))
    processor = load_processor(run.model)
    features = None if settings.plain else FeatureStore(model, processor, feature_entries(run.folder.parent))
    digests = {"frozen": loading.frozen_digest(model), "adapter_at_start": loading.adapter_digest(model)}

    with tracked(run) as log, memory_explained(run):
        trainer = SFTTrainer(
            model=model,
            args=wanted,
            train_dataset=with_images([example(trace, run) for trace in learnt], read),
            eval_dataset=with_images([example(trace, run) for trace in held_out], read),
            processing_class=processor,
            data_collator=TraceCollator(processor, features),
            callbacks=[EarlyStoppingCallback(settings.patience), RunLog(log), Checkpoints(every=settings.save_steps)],
        )
        quiet_progress(trainer)
        train(trainer, last_checkpoint(run.folder))
        loading.save_adapter(model, run.folder / ADAPTER, run.model)

    loading.require_frozen(model, digests["frozen"])
    history = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    return {
        "train_loss": mean_loss(trainer.state.log_history),
        "best_eval_loss": trainer.state.best_metric,
        "eval_mean_token_accuracy": history[-1].get("eval_mean_token_accuracy"),
        "steps": trainer.state.global_step,
        "best_step": trainer.state.best_global_step,
        "epochs": round(float(trainer.state.epoch or 0), 2),
        "train_traces": len(learnt),
        "held_out_traces": len(held_out),
        "trainable_parameters": sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
        "digests": digests | {"adapter": loading.adapter_digest(model)},
    }


def headline(metrics: dict[str, Any]) -> str:
    """The result in one line."""
    return f"validation loss {metrics['best_eval_loss']:.3f} at step {metrics['best_step']} of {metrics['steps']}"


def arguments(run: Run) -> SFTConfig:
    """TRL's arguments for section 3.2.1."""
    from trl import SFTConfig

    from chexreason.training.trainer import in_full, shared_arguments

    settings: Settings = run.settings
    said = dict(
        **shared_arguments(run),
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.clip_norm,
        per_device_eval_batch_size=settings.batch_size,
        max_length=None,  # cutting a sequence would cut image tokens
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=3,  # the best, the last, and the one before in case a kill damages the last
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        restore_callback_states_from_checkpoint=True,  # the patience counter of early stopping
        remove_unused_columns=False,  # keeps the image paths, which are not arguments of the model
    )
    return in_full(SFTConfig, said, settings.trainer)


def read_traces(run: Run, read: Callable[[Path], Image.Image] | None = None) -> list[dict[str, Any]]:
    """The traces of all parent teach runs (`traces`, `traces_<site>`) except rejected ones, with their image roots.

    Raises:
        ChexReasonError: a trace belongs to an image or a patient of a registered test set.
    """
    from chexreason.data import integrity
    from chexreason.data.paths import existing_root
    from chexreason.review.verdicts import honoured
    from chexreason.teacher.traces import read_traces as written

    traces = []
    for folder in run.every("traces"):
        root = str(existing_root(folder))
        traces += [trace | {"root": root} for trace in written(folder)]
    if run.settings.reviewed:
        traces = honoured(traces, run.settings.reviewed)
    integrity.vouch_for_training(traces, run.folder, read)
    return traces


def split_by_patient(
    traces: list[dict[str, Any]], held_out: float, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Training traces, and those of about `held_out` of the patients, none of whom is in the first."""
    import numpy as np

    patients = sorted({trace["patient"] for trace in traces})  # equal ids at two sites count as one patient, which is harmless
    if len(patients) < 2:
        raise ChexReasonError(f"{len(traces)} traces of {len(patients)} patients cannot be split: teach more studies")
    shuffled = np.random.default_rng(seed).permutation(patients)
    kept_out = set(shuffled[: min(len(patients) - 1, max(1, round(held_out * len(patients))))].tolist())
    return (
        [trace for trace in traces if trace["patient"] not in kept_out],
        [trace for trace in traces if trace["patient"] in kept_out],
    )


def example(trace: dict[str, Any], run: Run) -> dict[str, Any]:
    """A trace in TRL's prompt/completion form: the loss then falls on the completion alone.

    `length`: characters of the completion, for grouping by length (the trainer block's `train_sampling_strategy`).
    """
    return {
        "root": trace["root"],
        "path": trace["path"],
        "prompt": [{"role": "user", "content": run.prompt.instruction}],
        "completion": [{"role": "assistant", "content": trace["completion"]}],
        "length": len(trace["completion"]),
    }
