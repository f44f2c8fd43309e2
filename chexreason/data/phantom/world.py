"""The phantom world on disk: synthetic radiographs in the published layouts of the study's three sites.

`mimic-cxr-jpg/`, `CheXpert-v1.0/` and `nih-chest-xray14/` have the file and column names of the real releases (Johnson et
al. 2019, Irvin et al. 2019, Wang et al. 2017), so that the sites' own loaders read them. `signs.jsonl` beside them says
what was drawn in each image.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from chexreason.data.phantom.drawing import draw
from chexreason.data.phantom.labelsets import draw_states, positives
from chexreason.data.phantom.styles import CHEXPERT, MIMIC, NIH, PRETRAINING, Style
from chexreason.labels import FINDINGS, NIH_NAMES
from chexreason.runs import write_text

MIMIC_ROOT, CHEXPERT_ROOT, NIH_ROOT = "mimic-cxr-jpg", "CheXpert-v1.0", "nih-chest-xray14"
STYLES = {MIMIC_ROOT: MIMIC, CHEXPERT_ROOT: CHEXPERT, NIH_ROOT: NIH}
LATERAL = "LATERAL"


@dataclass(frozen=True)
class Order:
    """One image to draw: where it goes, what it shows, and whose it is."""

    site: str
    path: str  # relative to the site's root
    patient: str
    findings: tuple[str, ...]
    view: str
    seed: int


@dataclass(frozen=True)
class NihLabeller:
    """How far NIH's text-mined labels stray from what an image shows: shares of the findings and of the images.

    Its published precision and recall are about 0.9 (Wang et al. 2017, table 2); readers of the images put them lower
    (Oakden-Rayner 2020, doi:10.1016/j.acra.2019.10.006).
    """

    misses: float
    adds: float


def write_mimic(root: Path, studies: int, laterals: int, enriched: float, rng: np.random.Generator) -> list[Order]:
    """MIMIC-CXR-JPG's tables for `studies` frontal studies of fewer patients; the images to draw."""
    import pandas as pd

    states = draw_states(studies, rng, enriched)
    subject = 10_000_000 + np.sort(rng.choice(9_999_999, size=studies, replace=False))
    subject = subject[np.minimum(np.cumsum(rng.random(studies) < 0.75), studies - 1)]  # some patients come again
    study = 50_000_000 + rng.choice(9_999_999, size=studies, replace=False)
    views = np.where(rng.random(studies) < MIMIC.ap_share, "AP", "PA")
    rows = pd.DataFrame({"subject_id": subject, "study_id": study, "ViewPosition": views})
    rows["findings"] = positives(states)
    side = rows.sample(n=laterals, random_state=int(rng.integers(2**31))).assign(ViewPosition=LATERAL)
    rows = pd.concat([rows, side], ignore_index=True)
    rows["dicom_id"] = ["-".join(_hex(rng) for _ in range(5)) for _ in range(len(rows))]
    labels = pd.DataFrame(states, columns=list(FINDINGS))
    labels.insert(0, "study_id", study)
    labels.insert(0, "subject_id", subject)
    metadata = rows[["dicom_id", "subject_id", "study_id", "ViewPosition"]].assign(
        PerformedProcedureStepDescription="CHEST (PORTABLE AP)", Rows=256, Columns=256
    )
    split = rows[["dicom_id", "study_id", "subject_id"]].assign(split="train")
    for name, table in (("metadata", metadata), ("split", split), ("chexpert", labels), ("negbio", labels)):
        _write_gzip(root / MIMIC_ROOT / f"mimic-cxr-2.0.0-{name}.csv.gz", table)
    return [
        Order(
            MIMIC_ROOT,
            f"files/p{str(row.subject_id)[:2]}/p{row.subject_id}/s{row.study_id}/{row.dicom_id}.jpg",
            str(row.subject_id),
            tuple(row.findings),
            row.ViewPosition,
            int(rng.integers(2**31)),
        )
        for row in rows.itertuples()
    ]


def write_chexpert(root: Path, train: int, valid: int, test: int, rng: np.random.Generator) -> list[Order]:
    """CheXpert's train.csv and valid.csv, and the test set's labels by image; every test label is 0 or 1."""
    import pandas as pd

    orders = []
    first = 0
    for split, count in (("train", train), ("valid", valid), ("test", test)):
        states = draw_states(count, rng)
        views = np.where(rng.random(count) < CHEXPERT.ap_share, "AP", "PA")
        paths = [f"{split}/patient{first + n + 1:05d}/study1/view1_frontal.jpg" for n in range(count)]
        labels = pd.DataFrame(states, columns=list(FINDINGS))
        if split != "train":
            labels = (labels == 1.0).astype(float)
        table = pd.DataFrame({"Path": [f"{CHEXPERT_ROOT}/{path}" for path in paths]})
        if split != "test":
            table["Sex"] = rng.choice(["Male", "Female"], count)
            table["Age"] = rng.integers(18, 91, count)
            table["Frontal/Lateral"], table["AP/PA"] = "Frontal", views
        name = "test_labels.csv" if split == "test" else f"{split}.csv"
        write_text(root / CHEXPERT_ROOT / name, pd.concat([table, labels], axis=1).to_csv(index=False))
        orders += [
            Order(CHEXPERT_ROOT, path, path.split("/")[1], tuple(findings), view, int(rng.integers(2**31)))
            for path, findings, view in zip(paths, positives(states), views.tolist(), strict=True)
        ]
        first += count
    return orders


