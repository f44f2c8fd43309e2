"""The card of a curated data set: what was chosen from what, for people (Markdown, picture) and for programs (JSON)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason.data.curation import Balance, imbalance_ratio
from chexreason.labels import FINDINGS, POSITIVE
from chexreason.pages import markdown_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

AGES = (0, 20, 40, 60, 80, math.inf)


def positives(records: pd.DataFrame) -> np.ndarray:
    """(N, 14) bool: positive labels in FINDINGS order."""
    return (records[list(FINDINGS)] == POSITIVE).to_numpy()


def describe(records: pd.DataFrame) -> dict[str, Any]:
    """Counts of one set: images, patients, label prevalence and co-occurrence, views, sexes, ages."""
    labels = positives(records)
    positive: list[int] = labels.sum(axis=0).tolist()
    together = labels.astype(int).T @ labels.astype(int)
    ratio = imbalance_ratio(labels)
    return {
        "images": len(records),
        "patients": int(records["patient"].nunique()),
        "prevalence": {f: round(n / max(1, len(records)), 5) for f, n in zip(FINDINGS, positive, strict=True)},
        "positive": dict(zip(FINDINGS, positive, strict=True)),
        "labels_per_image": round(float(labels.sum(axis=1).mean()), 3) if len(records) else 0.0,
        "imbalance_ratio": round(ratio, 2) if math.isfinite(ratio) else None,
        "co_occurrence": {f: dict(zip(FINDINGS, row, strict=True)) for f, row in zip(FINDINGS, together.tolist(), strict=True)},
        "views": _counts(records["view"]),
        "sexes": _counts(records["sex"]),
        "ages": _ages(records["age"]),
    }  # fmt: skip


def shortfalls(name: str, records: pd.DataFrame, asked: int, balance: Balance, pool: pd.DataFrame) -> list[str]:
    """What a set could not reach, label by label, and why."""
    lines = []
    if len(records) < asked:
        lines.append(f"{name}: {len(records)} of {asked} images, since no candidate of a free patient was left")
    have = positives(records).sum(axis=0)
    there = positives(pool).sum(axis=0)
    needed = math.ceil(balance.floor * len(records))
    for finding, count, available in zip(FINDINGS, have, there, strict=True):
        if count < needed:
            lines.append(f"{name}: {finding} is in {count} studies, {needed} wanted; {available} candidates have it")
    return lines


def write_picture(path: Path, parts: dict[str, dict[str, Any]], floor: float) -> None:
    """Prevalence of each label in the candidates and in each set, as horizontal dots."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 5.2), layout="constrained")
    axes = figure.add_subplot()
    # Okabe and Ito's colours, which the colour-blind can tell apart; the shapes differ too.
    marks = ("o", "s", "D", "^")
    colours = ("#999999", "#0072B2", "#D55E00", "#009E73")
    for number, (name, part) in enumerate(parts.items()):
        values = [100 * part["prevalence"][finding] for finding in FINDINGS]
        label = f"{name} ({part['images']:,})"
        mark, colour = marks[number % 4], colours[number % 4]
        axes.plot(values, range(len(FINDINGS)), linestyle="", label=label, marker=mark, color=colour, alpha=0.9)
    axes.axvline(100 * floor, color="black", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(FINDINGS)), FINDINGS)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel(f"positive, % of images (dotted: the floor of {floor:.0%})")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)


def markdown(card: dict[str, Any]) -> str:
    """The card as a page."""
    parts = {"candidates": card["candidates"], **card["sets"]}
    columns = list(parts.values())
    rows = [
        ["images", *(f"{part['images']:,}" for part in columns)],
        ["patients", *(f"{part['patients']:,}" for part in columns)],
        ["labels per image", *(part["labels_per_image"] for part in columns)],
        ["most frequent : rarest label", *(part["imbalance_ratio"] or "-" for part in columns)],
        *([finding, *(f"{part['prevalence'][finding]:.1%}" for part in columns)] for finding in FINDINGS),
    ]
    for group in ("views", "sexes", "ages"):
        for key in dict.fromkeys(key for part in columns for key in part[group]):
            rows.append([f"{group}: {key}", *(f"{part[group].get(key, 0):,}" for part in columns)])
    pairs = _listed([f"{name}: {', '.join(_commonest(part))}" for name, part in parts.items()])
    return "\n\n".join([
        f"# Curated from {card['site']}",
        f"Seed {card['seed']}; every label in at least {card['balance']['floor']:.0%} of the sft and the rl set, none "
        f"aimed above {card['balance']['ceiling']:.0%}; no patient in two sets; validation is a random draw.",
        "![label prevalence](prevalence.png)",
        markdown_table(["", *parts], rows),
        "## Commonest pairs of labels",
        pairs,
        "## Left out",
        _listed(_counted(card["excluded"])),
        "## Noted among the records read",
        _listed(_counted(card["noted"])),
        "## Not reached",
        _listed(card["shortfalls"] or ["nothing: every set is full and every label is there"]),
    ]) + "\n"  # fmt: skip


def _counts(column: pd.Series) -> dict[str, int]:
    return {str(key): int(n) for key, n in column.fillna("unknown").value_counts().sort_index().items()}


def _ages(column: pd.Series) -> dict[str, int]:
    import pandas as pd

    names = [f"{low}-{high - 1:.0f}" if high < math.inf else f"{low}+" for low, high in zip(AGES, AGES[1:], strict=False)]
    bins = pd.cut(pd.to_numeric(column, errors="coerce"), AGES, right=False, labels=names)
    counts = {name: int((bins == name).sum()) for name in names}
    return {name: n for name, n in (counts | {"unknown": int(bins.isna().sum())}).items() if n}


def _commonest(part: dict[str, Any]) -> list[str]:
    pairs = part["co_occurrence"]
    found = [(pairs[f][g], f, g) for i, f in enumerate(FINDINGS) for g in FINDINGS[i + 1 :] if pairs[f][g]]
    return [f"{f} + {g} ({n:,})" for n, f, g in sorted(found, reverse=True)[:4]] or ["none"]


def _counted(counts: dict[str, int]) -> list[str]:
    return [f"{reason}: {count:,}" for reason, count in counts.items()] or ["nothing"]


def _listed(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
