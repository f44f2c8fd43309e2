"""The radiographic sign of each finding: graded, placed and sized, never a fixed stamp.

Each function draws one finding on a film (brightness, 0 to 1) and returns the signs that it left. What a sign looks like
follows Hansell et al. 2008 (Fleischner glossary) and textbook descriptions; what it stands for is CheXpert's finding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chexreason.data.phantom.anatomy import (
    ABDOMEN,
    LEFT,
    RIGHT,
    Chest,
    Field,
    clavicle,
    edge,
    grid,
    rib_height,
    stroke,
    strokes,
    vessels,
)

SIDES = {RIGHT: "right", LEFT: "left"}
SEVERITIES = ("mild", "moderate", "severe")
ZONES = {"upper": 0.27, "mid": 0.44, "lower": 0.60}  # y of a lung zone's middle


@dataclass(frozen=True)
class Sign:
    """Where a finding is to be seen; `side` is the patient's, `box` is (x0, y0, x1, y1) in shares of the film."""

    finding: str
    side: str  # left | right | bilateral | midline
    zone: str
    severity: str  # mild | moderate | severe
    kind: str
    box: tuple[float, float, float, float]


@dataclass
class Film:
    """A film in the making: brightness, the patient on it, and the lungs' masks."""

    brightness: Field
    chest: Chest
    lungs: dict[int, Field]
    rng: np.random.Generator

    @property
    def size(self) -> int:
        return self.brightness.shape[0]

    def grade(self) -> tuple[str, float]:
        """A severity, and how far along 0 to 1 it lies."""
        index = int(self.rng.choice(3, p=[0.3, 0.4, 0.3]))
        return SEVERITIES[index], (index + self.rng.uniform(0.2, 0.9)) / 3

    def side(self) -> int:
        return int(self.rng.choice([RIGHT, LEFT]))

    def lighten(self, where: Field, by: float) -> None:
        """Add opacity, less where the film is bright already."""
        self.brightness = self.brightness + by * where * (1.05 - self.brightness)

    def cover(self, where: Field, tone: float) -> None:
        """Replace by one tone."""
        self.brightness = self.brightness + where * (tone - self.brightness)

    def blob(self, x: float, y: float, rx: float, ry: float, softness: float) -> Field:
        """An ellipse whose border is `softness` of its radius wide."""
        gx, gy = grid(self.size)
        return edge(1.0 - np.sqrt(((gx - x) / rx) ** 2 + ((gy - y) / ry) ** 2), softness)

    def within(self, side: int, depth: float, zone: str, jitter: float = 0.05) -> tuple[float, float]:
        """A point in a zone of one lung; `depth` 0 is the mediastinum, 1 the chest wall."""
        y = ZONES[zone] + self.rng.uniform(-jitter, jitter)
        inner, outer = self.chest.mediastinum + 0.02, float(self.chest.wall(y))
        return self.chest.centre + side * (inner + depth * (outer - inner)), y


def around(x: float, y: float, rx: float, ry: float) -> tuple[float, float, float, float]:
    """A box, cut to the film."""
    corners = np.clip([x - rx, y - ry, x + rx, y + ry], 0.0, 1.0).round(3)
    return tuple(float(corner) for corner in corners)  # type: ignore[return-value]


def lung_opacity(film: Film) -> list[Sign]:
    severity, g = film.grade()
    side, zone = film.side(), str(film.rng.choice(list(ZONES)))
    x, y = film.within(side, film.rng.uniform(0.35, 0.65), zone)
    rx, ry = 0.10 + 0.06 * g, 0.11 + 0.07 * g
    film.lighten(film.blob(x, y, rx, ry, 0.55) * film.lungs[side], 0.26 + 0.26 * g)
    return [Sign("Lung Opacity", SIDES[side], zone, severity, "hazy ill-defined opacity", around(x, y, rx, ry))]


def lung_lesion(film: Film) -> list[Sign]:
    severity, g = film.grade()
    side, zone = film.side(), str(film.rng.choice(list(ZONES)))
    x, y = film.within(side, film.rng.uniform(0.3, 0.8), zone)
    radius = 0.035 + 0.04 * g
    film.lighten(film.blob(x, y, radius, radius * film.rng.uniform(0.85, 1.15), 0.3), 0.45 + 0.15 * g)
    kind = "round nodule" if radius < 0.055 else "round mass"
    return [Sign("Lung Lesion", SIDES[side], zone, severity, kind, around(x, y, radius, radius))]


