"""Stand-in models: the real architectures of the families with random weights, small or as published.

They share the peculiarities of the models they stand for: tokenizer, chat template, generation settings and the names of their
weights have the published form, so that every stage and engine that runs on them also runs on the clinical models.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping

from chexreason.errors import ChexReasonError
from chexreason.families import Architecture, family
from chexreason.families._processor import FilmProcessor
from chexreason.runs.files import read_json, write_json, write_text


def architecture(name: str, size: str) -> Architecture:
    """The architecture of a family at `size` (small | published).

    Raises:
        ChexReasonError: it has no such size.
    """
    sizes = family(name).architectures
    if size not in sizes:
        raise ChexReasonError(f"model.pretraining.size={size}: {name} has no such size. Valid: {', '.join(sizes)}")
    return sizes[size]


def build(
    name: str, texts: Iterable[str], vocabulary: int, size: Architecture | str = "small", dtype: str = "float32"
) -> tuple[PreTrainedModel, FilmProcessor]:
    """A model of a family with random weights of `dtype`, and its processor.

    Its tokenizer is learnt from `texts`; a published architecture keeps its own larger embedding matrix.
    """
    default = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))  # so that 4 billion weights are never allocated in float32
    try:
        shape = architecture(name, size) if isinstance(size, str) else size
        model, processor = family(name).stand_in(shape, texts, vocabulary)
    finally:
        torch.set_default_dtype(default)
    # Saved under the published names of the weights, as a model that was loaded from the published repository is.
    model._weight_conversions = get_model_conversion_mapping(model, add_legacy=False)
    return model, processor


def save(model: PreTrainedModel, processor: FilmProcessor, folder: Path) -> None:
    """Write both to `folder` as the published repositories hold them: image and video settings in files of their own."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    config = read_json(folder / "config.json")
    config["torch_dtype"] = config.pop("dtype")
    config = family(model.config.model_type).published_config(config)
    write_json(folder / "config.json", config)
    write_text(folder / "README.md", README.format(architecture=config["architectures"][0]))
    parts = read_json(folder / "processor_config.json")
    for part, file in (("image_processor", "preprocessor_config"), ("video_processor", "video_preprocessor_config")):
        if part in parts:
            write_json(folder / f"{file}.json", parts.pop(part) | {"processor_class": parts["processor_class"]})
    write_json(folder / "processor_config.json", parts)


README = """---
license: apache-2.0
tags: [chexreason, stand-in]
---

A stand-in: a network of the architecture {architecture}, built by ChexReason to try the code on. It is no published model, and
nothing that it writes says anything about a patient.
"""
