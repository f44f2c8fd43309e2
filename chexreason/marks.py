"""Tags that mark stand-in models and drawn films as such, on the README of every file derived from them.

A stand-in's weights, a drawn dataset and every export of either hold a README.md whose front matter names it; a run that reads
one keeps the mark in its manifest, and whatever stands on that run inherits it.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from chexreason.runs.folders import Run, ancestors

STAND_IN, DRAWN_FILMS = "stand-in", "drawn-films"  # tags of a card
MAKERS = {"standin": STAND_IN, "phantom": DRAWN_FILMS}  # stages whose outputs are marked
WORDS = {
    frozenset({STAND_IN}): "stand-ins",
    frozenset({DRAWN_FILMS}): "on drawn films",
    frozenset({STAND_IN, DRAWN_FILMS}): "stand-ins on drawn films",
}


def in_words(marks: Collection[str]) -> str:
    """The marks for people; "" where there are none."""
    return WORDS.get(frozenset(marks), "")


def front_matter(place: str | Path) -> dict[str, Any]:
    """What the card of a folder, or of a model in the hub's cache, says in its front matter; {} where it says nothing."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.repocard import metadata_load
    from yaml import YAMLError

    folder = Path(place)
    with suppress(OSError, ValueError, YAMLError):  # not a readable card, or not a name on the hub
        card = folder / "README.md" if folder.is_dir() else try_to_load_from_cache(str(place), "README.md")
        if isinstance(card, str | Path):
            return dict(metadata_load(card) or {})
    return {}


def on_card(place: str | Path) -> set[str]:
    """The marks on the card of a folder, or of a model in the hub's cache."""
    tags = front_matter(place).get("tags")
    return {STAND_IN, DRAWN_FILMS} & {str(tag) for tag in tags} if isinstance(tags, list) else set()


def of_lineage(*folders: Path) -> set[str]:
    """The marks of the runs in `folders` and of all that they stand on."""
    found: set[str] = set()
    for manifest in ancestors(*folders).values():
        found |= of_manifest(manifest)
    return found


def of_manifest(manifest: dict[str, Any]) -> set[str]:
    """The marks that one run says of itself."""
    maker, model = MAKERS.get(manifest.get("stage", "")), manifest.get("config", {}).get("model") or {}
    kept = manifest.get("metrics", {}).get("marks", ())
    return {*kept, *([maker] if maker else []), *([STAND_IN] if model.get("made_by") else [])}


def of_run(run: Run, images: Path | None = None) -> list[str]:
    """The marks of a run in progress: those of its model, its adapter, the `images` that it reads, and its parents."""
    found = of_lineage(*run.parents.values())
    if run.model is not None:
        found |= on_card(run.model.weights) | ({STAND_IN} if run.model.made_by else set())  # what runs here make are stand-ins
    if run.checkpoint is not None and run.checkpoint.adapter is not None:
        found |= on_card(run.checkpoint.adapter)
    found |= on_card(images) if images else set()
    return [mark for mark in (STAND_IN, DRAWN_FILMS) if mark in found]
