"""The studies of a curate run, as the training stages take them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chexreason.data.records import label_sets
from chexreason.data.sites.curated import Curated
from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS
from chexreason.runs.files import read_json

UNCERTAIN = "uncertain.json"  # path -> findings, for the images that have any


def curated_studies(folder: Path, split: str) -> tuple[list[dict[str, Any]], Path]:
    """The studies of one curated set (sft | rl | validation) and the root that their paths are relative to.

    Each is {"site", "patient", "path", "sha256", "labels", "uncertain"}: the digest of the image's content when it was
    curated, its positive findings in CheXpert's order, and those that its site's labeller was not sure of.
    """
    import pandas as pd

    table = Curated(root=str(folder), split=split).load()
    if not table.images:
        raise ChexReasonError(f"{folder.name} was curated from a label table alone: to teach or train, curate with images")
    digests = pd.read_csv(folder / "digests.csv", dtype=str).set_index("path")["sha256"]
    doubts = read_json(folder / UNCERTAIN) if (folder / UNCERTAIN).is_file() else {}
    studies = [
        {
            "site": table.site,
            "patient": patient,
            "path": path,
            "sha256": digests[path],
            "labels": labels,
            "uncertain": doubts.get(path, []),
        }
        for path, patient, labels in zip(table.records["path"], table.records["patient"], label_sets(table), strict=True)
    ]
    return studies, table.root


def scored_findings(folder: Path) -> list[str]:
    """The findings that the site of a curate run labels, and that an answer can be scored by."""
    return read_json(folder / "card.json").get("findings", list(FINDINGS))
