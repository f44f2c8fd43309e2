"""How each site of the phantom world images the same anatomy: exposure, tone curve, sharpness, noise, border, marker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """A site's look. Shares are of 1; `blur` is a radius in pixels at 256, `noise` a standard deviation of brightness."""

    name: str
    ap_share: float  # films taken antero-posterior, mostly at the bedside
    gamma: tuple[float, float]  # tone curve, drawn per film: above 1 darkens
    contrast: tuple[float, float]
    brightness: tuple[float, float]
    noise: float
    blur: float
    border: float  # share of films with a dark collimation border
    marker: str  # letters burned in beside the patient's left shoulder
    vignette: float  # how much darker the corners are


MIMIC = Style("mimic", 0.6, (0.9, 1.15), (0.95, 1.1), (-0.03, 0.03), 0.020, 0.4, 0.5, "L", 0.10)
CHEXPERT = Style("chexpert", 0.8, (0.75, 0.95), (0.85, 1.0), (0.0, 0.06), 0.012, 0.7, 0.2, "AP", 0.0)
NIH = Style("nih", 0.4, (1.15, 1.5), (1.05, 1.3), (-0.08, 0.0), 0.030, 0.2, 0.8, "R", 0.2)
PRETRAINING = Style("pretraining", 0.5, (0.7, 1.4), (0.85, 1.25), (-0.05, 0.05), 0.020, 0.5, 0.4, "X", 0.1)
