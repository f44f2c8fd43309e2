"""A normal chest as geometry: lungs, heart, mediastinum, diaphragm and bones of one drawn patient.

Coordinates run from 0 to 1 over the film, x to the right and y down. The film is seen as a radiologist sees it: the
patient's left is on the right, so `side` is +1 for the patient's left and -1 for the right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Field = NDArray[np.float32]
RIGHT, LEFT = -1, +1
LUNG, SOFT, MEDIASTINUM, ABDOMEN, AIR = 0.17, 0.46, 0.70, 0.66, 0.04


@dataclass(frozen=True)
class Chest:
    """One patient's geometry; lengths are shares of the film's width or height."""

    centre: float  # x of the midline
    apex: float  # y of the lungs' tops
    half_width: float  # of the rib cage, at its widest
    domes: tuple[float, float]  # y of the right and left diaphragm's tops
    arch: float  # how far the diaphragm falls from dome to costophrenic angle
    mediastinum: float  # half-width above the heart
    cardiothoracic: float  # widest heart over widest chest
    heart_y: float
    rib_spacing: float
    rib_slope: float
    rib_phase: float
    habitus: float  # thickness of soft tissue, 0 to 1

    def dome(self, side: int) -> float:
        """The y of one diaphragm's top."""
        return self.domes[0 if side == RIGHT else 1]

    def wall(self, y: Field | float) -> Field:
        """Half-width of the lungs at height y."""
        t = np.clip((np.asarray(y, dtype=np.float32) - self.apex) / 0.42, 0.0, 1.0)
        return self.half_width * np.sqrt(1.0 - (1.0 - t) ** 2.4)

    def floor(self, x: Field | float, side: int) -> Field:
        """The y of the diaphragm at x."""
        inside = (np.asarray(x, dtype=np.float32) - self.centre) * side
        middle = self.half_width * 0.5
        reach = (inside - middle) / middle
        return self.dome(side) + self.arch * np.where(reach > 0, 1.0, 0.3) * reach**2  # deeper towards the chest wall

    def heart(self) -> tuple[float, float, float, float]:
        """Centre x, centre y, radius x, radius y; two thirds lie on the patient's left."""
        radius = self.cardiothoracic * self.half_width
        return self.centre + 0.30 * radius, self.heart_y, radius, 0.135 + 0.12 * (self.cardiothoracic - 0.45)

    def hilum(self, side: int) -> tuple[float, float]:
        """Where the vessels of one lung begin."""
        return self.centre + side * (self.mediastinum + 0.035), 0.44


def draw_chest(rng: np.random.Generator, view: str) -> Chest:
    """A normal patient. Antero-posterior films magnify the heart and are taken lying: the diaphragm is higher."""
    ap = view == "AP"
    right = rng.uniform(0.71, 0.76) - 0.03 * ap
    return Chest(
        centre=0.5 + rng.uniform(-0.02, 0.02),
        apex=rng.uniform(0.10, 0.15),
        half_width=rng.uniform(0.35, 0.40),
        domes=(right, right + rng.uniform(0.01, 0.03)),
        arch=rng.uniform(0.07, 0.11),
        mediastinum=rng.uniform(0.055, 0.068) + 0.006 * ap,
        cardiothoracic=rng.uniform(0.40, 0.465) + 0.02 * ap,
        heart_y=right - rng.uniform(0.10, 0.13),
        rib_spacing=rng.uniform(0.072, 0.085),
        rib_slope=rng.uniform(0.25, 0.4),
        rib_phase=rng.uniform(0.0, 1.0),
        habitus=rng.uniform(0.0, 1.0),
    )


@lru_cache(maxsize=4)
def grid(size: int) -> tuple[Field, Field]:
    """x as a row and y as a column of pixel centres."""
    ticks = ((np.arange(size) + 0.5) / size).astype(np.float32)
    return ticks[None, :], ticks[:, None]


