"""How each phantom site images the same anatomy: exposure, tone curve, sharpness, noise, border, marker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Range = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """A site's look. Shares are of 1; `blur` is a radius in pixels at 256, `noise` a deviation of brightness."""

    name: str
    ap_share: float  # films taken antero-posterior, mostly at the bedside
    gamma: Range  # tone curve, drawn per film: above 1 darkens
    contrast: Range
    brightness: Range
    noise: float
    blur: float
    sharpen: float  # edge enhancement of the digital detector
    border: float  # share of films with a dark collimation border
    marker: str  # letters burned in
    marker_x: Range  # where
    vignette: float  # how much darker the corners are
    zoom: Range
    aspect: float  # width over height, where films are squeezed into a square


# Each site's look, a column for each; that of pre-training belongs to no site and ranges wider than any of them.
# fmt: off
_LOOKS: dict[str, tuple[Any, ...]] = {
    "name":       ("mimic",       "chexpert",   "nih",        "padchest",    "vindr",       "openi",      "pretraining"),
    "ap_share":   (0.6,           0.85,         0.4,          0.25,          0.0,           0.15,         0.5),
    "gamma":      ((0.90, 1.15),  (0.72, 0.92), (1.15, 1.5),  (0.85, 1.1),   (1.0, 1.3),    (0.80, 1.05), (0.70, 1.4)),
    "contrast":   ((1.05, 1.2),   (0.90, 1.05), (1.15, 1.4),  (1.0, 1.15),   (1.1, 1.25),   (0.95, 1.1),  (0.90, 1.3)),
    "brightness": ((-0.03, 0.03), (0.0, 0.06),  (-0.06, 0.0), (-0.02, 0.04), (-0.04, 0.02), (0.0, 0.08),  (-0.05, 0.05)),
    "noise":      (0.014,         0.010,        0.016,        0.008,         0.012,         0.012,        0.018),
    "blur":       (0.0,           0.6,          0.0,          0.0,           0.0,           0.4,          0.3),
    "sharpen":    (0.4,           0.0,          0.8,          0.6,           0.2,           0.0,          0.2),
    "border":     (0.5,           0.2,          0.8,          0.1,           0.3,           0.6,          0.4),
    "marker":     ("L",           "PORTABLE",   "R",          "D",           "R",           "L",          "X"),
    "marker_x":   ((0.86, 0.93),  (0.02, 0.06), (0.03, 0.10), (0.03, 0.10),  (0.04, 0.12),  (0.84, 0.92), (0.80, 0.93)),
    "vignette":   (0.10,          0.0,          0.2,          0.05,          0.0,           0.15,         0.1),
    "zoom":       ((0.94, 1.02),  (0.98, 1.06), (0.90, 0.98), (0.90, 1.0),   (0.96, 1.04),  (0.92, 1.0),  (0.92, 1.05)),
    "aspect":     (1.0,           1.04,         0.97,         1.02,          0.96,          1.0,          1.0),
}
# fmt: on
MIMIC, CHEXPERT, NIH, PADCHEST, VINDR, OPENI, PRETRAINING = (
    Style(**dict(zip(_LOOKS, look, strict=True))) for look in zip(*_LOOKS.values(), strict=True)
)
