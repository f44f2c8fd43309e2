"""Build a stand-in model of the phantom world and pre-train it, so that it can be loaded like any other checkpoint.

`phantom_gemma` sees labelled phantoms in a style of its own (the stand-in for medical pre-training), `phantom_qwen` plain
shapes and never a radiograph (for general-purpose pre-training). Both have read the study's prompts and answer in their
grammars. Neither sees an image of the study's three sites or the teacher's trace of one; both have read reports in the offline
teacher's words, so that fine-tuning need not teach them to write.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason.errors import at_least
from chexreason.runs.config import choices
from chexreason.runs.folders import Run
from chexreason.runs.identity import CONTENT

if TYPE_CHECKING:
    from chexreason.runs.plan import Plan


@dataclass(frozen=True)
class Settings:
    """Batches and rates of both phases, tokens of the `vocabulary` at most, and the `prompts` that the stand-in reads."""

    name: str
    vision_batch_size: int
    batch_size: int
    vision_learning_rate: float
    learning_rate: float
    matrix_learning_rate: float
    weight_decay: float
    vocabulary: int
    prompts: list[str] = field(metadata=CONTENT)

    def __post_init__(self) -> None:
        at_least(1, vision_batch_size=self.vision_batch_size, batch_size=self.batch_size, vocabulary=self.vocabulary)
        rates = ("vision_learning_rate", "learning_rate", "matrix_learning_rate", "weight_decay")
        at_least(0, **{name: getattr(self, name) for name in rates})

    def inputs(self, store: Path | None) -> dict[str, Any]:
        """Prompts are identified by their wording."""
        return {"prompts": {prompt.name: prompt.version for prompt in choices("prompt", self.prompts)}}


USES = ("model",)
TORCH = True


def lacks(_: Settings, used: dict[str, Any], parents: dict[str, Plan]) -> list[str]:
    """A message if the model has no pre-training settings, i.e. is not a stand-in."""
    if used["model"].pretraining is None:
        return [f"model={used['model'].name} is no stand-in: model.pretraining says of one what it has seen"]
    return []


def execute(run: Run) -> dict[str, Any]:
    """Draw the corpus, train from random weights; leaves the checkpoint in `model/`."""
    import torch
    from transformers import set_seed

    from chexreason.phantom.pretraining import Phase, draw_corpus, pixel_inputs, pretrain_language, pretrain_vision
    from chexreason.phantom.standins import build, save
    from chexreason.runs.tracking import tracked

    settings: Settings = run.settings
    seen = run.model.pretraining
    run.note(f"drawing {seen.images} images of {seen.corpus}")
    prompts = choices("prompt", sorted(set(settings.prompts)))  # they define the run in any order
    corpus = draw_corpus(seen.corpus, seen.images, prompts, seen.prompt_share, run.seed)
    set_seed(run.seed)
    # Training needs float32. An untrained model of the published size would not fit in memory as float32.
    dtype = "float32" if seen.steps else run.model.dtype
    model, processor = build(run.model.family, corpus.texts(), settings.vocabulary, seen.size, dtype)
    parameters = sum(weight.numel() for weight in model.parameters())
    run.note(f"{run.model.name}: {parameters / 1e6:.1f} M parameters, {len(processor.tokenizer)} tokens")
    metrics = {"parameters": parameters, "tokens": len(processor.tokenizer)}
    if seen.steps:
        images = pixel_inputs(processor, corpus)
        same = (settings.matrix_learning_rate, settings.weight_decay, run.seed)
        vision = Phase("vision", seen.vision_steps, settings.vision_batch_size, settings.vision_learning_rate, *same)
        language = Phase("language", seen.steps, settings.batch_size, settings.learning_rate, *same)
        with tracked(run) as log:
            metrics["vision_loss"] = pretrain_vision(model, processor, images, corpus.regions, vision, log)
            metrics["loss"] = pretrain_language(model, processor, images, corpus, language, log)
    model.to(getattr(torch, run.model.dtype)).eval()
    save(model, processor, run.folder / "model")
    return metrics
