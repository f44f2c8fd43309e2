"""Write the phantom world: the study's three sites in their published layouts, with nothing to download."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from chexreason.errors import at_least, share
from chexreason.runs.folders import Run
from chexreason.runs.identity import CIRCUMSTANCE


@dataclass(frozen=True)
class Settings:
    """How many images each site holds; shares are of 1."""

    name: str
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
    workers: int | None = field(metadata=CIRCUMSTANCE)

    def __post_init__(self) -> None:
        share(mimic_enriched=self.mimic_enriched, nih_misses=self.nih_misses, nih_adds=self.nih_adds)
        at_least(1, mimic_studies=self.mimic_studies, nih_images=self.nih_images, workers=self.workers)
        at_least(0, mimic_laterals=self.mimic_laterals, chexpert_train=self.chexpert_train)
        at_least(0, chexpert_valid=self.chexpert_valid, chexpert_test=self.chexpert_test)
        at_least(32, image_size=self.image_size)


USES = ()
TORCH = False


def execute(run: Run) -> dict[str, Any]:
    """Write tables, images, signs.jsonl and contact_sheet.png; returns images and findings drawn at each site."""
    import numpy as np

    from chexreason.phantom import layouts
    from chexreason.phantom.contact_sheet import contact_sheet
    from chexreason.phantom.labelsets import population
    from chexreason.phantom.world import STYLES, draw_all

    settings = run.settings
    streams = [np.random.default_rng((run.seed, site)) for site in range(3)]
    orders = [
        *layouts.write_mimic(
            run.folder,
            settings.mimic_studies,
            settings.mimic_laterals,
            settings.mimic_enriched,
            settings.image_size,
            streams[0],
        ),
        *layouts.write_chexpert(
            run.folder, settings.chexpert_train, settings.chexpert_valid, settings.chexpert_test, streams[1]
        ),
        *layouts.write_nih(
            run.folder, settings.nih_images, layouts.NihLabeller(settings.nih_misses, settings.nih_adds), streams[2]
        ),
    ]
    run.note(f"drawing {len(orders)} radiographs of three sites; label sets from {population()[2]}")
    draw_all(orders, run.folder, settings.image_size, settings.workers)
    sheet = contact_sheet(run.folder / "contact_sheet.png", run.seed)
    run.note(f"what stands for what: {sheet}")
    return {
        "label_source": population()[2],
        "images": dict(Counter(order.site for order in orders)),
        "findings": {
            site: dict(Counter(finding for order in orders if order.site == site for finding in order.findings))
            for site in STYLES
        },
    }
