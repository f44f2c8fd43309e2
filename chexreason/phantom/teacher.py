"""The offline teacher: reasoning traces for drawn radiographs, from the signs that were drawn.

Its text is varied, agrees with the labels, and places and grades each finding where the image shows it. Where a site's
labels and the drawn signs disagree, the labels win, as they do for a teacher that is given the ground truth (section 3.1).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from chexreason.errors import ChexReasonError, at_least
from chexreason.phantom.forms import written
from chexreason.prompts import Prompt
from chexreason.runs.files import read_lines
from chexreason.runs.identity import CIRCUMSTANCE
from chexreason.teacher.reply import Reply, StudyRecord, Teacher


@dataclass(frozen=True)
class PhantomTeacher(Teacher):
    """Writes from `signs.jsonl`, which stage=phantom leaves beside the images."""

    name: str
    world: str = field(metadata=CIRCUMSTANCE)
    concurrency: int = field(metadata=CIRCUMSTANCE)

    def __post_init__(self) -> None:
        at_least(1, concurrency=self.concurrency)

    def write(self, study: StudyRecord, prompt: Prompt, root: Path, seed: int, attempt: int) -> Reply:
        """A completion in the prompt's grammar and form, the same for the same seed, attempt and image."""
        rng = random.Random(f"{seed}/{attempt}/{prompt.name}/{study.path}")
        signs = drawn_signs(root).get(study.path, ())
        return Reply(written(prompt, study.labels, signs, rng))


@lru_cache(maxsize=4)
def drawn_signs(root: Path) -> dict[str, Sequence[dict[str, Any]]]:
    """The signs drawn in each image of the site at `root`, by path relative to it."""
    source = root.parent / "signs.jsonl"
    if not source.is_file():
        raise ChexReasonError(
            f"teacher=phantom needs {source}, which stage=phantom writes beside its sites: it can describe drawn "
            "images only. For real ones choose another teacher."
        )
    return {image["path"]: image["signs"] for image in read_lines(source) if image["site"] == root.name}
