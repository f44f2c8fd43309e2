"""The bones of one drawn patient: ribs, spine, collar bones, shoulder blades."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from chexreason.phantom.anatomy import SIDES, Chest, Field, edge, grid
from chexreason.phantom.lines import Points, curve

RIB = 0.17  # half a rib's height, as a share of the distance between ribs


def rib_height(chest: Chest, index: float, across: Field | float) -> Field:
    """The y of a posterior rib's middle at a distance from the midline."""
    reach = np.asarray(across, dtype=np.float32)
    return 0.06 + chest.rib_spacing * (index + chest.rib_phase) + chest.rib_slope * reach**1.7


def ribs(chest: Chest, size: int) -> Field:
    """Density of the posterior ribs, and of the fainter anterior ones that run the other way."""
    x, y = grid(size)
    field = np.zeros((size, size), dtype=np.float32)
    rows = slice(int(chest.apex * size), int(0.92 * size))  # the cage, with what is soft about its border
    columns = slice(*(int((chest.centre + side * (chest.half_width + 0.03)) * size) for side in SIDES))
    x, y = x[:, columns], y[rows]
    across = np.abs(x - chest.centre)
    cage = edge(chest.wall(y) + 0.012 - across, 0.006) * edge(0.88 - y, 0.03)
    back = _nearest((y - rib_height(chest, 0.0, across)) / chest.rib_spacing)
    front = _nearest((y + 0.62 * across - 0.05) / (1.3 * chest.rib_spacing))
    posterior = edge(RIB - back, 0.05) * (0.7 + edge(back - 0.10, 0.05)) * edge(across - 0.035, 0.01)  # a denser rim
    anterior = edge(0.15 - front, 0.08) * edge(across - 0.13, 0.04)
    field[rows, columns] = (0.13 * posterior + 0.07 * anterior) * cage
    return field


def _nearest(position: Field) -> Field:
    return np.abs(position - np.rint(position))


def clavicle(chest: Chest, side: int) -> Points:
    """A collar bone's course from the sternum to the shoulder."""
    reach = np.array([0.045, 0.13, 0.22, 0.34])
    height = chest.apex + np.array([0.105, 0.085, 0.045, 0.035])
    xs = chest.centre + chest.turn + side * reach
    return curve([(float(x), float(y)) for x, y in zip(xs, height, strict=True)])


def spine(chest: Chest, size: int) -> Field:
    """Density of the vertebrae: bodies with gaps between them."""
    x, y = grid(size)
    column = edge(0.030 - np.abs(x - chest.centre), 0.008)
    return column * (0.20 + 0.05 * np.sin(y * (2 * np.pi / 0.058) + 6 * chest.rib_phase, dtype=np.float32))


def shoulders(chest: Chest, view: str, size: int) -> Field:
    """Density of collar bones, shoulder blades and upper arms; only a standing patient turns the blades out."""
    canvas = Image.new("L", (2 * size, 2 * size))
    pen = ImageDraw.Draw(canvas)

    def scaled(points: Points) -> list[tuple[float, float]]:
        return [(x * 2 * size, y * 2 * size) for x, y in points]

    lateral = 0.0 if view == "AP" else 0.075
    for side in SIDES:
        middle = chest.centre + side * (chest.half_width + lateral - 0.02)
        blade = [(-0.055, 0.17), (0.055, 0.16), (0.05, 0.26), (-0.01, 0.47), (-0.04, 0.42)]
        pen.polygon(scaled([(middle + side * dx, dy) for dx, dy in blade]), fill=95)
        head = chest.centre + side * (chest.half_width + 0.085)
        pen.ellipse(scaled([(head - 0.05, 0.17), (head + 0.05, 0.27)]), fill=150)
        course = scaled(clavicle(chest, side))
        pen.line(course, fill=255, width=round(0.030 * 2 * size), joint="curve")
        pen.line(course, fill=170, width=round(0.014 * 2 * size), joint="curve")  # the marrow
    return 0.27 / 255.0 * np.asarray(canvas.reduce(2), dtype=np.float32)
