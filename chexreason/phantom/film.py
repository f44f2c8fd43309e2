"""A film in the making, and what a sign on it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chexreason.phantom.anatomy import LEFT, RIGHT, Chest, Field
from chexreason.phantom.lines import Line

SIDE_NAMES = {RIGHT: "right", LEFT: "left"}
SEVERITIES = ("mild", "moderate", "severe")
ZONES = {"upper": 0.27, "mid": 0.44, "lower": 0.60}  # y of a lung zone's middle

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Sign:
    """Where a finding is to be seen; `side` is the patient's, `box` is (x0, y0, x1, y1) in shares of the film."""

    finding: str
    side: str  # left | right | bilateral | midline
    zone: str
    severity: str  # mild | moderate | severe
    kind: str
    box: Box


@dataclass
class Film:
    """Density so far, and the parts of the normal chest that signs move, thicken or take away."""

    density: Field
    chest: Chest
    lungs: dict[int, Field]
    ribs: Field
    vessels: Field
    tree: list[Line]

    @property
    def size(self) -> int:
        return len(self.density)

    @property
    def both(self) -> Field:
        return self.lungs[RIGHT] + self.lungs[LEFT]

    def fill(self, where: Field, density: float) -> None:
        """Replace what is there, up to a density: air by fluid, say. Bones still show."""
        self.density = self.density + where * np.maximum(density + self.ribs - self.density, 0.0)

    def place(self, side: int, depth: float, y: float) -> tuple[float, float]:
        """A point in one lung; `depth` 0 is the mediastinum, 1 the chest wall."""
        inner, outer = float(self.chest.inner(y)) + 0.02, float(self.chest.wall(y))
        return self.chest.centre + side * (inner + depth * (outer - inner)), y


def grade(rng: np.random.Generator) -> tuple[str, float]:
    """A severity, and how far along 0 to 1 it lies."""
    index = int(rng.choice(3, p=[0.3, 0.4, 0.3]))
    return SEVERITIES[index], (index + float(rng.random())) / 3


def either(rng: np.random.Generator) -> int:
    """One side."""
    return RIGHT if rng.random() < 0.5 else LEFT


def around(x: float, y: float, rx: float, ry: float) -> Box:
    """A box, cut to the film."""
    x0, y0, x1, y1 = (round(min(max(float(corner), 0.0), 1.0), 3) for corner in (x - rx, y - ry, x + rx, y + ry))
    return x0, y0, x1, y1
