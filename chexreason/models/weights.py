"""Checks, before any work and without importing torch, whether a model's weights are available."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from chexreason.errors import ChexReasonError
from chexreason.runs.files import read_json
from chexreason.runs.identity import path_digest

if TYPE_CHECKING:
    from chexreason.runs.groups import Model

HUB_SECONDS = 5.0


def weights_identity(model: Model, store: Path | None) -> str:
    """The identity of weights: a folder's content, wherever it is, or a hub model's revision.

    The folder of a revision in the hub's cache is that hub model by another name.

    Raises:
        ChexReasonError: they are not at hand.
    """
    folder = Path(model.weights)
    if folder.is_dir():
        held = folder.resolve()
        is_revision = held.parent.name == "snapshots" and re.fullmatch("[0-9a-f]{40}", held.name)
        return held.name if is_revision else path_digest(folder, store, without_suffix=".md")
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(model.weights, "config.json")
    if isinstance(cached, str):
        return Path(cached).parent.name  # the hub's cache keeps each revision in a folder of its name
    revision, reason = _on_hub(model.weights)
    if revision is None:
        raise ChexReasonError(f"model={model.name}: the revision of {model.weights} is not known ({reason})")
    return revision


def require_weights(model: Model) -> None:
    """Check that `model.weights` is a model folder, is cached, or can be fetched from the hub.

    Raises:
        ChexReasonError: none of these; says what is missing, how to get it, and what runs without it.
    """
    if (folder := Path(model.weights)).is_dir():
        _require_family(model, folder / "config.json")
        if wrong := not_whole(folder):
            raise ChexReasonError(f"model.weights={model.weights}: {wrong}; copy the folder anew")
        return
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(model.weights)
    except HFValidationError:
        raise ChexReasonError(
            f"model.weights={model.weights}: there is no such folder, and no model of the hub has such a name"
        ) from None
    cached = try_to_load_from_cache(model.weights, "config.json")
    if isinstance(cached, str) and not not_whole(Path(cached).parent):
        return
    revision, reason = _on_hub(model.weights)  # which also completes a partial cache
    if revision is None:
        raise ChexReasonError(
            f"model={model.name}: its weights ({model.weights}) are neither a local folder nor all in the hub's cache, "
            f"and the hub cannot give them ({reason}).\n"
            f"  weights:  accept the licence at https://huggingface.co/{model.weights}, then `hf auth login`,\n"
            f"            or point to a local copy: model.weights=/path/to/{model.weights.split('/')[-1]}, or for every\n"
            f"            command by the variable of the environment that conf/model/{model.name}.yaml names\n"
            "  images:   the study trains on MIMIC-CXR-JPG, which needs credentialed access:\n"
            "            https://physionet.org/content/mimic-cxr-jpg/ (then dataset=mimic dataset.root=/path)\n"
            "  meanwhile on the phantom world, with nothing to download, for example:\n"
            "            python -m chexreason.run make_missing=true model=phantom_gemma stage=sft"
        )


PARTS = {  # of a model folder, by what each is called
    "a config": ("config.json",),
    "a tokenizer": ("tokenizer.json", "tokenizer.model", "vocab.json"),
    "an image processor": ("preprocessor_config.json", "processor_config.json"),
    "weights": ("model.safetensors", "model.safetensors.index.json"),
}
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")  # what an adapter's folder holds
# Older weights, which are pickles.
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "adapter_model.bin")


def not_whole(folder: Path) -> str:
    """What a model folder lacks, or which of its weight files is cut short; "" where all is there. Reads no weights."""
    for part, names in PARTS.items():
        if not any((folder / name).is_file() for name in names):
            return f"this folder holds no {names[0]}, so not {part}{pickled(folder)}"
    try:
        for index in folder.glob("*.index.json"):
            if missing := {name for name in read_json(index)["weight_map"].values() if not (folder / name).is_file()}:
                return f"{index.name} names {sorted(missing)[0]}, which is not there"
        for file in sorted(folder.glob("*.safetensors")):
            if file.stat().st_size < _length(file):
                return f"{file.name} is cut short"
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return "its weights cannot be read, as where Git LFS has left a note in a file's place (git lfs pull)"
    return ""


def trained_for(adapter: Path) -> str | None:
    """The model that the adapter in this folder says it belongs to: a hub id, a folder, or a name; None where it says none."""
    try:
        return str(read_json(adapter / ADAPTER[0])["base_model_name_or_path"] or "") or None
    except (OSError, ValueError, LookupError, TypeError):  # loading reports what is wrong
        return None


def pickled(folder: Path) -> str:
    """A further sentence about a folder whose only weights are pickles; "" for any other."""
    found = next((name for name in PICKLED if (folder / name).is_file()), None)
    return f" ({found} is a pickle, which can hold a program, and is not read: save it as safetensors)" if found else ""


def _length(file: Path) -> int:
    """Bytes that a safetensors file says it has: eight for the length of its header, the header, and the tensors."""
    with file.open("rb") as opened:
        header = int.from_bytes(opened.read(8), "little")
        if header > file.stat().st_size:
            raise ValueError(f"{file}: no safetensors file")
        tensors = json.loads(opened.read(header))
    return 8 + header + max(tensor["data_offsets"][1] for name, tensor in tensors.items() if name != "__metadata__")


def _require_family(model: Model, config: Path) -> None:
    """Raises ChexReasonError where a model's own config.json names another family."""
    try:
        held = read_json(config).get("model_type", model.family) if config.is_file() else model.family
    except (OSError, ValueError, AttributeError):
        raise ChexReasonError(f"model.weights={model.weights}: its config.json cannot be read; copy the folder anew") from None
    if held != model.family:
        raise ChexReasonError(
            f"model={model.name} is of the family {model.family}, and model.weights={model.weights} holds a {held}: choose "
            "the model that it is, or set model.family"
        )


@lru_cache  # a sweep asks for the same few
def _on_hub(repository: str) -> tuple[str | None, str]:
    """The revision of `repository` that the hub gives; or None, and why it gives none."""
    import os

    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        return None, "HF_HUB_OFFLINE is set"
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    try:
        return str(get_hf_file_metadata(hf_hub_url(repository, "config.json"), timeout=HUB_SECONDS).commit_hash), ""
    except GatedRepoError:
        return None, "its licence is not accepted by this account, or no account is logged in"
    except RepositoryNotFoundError:
        return None, "there is no such repository"
    except HfHubHTTPError as error:
        return None, f"the hub answered {error.response.status_code}" if error.response is not None else "the hub refused"
    except Exception as error:  # each transport has its own exceptions, all of which mean that the hub cannot be reached
        return None, f"not reachable: {type(error).__name__}"
