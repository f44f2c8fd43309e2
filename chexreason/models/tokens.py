"""Counting a text's tokens as a model does, without loading the model."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from chexreason.errors import ChexReasonError
from chexreason.runs.folders import complete_runs


def weights_folder(model: str, made_by: str | None, weights: str, runs: Path) -> str:
    """Where a model's files lie: `weights` itself or, for a stand-in, inside the latest run that made it.

    Raises:
        ChexReasonError: no run under `runs` made it; says how to.
    """
    if made_by is None:
        return weights
    stage = dict(word.split("=", 1) for word in shlex.split(made_by))["stage"]
    made = [
        folder
        for folder, manifest in complete_runs(runs)
        if manifest["stage"] == stage and manifest["config"].get("model", {}).get("name") == model
    ]
    if not made:
        raise ChexReasonError(
            f"model={model}: its files are made by a run, and {runs} has none.\n"
            f"  make it: python -m chexreason.run {made_by} model={model} {shlex.quote(f'runs={runs}')}"
        )
    return str(made[-1] / weights)


def token_counter(weights: str) -> Callable[[str], int]:
    """A function that counts a text's tokens, special ones left out.

    Raises:
        ChexReasonError: `weights` is neither a folder with a tokenizer.json nor a hub id whose tokenizer can be had.
    """
    from tokenizers import Tokenizer

    file = Path(weights) / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(file)) if file.is_file() else Tokenizer.from_pretrained(weights)
    except Exception as error:  # the library raises bare exceptions, and each transport has its own
        reason = str(error).splitlines()[0]
        raise ChexReasonError(f"{weights} has no tokenizer that can be read here ({reason}): set model.weights") from None
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
