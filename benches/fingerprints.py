"""How surely a film's fingerprint finds changed copies of it, and how often it takes different films for copies.

    python -m benches.fingerprints runs/phantom-NAME [MORE FOLDERS OR FILES OF FILMS ...]

Frontal films of a phantom run, and real films where more is given; each is compared with changed copies of itself, and each
with every film of another patient. The threshold is chexreason.data.fingerprint.ALIKE. docs/security.md holds what it printed.
"""

from __future__ import annotations

import argparse
import io
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from chexreason.data.fingerprint import ALIKE, fingerprint, likeness
from chexreason.data.images import looks_like_image, read_image
from chexreason.runs.files import read_lines

RNG = random.Random(0)


def encoded(film: Image.Image, quality: int = 30) -> Image.Image:
    film.save(stream := io.BytesIO(), "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def smaller(film: Image.Image, scale: float = 0.4) -> Image.Image:
    return film.resize((int(film.width * scale), int(film.height * scale)), Image.Resampling.LANCZOS)


def cropped(film: Image.Image, most: float) -> Image.Image:
    """Each edge loses its own share, 0 to `most`."""
    left, top, right, bottom = (RNG.uniform(0, most) for _ in range(4))
    width, height = film.size
    return film.crop((int(left * width), int(top * height), int((1 - right) * width), int((1 - bottom) * height)))


def mirrored(film: Image.Image) -> Image.Image:
    return film.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "encoded again (JPEG, quality 30)": encoded,
    "resized (x 0.4)": smaller,
    "cropped, up to 3 % an edge": lambda film: cropped(film, 0.03),
    "cropped, up to 5 % an edge": lambda film: cropped(film, 0.05),
    "mirrored": mirrored,
    "all of it, 3 %": lambda film: encoded(smaller(mirrored(cropped(film, 0.03))), 50),
}


def films(place: Path) -> list[tuple[str, Path]]:
    """(patient, file) of the frontal films of a phantom run, or of the images in a folder, each of a patient of its own."""
    signs = place / "signs.jsonl"
    if signs.is_file():
        views = pd.read_csv(next(place.glob("mimic*/*metadata.csv.gz")))
        lateral = {*views["dicom_id"][~views["ViewPosition"].isin(["AP", "PA"])]}
        rows = [row for row in read_lines(signs) if "lateral" not in row["path"] and Path(row["path"]).stem not in lateral]
        return [(row["site"] + row["patient"], place / row["site"] / row["path"]) for row in rows]
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    return [(str(file), file) for file in files if looks_like_image(file)]


def measure(title: str, known: list[tuple[str, Path]]) -> None:
    pictures = [read_image(file) for _, file in known]
    clock = time.perf_counter()
    prints = [fingerprint(picture) for picture in pictures]
    taken = time.perf_counter() - clock
    print(f"\n{title}: {len(known)} films; a fingerprint takes {1000 * taken / len(known):.1f} ms once the film is decoded\n")
    print("| copy | least likeness | found |\n| --- | ---: | ---: |")
    for name, change in COPIES.items():
        found = np.array([next(likeness([one], [fingerprint(change(one))]))[0] for one in pictures])
        print(f"| {name} | {found.min():.2f} | {(found >= ALIKE).mean():.1%} |", flush=True)
    clock = time.perf_counter()
    alike = np.stack(list(likeness(pictures, prints)))
    taken = time.perf_counter() - clock
    patients = np.array([patient for patient, _ in known])
    pairs = alike[patients[:, None] != patients]
    likest = np.sort(pairs)[-4:].astype(float).round(2).tolist()
    print(f"\n{(pairs >= ALIKE).sum()} of {len(pairs):,} pairs of different patients' films are taken for copies")
    print(f"the likest: {likest}; {len(known)} films against them all took {taken:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path)
    parser.add_argument("more", type=Path, nargs="*")
    wanted = parser.parse_args()
    first, more = wanted.films, wanted.more
    measure(first.name, films(first))
    if more:
        measure("more films", [film for place in more for film in films(place)])


if __name__ == "__main__":
    main()
