"""The radiographic sign of each finding in lungs, pleura and bones: graded, placed and sized, never a fixed stamp.

Each function draws one finding on a film and returns the signs that it left. What a sign looks like follows the
Fleischner Society's glossary (Hansell et al. 2008, doi:10.1148/radiol.2462070712); what it stands for is CheXpert's
finding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from chexreason.phantom.anatomy import FLUID, LEFT, LUNG, RIGHT, SIDES, Field, clouds, edge, ellipse, grid
from chexreason.phantom.devices import support_devices
from chexreason.phantom.film import SIDE_NAMES, ZONES, Film, Sign, around, either, grade
from chexreason.phantom.lines import Line, branches, strokes
from chexreason.phantom.skeleton import clavicle, rib_height

Rng = np.random.Generator


def lung_opacity(film: Film, rng: Rng) -> list[Sign]:
    """A haze without a border, through which vessels still show."""
    severity, g = grade(rng)
    side, zone = either(rng), str(rng.choice(list(ZONES)))
    x, y = film.place(side, rng.uniform(0.35, 0.65), ZONES[zone] + rng.uniform(-0.05, 0.05))
    rx, ry = 0.10 + 0.06 * g, 0.11 + 0.08 * g
    haze = ellipse(x, y, rx, ry, 0.6, film.size) * (1.0 + 0.35 * clouds(rng, 14, film.size))
    film.density = film.density + (0.26 + 0.34 * g) * haze * film.lungs[side]
    return [Sign("Lung Opacity", SIDE_NAMES[side], zone, severity, "hazy ill-defined opacity", around(x, y, rx, ry))]


def lung_lesion(film: Film, rng: Rng) -> list[Sign]:
    """A round, well-defined nodule or, above 3 cm (a tenth of the film here), a mass."""
    severity, g = grade(rng)
    side, zone = either(rng), str(rng.choice(list(ZONES)))
    x, y = film.place(side, rng.uniform(0.25, 0.85), ZONES[zone] + rng.uniform(-0.05, 0.05))
    radius = 0.032 + 0.045 * g
    ball = ellipse(x, y, radius, radius * rng.uniform(0.85, 1.15), 0.22, film.size)
    film.density = film.density + (0.55 + 0.25 * g) * ball
    kind = "round nodule" if radius < 0.05 else "round mass"
    return [Sign("Lung Lesion", SIDE_NAMES[side], zone, severity, kind, around(x, y, radius, radius))]


def edema(film: Film, rng: Rng) -> list[Sign]:
    """Haze around both hila, septal (Kerley B) lines at the bases, widened vessels of the upper zones."""
    severity, g = grade(rng)
    hilum = film.chest.hilum(RIGHT)[1]
    upper = [replace(line, width=line.width * 1.5) for line in film.tree if line.points[-1][1] < min(hilum, line.points[0][1])]
    lines = []
    for side in SIDES:
        x, y = film.chest.hilum(side)
        wing = ellipse(x + side * 0.05, y + 0.05, 0.17 + 0.06 * g, 0.24 + 0.06 * g, 0.75, film.size)
        wing = wing * (1.0 + 0.25 * clouds(rng, 20, film.size))
        film.density = film.density + (0.22 + 0.40 * g) * wing * film.lungs[side]
        for step in range(5 + round(3 * g)):
            height = film.chest.dome(side) - 0.01 - 0.024 * step
            wall = film.chest.centre + side * float(film.chest.wall(height))
            tip = (wall - side * rng.uniform(0.04, 0.06), height + rng.uniform(-0.006, 0.006))
            lines.append(Line([(wall, height), tip], 0.0055))
    film.density = film.density + (0.30 + 0.25 * g) * strokes(lines, film.size) * film.both
    film.density = film.density + (0.07 + 0.12 * g) * strokes(upper, film.size) * film.both
    box = around(film.chest.centre, 0.49, 0.30, 0.26)
    return [Sign("Edema", "bilateral", "hilum", severity, "perihilar haze with septal lines", box)]


def consolidation(film: Film, rng: Rng) -> list[Sign]:
    """A lobe or part of one filled, sharp at its fissure, with air-filled bronchi (air bronchograms) in it."""
    severity, g = grade(rng)
    side, chest = either(rng), film.chest
    zone = str(rng.choice(["upper", "mid", "lower"]))
    gx, gy = grid(film.size)
    inside = (gx - chest.centre) * side
    extent = 0.13 + 0.10 * g
    region: Field
    if zone == "upper":
        fissure = 0.43 + rng.uniform(-0.03, 0.03)
        region = edge(fissure + 0.10 * (inside - 0.2) - gy, 0.006) * edge(gy - fissure + extent, 0.05)
        x, y, start = 0.20, fissure - extent / 2, 0.10
    elif zone == "mid":  # middle lobe and lingula: a wedge against the heart, whose border it hides
        fissure = 0.52 + rng.uniform(-0.02, 0.03)
        width = 0.20 + 0.10 * g
        region = edge(gy - fissure - 0.25 * inside, 0.006) * edge(fissure + extent - gy, 0.05)
        region = region * edge(width - inside, 0.03)
        x, y, start = 0.16, fissure + 0.04 + extent / 2, 0.12
    else:  # the basal segments; the costophrenic angle stays clear
        middle = chest.dome(side) - 0.04
        x = 0.17 if side == RIGHT else 0.22  # the heart hides more on the left
        region = ellipse(chest.centre + side * x, middle, 0.13 + 0.05 * g, extent, 0.3, film.size)
        y, start = chest.dome(side) - 0.06, x - 0.09
    dense = region * film.lungs[side] * (1.0 + 0.15 * clouds(rng, 16, film.size))
    film.density = film.density + (0.65 + 0.35 * g) * dense
    airways = branches((chest.centre + side * start, y - 0.03), [0.0, 0.5], side, 0.09, 0.011, 2, rng)
    film.density = film.density - 0.42 * strokes(airways, film.size) * dense
    box = around(chest.centre + side * x, y, 0.13, extent / 2 + 0.02)
    kind = "dense lobar opacity with air bronchograms"
    return [Sign("Consolidation", SIDE_NAMES[side], zone, severity, kind, box)]


def pneumonia(film: Film, rng: Rng) -> list[Sign]:
    """Fluffy patches that run together in one segment."""
    severity, g = grade(rng)
    side, zone = either(rng), str(rng.choice(["mid", "lower"]))
    x, y = film.place(side, rng.uniform(0.4, 0.7), ZONES[zone] + rng.uniform(-0.03, 0.03))
    clear = np.ones_like(film.density)
    for _ in range(6 + round(4 * g)):
        dx, dy = rng.normal(0.0, 0.05, 2)
        radius = rng.uniform(0.022, 0.045)
        clear = clear * (1.0 - 0.65 * ellipse(x + dx, y + dy, radius, radius, 0.9, film.size))
    film.density = film.density + (0.55 + 0.45 * g) * (1.0 - clear) * film.lungs[side]
    kind = "patchy segmental opacities"
    return [Sign("Pneumonia", SIDE_NAMES[side], zone, severity, kind, around(x, y, 0.11, 0.11))]


def atelectasis(film: Film, rng: Rng) -> list[Sign]:
    """Plates of collapsed lung above a diaphragm that was drawn up (`drawing.shaped` raises it)."""
    severity, g = grade(rng)
    gaps = {side: film.chest.angle(side) for side in SIDES}
    side = RIGHT if gaps[RIGHT] < gaps[LEFT] - 0.012 else LEFT
    gx, gy = grid(film.size)
    inside = (gx - film.chest.centre) * side
    low = film.chest.dome(side) - 0.05
    for number in range(1 + round(1.4 * g)):
        height = low - 0.06 * number - rng.uniform(0.0, 0.02)
        begin, length = rng.uniform(0.10, 0.15), 0.15 + 0.08 * g
        middle = height + rng.uniform(-0.15, 0.25) * (inside - begin) + rng.uniform(0.2, 0.9) * (inside - 0.2) ** 2
        thick = 0.009 + 0.007 * g
        plate = edge(thick - np.abs(gy - middle), 0.006) * edge(inside - begin, 0.02) * edge(begin + length - inside, 0.03)
        film.density = film.density + (0.45 + 0.30 * g) * plate * film.lungs[side]
    crowded = ellipse(film.chest.centre + side * 0.17, low + 0.02, 0.16, 0.07, 0.8, film.size)
    film.density = film.density + (0.12 + 0.15 * g) * crowded * film.lungs[side]
    box = around(film.chest.centre + side * 0.20, low - 0.03, 0.13, 0.09)
    return [Sign("Atelectasis", SIDE_NAMES[side], "base", severity, "plate-like band", box)]


def pneumothorax(film: Film, rng: Rng) -> list[Sign]:
    """The lung's edge seen as a line; outside it no vessel, and less density than lung. Ribs remain."""
    severity, g = grade(rng)
    side, chest = either(rng), film.chest
    gx, gy = grid(film.size)
    inside = (gx - chest.centre) * side
    end = 0.40 + 0.35 * g
    t = np.clip((gy - chest.apex) / (end - chest.apex), 0.0, 1.0)
    depth = (0.055 + 0.10 * g) * (1.0 - t**3)
    pleura = chest.wall(np.maximum(gy - 0.05 - 0.06 * g * (1.0 - t), chest.apex)) - depth
    air = edge(inside - pleura, 0.004) * film.lungs[side] * (t < 1.0)
    film.density = film.density - air * (film.vessels + 0.75 * LUNG)
    line = edge(0.0045 - np.abs(inside - pleura + 0.004), 0.004) * film.lungs[side] * edge(end - gy, 0.02)
    film.density = film.density + 0.32 * line + 0.10 * g * film.lungs[side] * (1.0 - air)
    x = chest.centre + side * (chest.half_width - 0.09)
    box = around(x, (chest.apex + end) / 2, 0.11, (end - chest.apex) / 2)
    kind = "visceral pleural line without markings beyond it"
    return [Sign("Pneumothorax", SIDE_NAMES[side], "apex", severity, kind, box)]


