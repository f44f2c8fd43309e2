"""A normal chest as geometry: lungs, heart, mediastinum, diaphragm and soft tissue of one drawn patient.

Coordinates run from 0 to 1 over the film, x to the right and y down. The film is seen as a radiologist sees it: the
patient's left is on the right, so `side` is +1 for the patient's left and -1 for the right. Tissue is drawn as density,
the exponent of Beer and Lambert's law: what lies behind one another adds up, and a film shows 1 - exp(-density).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.floating[Any]]  # float32: these fields are most of the cost of a film
RIGHT, LEFT = -1, +1
SIDES = (RIGHT, LEFT)
AIR, LUNG, SOFT, FLUID, HEART, ABDOMEN = 0.03, 0.20, 0.55, 1.15, 1.15, 1.25


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
    breast: float  # density of the breasts' shadows, 0 for none
    turn: float  # how far the front of the chest is turned off the midline

    def dome(self, side: int) -> float:
        """The y of one diaphragm's top."""
        return self.domes[0 if side == RIGHT else 1]

    def wall(self, y: Field | float) -> Field:
        """Half-width of the lungs at height y: a rounded top, widest above the diaphragm."""
        t = np.clip((np.asarray(y, dtype=np.float32) - self.apex) / 0.56, 0.0, 1.0)
        return self.half_width * np.sqrt(1.0 - (1.0 - t) ** 2.3)

    def inner(self, y: Field | float) -> Field:
        """Half-width of what lies between the lungs, wider towards the neck, so that the lungs' tops are round."""
        t = np.clip((self.apex + 0.11 - np.asarray(y, dtype=np.float32)) / 0.11, 0.0, 1.0)
        return self.mediastinum + 0.06 * t * t

    def floor(self, x: Field | float, side: int) -> Field:
        """The y of the diaphragm at x, deeper towards the chest wall than towards the heart."""
        middle = self.half_width * 0.48
        reach = ((np.asarray(x, dtype=np.float32) - self.centre) * side - middle) / middle
        return self.dome(side) + self.arch * np.where(reach > 0, np.float32(1.0), np.float32(0.35)) * reach**2

    def angle(self, side: int) -> float:
        """The y of the costophrenic angle."""
        return float(self.floor(self.centre + side * self.half_width, side))

    def heart(self) -> tuple[float, float, float, float]:
        """Centre x, centre y, radius x, radius y; two thirds lie on the patient's left."""
        radius = self.cardiothoracic * self.half_width
        return self.centre + 0.30 * radius, self.heart_y, radius, 0.125 + 0.22 * (self.cardiothoracic - 0.42)

    def hilum(self, side: int) -> tuple[float, float]:
        """Where the vessels of one lung begin; the left one lies higher."""
        return self.centre + side * (self.mediastinum + 0.025), 0.445 - 0.01 * side


def draw_chest(rng: np.random.Generator, view: str) -> Chest:
    """A normal patient. Antero-posterior films magnify the heart and are taken lying: the diaphragm is higher."""
    ap = view == "AP"
    right = rng.uniform(0.71, 0.78) - 0.04 * ap
    return Chest(
        centre=0.5 + rng.uniform(-0.02, 0.02),
        apex=rng.uniform(0.09, 0.14),
        half_width=rng.uniform(0.345, 0.40),
        domes=(right, right + rng.uniform(0.008, 0.03)),
        arch=rng.uniform(0.08, 0.12),
        mediastinum=rng.uniform(0.052, 0.066) + 0.006 * ap,
        cardiothoracic=rng.uniform(0.39, 0.46) + 0.02 * ap,
        heart_y=right - rng.uniform(0.095, 0.12),
        rib_spacing=rng.uniform(0.068, 0.080),
        rib_slope=rng.uniform(0.40, 0.62),
        rib_phase=rng.uniform(0.0, 1.0),
        habitus=rng.uniform(0.0, 1.0),
        breast=rng.uniform(0.05, 0.20) * (rng.random() < 0.45),
        turn=rng.uniform(-0.012, 0.012),
    )


@lru_cache(maxsize=4)
def grid(size: int) -> tuple[Field, Field]:
    """x as a row and y as a column of pixel centres."""
    ticks = ((np.arange(size) + 0.5) / size).astype(np.float32)
    return ticks[None, :], ticks[:, None]


def edge(distance: Field, softness: float) -> Field:
    """0 to 1 as a signed distance passes from -softness to +softness."""
    t = distance * np.float32(0.5 / softness)
    t += np.float32(0.5)
    t.clip(0.0, 1.0, out=t)
    smooth = t * np.float32(-2.0)
    smooth += np.float32(3.0)
    smooth *= t
    smooth *= t
    return smooth