def write_nih(root: Path, images: int, labeller: NihLabeller, rng: np.random.Generator) -> list[Order]:
    """NIH's Data_Entry table and lists; its labeller names what it knows and strays by its own rates."""
    import pandas as pd

    shown = positives(draw_states(images, rng))
    names = [f"{number // 2 + 1:08d}_{number % 2:03d}.png" for number in range(images)]
    views = np.where(rng.random(images) < NIH.ap_share, "AP", "PA")
    table = pd.DataFrame(
        {
            "Image Index": names,
            "Finding Labels": ["|".join(_nih_names(findings, labeller, rng)) for findings in shown],
            "Follow-up #": [number % 2 for number in range(images)],
            "Patient ID": [number // 2 + 1 for number in range(images)],
            "Patient Age": rng.integers(18, 91, images),
            "Patient Gender": rng.choice(["M", "F"], images),
            "View Position": views,
            "OriginalImage[Width": 2048,
            "Height]": 2048,
            "OriginalImagePixelSpacing[x": 0.168,
            "y]": 0.168,
        }
    )
    write_text(root / NIH_ROOT / "Data_Entry_2017_v2020.csv", table.to_csv(index=False))
    write_text(root / NIH_ROOT / "train_val_list.txt", "")
    write_text(root / NIH_ROOT / "test_list.txt", "\n".join(names) + "\n")
    return [
        Order(NIH_ROOT, f"images_001/images/{name}", str(n // 2 + 1), tuple(findings), view, int(rng.integers(2**31)))
        for n, (name, findings, view) in enumerate(zip(names, shown, views.tolist(), strict=True))
    ]


def _nih_names(findings: Sequence[str], labeller: NihLabeller, rng: np.random.Generator) -> list[str]:
    """What NIH's labeller writes for an image: another vocabulary, some findings missed, some added."""
    known: dict[str, list[str]] = {"Lung Opacity": ["Infiltration"]}  # its nearest word, outside the shared nine
    for name, mapped in NIH_NAMES.items():
        if mapped.finding and mapped.finding != "No Finding":
            known.setdefault(mapped.finding, []).append(name)
    written = {
        str(rng.choice(known[finding]))
        for finding in findings
        if finding in known and rng.random() >= labeller.misses
    }
    if rng.random() < labeller.adds:
        written.add(str(rng.choice(sorted({name for names in known.values() for name in names}))))
    return sorted(written) or ["No Finding"]


def draw_all(orders: Sequence[Order], root: Path, size: int, workers: int | None) -> None:
    """Draw every image that is not on disk yet, over all cores, and write signs.jsonl."""
    from tqdm import tqdm

    described = []
    with ProcessPoolExecutor(workers or os.cpu_count()) as pool:
        drawn = pool.map(_draw_one, orders, [root] * len(orders), [size] * len(orders), chunksize=64)
        for order, signs in zip(orders, tqdm(drawn, total=len(orders), desc="phantom", unit="image"), strict=True):
            about = {"site": order.site, "path": order.path, "patient": order.patient}
            described.append(json.dumps(about | {"labels": list(order.findings), "signs": signs}))
    write_text(root / "signs.jsonl", "\n".join(described) + "\n")


def _draw_one(order: Order, root: Path, size: int) -> list[dict[str, Any]]:
    target = root / order.site / order.path
    if order.view == LATERAL:
        if not target.exists():
            _save(_lateral(order.seed, size), target)
        return []
    phantom = draw(order.findings, STYLES[order.site], order.seed, size, order.view)
    if not target.exists():
        _save(phantom.image, target)
    return [asdict(sign) for sign in phantom.signs]


def _save(pixels: NDArray[np.uint8], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    Image.fromarray(pixels).save(partial, format="PNG" if target.suffix == ".png" else "JPEG", quality=92)
    os.replace(partial, target)


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


def labelled_phantoms(
    count: int, seed: int, size: int = 256, style: Style = PRETRAINING, workers: int | None = None
) -> Iterator[tuple[NDArray[np.uint8], list[str]]]:
    """Images of no site with what they show, half of them enriched for rare findings: for pre-training."""
    rng = np.random.default_rng((seed, 1))
    shown = [findings for findings in positives(draw_states(2 * count, rng, enriched=0.5)) if findings][:count]
    seeds = rng.integers(2**31, size=len(shown)).tolist()
    views = np.where(rng.random(len(shown)) < style.ap_share, "AP", "PA").tolist()
    many = len(shown)
    with ProcessPoolExecutor(workers or os.cpu_count()) as pool:
        images = pool.map(_pixels, shown, [style] * many, seeds, [size] * many, views, chunksize=64)
        yield from zip(images, shown, strict=True)


def _pixels(findings: list[str], style: Style, seed: int, size: int, view: str) -> NDArray[np.uint8]:
    return draw(findings, style, seed, size, view).image


def _hex(rng: np.random.Generator) -> str:
    return f"{int(rng.integers(2**32)):08x}"


def _write_gzip(path: Path, table: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    table.to_csv(partial, index=False, compression={"method": "gzip", "mtime": 0})
    os.replace(partial, path)
