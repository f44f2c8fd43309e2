"""What a frozen vision tower makes of images."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LANGUAGE_MODEL = "language_model"  # what both families call the part of the model that is not frozen


def without_gradients(model: PreTrainedModel) -> PreTrainedModel:
    """`model`, whose image features are computed without gradients: its vision tower and projector are frozen.

    Gradient checkpointing makes transformers ask for gradients of every embedding's output, the tower's patch embeddings
    among them (`enable_input_require_grads`): backward would then run through the whole tower, for nothing.
    """
    body = model.base_model
    frozen = [part for name, part in body.named_children() if name != LANGUAGE_MODEL]
    compute = body.get_image_features

    @wraps(compute)
    def features(*args: Any, **kwargs: Any) -> Any:
        training = [part.training for part in frozen]
        try:
            for part in frozen:
                part.eval()  # what is frozen has no dropout, and nothing to checkpoint
            with torch.no_grad():
                return compute(*args, **kwargs)
        finally:
            for part, before in zip(frozen, training, strict=True):
                part.train(before)

    body.get_image_features = features
    return model
