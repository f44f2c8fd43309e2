"""Data-use agreements: which one data is under, and when the data may leave this machine.

A dataset's `agreement` names its data-use agreement, or is `unrestricted` if anyone may have the data. Without an agreement,
the data stays on this machine, unless a stage=phantom run drew it. For a curated set, the manifest of its curate run decides,
which holds the dataset's config as it was then; card.json is documentation only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chexreason.errors import ChexReasonError
from chexreason.runs.folders import read_manifest
from chexreason.runs.overrides import quoted

UNRESTRICTED = "unrestricted"


def agreement_of(folder: Path, manifest: dict[str, Any] | None = None) -> str | None:
    """The agreement that the films of the run in `folder` are under; None where anyone may have them.

    `manifest`: the run's manifest, if it has been read already.

    Raises:
        ChexReasonError: neither the run's manifest nor those of its parent runs say.
    """
    manifest = manifest or read_manifest(folder) or {}
    dataset = manifest.get("config", {}).get("dataset")
    if dataset is None:
        raise ChexReasonError(
            f"{folder} has no manifest that says which data it was made from, so it may not be passed on.\n"
            "  make it again with force=true"
        )
    made_by, stated = manifest.get("parents", {}).get("dataset"), dataset.get("agreement")
    if made_by:
        maker = folder.parent / made_by
        made = read_manifest(maker) or {}
        if made.get("stage") == "curate":  # the parent is itself a curated set
            return agreement_of(maker)
        drawn = made.get("stage") == "phantom" and made["status"] == "complete" and _lies_in(maker, dataset)
        if drawn and not stated:
            return None
    if not stated:
        raise ChexReasonError(
            f"dataset={dataset.get('name')}, which {folder.name} was made from, was not drawn by a phantom run and names no "
            "data-use agreement, so it may not be passed on.\n"
            f"  Name it in the dataset's YAML (agreement: NAME, or agreement: {UNRESTRICTED} where anyone may have the data),\n"
            "  and give the same command again"
        )
    return None if stated == UNRESTRICTED else str(stated)


def _lies_in(maker: Path, dataset: dict[str, Any]) -> bool:
    """Whether the dataset's images and tables are inside the run that is said to have made them, links followed."""
    places = [maker / dataset["root"], *(Path(dataset[key]) for key in ("table", "lists") if dataset.get(key))]
    return all(place.resolve().is_relative_to(maker.resolve()) for place in places)


def refuse_unacknowledged(agreement: str | None, acknowledged: str | None, key: str, doing: str) -> None:
    """Check that the data is unrestricted, or that the config key `key` acknowledges its agreement by name.

    Raises:
        ChexReasonError: names the agreement and the key.
    """
    if agreement is None or acknowledged == agreement:
        return
    other = f" ({key} names another: {acknowledged!r})" if acknowledged else ""
    raise ChexReasonError(
        f"these images and labels are under the {agreement}, and {doing}{other}.\n"
        "  Read the agreement, and its owner's word on online services, first: many forbid it, or allow it only with a\n"
        "  service that keeps nothing and lets nobody look (https://physionet.org/news/post/gpt-responsible-use for MIMIC).\n"
        f'  If you may:  {key}="{quoted(agreement)}"'
    )
