"""Images without any medical meaning: what the general-purpose stand-in is pre-trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from chexreason.phantom.film import Box, around

SIDE = 256  # pixels
SIZES = {"small": 0.07, "medium": 0.12, "large": 0.19}
TONES = {"dark": 40, "grey": 130, "bright": 230}
ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")
KINDS = ("circle", "square", "triangle", "cross", "ring", "bar")


def draw_shapes(seed: int) -> tuple[NDArray[np.uint8], dict[str, Box]]:
    """One to four shapes on a plain ground (uint8, SIDE x SIDE), each named in a phrase, with its box as a Sign has it."""
    rng = np.random.default_rng(seed)
    ground = int(rng.integers(70, 110))
    picture = Image.new("L", (SIDE, SIDE), ground)
    pen = ImageDraw.Draw(picture)
    cells = rng.choice(9, size=int(rng.integers(1, 5)), replace=False)
    placed = {}
    for cell in sorted(int(one) for one in cells):
        row, column = divmod(cell, 3)
        kind, scale, tone = (str(rng.choice(list(options))) for options in (KINDS, SIZES, TONES))
        x = SIDE * ((column + 0.5) / 3 + rng.uniform(-0.03, 0.03))
        y = SIDE * ((row + 0.5) / 3 + rng.uniform(-0.03, 0.03))
        r = SIDE * SIZES[scale] * rng.uniform(0.85, 1.1)
        _draw(pen, kind, x, y, r, TONES[tone])
        placed[f"a {scale} {tone} {kind} {ROWS[row]} {COLUMNS[column]}"] = around(x / SIDE, y / SIDE, r / SIDE, r / SIDE)
    pixels = np.asarray(picture, dtype=np.int16) + rng.integers(-8, 9, (SIDE, SIDE))
    return np.clip(pixels, 0, 255).astype(np.uint8), placed


def _draw(pen: ImageDraw.ImageDraw, kind: str, x: float, y: float, r: float, tone: int) -> None:
    width = max(1, round(r * 0.3))
    if kind == "circle":
        pen.ellipse([x - r, y - r, x + r, y + r], fill=tone)
    elif kind == "square":
        pen.rectangle([x - 0.85 * r, y - 0.85 * r, x + 0.85 * r, y + 0.85 * r], fill=tone)
    elif kind == "triangle":
        pen.polygon([(x, y - r), (x - r, y + 0.8 * r), (x + r, y + 0.8 * r)], fill=tone)
    elif kind == "cross":
        pen.line([x - r, y - r, x + r, y + r], fill=tone, width=width)
        pen.line([x - r, y + r, x + r, y - r], fill=tone, width=width)
    elif kind == "ring":
        pen.ellipse([x - r, y - r, x + r, y + r], outline=tone, width=width)
    else:
        pen.rectangle([x - r, y - 0.25 * r, x + r, y + 0.25 * r], fill=tone)
