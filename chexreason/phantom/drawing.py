"""Draw one synthetic frontal chest radiograph: a patient, the signs of their findings, a site's way of imaging it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from chexreason.labels import FINDINGS
from chexreason.phantom.anatomy import LEFT, RIGHT, Chest, Field, clouds, draw_chest, grid, heart_mask, lung_masks, soft_tissue
from chexreason.phantom.film import Box, Film, Sign, around, grade
from chexreason.phantom.lines import strokes, vessels
from chexreason.phantom.signs import OVERLAYS
from chexreason.phantom.skeleton import ribs, shoulders, spine
from chexreason.phantom.styles import Style

PATIENT, MACHINE, ILLNESS = 0, 1, 2  # streams of random numbers; each finding has one of its own


@dataclass(frozen=True)
class Phantom:
    """A drawn film (uint8, size x size) and the signs on it."""

    image: NDArray[np.uint8]
    signs: tuple[Sign, ...]


def draw(findings: Iterable[str], style: Style, seed: int, size: int = 256, view: str = "PA") -> Phantom:
    """The film of a patient with `findings` (CheXpert's names), the same for the same arguments.

    Patient, machine and each finding have random streams of their own, so that films which differ in one finding
    differ in its sign alone.
    """
    present = set(findings)
    patient, machine = np.random.default_rng((seed, PATIENT)), np.random.default_rng((seed, MACHINE))
    chest, signs = shaped(draw_chest(patient, view), present, seed)
    film = normal(chest, patient, view, size)
    for finding, overlay in OVERLAYS.items():
        if finding in present:
            signs += overlay(film, _stream(finding, seed))
    pose = Pose.draw(style, machine)
    placed = tuple(replace(sign, box=pose.box(sign.box)) for sign in signs)
    return Phantom(_expose(pose.film(film.density), style, machine, size), placed)


def _stream(finding: str, seed: int) -> np.random.Generator:
    return np.random.default_rng((seed, ILLNESS, FINDINGS.index(finding)))


def shaped(chest: Chest, present: set[str], seed: int) -> tuple[Chest, list[Sign]]:
    """The patient's outline as findings change it: a large heart, a wide mediastinum, a raised diaphragm."""
    signs = []
    if "Enlarged Cardiomediastinum" in present:
        rng = _stream("Enlarged Cardiomediastinum", seed)
        severity, g = grade(rng)
        chest = replace(chest, mediastinum=0.088 + 0.052 * g)
        box = around(chest.centre, 0.27, chest.mediastinum + 0.02, 0.15)
        signs.append(Sign("Enlarged Cardiomediastinum", "midline", "mediastinum", severity, "widened upper mediastinum", box))
    if "Cardiomegaly" in present:
        severity, g = grade(_stream("Cardiomegaly", seed))
        chest = replace(chest, cardiothoracic=0.525 + 0.155 * g)
        kind = "enlarged cardiac silhouette"
        signs.append(Sign("Cardiomegaly", "midline", "heart", severity, kind, around(*chest.heart())))
    if "Atelectasis" in present:
        rng = _stream("Atelectasis", seed)
        raised = rng.uniform(0.025, 0.06)
        right, left = chest.domes
        chest = replace(chest, domes=(right - raised, left) if rng.random() < 0.5 else (right, left - raised))
    return chest, signs


def normal(chest: Chest, rng: np.random.Generator, view: str, size: int) -> Film:
    """The patient's chest before any sign is laid over it."""
    heart = heart_mask(chest, size)
    lungs = lung_masks(chest, heart)
    bones, tree = ribs(chest, size), vessels(chest, rng)
    marks = 0.24 * strokes(tree, size) * (lungs[RIGHT] + lungs[LEFT])
    density = soft_tissue(chest, heart, lungs) + bones + spine(chest, size) + shoulders(chest, view, size) + marks
    return Film(density + 0.03 * clouds(rng, 14, size), chest, lungs, bones, marks, tree)


@dataclass(frozen=True)
class Pose:
    """How the patient lies on the film: magnified, shifted and tilted about its middle."""

    wide: float
    high: float
    right: float
    down: float
    tilt: float  # radians

    @classmethod
    def draw(cls, style: Style, rng: np.random.Generator) -> Pose:
        """A pose as a site's technicians leave it."""
        zoom = rng.uniform(*style.zoom)
        shift = rng.uniform(-0.015, 0.015, 2)
        return cls(zoom * style.aspect, zoom, float(shift[0]), float(shift[1]), rng.uniform(-0.04, 0.04))

    def film(self, density: Field) -> Field:
        """The density field seen in this pose; the body goes on beyond its border."""
        size = len(density)
        margin = size // 8
        cos, sin = float(np.cos(self.tilt)), float(np.sin(self.tilt))
        a, b = cos / self.wide, sin / self.wide
        d, e = -sin / self.high, cos / self.high
        x, y = 0.5 + self.right, 0.5 + self.down
        back = (a, b, (0.5 - a * x - b * y) * size + margin, d, e, (0.5 - d * x - e * y) * size + margin)
        field = Image.fromarray(np.pad(density, margin, mode="edge"))
        return np.asarray(field.transform((size, size), Image.Transform.AFFINE, back, Image.Resampling.BILINEAR))

    def box(self, box: Box) -> Box:
        """Where a box of the untransformed film lies: its middle moved, its size magnified."""
        dx, dy = (box[0] + box[2]) / 2 - 0.5, (box[1] + box[3]) / 2 - 0.5
        cos, sin = float(np.cos(self.tilt)), float(np.sin(self.tilt))
        x = 0.5 + self.right + cos * self.wide * dx - sin * self.high * dy
        y = 0.5 + self.down + sin * self.wide * dx + cos * self.high * dy
        return around(x, y, self.wide * (box[2] - box[0]) / 2, self.high * (box[3] - box[1]) / 2)


@lru_cache(maxsize=4)
def _grain(size: int) -> Field:
    """Film grain to cut from: drawing it anew for each film would cost more than the film."""
    noise = np.random.default_rng(0).standard_normal((size + 64, size + 64)).astype(np.float32)
    return (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) / np.sqrt(3).astype(np.float32)


def _expose(density: Field, style: Style, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """A site's tone curve, noise, sharpness, border and marker."""
    x, y = grid(size)
    film = (1.0 - np.exp(-np.maximum(density, 0.0))) ** np.float32(rng.uniform(*style.gamma))
    film = (film - 0.45) * np.float32(rng.uniform(*style.contrast)) + np.float32(0.45 + rng.uniform(*style.brightness))
    film = film * (1.0 - style.vignette * 2.0 * ((x - 0.5) ** 2 + (y - 0.5) ** 2))
    top, left = rng.integers(0, 64, 2)
    film = film + np.float32(style.noise) * _grain(size)[top : top + size, left : left + size]
    picture = Image.fromarray((np.clip(film, 0.0, 1.0) * 255).astype(np.uint8))
    if style.blur:
        picture = picture.filter(ImageFilter.BoxBlur(style.blur * size / 256))
    if style.sharpen:
        picture = picture.filter(ImageFilter.UnsharpMask(2 * size / 256, round(100 * style.sharpen), 0))
    pen = ImageDraw.Draw(picture)
    at = (size * rng.uniform(*style.marker_x), size * rng.uniform(0.03, 0.10))
    pen.text(at, style.marker, fill=235, font_size=size * 0.05)
    pixels = np.array(picture)
    if rng.random() < style.border:  # collimation: the shutters' shadow
        widths = (size * rng.uniform(0.0, 0.045, 4)).astype(int)
        pixels[: widths[0]] = pixels[size - widths[1] :] = 0
        pixels[:, : widths[2]] = pixels[:, size - widths[3] :] = 0
    return pixels
