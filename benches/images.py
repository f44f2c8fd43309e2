"""Images per second: decoding full-size JPEGs, as MIMIC-CXR-JPG has them, against the image cache.

    python -m benches.images [--images 40] [--size 896]

Draws grey films of 2,544 x 3,056 with smooth structure and noise, about 1.5 MB each as JPEG, and reads them on one
core: decoded and resized each time, first through the cache (a miss: decoded, resized, stored), through a cache that a
new process opens (content digests are taken anew), and again in the same process. Files may be in the page cache.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from chexreason.data.cache import ImageCache
from chexreason.data.images import fit, read_image

WIDTH, HEIGHT = 2544, 3056


def film(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(40, 215, (24, 20), dtype=np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    noise = rng.normal(0, 4, (HEIGHT, WIDTH)).astype(np.float32)
    return Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8))


def rate(read: Callable[[Path], Image.Image], files: list[Path]) -> float:
    clock = time.perf_counter()
    for file in files:
        np.asarray(read(file))
    return len(files) / (time.perf_counter() - clock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--size", type=int, default=896)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [folder / f"{number}.jpg" for number in range(wanted.images)]
        for number, file in enumerate(files):
            film(number).save(file, quality=90)
        size = sum(file.stat().st_size for file in files) / len(files) / 1e6
        cache = ImageCache(folder / "cache", wanted.size)
        rows = {
            "decoded and resized": rate(lambda path: fit(read_image(path), wanted.size), files),
            "cache, first time": rate(cache.read, files),
            "cache, new process": rate(ImageCache(folder / "cache", wanted.size).read, files),
            "cache, again": rate(cache.read, files),
        }
    print(f"{wanted.images} films of {WIDTH} x {HEIGHT}, {size:.1f} MB each, longer side to {wanted.size} pixels\n")
    print("| read | images/s | against decoding |\n|---|---:|---:|")
    for what, speed in rows.items():
        print(f"| {what} | {speed:,.1f} | {speed / rows['decoded and resized']:.1f}x |")


if __name__ == "__main__":
    main()