def pleural_effusion(film: Film, rng: Rng) -> list[Sign]:
    """Fluid that fills the costophrenic angle and climbs the chest wall (meniscus); large ones hide the diaphragm."""
    severity, g = grade(rng)
    chest = film.chest
    both = rng.random() < 0.3
    gx, gy = grid(film.size)
    signs = []
    for side in SIDES if both else (either(rng),):
        inside = (gx - chest.centre) * side
        reach = np.clip(inside / chest.half_width, 0.0, 1.05)
        height = 0.075 + 0.27 * g
        medial = 0.20 + 0.40 * g
        surface = chest.angle(side) - height * (medial + (1.0 - medial) * reach**4)
        fluid = edge(gy - surface, 0.010) * edge(inside - 0.03, 0.02) * edge(chest.wall(gy) - inside, 0.006)
        film.fill(fluid * (gy < chest.angle(side) + 0.02), FLUID)
        film.density = film.density + 0.10 * edge(gy - surface + 0.03, 0.04) * film.lungs[side]  # lung pressed above it
        box = around(chest.centre + side * 0.22, chest.angle(side) - height / 2, 0.17, height / 2 + 0.02)
        name = "bilateral" if both else SIDE_NAMES[side]
        signs.append(Sign("Pleural Effusion", name, "base", severity, "meniscus blunting the angle", box))
    return signs


