"""The offline teacher: reasoning traces for drawn radiographs, from the signs that were drawn.

Its text is varied, agrees with the labels, and places and grades each finding where the image shows it. Where a site's
labels and the drawn signs disagree, the labels win, as they do for a teacher that is given the ground truth (section 3.1).
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS, NO_FINDING
from chexreason.prompts import Prompt, write_answer

# What a region is called when nothing is wrong with it, and the findings that would make that untrue.
CLEAR = {
    "The lungs are clear.": {
        "Lung Opacity", "Lung Lesion", "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax",
    },
    "The heart is of normal size.": {"Cardiomegaly"},
    "The mediastinum is narrow.": {"Enlarged Cardiomediastinum", "Cardiomegaly"},
    "Both costophrenic angles are sharp.": {"Pleural Effusion", "Pleural Other"},
    "The bones are intact.": {"Fracture"},
    "There are no lines or tubes.": {"Support Devices"},
}  # fmt: skip
OPENINGS = ("There is", "I see", "The film shows", "Note")


@dataclass(frozen=True)
class PhantomTeacher:
    """Writes from `signs.jsonl`, which stage=phantom leaves beside the images."""

    name: str

    def write(self, study: dict[str, Any], prompt: Prompt, root: Path, seed: int, attempt: int) -> str:
        """A completion in the prompt's grammar for a study ({"path", "labels"}) whose image lies under `root`."""
        rng = random.Random(f"{seed}/{attempt}/{prompt.name}/{study['path']}")
        signs = drawn_signs(root).get(study["path"], ())
        return write_answer(prompt.grammar, reasoning(study["labels"], signs, rng), study["labels"])


@lru_cache(maxsize=4)
def drawn_signs(root: Path) -> dict[str, Sequence[dict[str, Any]]]:
    """The signs drawn in each image of the site at `root`, by path relative to it."""
    source = root.parent / "signs.jsonl"
    if not source.is_file():
        raise ChexReasonError(
            f"teacher=phantom needs {source}, which stage=phantom writes beside its sites: it can describe drawn "
            "images only. For real ones choose another teacher."
        )
    with source.open(encoding="utf-8") as lines:
        images = [json.loads(line) for line in lines]
    return {image["path"]: image["signs"] for image in images if image["site"] == root.name}


def reasoning(labels: Sequence[str], signs: Sequence[dict[str, Any]], rng: random.Random) -> str:
    """One clause for each finding, then what is clear; never a finding that is not among the labels."""
    clauses = [_clause(label, signs, rng) for label in FINDINGS if label in labels and label != NO_FINDING]
    clear = [text for text, contrary in CLEAR.items() if not contrary & set(labels)]
    kept = rng.sample(clear, min(len(clear), 2 if clauses else 3))
    return " ".join([*clauses, *sorted(kept, key=clear.index)])


def _clause(label: str, signs: Sequence[dict[str, Any]], rng: random.Random) -> str:
    shown = [sign for sign in signs if sign["finding"] == label]
    opening = rng.choice(OPENINGS)
    if not shown:
        return f"{opening} {label.lower()}."
    sign = shown[0]
    side = "" if sign["side"] == "midline" else f"{sign['side']} "
    where = f"{side}{sign['zone']}"
    return f"{opening} {sign['severity']} {sign['kind']}, {where}: {label.lower()}."