def edema(film: Film) -> list[Sign]:
    severity, g = film.grade()
    lines = []
    for side in (RIGHT, LEFT):
        x, y = film.chest.hilum(side)
        x += side * 0.05
        film.lighten(film.blob(x, y + 0.05, 0.15 + 0.05 * g, 0.21 + 0.05 * g, 0.7) * film.lungs[side], 0.22 + 0.28 * g)
        wall = film.chest.centre + side * float(film.chest.wall(0.62))
        for step in range(4 + round(3 * g)):  # Kerley B lines
            height = 0.55 + 0.025 * step
            lines.append(([(wall - side * 0.005, height), (wall - side * 0.055, height - 0.004)], 0.005))
    film.lighten(strokes(lines, film.size) * (film.lungs[RIGHT] + film.lungs[LEFT]), 0.25 + 0.2 * g)
    wide = vessels(film.chest, film.rng, film.size, upper=1.8)
    film.lighten(wide * (film.lungs[RIGHT] + film.lungs[LEFT]), 0.10 + 0.12 * g)
    box = around(film.chest.centre, 0.49, film.chest.half_width, 0.24)
    return [Sign("Edema", "bilateral", "hilum", severity, "perihilar haze with septal lines", box)]


def consolidation(film: Film) -> list[Sign]:
    severity, g = film.grade()
    side = film.side()
    zone = str(film.rng.choice(["upper", "lower"]))
    gx, gy = grid(film.size)
    fissure = 0.42 + film.rng.uniform(-0.03, 0.03) + 0.10 * (gx - film.chest.centre) * side
    extent = 0.15 + 0.10 * g
    if zone == "upper":
        region = edge(fissure - gy, 0.008) * edge(gy - (fissure - extent), 0.04)
        middle = 0.42 - extent / 2
    else:
        floor = film.chest.floor(gx, side)
        region = edge(gy - (floor - extent), 0.03)
        middle = film.chest.dome(side) - extent / 2
    dense = region * film.lungs[side]
    film.lighten(dense, 0.50 + 0.25 * g)
    x, y = film.within(side, 0.35, "mid")
    y = middle
    airways = [([(x, y - 0.05), (x + side * 0.05, y), (x + side * 0.11, y + 0.045)], 0.010)]
    airways.append(([(x + side * 0.05, y), (x + side * 0.11, y - 0.02)], 0.008))
    film.brightness = film.brightness - 0.22 * strokes(airways, film.size) * dense
    kind = "dense lobar opacity with air bronchograms"
    return [Sign("Consolidation", SIDES[side], zone, severity, kind, around(x + side * 0.06, y, 0.13, extent / 2))]


def pneumonia(film: Film) -> list[Sign]:
    severity, g = film.grade()
    side, zone = film.side(), str(film.rng.choice(["mid", "lower"]))
    x, y = film.within(side, film.rng.uniform(0.4, 0.65), zone, 0.03)
    patches = np.zeros_like(film.brightness)
    for _ in range(5 + round(4 * g)):
        dx, dy = film.rng.normal(0.0, 0.055, 2)
        rx, ry = film.rng.uniform(0.02, 0.05, 2)
        patches = 1.0 - (1.0 - patches) * (1.0 - 0.6 * film.blob(x + dx, y + dy, rx, ry, 0.9))
    film.lighten(patches * film.lungs[side], 0.5 + 0.3 * g)
    return [Sign("Pneumonia", SIDES[side], zone, severity, "patchy segmental opacities", around(x, y, 0.11, 0.11))]


def atelectasis(film: Film) -> list[Sign]:
    severity, g = film.grade()
    side = film.side() if film.chest.domes[1] - film.chest.domes[0] > -0.001 else LEFT
    lines = []
    y0 = film.chest.dome(side) - 0.07
    x0 = film.chest.centre + side * (film.chest.mediastinum + 0.06)
    for number in range(1 + round(2 * g)):
        height, tilt = y0 - 0.045 * number, film.rng.uniform(-0.03, 0.03)
        length = 0.16 + 0.08 * g
        lines.append(([(x0, height), (x0 + side * length, height + tilt)], 0.020 + 0.012 * g))
    film.lighten(strokes(lines, film.size), 0.50 + 0.3 * g)
    box = around(x0 + side * 0.1, y0 - 0.03, 0.11, 0.08)
    return [Sign("Atelectasis", SIDES[side], "base", severity, "plate-like band", box)]


