"""Validation while a policy trains: macro-F1 of its greedy answers, without moving its random state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from transformers import ProcessorMixin

from chexreason.answers.metrics import answers as scored
from chexreason.answers.metrics import scores
from chexreason.answers.parser import parse
from chexreason.data.curated import curated_studies, origin
from chexreason.models.features import FeatureStore
from chexreason.models.generation import Generator, completions
from chexreason.prompts import Prompt
from chexreason.training.selection import MACRO_F1


def validator(
    folder: Path,
    processor: ProcessorMixin,
    prompt: Prompt,
    read: Callable[[Path], Image.Image],
    limit: int | None,
    max_tokens: int,
    batch_size: int,
    features: FeatureStore | None = None,
) -> Callable[[Any], dict[str, float]]:
    """A function that scores a model on the validation set of the curate run in `folder`, over the findings of its site.

    `features`: of the same model; its films are computed at the first validation alone.
    """
    studies, root = curated_studies(folder, "validation")
    studies = studies[:limit]
    findings = list(origin(folder).findings)
    files = [root / study["path"] for study in studies]

    def validate(model: Any) -> dict[str, float]:
        training = model.training
        model.eval()  # also disables gradient checkpointing, which is incompatible with generation
        try:
            generator = Generator(model, processor, prompt, max_tokens, features=features)
            written = list(completions(generator, files, read, batch_size))
        finally:
            model.train(training)
        answered = [parse(one.text, prompt.grammar, one.finished) for one in written]
        given = scored(
            [study["labels"] for study in studies], [None if answer.failure else answer.labels for answer in answered], findings
        )
        found = scores(given)
        return {MACRO_F1: float(found.macro[2]), "validation/failure_rate": float(found.failure_rate)}

    return validate
