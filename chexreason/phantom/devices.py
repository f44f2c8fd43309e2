"""Support devices: tubes, lines and metal that stand out against everything."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chexreason.phantom.anatomy import LEFT, SIDES, Chest
from chexreason.phantom.film import SIDE_NAMES, Film, Sign, around, either, grade
from chexreason.phantom.lines import Line, curve, strokes

Drawn = tuple[str, str, list[Line], tuple[float, float, float, float]]  # side, zone, lines, box
METAL = 2.2


def support_devices(film: Film, rng: np.random.Generator) -> list[Sign]:
    """One to three devices, each where it belongs; severity counts them."""
    severity, g = grade(rng)
    chosen = rng.choice(list(DEVICES), size=1 + (g > 1 / 3) + (g > 2 / 3), replace=False)
    signs, lines = [], []
    for kind in map(str, chosen):
        side, zone, drawn, box = DEVICES[kind](film.chest, rng)
        lines += drawn
        signs.append(Sign("Support Devices", side, zone, severity, kind, box))
    film.density = film.density + METAL * strokes(lines, film.size)
    return signs


def _endotracheal_tube(chest: Chest, rng: np.random.Generator) -> Drawn:
    tip = rng.uniform(0.27, 0.34)
    course = curve([(chest.centre - 0.03, 0.0), (chest.centre, 0.08), (chest.centre + rng.uniform(-0.004, 0.004), tip)])
    lines = [Line(course, 0.026, 0.25), Line(course, 0.008)]
    return "midline", "mediastinum", lines, around(chest.centre, tip / 2, 0.03, tip / 2)


def _central_line(chest: Chest, rng: np.random.Generator) -> Drawn:
    side, tip = either(rng), rng.uniform(0.42, 0.50)
    cava = chest.centre - 0.8 * chest.mediastinum  # the superior vena cava lies on the patient's right
    neck = chest.centre + side * rng.uniform(0.09, 0.13)
    outside = (chest.centre + side * 0.30, 0.02)
    lines = [Line(curve([outside, (neck, 0.04), (neck - side * 0.02, 0.17), (cava, 0.27), (cava, tip)]), 0.012, 0.85)]
    return SIDE_NAMES[side], "mediastinum", lines, around(chest.centre + side * 0.06, tip / 2, 0.16, tip / 2)


def _gastric_tube(chest: Chest, rng: np.random.Generator) -> Drawn:
    end = (chest.centre + rng.uniform(0.14, 0.22), chest.dome(LEFT) + rng.uniform(0.10, 0.16))
    entry = (chest.centre + 0.03, chest.dome(LEFT) + 0.02)
    lines = [Line(curve([(chest.centre + 0.01, 0.0), (chest.centre + 0.015, 0.4), entry, end]), 0.012, 0.8)]
    return "midline", "mediastinum", lines, around(chest.centre + 0.09, 0.45, 0.13, 0.45)


def _chest_tube(chest: Chest, rng: np.random.Generator) -> Drawn:
    side, tip = either(rng), rng.uniform(0.20, 0.32)
    xs = [0.50, chest.half_width - 0.02, chest.half_width - 0.10, 0.14]
    ys = [0.66, 0.60, 0.42, tip]
    course = curve([(chest.centre + side * x, y) for x, y in zip(xs, ys, strict=True)])
    lines = [Line(course, 0.024, 0.3), Line(course, 0.009)]
    return SIDE_NAMES[side], "pleura", lines, around(chest.centre + side * 0.30, 0.43, 0.18, 0.24)


def _pacemaker(chest: Chest, rng: np.random.Generator) -> Drawn:
    x, y = chest.centre + LEFT * rng.uniform(0.25, 0.31), rng.uniform(0.21, 0.26)
    cava = chest.centre - 0.75 * chest.mediastinum
    cx, cy, rx, ry = chest.heart()
    vein = [(x, y), (chest.centre + 0.15, y - 0.06), (cava + 0.03, 0.24), (cava, 0.34)]
    ventricle = curve([*vein, (cx - 0.5 * rx, cy + 0.2 * ry), (cx + 0.1 * rx, cy + 0.7 * ry), (cx + 0.5 * rx, cy + 0.7 * ry)])
    atrium = curve([*vein, (cava, cy), (cava + 0.03, cy - 0.05)])
    can = [(x - 0.035, y), (x + 0.035, y + 0.006)]
    lines = [Line(can, 0.065, 0.9), Line(ventricle, 0.010, 0.9), Line(atrium, 0.010, 0.9)]
    return "left", "upper", lines, around(chest.centre + 0.13, 0.42, 0.24, 0.28)


def _electrodes(chest: Chest, rng: np.random.Generator) -> Drawn:
    lines = []
    for side in SIDES:
        for height in (0.24, 0.56):
            x, y = chest.centre + side * rng.uniform(0.22, 0.32), height + rng.uniform(-0.04, 0.04)
            away = chest.centre + side * rng.uniform(0.0, 0.5)
            lines.append(Line([(x - 0.014, y), (x + 0.014, y)], 0.028, 0.8))
            lines.append(Line(curve([(x, y), (x - side * 0.06, y + 0.15), (away, 1.0)]), 0.008, 0.5))
    return "bilateral", "pleura", lines, around(chest.centre, 0.55, 0.4, 0.4)


DEVICES: dict[str, Callable[[Chest, np.random.Generator], Drawn]] = {
    "endotracheal tube": _endotracheal_tube,
    "central venous line": _central_line,
    "gastric tube": _gastric_tube,
    "chest tube": _chest_tube,
    "pacemaker": _pacemaker,
    "monitor electrodes": _electrodes,
}
