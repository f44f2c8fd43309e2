"""The tables of the phantom world's sites beyond the paper, in the published layouts, and the images that they call for.

Names of files, columns and findings are those of the real releases (PadChest: Bustos et al. 2020; VinDr-CXR: Nguyen et al.
2022; Open-i: Demner-Fushman et al. 2016), so that the sites' own loaders read them. Their labels were given by people who saw
the images or read the reports, so they do not stray from what is drawn.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from chexreason.data.sites.named import names_of
from chexreason.phantom.labelsets import draw_states, positives
from chexreason.phantom.layouts import LATERAL, FilmSpec
from chexreason.phantom.styles import PADCHEST
from chexreason.runs.files import write_text

PADCHEST_ROOT, VINDR_ROOT, OPENI_ROOT = "padchest", "vindr-cxr", "open-i"


def _words(site: str, findings: Sequence[str], rng: np.random.Generator) -> list[str]:
    """A site's own names for what a film shows, one at random for each finding that it has a name for."""
    known: dict[str | None, list[str]] = {}
    for name, meant in names_of(site).items():
        known.setdefault(meant.finding, []).append(name)
    return [str(rng.choice(known[finding])) for finding in findings if finding in known]


def write_padchest(root: Path, images: int, rng: np.random.Generator) -> list[FilmSpec]:
    """PadChest's table, half of it by physicians; images in numbered folders."""
    import pandas as pd

    shown = positives(draw_states(images, rng))
    views = np.where(rng.random(images) < PADCHEST.ap_share, "AP", "PA")
    names = [f"{number}_{int(rng.integers(10**15)):015d}.png" for number in range(images)]
    folders = rng.integers(0, 50, images).astype(str)
    words = [_words("padchest", findings, rng) or ["scoliosis"] for findings in shown]
    table = pd.DataFrame(
        {
            "ImageID": names,
            "ImageDir": folders,
            "StudyDate_DICOM": 20_140_101 + rng.integers(0, 4, images) * 10_000,
            "StudyID": [f"s{number}" for number in range(images)],
            "PatientID": [f"p{number}" for number in range(images)],
            "PatientBirth": rng.integers(1925, 1995, images),
            "PatientSex_DICOM": rng.choice(["M", "F"], images),
            "ViewPosition_DICOM": np.where(views == "AP", "ANTEROPOSTERIOR", "POSTEROANTERIOR"),
            "Projection": np.where(views == "AP", "AP_horizontal", "PA"),
            "MethodLabel": "Physician",
            "Labels": [str(one) for one in words],
        }
    )
    write_text(root / PADCHEST_ROOT / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", table.to_csv())
    rows = zip(table["ImageDir"] + "/" + table["ImageID"], table["PatientID"], shown, views.tolist(), strict=True)
    return [FilmSpec(PADCHEST_ROOT, path, who, tuple(what), view, int(rng.integers(2**31))) for path, who, what, view in rows]


def write_vindr(root: Path, films: int, rng: np.random.Generator) -> list[FilmSpec]:
    """VinDr-CXR's test set: a consensus row for each film, and films as DICOM."""
    import pandas as pd

    shown = positives(draw_states(films, rng))
    images = [f"{int(rng.integers(2**63)):016x}{int(rng.integers(2**63)):016x}" for _ in range(films)]
    words = [_words("vindr", findings, rng) for findings in shown]
    columns = [name for name in names_of("vindr") if name not in ("Other disease", "Infiltration")]
    marks = pd.DataFrame([[int(name in said) for name in columns] for said in words], columns=columns)
    table = pd.concat([pd.Series(images, name="image_id"), marks], axis=1)
    write_text(root / VINDR_ROOT / "annotations/image_labels_test.csv", table.to_csv(index=False))
    rows = zip(images, shown, strict=True)
    return [
        FilmSpec(VINDR_ROOT, f"test/{image}.dicom", image, tuple(what), "PA", int(rng.integers(2**31))) for image, what in rows
    ]


def write_openi(root: Path, reports: int, rng: np.random.Generator) -> list[FilmSpec]:
    """Open-i's archive of reports with their tags, a frontal and a lateral image of each, and the table of projections."""
    shown = positives(draw_states(reports, rng))
    specs, projections = [], ["uid,filename,projection"]
    target = root / OPENI_ROOT / "NLMCXR_reports.tgz"
    target.parent.mkdir(parents=True, exist_ok=True)
    with gzip.GzipFile(target, "wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as archive:
        for uid, findings in enumerate(shown, start=1):
            tags = _words("openi", findings, rng) or ["Spine/degenerative"]
            films = [f"CXR{uid}_IM-{uid:04d}-{number}001" for number in (1, 2)]
            text = report(f"CXR{uid}", tags, films).encode()
            member = tarfile.TarInfo(f"ecgen-radiology/{uid}.xml")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
            for film, view, said in zip(films, ("PA", LATERAL), ("Frontal", "Lateral"), strict=True):
                path, seed = f"NLMCXR_png/{film}.png", int(rng.integers(2**31))
                specs.append(FilmSpec(OPENI_ROOT, path, f"CXR{uid}", tuple(findings), view, seed))
                projections.append(f"{uid},{film.removeprefix('CXR')}.dcm.png,{said}")
    write_text(root / OPENI_ROOT / "indiana_projections.csv", "\n".join(projections) + "\n")
    return specs


def report(name: str, tags: Sequence[str], films: Sequence[str]) -> str:
    """A report of Open-i's as XML, what a loader reads of it: its name, its tags and the films that it is about."""
    majors = "\n".join(f"      <major>{escape(tag)}</major>" for tag in tags)
    images = "\n".join(f'   <parentImage id="{film}"/>' for film in films)
    head = f'<?xml version="1.0" encoding="utf-8"?>\n<eCitation>\n   <uId id="{name}"/>'
    return f"{head}\n   <MeSH>\n{majors}\n   </MeSH>\n{images}\n</eCitation>\n"
