"""Thin things: smooth curves drawn with a width, and the branching vessels of the lungs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from chexreason.phantom.anatomy import SIDES, Chest, Field

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """A course over the film, its width as a share of the film, and its strength from 0 to 1."""

    points: Points
    width: float
    strength: float = 1.0


def strokes(lines: Iterable[Line], size: int) -> Field:
    """Lines drawn at twice the size and averaged, so that their edges are smooth; 0 to 1, shape (size, size)."""
    scale = 2 * size
    canvas = Image.new("L", (scale, scale))
    pen = ImageDraw.Draw(canvas)
    for line in lines:
        course = [(x * scale, y * scale) for x, y in line.points]
        pen.line(course, fill=round(255 * line.strength), width=max(1, round(line.width * scale)), joint="curve")
    return np.asarray(canvas.reduce(2), dtype=np.float32) / np.float32(255.0)


def curve(points: Points) -> Points:
    """The same course with its corners rounded (Chaikin 1974), its ends kept."""
    course = np.asarray(points, dtype=float)
    for _ in range(3):
        before, after = course[:-1], course[1:]
        cut = np.stack([0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after], axis=1).reshape(-1, 2)
        course = np.concatenate([course[:1], cut, course[-1:]])
    return [(float(x), float(y)) for x, y in course]


def branches(
    start: tuple[float, float],
    angles: Sequence[float] | np.ndarray,
    side: int,
    length: float,
    width: float,
    generations: int,
    rng: np.random.Generator,
) -> list[Line]:
    """Trees that fork in two at each generation; an angle of 0 points to the chest wall, one above 0 downwards."""
    heading = np.asarray(angles, dtype=float)
    begin = np.tile(np.asarray(start, dtype=float), (len(heading), 1))
    lines = []
    for generation in range(generations):
        reach = length * 0.72**generation * rng.uniform(0.75, 1.25, len(heading))
        bent = heading + rng.uniform(-0.3, 0.3, len(heading))
        middle = begin + 0.5 * reach[:, None] * np.stack([side * np.cos(heading), np.sin(heading)], axis=1)
        end = middle + 0.5 * reach[:, None] * np.stack([side * np.cos(bent), np.sin(bent)], axis=1)
        thick, strength = width * 0.66**generation, 0.86**generation
        courses = np.stack([begin, middle, end], axis=1).tolist()
        lines += [Line([tuple(point) for point in course], thick, strength) for course in courses]
        fork = np.repeat(bent, 2)
        heading = fork + rng.uniform(0.2, 0.55, len(fork)) * np.tile([-1.0, 1.0], len(bent))
        begin = np.repeat(end, 2, axis=0)
    return lines


def vessels(chest: Chest, rng: np.random.Generator) -> list[Line]:
    """Both lungs' vessels, branching from the hila."""
    lines = []
    for side in SIDES:
        angles = np.linspace(-1.3, 1.35, 7) + rng.uniform(-0.15, 0.15, 7)
        lines += branches(chest.hilum(side), angles, side, 0.105, 0.0125, 4, rng)
    return lines
