"""The paper's own numbers (published.csv among the experiments), and the row that corresponds to a run of ours.

One line of the file is one number: table, row, dataset, split, label (empty for an aggregate), metric, value.
"""

from __future__ import annotations

import csv
from functools import lru_cache

from chexreason.runs.config import CONF

# Tables 5 and 6 name a column by model and checkpoint.
COLUMNS = {
    ("NV-Reason", "base"): "NV-Reason",
    ("MedGemma", "base"): "MedGemma",
    ("Qwen2.5", "base"): "Qwen2.5",
    ("MedGemma", "sft"): "MedGemma (SFT)",
    ("MedGemma", "grpo"): "MedGemma (ChexReason)",
}
PROMPTS = {
    "reasoning_narrative": "Reasoning Narrative",
    "reasoning_self_check": "Reasoning Self-Check",
    "reasoning_hypothesis": "Reasoning Hypothesis",
    **{f"reasoning_{letter.lower()}": f"Reasoning {letter}" for letter in "ABCDEF"},
    "free_reasoning": "Free Reasoning",
    "only_label": "Only Label",
    "nv_reason": "its own prompt",
}
TEST_TABLES = {"chexpert": "5", "nih": "6"}

Numbers = dict[tuple[str, str, str, str], float]  # (table, row, label, metric) -> value


@lru_cache(maxsize=1)
def numbers() -> Numbers:
    """Every published number by (table, row, label, metric)."""
    with (CONF / "experiment" / "published.csv").open(encoding="utf-8", newline="") as stream:
        lines = csv.DictReader(stream)
        return {(line["table"], line["row"], line["label"], line["metric"]): float(line["value"]) for line in lines}


def number(table: str, row: str | None, metric: str, label: str = "") -> float | None:
    """One published number; None if the paper does not print it."""
    return numbers().get((table, row or "", label, metric))


def macro_f1(table: str, row: str, labels: tuple[str, ...] = ()) -> float | None:
    """The published macro-F1 of a column of Table 5 or 6: as printed, or the mean over `labels` of its per-label F1."""
    if not labels:
        return number(table, row, "macro_f1")
    column = [number(table, row, "f1", label) for label in labels]
    known = [value for value in column if value is not None]
    return sum(known) / len(known) if len(known) == len(column) else None


def rows_of(table: str) -> tuple[str, ...]:
    """The rows of a table in the paper's order."""
    return tuple(dict.fromkeys(row for number_, row, _, _ in numbers() if number_ == table))


def labels_of(table: str) -> tuple[str, ...]:
    """The labels of Table 5 (14) or 6 (nine), in the paper's order."""
    return tuple(dict.fromkeys(label for number_, _, label, _ in numbers() if number_ == table and label))
