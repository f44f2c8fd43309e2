"""Load a model, give it a LoRA adapter on its language model, and prove that nothing else will train."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText, GenerationConfig, PreTrainedModel, set_seed

from chexreason.errors import ChexReasonError
from chexreason.models.features import without_gradients
from chexreason.models.weights import ADAPTER
from chexreason.runs.files import is_first_process, read_json, write_json

if TYPE_CHECKING:
    from peft import PeftModel

    from chexreason.runs.groups import Model

# Section 3.2.1: the language model's attention and feed-forward projections. The pattern must hold `language_model`:
# bare names such as q_proj are in the vision tower too.
LORA_TARGETS = r".*\.language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


def load_model(model: Model) -> PreTrainedModel:
    """The pretrained model in its configured precision, on the GPU when there is one; its vision tower stays frozen.

    Of the checkpoint's generation settings only the tokens that end a turn are kept: transformers and TRL fill whatever a call
    leaves open from the others, and a penalty on repeating the prompt's words would fall on the names of the findings.
    """
    try:
        loaded = AutoModelForImageTextToText.from_pretrained(
            model.weights,
            dtype=getattr(torch, model.dtype),
            attn_implementation=model.attention,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise ChexReasonError(f"model={model.name}: {model.weights} cannot be loaded: {error}") from None
    if loaded.config.model_type != model.family:
        raise ChexReasonError(
            f"model.family={model.family}, but {model.weights} holds a {loaded.config.model_type}: set model.family"
        )
    published = loaded.generation_config
    loaded.generation_config = GenerationConfig(
        bos_token_id=published.bos_token_id, eos_token_id=published.eos_token_id, pad_token_id=published.pad_token_id
    )
    return without_gradients(loaded.to("cuda" if torch.cuda.is_available() else "cpu"))


def add_lora(model: PreTrainedModel, seed: int, rank: int, alpha: int, dropout: float) -> PeftModel:
    """A fresh adapter on the language model; the seed is set first, so that its initial weights are reproducible."""
    from peft import LoraConfig, get_peft_model

    set_seed(seed)
    settings = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=LORA_TARGETS, task_type="CAUSAL_LM")
    return only_language_model_trains(get_peft_model(model, settings))


def require_adapter(folder: Path) -> Path:
    """`folder`, which holds an adapter.

    Raises:
        ChexReasonError: it is no longer there.
    """
    if not all((folder / name).is_file() for name in ADAPTER):
        raise ChexReasonError(f"{folder}: the adapter is gone: make it again, or name another by checkpoint.adapter")
    return folder


def load_adapter(model: PreTrainedModel, folder: Path, trainable: bool = False) -> PeftModel:
    """`model` with the adapter that a training run saved in `folder`.

    Raises:
        ChexReasonError: it is not one of this model; PEFT leaves out what does not fit.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from peft.utils import load_peft_weights

    try:
        said = read_json(folder / "adapter_config.json")
        if said["peft_type"] != "LORA" or said.get("megatron_config"):  # for others, PEFT would import what they name
            raise ValueError("it is no plain LoRA adapter, by its adapter_config.json")
        adapted = PeftModel.from_pretrained(model, folder, is_trainable=trainable)
    except (
        RuntimeError,
        ValueError,
        LookupError,
        TypeError,
        SafetensorError,
    ) as error:  # of another size or type, or truncated
        raise ChexReasonError(
            f"{folder}: this adapter does not fit the model: {str(error).strip().splitlines()[-1].strip()}"
        ) from None
    saved, fitted = (
        load_peft_weights(str(folder), device="cpu").keys(),
        get_peft_model_state_dict(adapted, save_embedding_layers=False).keys(),
    )
    if odd := sorted(saved ^ fitted):
        raise ChexReasonError(
            f"{folder}: this adapter does not fit the model: {len(odd)} weights are only in the file or only in the model, "
            f"such as {odd[0]}"
        )
    return only_language_model_trains(adapted) if trainable else adapted.eval()


def save_adapter(adapted: PeftModel, folder: Path, model: Model) -> None:
    """The adapter that trains, saved in `folder` by the first process; it says what model it belongs to, not where that lay."""
    if not is_first_process():
        return
    adapted.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False)  # they are frozen
    (folder / "README.md").unlink(missing_ok=True)  # peft's: it names the local folder of the weights; an export has a card
    config = folder / "adapter_config.json"
    write_json(config, read_json(config) | {"base_model_name_or_path": public_name(model)})


def public_name(model: Model) -> str:
    """A model's hub id or, where its weights are a local folder, its name."""
    return model.name if Path(model.weights).is_dir() else model.weights


def only_language_model_trains(model: PeftModel) -> PeftModel:
    """Check that every trainable parameter is a LoRA weight of the language model.

    Raises:
        ChexReasonError: naming the parameters that should be frozen.
    """
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    stray = [name for name in names if "lora_" not in name or ".language_model." not in name]
    if stray or not names:
        raise ChexReasonError(f"LoRA must train the language model's projections alone, but it would train {stray[:5]}")
    return model


def frozen_digest(model: torch.nn.Module) -> str:
    """SHA-256 over every weight that is not a LoRA weight, in the order of their names."""
    return _weights_digest(model, lambda name: "lora_" not in name)


def require_frozen(model: torch.nn.Module, digest: str) -> None:
    """Check that the frozen weights are still those of `digest`.

    Raises:
        ChexReasonError: they are not.
    """
    if frozen_digest(model) != digest:
        raise ChexReasonError("training changed weights that are frozen: the base model or the vision encoder moved")


def adapter_digest(model: torch.nn.Module, adapter: str = "default") -> str:
    """SHA-256 over the weights of one LoRA adapter; GRPO has a second one, `ref`, the reference of its KL term."""
    return _weights_digest(model, lambda name: "lora_" in name and f".{adapter}." in name)


def _weights_digest(model: torch.nn.Module, counts: Callable[[str], bool]) -> str:
    total = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        if counts(name):
            total.update(weight.detach().contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def stop_ids(settings: GenerationConfig) -> list[int]:
    """The tokens that end a completion, by a model's generation settings."""
    stops = settings.eos_token_id
    return list(stops) if isinstance(stops, list | tuple) else [int(stops)]
