"""A tiny model that lies in a folder, as the `model` group describes it."""

from __future__ import annotations

from pathlib import Path

from chexreason.runs.groups import Model


def described(family: str, folder: Path, attention: str, visual_tokens: tuple[int, int]) -> Model:
    """The model of `family` in `folder`; `visual_tokens`: least and most for an image."""
    return Model(
        name=family,
        paper_name=None,
        world="phantom",
        family=family,
        made_by=None,
        weights=str(folder),
        dtype="float32",
        attention=attention,
        min_visual_tokens=visual_tokens[0],
        max_visual_tokens=visual_tokens[1],
        image_size=None,
    )
