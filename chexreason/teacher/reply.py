"""What passes between the teach stage and a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chexreason.prompts import Prompt


@dataclass(frozen=True)
class Study:
    """What a teacher is given besides the prompt: the image's path under the site's root, and its labels."""

    path: str
    patient: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Reply:
    """What a teacher wrote and what it took. `text` is None where a request that may have been billed gave no text."""

    text: str | None
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0  # in the currency of the teacher's prices


class Teacher(Protocol):
    """Anything that can write a trace. `concurrency` is how many studies may be asked about at once."""

    name: str
    concurrency: int
    hosted: bool  # sends images and labels to another machine

    def write(self, study: Study, prompt: Prompt, root: Path, seed: int, attempt: int) -> Reply: ...