def ellipse(x: float, y: float, rx: float, ry: float, softness: float, size: int) -> Field:
    """An ellipse whose border is `softness` of its radius wide."""
    gx, gy = grid(size)
    reach = 1.0 + softness
    columns = slice(max(0, int((x - reach * rx) * size)), max(0, int((x + reach * rx) * size) + 1))
    rows = slice(max(0, int((y - reach * ry) * size)), max(0, int((y + reach * ry) * size) + 1))
    field = np.zeros((size, size), dtype=np.float32)
    field[rows, columns] = edge(1.0 - np.sqrt(((gx[:, columns] - x) / rx) ** 2 + ((gy[rows] - y) / ry) ** 2), softness)
    return field


def clouds(rng: np.random.Generator, cells: int, size: int) -> Field:
    """Smooth random unevenness, about -1 to 1, `cells` patches across."""
    coarse = rng.uniform(-1.0, 1.0, (cells, cells)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def heart_mask(chest: Chest, size: int) -> Field:
    """The cardiac silhouette; its apex points down and to the patient's left."""
    x, y = grid(size)
    cx, cy, rx, ry = chest.heart()
    radius = np.sqrt(((x - cx) / rx) ** 2 + ((y - cy - 0.33 * (x - cx)) / ry) ** 2)
    return edge((1.0 - radius) * 0.12, 0.010)


def lung_masks(chest: Chest, heart: Field) -> dict[int, Field]:
    """How much each pixel belongs to each lung, the heart left out."""
    x, y = grid(len(heart))
    wall, inner, free = chest.wall(y), chest.inner(y), 1.0 - heart
    masks = {side: np.zeros_like(heart) for side in SIDES}
    for side in SIDES:
        half = _half(chest, side, len(heart))
        inside = (x[:, half] - chest.centre) * side
        above = edge(chest.floor(x[:, half], side) - y, 0.007)
        masks[side][:, half] = edge(wall - inside, 0.006) * edge(inside - inner, 0.012) * above * free[:, half]
    return masks


def _half(chest: Chest, side: int, size: int) -> slice:
    """The columns on one side of the midline, where all that belongs to one lung lies."""
    middle = int(np.searchsorted(grid(size)[0][0], chest.centre))
    return slice(middle) if side == RIGHT else slice(middle, None)


def soft_tissue(chest: Chest, heart: Field, lungs: dict[int, Field]) -> Field:
    """Density of all that is not bone and not vessel."""
    size = len(heart)
    x, y = grid(size)
    across = np.abs(x - chest.centre)
    body = _outline(chest, across, y)
    flesh = SOFT + 0.25 * chest.habitus
    film = AIR + (flesh - AIR) * body
    for side in SIDES:
        half = _half(chest, side, size)
        inside = (x[:, half] - chest.centre) * side
        below = edge(y - chest.floor(x[:, half], side), 0.008) * edge(chest.half_width + 0.01 - inside, 0.01)
        film[:, half] += below * (ABDOMEN - flesh)
        aerated = LUNG + 0.12 * chest.habitus + 2.0 * side * chest.turn
        film[:, half] += lungs[side][:, half] * (aerated - flesh)
        if chest.breast:
            film[:, half] += chest.breast * ellipse(chest.centre + side * 0.21, 0.60, 0.17, 0.14, 0.2, size)[:, half]
    trunk = edge(chest.mediastinum * (0.65 + 0.35 * edge(y - 0.16, 0.07)) - across, 0.014) * edge(y - 0.07, 0.05)
    film = np.maximum(film, HEART * np.maximum(heart, 0.93 * trunk))
    film = np.maximum(
        film, 1.0 * ellipse(chest.centre + 0.7 * chest.mediastinum, 0.32, 0.042, 0.045, 0.35, size)
    )  # aortic knob
    for side in SIDES:
        half = _half(chest, side, size)
        film[:, half] += 0.32 * ellipse(*chest.hilum(side), 0.045, 0.075, 0.6, size)[:, half] * lungs[side][:, half]
    bubble = ellipse(chest.centre + 0.18, chest.dome(LEFT) + 0.055, 0.075, 0.035, 0.3, size)
    film = film - 0.65 * bubble * edge(y - chest.floor(x, LEFT) - 0.015, 0.01)
    trachea = edge(0.017 - np.abs(x - chest.centre - 0.5 * chest.turn + 0.004), 0.006) * edge(0.37 - y, 0.02)
    return film - 0.38 * trachea * edge(y - 0.02, 0.02)


def _outline(chest: Chest, across: Field, y: Field) -> Field:
    """Neck, shoulders and flanks; the arms leave the film at its sides."""
    top = np.interp(across, [0.0, 0.085, 0.12, 0.22, 0.36, 0.44, 0.54], [-0.2, -0.05, 0.03, 0.085, 0.12, 0.17, 0.29])
    flank = chest.half_width + 0.035 + 0.05 * chest.habitus
    side = np.interp(y, [0.28, 0.38, 0.60, 1.0], [0.62, flank + 0.045, flank, flank + 0.03])
    return edge(y - top.astype(np.float32), 0.012) * edge(side.astype(np.float32) - across, 0.010)
