"""Draw one synthetic frontal chest radiograph: a patient, the signs of their findings, a site's way of imaging it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from chexreason.data.phantom import signs as catalogue
from chexreason.data.phantom.anatomy import Chest, Field, changed, draw_chest, grid, lung_masks, render, vessels
from chexreason.data.phantom.signs import OVERLAYS, SEVERITIES, Film, Sign, around
from chexreason.data.phantom.styles import Style


@dataclass(frozen=True)
class Phantom:
    """A drawn film (uint8, size x size) and the signs on it."""

    image: NDArray[np.uint8]
    signs: tuple[Sign, ...]


def draw(findings: Iterable[str], style: Style, seed: int, size: int = 256, view: str = "PA") -> Phantom:
    """The film of a patient with `findings` (CheXpert's names), the same for the same arguments.

    The patient depends on the seed alone, so that films which differ in one finding differ in its sign.
    """
    patient, ill, machine = (np.random.default_rng((seed, stream)) for stream in range(3))
    chest = draw_chest(patient, view)
    present = set(findings)
    chest, signs = _shape(chest, present, ill)
    lungs = lung_masks(chest, size)
    film = Film(render(chest, lungs, view, patient, size), chest, lungs, ill)
    film.lighten(vessels(chest, patient, size) * (lungs[catalogue.RIGHT] + lungs[catalogue.LEFT]), 0.22)
    for finding, overlay in OVERLAYS.items():
        if finding in present:
            signs += overlay(film)
    return Phantom(_expose(film.brightness, style, machine, size), tuple(signs))


def _shape(chest: Chest, present: set[str], rng: np.random.Generator) -> tuple[Chest, list[Sign]]:
    """What changes the patient's outline: a large heart, a wide mediastinum, a raised diaphragm."""
    signs = []
    if "Cardiomegaly" in present:
        grade = int(rng.choice(3, p=[0.3, 0.4, 0.3]))
        chest = changed(chest, cardiothoracic=0.53 + 0.05 * grade + rng.uniform(0.0, 0.04))
        x, y, rx, ry = chest.heart()
        kind = "enlarged cardiac silhouette"
        signs.append(Sign("Cardiomegaly", "midline", "heart", SEVERITIES[grade], kind, around(x, y, rx, ry)))
    if "Enlarged Cardiomediastinum" in present:
        grade = int(rng.choice(3, p=[0.3, 0.4, 0.3]))
        chest = changed(chest, mediastinum=0.092 + 0.016 * grade + rng.uniform(0.0, 0.012))
        box = around(chest.centre, 0.27, chest.mediastinum, 0.14)
        kind = "widened upper mediastinum"
        signs.append(Sign("Enlarged Cardiomediastinum", "midline", "mediastinum", SEVERITIES[grade], kind, box))
    if "Atelectasis" in present:
        raised = rng.uniform(0.01, 0.05)
        right, left = chest.domes
        chest = changed(chest, domes=(right - raised, left) if rng.random() < 0.5 else (right, left - raised))
    return chest, signs


@lru_cache(maxsize=4)
def _grain(size: int) -> Field:
    """Film grain to cut from: drawing it anew for each film would cost more than the film."""
    noise = np.random.default_rng(0).standard_normal((size + 64, size + 64)).astype(np.float32)
    return (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) / np.sqrt(3).astype(np.float32)


def _expose(brightness: Field, style: Style, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """A site's tone curve, noise, sharpness, border and marker."""
    x, y = grid(size)
    film = np.clip(brightness, 0.0, 1.0) ** rng.uniform(*style.gamma)
    film = (film - 0.45) * rng.uniform(*style.contrast) + 0.45 + rng.uniform(*style.brightness)
    film = film * (1.0 - style.vignette * 2.0 * ((x - 0.5) ** 2 + (y - 0.5) ** 2))
    top, left = rng.integers(0, 64, 2)
    film = film + style.noise * _grain(size)[top : top + size, left : left + size]
    picture = Image.fromarray((np.clip(film, 0.0, 1.0) * 255).astype(np.uint8))
    if style.blur:
        picture = picture.filter(ImageFilter.BoxBlur(style.blur * size / 256))
    pen = ImageDraw.Draw(picture)
    if style.marker:
        at = (size * rng.uniform(0.86, 0.93), size * rng.uniform(0.03, 0.1))
        pen.text(at, style.marker, fill=235, font_size=size * 0.05)
    if rng.random() < style.border:
        width = int(size * rng.uniform(0.01, 0.04))
        for inset in range(width):
            pen.rectangle([inset, inset, size - 1 - inset, size - 1 - inset], outline=0)
    return np.asarray(picture)
