"""A prompt as a model will see it: the chat template applied, the image's place in it, and what all of it takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason.errors import ChexReasonError
from chexreason.models.tokens import weights_folder

if TYPE_CHECKING:
    from chexreason.runs.groups import Model


@dataclass(frozen=True)
class RenderedPrompt:
    """`text` has one image placeholder; `tokens` counts the whole prompt, `visual_tokens` the image's part of it."""

    text: str
    tokens: int
    visual_tokens: int


def processor_at_hand(model: Model, runs: Path, folder: str | None) -> Any:
    """The model's processor from `folder`, or from where the config says, nothing being fetched from anywhere.

    Raises:
        ChexReasonError: it is not here; says why.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from chexreason.models.processors import load_processor

    weights = folder or weights_folder(model.name, model.made_by, model.weights, runs)
    if not Path(weights).is_dir():
        try:  # only what an earlier download left in the cache
            weights = snapshot_download(weights, local_files_only=True)
        except (LocalEntryNotFoundError, HfHubHTTPError, ValueError, OSError):
            raise ChexReasonError(f"{weights} is neither a folder nor in the hub's cache") from None
    return load_processor(replace(model, weights=weights))


def render(processor: Any, instruction: str, size: tuple[int, int]) -> RenderedPrompt:
    """The prompt for one film of `size` (width, height) pixels."""
    from PIL import Image

    from chexreason.models.encoding import IMAGE, chat, encode, token_types

    text = chat(processor, instruction)
    inputs = encode(processor, [text], [Image.new("RGB", size)])
    return RenderedPrompt(text, inputs["input_ids"].shape[1], int((inputs[token_types(inputs)] == IMAGE).sum()))
