"""The interface of every family's processor, beyond transformers' own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from transformers import BaseImageProcessor, ProcessorMixin

from chexreason.runs.files import read_json, write_json


class FilmProcessor(ProcessorMixin, ABC):
    """A processor of radiographs: a prompt has one image, and none is a video.

    `PUBLISHED`: the class of transformers that it stands for, under whose name it is saved. `IMAGES`: its image processor,
    the one that works with PIL.
    """

    PUBLISHED: ClassVar[str]
    IMAGES: ClassVar[type[BaseImageProcessor]]

    @abstractmethod
    def hold(self, least: int, most: int) -> None:
        """Keep an image's visual tokens within these bounds (section 3.2.1)."""

    @abstractmethod
    def visual_tokens(self, width: int, height: int) -> int:
        """How many placeholders an image of this size becomes in a prompt, whose length varies with nothing else."""

    @abstractmethod
    def film_size(self, width: int, height: int) -> tuple[int, int]:
        """The width and height at which an image of this size is read, in pixels."""

    @abstractmethod
    def as_it_is(self, most: int) -> dict[str, Any]:
        """Options with which vLLM reads images of up to `most` visual tokens that have their size already."""

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> list[str]:
        """As the published class would, under its name."""
        written = super().save_pretrained(save_directory, **options)
        for name in ("processor_config.json", "tokenizer_config.json"):
            path = Path(save_directory) / name
            write_json(path, read_json(path) | {"processor_class": self.PUBLISHED})
        return written
