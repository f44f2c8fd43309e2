"""Write the phantom world: the study's three sites, and others on request, in their published layouts; nothing to download."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from chexreason.errors import at_least, one_of, share
from chexreason.runs.files import write_text
from chexreason.runs.folders import Run
from chexreason.runs.identity import CIRCUMSTANCE, UNORDERED

SITES = ("mimic", "chexpert", "nih", "padchest", "vindr", "openi")


@dataclass(frozen=True)
class Settings:
    """The sites to write, and how many images each holds; shares are of 1."""

    name: str
    sites: list[str] = field(metadata=UNORDERED)
    image_size: int
    mimic_studies: int
    mimic_laterals: int
    mimic_enriched: float
    chexpert_train: int
    chexpert_valid: int
    chexpert_test: int
    nih_images: int
    nih_misses: float
    nih_adds: float
    padchest_images: int
    vindr_films: int
    openi_reports: int
    workers: int | None = field(metadata=CIRCUMSTANCE)

    def __post_init__(self) -> None:
        for site in self.sites or [""]:
            one_of(SITES, sites=site)
        share(mimic_enriched=self.mimic_enriched, nih_misses=self.nih_misses, nih_adds=self.nih_adds)
        at_least(1, mimic_studies=self.mimic_studies, nih_images=self.nih_images, workers=self.workers)
        at_least(1, padchest_images=self.padchest_images, vindr_films=self.vindr_films, openi_reports=self.openi_reports)
        at_least(0, mimic_laterals=self.mimic_laterals, chexpert_train=self.chexpert_train)
        at_least(0, chexpert_valid=self.chexpert_valid, chexpert_test=self.chexpert_test)
        at_least(32, image_size=self.image_size)
        if "mimic" in self.sites and self.mimic_laterals > self.mimic_studies:
            raise ValueError(
                f"mimic_laterals={self.mimic_laterals}: each is of another study, and mimic_studies={self.mimic_studies}"
            )
        if "chexpert" in self.sites and not self.chexpert_train + self.chexpert_valid + self.chexpert_test:
            raise ValueError("chexpert_train, chexpert_valid, chexpert_test: one at least is wanted above 0")


USES = ()
README = """---
tags: [chexreason, drawn-films]
---

Drawn films: computer drawings in the layout of a published dataset, made by ChexReason to try the code on. They show no
patient, and what is measured on them can be compared with nothing that was measured on radiographs.
"""


def execute(run: Run) -> dict[str, Any]:
    """Write tables, images, signs.jsonl and contact_sheet.png; returns images and findings drawn at each site."""
    import numpy as np

    from chexreason.phantom import layouts, other_layouts
    from chexreason.phantom.contact_sheet import contact_sheet
    from chexreason.phantom.labelsets import population
    from chexreason.phantom.world import draw_all

    settings, root = run.settings, run.folder
    labeller = layouts.NihLabeller(settings.nih_misses, settings.nih_adds)
    mimic = (settings.mimic_studies, settings.mimic_laterals, settings.mimic_enriched, settings.image_size)
    chexpert = (settings.chexpert_train, settings.chexpert_valid, settings.chexpert_test)
    write = {
        "mimic": partial(layouts.write_mimic, root, *mimic),
        "chexpert": partial(layouts.write_chexpert, root, *chexpert),
        "nih": partial(layouts.write_nih, root, settings.nih_images, labeller),
        "padchest": partial(other_layouts.write_padchest, root, settings.padchest_images),
        "vindr": partial(other_layouts.write_vindr, root, settings.vindr_films),
        "openi": partial(other_layouts.write_openi, root, settings.openi_reports),
    }
    # Each site has its own random stream, so that its content does not depend on which other sites are written.
    streams = {site: np.random.default_rng((run.seed, place)) for place, site in enumerate(SITES)}
    specs = [spec for site in SITES if site in settings.sites for spec in write[site](streams[site])]
    run.note(f"drawing {len(specs)} radiographs of {', '.join(settings.sites)}; label sets from {population()[2]}")
    draw_all(specs, root, settings.image_size, settings.workers)
    for site in {spec.site for spec in specs}:
        write_text(root / site / "README.md", README)
    sheet = contact_sheet(run.folder / "contact_sheet.png", run.seed)
    run.note(f"what stands for what: {sheet}")
    return {
        "label_source": population()[2],
        "images": dict(Counter(spec.site for spec in specs)),
        "findings": {
            site: dict(Counter(finding for spec in specs if spec.site == site for finding in spec.findings))
            for site in dict.fromkeys(spec.site for spec in specs)
        },
    }
