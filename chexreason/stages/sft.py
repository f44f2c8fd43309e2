"""Supervised fine-tuning on the teacher's traces (section 3.2.1, equation 1).

LoRA on the language model alone, the vision encoder frozen, loss on the assistant's tokens only, early stopping on the
loss over held-out patients; the best checkpoint's adapter is the result.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chexreason.errors import ChexReasonError
from chexreason.runs import Run, read_json


@dataclass(frozen=True)
class Lora:
    """Section 3.2.1's adapter."""

    rank: int
    alpha: int
    dropout: float


@dataclass(frozen=True)
class Settings:
    """Section 3.2.1; rates are per optimizer step, `warmup` and `held_out` are shares of one."""

    name: str
    parents: dict[str, str]
    reviewed: str | None
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
    gradient_checkpointing: bool
    logging_steps: int
    lora: Lora


USES = ("model", "prompt")
TORCH = True


def execute(run: Run) -> dict[str, Any]:
    """Fine-tune; leaves `adapter/` and log.jsonl, returns losses and the digests that prove what trained."""
    from transformers import EarlyStoppingCallback
    from trl import SFTConfig, SFTTrainer

    from chexreason.data import integrity
    from chexreason.models.loading import adapter_digest, add_lora, frozen_digest, load_model
    from chexreason.models.processors import load_processor
    from chexreason.models.training import ADAPTER, CHECKPOINTS, RunLog, last_checkpoint, quiet_progress, with_images
    from chexreason.tracking import tracked

    settings = run.settings
    traces, root = read_traces(run.parents["traces"], settings.reviewed)
    integrity.refuse_test_data(integrity.studies_manifest(traces, root, run.folder.parent), run.folder.parent)
    train, held_out = split_by_patient(traces, settings.held_out, run.seed)
    run.note(f"{len(train)} traces to learn from, {len(held_out)} of other patients for the validation loss")

    model = add_lora(load_model(run.model), run.seed, **asdict(settings.lora))
    digests = {"frozen": frozen_digest(model), "adapter_at_start": adapter_digest(model)}

    with tracked(run) as log:
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=str(run.folder / CHECKPOINTS),
                seed=run.seed,
                num_train_epochs=settings.epochs,
                learning_rate=settings.learning_rate,
                lr_scheduler_type=settings.schedule,
                warmup_steps=settings.warmup,
                weight_decay=settings.weight_decay,
                max_grad_norm=settings.clip_norm,
                per_device_train_batch_size=settings.batch_size,
                per_device_eval_batch_size=settings.batch_size,
                gradient_accumulation_steps=settings.accumulation,
                gradient_checkpointing=settings.gradient_checkpointing,
                bf16=run.model.dtype == "bfloat16",
                max_length=None,  # cutting a sequence would cut image tokens
                logging_steps=settings.logging_steps,
                eval_strategy="epoch",
                save_strategy="epoch",
                save_total_limit=2,
                load_best_model_at_end=True,
                metric_for_best_model="eval_loss",
                remove_unused_columns=False,  # images are read from their paths, which the model does not take
                report_to="none",  # the run's own log feeds the tracker
            ),
            train_dataset=with_images([example(trace, run) for trace in train], root),
            eval_dataset=with_images([example(trace, run) for trace in held_out], root),
            processing_class=load_processor(run.model),
            callbacks=[EarlyStoppingCallback(settings.patience), RunLog(log)],
        )
        quiet_progress(trainer)
        outcome = trainer.train(resume_from_checkpoint=last_checkpoint(run.folder))

    if frozen_digest(model) != digests["frozen"]:
        raise ChexReasonError("training changed weights that are frozen: the base model or the vision encoder moved")
    model.save_pretrained(run.folder / ADAPTER)
    history = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    return {
        "train_loss": outcome.training_loss,
        "best_eval_loss": trainer.state.best_metric,
        "eval_mean_token_accuracy": history[-1].get("eval_mean_token_accuracy"),
        "steps": trainer.state.global_step,
        "epochs": round(float(trainer.state.epoch or 0), 2),
        "train_traces": len(train),
        "held_out_traces": len(held_out),
        "trainable_parameters": sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
        "digests": digests | {"adapter": adapter_digest(model)},
    }


def read_traces(folder: Path, reviewed: str | None) -> tuple[list[dict[str, Any]], Path]:
    """The traces of a teach run less what reviewers rejected, and the root that their image paths are relative to."""
    from chexreason.teacher.review.verdicts import honoured
    from chexreason.teacher.traces import read_traces as read

    traces = read(folder / "traces.jsonl")
    return honoured(traces, reviewed) if reviewed else traces, Path(read_json(folder / "card.json")["root"])


def split_by_patient(
    traces: list[dict[str, Any]], held_out: float, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Training traces, and those of about `held_out` of the patients, none of whom is in the first."""
    import numpy as np

    patients = sorted({trace["patient"] for trace in traces})
    shuffled = np.random.default_rng(seed).permutation(patients)
    kept_out = set(shuffled[: max(1, round(held_out * len(patients)))].tolist())
    if len(patients) < 2:
        raise ChexReasonError(f"{len(traces)} traces of {len(patients)} patients cannot be split: teach more studies")
    return (
        [trace for trace in traces if trace["patient"] not in kept_out],
        [trace for trace in traces if trace["patient"] in kept_out],
    )


def example(trace: dict[str, Any], run: Run) -> dict[str, Any]:
    """A trace in TRL's prompt/completion form: the loss then falls on the completion alone."""
    return {
        "path": trace["path"],
        "prompt": [{"role": "user", "content": run.prompt.instruction}],
        "completion": [{"role": "assistant", "content": trace["completion"]}],
    }