def pleural_other(film: Film, rng: Rng) -> list[Sign]:
    """Thickened pleura: a lobulated band along the wall, partly calcified, or a cap over the apex."""
    severity, g = grade(rng)
    side, chest = either(rng), film.chest
    gx, gy = grid(film.size)
    inside = (gx - chest.centre) * side
    if rng.random() < 0.35:
        depth = 0.045 + 0.045 * g
        cap = chest.wall(np.maximum(gy - depth, chest.apex)) - 0.35 * depth + 0.008 * np.sin(60 * gx + rng.uniform(0, 6))
        film.fill(edge(inside - cap, 0.006) * film.lungs[side] * edge(chest.apex + 0.16 - gy, 0.03), 0.95)
        box = around(chest.centre + side * 0.18, chest.apex + 0.06, 0.12, 0.07)
        return [Sign("Pleural Other", SIDE_NAMES[side], "apex", severity, "apical pleural cap", box)]
    start, length = rng.uniform(0.28, 0.42), 0.18 + 0.14 * g
    t = np.clip((gy - start) / length, 0.0, 1.0)
    lumps = 1.0 + 0.35 * np.sin(45 * gy + rng.uniform(0, 6))
    thick = (0.024 + 0.026 * g) * np.sqrt(np.maximum(np.sin(np.pi * t), 0.0)) * lumps
    band = edge(inside - chest.wall(gy) + thick, 0.005) * film.lungs[side] * ((t > 0.0) & (t < 1.0))
    film.fill(band, 0.95)
    film.density = film.density + 0.5 * band * (clouds(rng, 40, film.size) > 0.35)  # flecks of calcium
    box = around(chest.centre + side * (chest.half_width - 0.03), start + length / 2, 0.05, length / 2)
    kind = "lateral pleural thickening"
    return [Sign("Pleural Other", SIDE_NAMES[side], "pleura", severity, kind, box)]


