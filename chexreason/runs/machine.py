"""Checks of this machine's GPU memory and disk space, before any work and without importing torch."""

from __future__ import annotations

import shutil
import subprocess
from functools import lru_cache
from math import inf
from pathlib import Path

GPU_MEMORY = ("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")
SECONDS = 5.0  # timeout of nvidia-smi


@lru_cache(maxsize=1)
def gpu_gigabytes() -> float:
    """Memory of the largest NVIDIA GPU, from nvidia-smi (which reports MiB); 0 if there is none."""
    try:
        said = subprocess.run(GPU_MEMORY, capture_output=True, text=True, timeout=SECONDS, check=True).stdout
        told = [float(line) for line in said.splitlines() if line.strip().replace(".", "", 1).isdigit()]
        # A GPU that shares the machine's memory is listed without a number ("[N/A]") and is not checked.
        return max(told) * 2**20 / 1e9 if told else (inf if said.strip() else 0.0)
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0.0


def lacks_gpu(needed: float, scale: str) -> list[str]:
    """A message if no GPU here has the `needed` GB that runs at `scale` require; else []."""
    found = gpu_gigabytes() if needed else 0.0
    if found >= needed:
        return []
    seen = f"the largest GPU here has {found:.0f} GB" if found else "nvidia-smi shows no GPU here"
    return [
        f"scale={scale}: runs of its models want a GPU with {needed:g} GB, and {seen}.\n"
        "  get one:          a machine with such a GPU and its driver; what training takes: make footprint\n"
        "  try without:      scale.gpu_gigabytes=0"
    ]


def lacks_disk(needed: float, runs: Path) -> list[str]:
    """A message if the disk of `runs` has less than `needed` GB free; else []."""
    place = next(folder for folder in (runs, *runs.parents) if folder.is_dir())
    free = shutil.disk_usage(place).free / 1e9
    if free >= needed:
        return []
    return [
        f"runs={runs}: {needed:g} GB are wanted for the runs to be made, and {free:.1f} GB are free.\n"
        "  get them:         free some, or keep runs elsewhere: runs=FOLDER"
    ]
