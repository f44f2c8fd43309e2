"""How each phantom site images the same anatomy: exposure, tone curve, sharpness, noise, border, marker."""

from __future__ import annotations

from dataclasses import dataclass

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


MIMIC = Style(
    "mimic",
    ap_share=0.6,
    gamma=(0.90, 1.15),
    contrast=(1.05, 1.2),
    brightness=(-0.03, 0.03),
    noise=0.014,
    blur=0.0,
    sharpen=0.4,
    border=0.5,
    marker="L",
    marker_x=(0.86, 0.93),
    vignette=0.10,
    zoom=(0.94, 1.02),
    aspect=1.0,
)
CHEXPERT = Style(
    "chexpert",
    ap_share=0.85,
    gamma=(0.72, 0.92),
    contrast=(0.90, 1.05),
    brightness=(0.0, 0.06),
    noise=0.010,
    blur=0.6,
    sharpen=0.0,
    border=0.2,
    marker="PORTABLE",
    marker_x=(0.02, 0.06),
    vignette=0.0,
    zoom=(0.98, 1.06),
    aspect=1.04,
)
NIH = Style(
    "nih",
    ap_share=0.4,
    gamma=(1.15, 1.5),
    contrast=(1.15, 1.4),
    brightness=(-0.06, 0.0),
    noise=0.016,
    blur=0.0,
    sharpen=0.8,
    border=0.8,
    marker="R",
    marker_x=(0.03, 0.10),
    vignette=0.2,
    zoom=(0.90, 0.98),
    aspect=0.97,
)
PADCHEST = Style(
    "padchest",
    ap_share=0.25,
    gamma=(0.85, 1.1),
    contrast=(1.0, 1.15),
    brightness=(-0.02, 0.04),
    noise=0.008,
    blur=0.0,
    sharpen=0.6,
    border=0.1,
    marker="D",
    marker_x=(0.03, 0.10),
    vignette=0.05,
    zoom=(0.90, 1.0),
    aspect=1.02,
)
VINDR = Style(
    "vindr",
    ap_share=0.0,
    gamma=(1.0, 1.3),
    contrast=(1.1, 1.25),
    brightness=(-0.04, 0.02),
    noise=0.012,
    blur=0.0,
    sharpen=0.2,
    border=0.3,
    marker="R",
    marker_x=(0.04, 0.12),
    vignette=0.0,
    zoom=(0.96, 1.04),
    aspect=0.96,
)
OPENI = Style(
    "openi",
    ap_share=0.15,
    gamma=(0.80, 1.05),
    contrast=(0.95, 1.1),
    brightness=(0.0, 0.08),
    noise=0.012,
    blur=0.4,
    sharpen=0.0,
    border=0.6,
    marker="L",
    marker_x=(0.84, 0.92),
    vignette=0.15,
    zoom=(0.92, 1.0),
    aspect=1.0,
)
PRETRAINING = Style(  # of no site: wider than any of them
    "pretraining",
    ap_share=0.5,
    gamma=(0.70, 1.4),
    contrast=(0.90, 1.3),
    brightness=(-0.05, 0.05),
    noise=0.018,
    blur=0.3,
    sharpen=0.2,
    border=0.4,
    marker="X",
    marker_x=(0.80, 0.93),
    vignette=0.1,
    zoom=(0.92, 1.05),
    aspect=1.0,
)