def fracture(film: Film, rng: Rng) -> list[Sign]:
    """Neighbouring ribs broken on one line, outer ends displaced, callus at the break; or a stepped collar bone."""
    severity, g = grade(rng)
    side = either(rng)
    if rng.random() < 0.25:
        return [_broken_clavicle(film, side, severity, g)]
    chest = film.chest
    gx, gy = grid(film.size)
    reach, first, count = rng.uniform(0.20, 0.27), int(rng.integers(3, 6)), 2 + round(2 * g)
    inside = (gx - chest.centre) * side
    across = np.abs(gx - chest.centre)
    rib = (gy - rib_height(chest, first, across)) / chest.rib_spacing
    rows = edge(rib + 0.5, 0.05) * edge(count - 0.5 - rib, 0.05)
    outer = edge(inside - reach, 0.004) * edge(reach + 0.11 - inside, 0.004) * rows
    step = round((0.024 + 0.016 * g) * film.size)
    moved = np.roll(film.ribs, (step, -side * step // 2), (0, 1))
    film.density = film.density + outer * (1.9 * moved - film.ribs)
    callus = np.zeros_like(film.density)
    for index in range(first, first + count):
        x, y = chest.centre + side * (reach - 0.004), float(rib_height(chest, index, reach))
        callus = np.maximum(callus, ellipse(x, y + 0.35 * step / film.size, 0.026, 0.021, 0.5, film.size))
    film.density = film.density + (0.30 + 0.20 * g) * callus
    top, bottom = (float(rib_height(chest, index, reach)) for index in (first, first + count - 1))
    box = around(chest.centre + side * (reach + 0.04), (top + bottom) / 2 + 0.02, 0.09, (bottom - top) / 2 + 0.05)
    return [Sign("Fracture", SIDE_NAMES[side], "rib", severity, "stepped ribs with callus", box)]


def _broken_clavicle(film: Film, side: int, severity: str, g: float) -> Sign:
    course = clavicle(film.chest, side)
    half = len(course) // 2
    x, y = course[half]
    step = 0.030 + 0.025 * g
    outer = strokes([Line(course[half:], 0.034)], film.size)
    film.density = film.density - 0.22 * outer
    fallen = [(px - side * 0.03, py + step) for px, py in course[half:]]
    film.density = film.density + 0.40 * strokes([Line(fallen, 0.026)], film.size)
    return Sign("Fracture", SIDE_NAMES[side], "clavicle", severity, "stepped clavicle", around(x, y + 0.02, 0.11, 0.07))


# Drawn in this order: what lies in the lung first, fluid and air over it, metal over everything.
OVERLAYS: dict[str, Callable[[Film, Rng], list[Sign]]] = {
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
