"""The phantom world on disk: every image that the sites' tables call for, and what each shows (`signs.jsonl`)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from chexreason.phantom.drawing import Phantom, draw
from chexreason.phantom.labelsets import draw_states, positives
from chexreason.phantom.layouts import CHEXPERT_ROOT, LATERAL, MIMIC_ROOT, NIH_ROOT, Order
from chexreason.phantom.styles import CHEXPERT, MIMIC, NIH, PRETRAINING, Style
from chexreason.runs.files import write_text
from chexreason.runs.processes import pool

STYLES = {MIMIC_ROOT: MIMIC, CHEXPERT_ROOT: CHEXPERT, NIH_ROOT: NIH}


def draw_all(orders: Sequence[Order], root: Path, size: int, workers: int | None) -> None:
    """Draw every image, over all cores unless `workers` says otherwise, and write signs.jsonl."""
    from tqdm import tqdm

    described = []
    with pool(workers) as processes:
        drawn = processes.map(_draw_one, orders, [root] * len(orders), [size] * len(orders), chunksize=64)
        for order, signs in zip(orders, tqdm(drawn, total=len(orders), desc="phantom", unit="image"), strict=True):
            about = {"site": order.site, "path": order.path, "patient": order.patient}
            described.append(json.dumps(about | {"labels": list(order.findings), "signs": signs}))
    write_text(root / "signs.jsonl", "\n".join(described) + "\n")


def _draw_one(order: Order, root: Path, size: int) -> list[dict[str, Any]]:
    target = root / order.site / order.path
    if order.view == LATERAL:
        _save(_lateral(order.seed, size), target)
        return []
    phantom = draw(order.findings, STYLES[order.site], order.seed, size, order.view)
    _save(phantom.image, target)
    return [asdict(sign) for sign in phantom.signs]


def _save(pixels: NDArray[np.uint8], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    Image.fromarray(pixels).save(partial, format="PNG" if target.suffix == ".png" else "JPEG", quality=92)
    os.replace(partial, target)


def _lateral(seed: int, size: int) -> NDArray[np.uint8]:
    """A crude side view: only there so that the view filter has something to leave out."""
    rng = np.random.default_rng(seed)
    picture = Image.new("L", (size, size), 15)
    pen = ImageDraw.Draw(picture)
    pen.ellipse([size * 0.2, size * 0.02, size * 0.8, size * 1.1], fill=int(rng.integers(110, 140)))
    pen.ellipse([size * 0.3, size * 0.12, size * 0.7, size * 0.8], fill=int(rng.integers(45, 60)))
    pen.ellipse([size * 0.3, size * 0.45, size * 0.55, size * 0.78], fill=150)
    pen.line([size * 0.68, 0, size * 0.74, size], fill=165, width=size // 14)
    return np.asarray(picture)


def labelled_phantoms(
    count: int, seed: int, size: int = 256, style: Style = PRETRAINING, workers: int | None = None
) -> Iterator[tuple[Phantom, list[str]]]:
    """Drawn images of no site with their findings, enriched for rare ones: for pre-training."""
    rng = np.random.default_rng((seed, 1))
    shown = [findings for findings in positives(draw_states(2 * count, rng, enriched=1.0)) if findings][:count]
    seeds = rng.integers(2**31, size=len(shown)).tolist()
    views = np.where(rng.random(len(shown)) < style.ap_share, "AP", "PA").tolist()
    many = len(shown)
    with pool(workers) as processes:
        images = processes.map(draw, shown, [style] * many, seeds, [size] * many, views, chunksize=64)
        yield from zip(images, shown, strict=True)