def edge(distance: Field, softness: float) -> Field:
    """0 to 1 as a signed distance passes from -softness to +softness."""
    t = np.clip(distance / (2 * softness) + 0.5, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def lung_masks(chest: Chest, size: int) -> dict[int, Field]:
    """How much each pixel belongs to each lung, the heart left out."""
    x, y = grid(size)
    heart = heart_mask(chest, size)
    masks = {}
    for side in (RIGHT, LEFT):
        inside = (x - chest.centre) * side
        lateral = edge(chest.wall(y) - inside, 0.008)
        medial = edge(inside - chest.mediastinum * (1.0 + 0.4 * (y < 0.25)), 0.012)
        above = edge(chest.floor(x, side) - y, 0.008)
        masks[side] = lateral * medial * above * (1.0 - heart) * (y > chest.apex)
    return masks


def heart_mask(chest: Chest, size: int) -> Field:
    """The cardiac silhouette."""
    x, y = grid(size)
    cx, cy, rx, ry = chest.heart()
    tilt = 0.25 * (x - cx)  # the apex points down and to the patient's left
    radius = np.sqrt(((x - cx) / rx) ** 2 + ((y - cy - tilt) / ry) ** 2)
    return edge((1.0 - radius) * 0.12, 0.012)


def render(chest: Chest, lungs: dict[int, Field], view: str, rng: np.random.Generator, size: int) -> Field:
    """Brightness, 0 to 1, of the chest without vessels, signs or a site's style."""
    x, y = grid(size)
    across = np.abs(x - chest.centre)
    body_width = chest.half_width + 0.05 + 0.04 * chest.habitus
    neck = 0.10 + (body_width - 0.10) * edge(y - 0.13, 0.09)
    body = edge(neck - across, 0.015)
    film = AIR + (SOFT + 0.08 * chest.habitus - AIR) * body
    film = film + (MEDIASTINUM - SOFT) * edge(chest.mediastinum - across, 0.02) * body
    film = film + 0.06 * edge(0.028 - across, 0.008) * body  # spine
    heart = heart_mask(chest, size)
    film = np.maximum(film, MEDIASTINUM * heart)
    knob = np.sqrt((x - chest.centre - chest.mediastinum) ** 2 + (y - 0.34) ** 2)
    film = np.maximum(film, 0.62 * edge(0.035 - knob, 0.01))
    for side in (RIGHT, LEFT):
        below = edge(y - chest.floor(x, side), 0.01) * ((x - chest.centre) * side > 0) * body
        film = film + below * (ABDOMEN - film)
    both = lungs[RIGHT] + lungs[LEFT]
    film = film + both * (LUNG + 0.05 * chest.habitus - film)
    bubble = ((x - chest.centre - 0.17) / 0.07) ** 2 + ((y - chest.dome(LEFT) - 0.07) / 0.03) ** 2
    film = film - 0.35 * edge(1.0 - bubble, 0.3)
    film = film - 0.20 * edge(0.016 - across, 0.006) * edge(0.36 - y, 0.02) * (y > 0.03)  # trachea
    film = film + _ribs(chest, size) * body
    if view == "AP":  # the shoulder blades are not turned out of the lungs
        blade = (across - chest.half_width * 0.92 + 0.35 * (y - 0.3)) / 0.05
        film = film + 0.07 * edge(1.0 - np.abs(blade), 0.3) * edge(0.5 - y, 0.05) * edge(y - 0.16, 0.03)
    return film + _clavicles(chest, rng, size)


def rib_height(chest: Chest, index: float, across: Field | float) -> Field:
    """The y of a posterior rib's middle at a distance from the midline."""
    reach = np.asarray(across, dtype=np.float32)
    return 0.10 + chest.rib_spacing * (index + chest.rib_phase) + chest.rib_slope * reach**1.6


def _ribs(chest: Chest, size: int) -> Field:
    """Posterior ribs, and fainter anterior ones that run the other way."""
    x, y = grid(size)
    across = np.abs(x - chest.centre)
    cage = edge(chest.wall(y) + 0.012 - across, 0.006) * edge(across - 0.03, 0.01) * edge(0.86 - y, 0.03)
    back = (y - rib_height(chest, 0.0, across)) / chest.rib_spacing
    front = (y + 0.55 * across - 0.05) / (1.25 * chest.rib_spacing)
    posterior = edge(0.16 - np.abs(back - np.round(back)), 0.07)
    anterior = edge(0.15 - np.abs(front - np.round(front)), 0.09) * edge(across - 0.12, 0.04)
    return (0.13 * posterior + 0.06 * anterior) * cage


def clavicle(chest: Chest, side: int, lift: float = 0.0) -> list[tuple[float, float]]:
    """A collar bone's course from the sternum to the shoulder."""
    reach = np.array([0.05, 0.14, 0.24, 0.34])
    height = chest.apex + np.array([0.075, 0.055, 0.03, 0.02]) + lift
    return [(chest.centre + side * dx, dy) for dx, dy in zip(reach, height, strict=True)]


def _clavicles(chest: Chest, rng: np.random.Generator, size: int) -> Field:
    lift = rng.uniform(-0.01, 0.01)
    return 0.14 * sum(stroke(clavicle(chest, side, lift), 0.022, size) for side in (RIGHT, LEFT))


def stroke(points: list[tuple[float, float]], width: float, size: int) -> Field:
    """A polyline `width` thick, 0 to 1, drawn at twice the size and averaged so that its edges are smooth."""
    canvas = Image.new("L", (2 * size, 2 * size))
    scaled = [(px * 2 * size, py * 2 * size) for px, py in points]
    ImageDraw.Draw(canvas).line(scaled, fill=255, width=max(1, round(width * 2 * size)), joint="curve")
    return np.asarray(canvas.reduce(2), dtype=np.float32) / 255.0


def strokes(lines: list[tuple[list[tuple[float, float]], float]], size: int) -> Field:
    """Several polylines with widths of their own, as `stroke` draws one."""
    canvas = Image.new("L", (2 * size, 2 * size))
    pen = ImageDraw.Draw(canvas)
    for points, width in lines:
        scaled = [(px * 2 * size, py * 2 * size) for px, py in points]
        pen.line(scaled, fill=255, width=max(1, round(width * 2 * size)), joint="curve")
    return np.asarray(canvas.reduce(2), dtype=np.float32) / 255.0


def vessels(chest: Chest, rng: np.random.Generator, size: int, upper: float = 1.0) -> Field:
    """Lung vessels branching from the hila; `upper` widens those of the upper zones (cephalisation)."""
    lines = []
    for side in (RIGHT, LEFT):
        hx, hy = chest.hilum(side)
        for angle in np.linspace(-1.25, 1.35, 11) + rng.uniform(-0.1, 0.1, 11):
            length = rng.uniform(0.16, 0.30)
            bend = rng.uniform(-0.3, 0.3)
            width = 0.012 * (upper if angle < -0.2 else 1.0)
            middle = (hx + side * 0.5 * length * np.cos(angle), hy + 0.5 * length * np.sin(angle))
            tip = (hx + side * length * np.cos(angle + bend), hy + length * np.sin(angle + bend))
            lines += [([(hx, hy), middle], width), ([middle, tip], width * 0.55)]
            twig = angle + rng.choice([-0.6, 0.6])
            lines.append(
                ([middle, (middle[0] + side * 0.1 * np.cos(twig), middle[1] + 0.1 * np.sin(twig))], width * 0.45)
            )
    return strokes(lines, size)


def changed(chest: Chest, **lengths: float) -> Chest:
    """The same patient with other lengths: heart size, mediastinum, a raised diaphragm."""
    return replace(chest, **lengths)
