"""The phantom world on disk: every image that the sites' tables call for, and what each shows (`signs.jsonl`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from chexreason.phantom.drawing import Phantom, draw
from chexreason.phantom.labelsets import draw_states, positives
from chexreason.phantom.layouts import CHEXPERT_ROOT, LATERAL, MIMIC_ROOT, NIH_ROOT, FilmSpec
from chexreason.phantom.other_layouts import OPENI_ROOT, PADCHEST_ROOT, VINDR_ROOT
from chexreason.phantom.styles import CHEXPERT, MIMIC, NIH, OPENI, PADCHEST, PRETRAINING, VINDR
from chexreason.runs.files import as_lines, replacing, write_text
from chexreason.runs.processes import pool

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

STYLES = {MIMIC_ROOT: MIMIC, CHEXPERT_ROOT: CHEXPERT, NIH_ROOT: NIH}
STYLES |= {PADCHEST_ROOT: PADCHEST, VINDR_ROOT: VINDR, OPENI_ROOT: OPENI}


def draw_all(specs: Sequence[FilmSpec], root: Path, size: int, workers: int | None) -> None:
    """Draw every image, over all cores unless `workers` says otherwise, and write signs.jsonl."""
    from tqdm import tqdm

    described = []
    with pool(workers) as processes:
        drawn = processes.map(_draw_one, specs, [root] * len(specs), [size] * len(specs), chunksize=64)
        for spec, signs in zip(specs, tqdm(drawn, total=len(specs), desc="phantom", unit="image"), strict=True):
            about = {"site": spec.site, "path": spec.path, "patient": spec.patient}
            described.append(about | {"labels": list(spec.findings), "signs": signs})
    write_text(root / "signs.jsonl", as_lines(described))


def _draw_one(spec: FilmSpec, root: Path, size: int) -> list[dict[str, Any]]:
    target = root / spec.site / spec.path
    if spec.view == LATERAL:
        _save(_lateral(spec.seed, size), target)
        return []
    phantom = draw(spec.findings, STYLES[spec.site], spec.seed, size, spec.view)
    _save(phantom.image, target)
    return [asdict(sign) for sign in phantom.signs]


def _save(pixels: NDArray[np.uint8], target: Path) -> None:
    with replacing(target) as partial:
        if target.suffix == ".dicom":
            _dicom(pixels, target.stem).save_as(partial, enforce_file_format=True)
        else:
            Image.fromarray(pixels).save(partial, format="PNG" if target.suffix == ".png" else "JPEG", quality=92)


def _dicom(pixels: NDArray[np.uint8], name: str) -> Dataset:
    """A film as a detector stores it: 12 bits, inverted, with the window to see it through."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.SOPClassUID = film.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[name])
    film.WindowCenter, film.WindowWidth = 2048, 4096
    stored = 4095 - pixels.astype(np.uint16) * 16
    film.set_pixel_data(stored, "MONOCHROME1", bits_stored=12, generate_instance_uid=False)  # it would differ each time
    return film


def _lateral(seed: int, size: int) -> NDArray[np.uint8]:
    """A crude side view: only there so that the view filter has something to leave out."""
    rng = np.random.default_rng(seed)
    picture = Image.new("L", (size, size), 15)
    pen = ImageDraw.Draw(picture)
    pen.ellipse([size * 0.2, size * 0.02, size * 0.8, size * 1.1], fill=int(rng.integers(110, 140)))
    pen.ellipse([size * 0.3, size * 0.12, size * 0.7, size * 0.8], fill=int(rng.integers(45, 60)))
    pen.ellipse([size * 0.3, size * 0.45, size * 0.55, size * 0.78], fill=150)
    pen.line([size * 0.68, 0, size * 0.74, size], fill=165, width=size // 14)
    return np.asarray(picture)


def labelled_phantoms(count: int, seed: int, size: int) -> Iterator[tuple[Phantom, list[str]]]:
    """Drawn images of no site, `size` pixels a side, with their findings, enriched for rare ones: for pre-training."""
    rng = np.random.default_rng((seed, 1))
    shown = [findings for findings in positives(draw_states(2 * count, rng, enriched=1.0)) if findings][:count]
    seeds = rng.integers(2**31, size=len(shown)).tolist()
    views = np.where(rng.random(len(shown)) < PRETRAINING.ap_share, "AP", "PA").tolist()
    many = len(shown)
    with pool(None) as processes:
        images = processes.map(draw, shown, [PRETRAINING] * many, seeds, [size] * many, views, chunksize=64)
        yield from zip(images, shown, strict=True)