def pneumothorax(film: Film) -> list[Sign]:
    severity, g = film.grade()
    side = film.side()
    gx, gy = grid(film.size)
    inside = (gx - film.chest.centre) * side
    depth = (0.06 + 0.09 * g) * (1.0 - 0.8 * np.clip((gy - film.chest.apex - 0.1) / (0.25 + 0.3 * g), 0.0, 1.0))
    visceral = film.chest.wall(np.maximum(gy - 0.045 - 0.05 * g, film.chest.apex)) - depth
    air = edge(inside - visceral, 0.004) * film.lungs[side] * edge(0.42 + 0.35 * g - gy, 0.04)
    film.cover(air * 0.9, 0.06)
    line = edge(0.005 - np.abs(inside - visceral + 0.004), 0.004) * film.lungs[side] * edge(0.42 + 0.35 * g - gy, 0.04)
    film.lighten(line, 0.55)
    x = film.chest.centre + side * (film.chest.half_width - 0.08)
    kind = "visceral pleural line without markings beyond it"
    return [Sign("Pneumothorax", SIDES[side], "apex", severity, kind, around(x, 0.28, 0.11, 0.17))]


def pleural_effusion(film: Film) -> list[Sign]:
    severity, g = film.grade()
    both = film.rng.random() < 0.3
    signs = []
    for side in (RIGHT, LEFT) if both else (film.side(),):
        gx, gy = grid(film.size)
        inside = np.clip((gx - film.chest.centre) * side / film.chest.half_width, 0.0, 1.2)
        level = film.chest.dome(side) + 0.075 - 0.05 - 0.22 * g
        surface = level - 0.14 * inside**4 + 0.045 * (1.0 - inside)
        under = edge(gy - surface, 0.012) * np.maximum(film.lungs[side], edge(gy - film.chest.dome(side), 0.02))
        reach = edge((gx - film.chest.centre) * side - 0.05, 0.02)
        reach = reach * edge(film.chest.wall(gy) - (gx - film.chest.centre) * side, 0.01)
        film.cover(under * reach, ABDOMEN)
        x = film.chest.centre + side * 0.24
        box = around(x, (level + 0.86) / 2, 0.15, (0.86 - level) / 2 + 0.05)
        side_name = "bilateral" if both else SIDES[side]
        signs.append(Sign("Pleural Effusion", side_name, "base", severity, "meniscus blunting the angle", box))
    return signs


def pleural_other(film: Film) -> list[Sign]:
    severity, g = film.grade()
    side = film.side()
    gx, gy = grid(film.size)
    inside = (gx - film.chest.centre) * side
    if film.rng.random() < 0.35:
        cap = edge(film.chest.apex + 0.05 + 0.05 * g - gy, 0.008) * film.lungs[side]
        film.lighten(cap, 0.75)
        x = film.chest.centre + side * 0.17
        return [Sign("Pleural Other", SIDES[side], "apex", severity, "apical cap", around(x, 0.17, 0.11, 0.07))]
    start, length = film.rng.uniform(0.28, 0.42), 0.16 + 0.14 * g
    span = edge(gy - start, 0.02) * edge(start + length - gy, 0.02)
    thick = (0.018 + 0.026 * g) * (1.0 + 0.35 * np.sin(40 * gy + film.rng.uniform(0, 6)))
    film.lighten(edge(inside - film.chest.wall(gy) + thick, 0.005) * film.lungs[side] * span, 0.72)
    x = film.chest.centre + side * (film.chest.half_width - 0.02)
    kind = "lateral pleural thickening"
    return [Sign("Pleural Other", SIDES[side], "pleura", severity, kind, around(x, start + length / 2, 0.04, length / 2))]


