"""Families of vision-language models, one file each, which holds everything specific to that family.

A file is called what transformers calls the architecture (its `model_type`) and describes it as `FAMILY`; nothing else in the
package asks which family a model is of. What several share is in files that begin with an underscore.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from chexreason.families._processor import FilmProcessor

FAMILIES = tuple(sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py")))


@dataclass(frozen=True)
class Architecture:
    """Settings of transformers' text and vision configs; `image_size` in pixels a side.

    `visual_tokens` of an image, None where its size decides; `vocabulary` None: as many tokens as the tokenizer has.
    """

    text: dict[str, Any]
    vision: dict[str, Any]
    image_size: int
    visual_tokens: int | None = None
    vocabulary: int | None = None


@dataclass(frozen=True)
class Family:
    """Everything specific to a family.

    `architectures` by size: `small`, for stand-ins that two cores can train, and `published`, where we know one. `stand_in`
    makes a model of such a size with random weights, and its processor, whose tokenizer of at most so many tokens is learnt
    from texts. `published_config` turns a config.json of transformers' into one as the published repositories have it.
    """

    processor: type[FilmProcessor]
    architectures: Mapping[str, Architecture]
    stand_in: Callable[[Architecture, Iterable[str], int], tuple[PreTrainedModel, FilmProcessor]]
    published_config: Callable[[dict[str, Any]], dict[str, Any]] = dict
    images_at_once: bool = False  # the tokens of an image attend to each other both ways


def family(name: str) -> Family:
    """The family that transformers calls `name`, one of FAMILIES."""
    return cast(Family, import_module(f"{__name__}.{name}").FAMILY)