def fracture(film: Film) -> list[Sign]:
    severity, g = film.grade()
    side = film.side()
    if film.rng.random() < 0.3:
        _, inner, outer, end = clavicle(film.chest, side)
        step = 0.022 + 0.02 * g
        film.brightness = film.brightness - 0.14 * stroke([inner, outer], 0.022, film.size)
        low = [(inner[0] + side * 0.04, inner[1] + step), (outer[0], outer[1] + step)]
        film.lighten(stroke(low, 0.024, film.size), 0.45)
        box = around((inner[0] + outer[0]) / 2, inner[1], 0.08, 0.05)
        return [Sign("Fracture", SIDES[side], "clavicle", severity, "stepped clavicle", box)]
    lines, dots = [], np.zeros_like(film.brightness)
    first = int(film.rng.integers(2, 5))
    reach = film.rng.uniform(0.20, 0.29)
    for index in range(first, first + 2 + round(2 * g)):
        x, y = film.chest.centre + side * reach, float(rib_height(film.chest, index, reach))
        film.cover(film.blob(x, y, 0.02, 0.02, 0.3) * 0.8, 0.12)
        step = 0.020 + 0.012 * g
        outer_y = float(rib_height(film.chest, index, reach + 0.07)) + step
        lines.append(([(x + side * 0.008, y + step), (x + side * 0.08, outer_y)], 0.028))
        dots = np.maximum(dots, film.blob(x - side * 0.006, y, 0.020, 0.015, 0.7))
    film.lighten(strokes(lines, film.size), 0.50)
    film.lighten(dots, 0.5)
    y = float(rib_height(film.chest, first, reach))
    return [Sign("Fracture", SIDES[side], "rib", severity, "stepped rib with callus", around(x, y + 0.05, 0.08, 0.1))]


def support_devices(film: Film) -> list[Sign]:
    """One to three of: tube in the trachea, central line, pacemaker, chest tube, gastric tube, electrodes."""
    severity, g = film.grade()
    c, m = film.chest.centre, film.chest.mediastinum
    side = film.side()
    carina = 0.38
    devices: dict[str, tuple[str, str, list[tuple[list[tuple[float, float]], float]], tuple[float, float]]] = {
        "endotracheal tube": ("midline", "mediastinum", [([(c, 0.0), (c, carina - 0.05)], 0.022)], (c, 0.17)),
        "central venous line": (
            SIDES[side],
            "mediastinum",
            [([(c + side * 0.2, 0.0), (c + side * 0.13, 0.16), (c - 0.75 * m, 0.25), (c - 0.75 * m, 0.46)], 0.014)],
            (c, 0.24),
        ),
        "gastric tube": ("midline", "mediastinum", [([(c, 0.0), (c + 0.012, 0.6), (c + 0.13, 0.9)], 0.014)], (c, 0.5)),
        "chest tube": (
            SIDES[side],
            "pleura",
            [([(c + side * 0.47, 0.75), (c + side * 0.33, 0.6), (c + side * 0.2, 0.3)], 0.022)],
            (c + side * 0.33, 0.5),
        ),
        "pacemaker": (
            "left",
            "upper",
            [
                ([(c + 0.29, 0.24), (c + 0.15, 0.19), (c - 0.7 * m, 0.3), (c - 0.04, 0.56), (c + 0.13, 0.68)], 0.013),
                ([(c + 0.27, 0.22), (c + 0.35, 0.22), (c + 0.35, 0.29), (c + 0.27, 0.29), (c + 0.27, 0.22)], 0.014),
                ([(c + 0.28, 0.255), (c + 0.345, 0.255)], 0.05),
            ],
            (c + 0.31, 0.25),
        ),
        "monitor electrodes": (
            "bilateral",
            "pleura",
            [
                ([(c + way * 0.28, 0.3 + 0.25 * low), (c + way * 0.44, 0.5 + 0.4 * low)], 0.012)
                for way in (RIGHT, LEFT)
                for low in (0, 1)
            ]
            + [
                ([(c + way * 0.28, 0.3 + 0.25 * low), (c + way * 0.285, 0.305 + 0.25 * low)], 0.04)
                for way in (RIGHT, LEFT)
                for low in (0, 1)
            ],
            (c, 0.45),
        ),
    }
    chosen = film.rng.choice(list(devices), size=1 + (g > 0.35) + (g > 0.8), replace=False)
    signs = []
    for kind in chosen:
        where, zone, lines, (x, y) = devices[str(kind)]
        film.cover(strokes(lines, film.size), 0.97)
        signs.append(Sign("Support Devices", where, zone, severity, str(kind), around(x, y, 0.12, 0.2)))
    return signs


# Drawn in this order: what lies in the lung first, fluid and air over it, metal over everything.
OVERLAYS: dict[str, Callable[[Film], list[Sign]]] = {
    "Edema": edema,
    "Lung Opacity": lung_opacity,
    "Pneumonia": pneumonia,
    "Consolidation": consolidation,
    "Lung Lesion": lung_lesion,
    "Atelectasis": atelectasis,
    "Pleural Other": pleural_other,
    "Pneumothorax": pneumothorax,
    "Pleural Effusion": pleural_effusion,
    "Fracture": fracture,
    "Support Devices": support_devices,
}
