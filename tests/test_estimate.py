"""The operations that are counted on paper are those that torch counts."""

from __future__ import annotations

import pytest
import torch

from benches.estimate import Counted
from benches.training import PROPORTIONED, model_of, operations, rows
from chexreason.training.collator import TraceCollator


@pytest.mark.parametrize("family", ["gemma3", "qwen2_5_vl"])
def test_a_forward_pass_takes_the_operations_that_are_counted(family: str) -> None:
    model, processor = model_of(family)
    counted = Counted(family, PROPORTIONED[family], 448)
    batch = TraceCollator(processor)([rows(1, 13)[0]])
    del batch["labels"]
    seen = [batch[name] for name in ("pixel_values", "image_grid_thw") if name in batch]
    with torch.no_grad():
        whole = operations(lambda: model.get_base_model()(**batch))
        tower = operations(lambda: model.get_base_model().base_model.get_image_features(*seen))
    tokens = batch["input_ids"].shape[1]
    vocabulary = model.get_base_model().get_output_embeddings().weight.shape[0]
    assert vocabulary == PROPORTIONED[family].vocabulary
    assert counted.image().operations == pytest.approx(tower, rel=0.03)
    assert (counted.image() + counted.text(tokens, tokens)).operations == pytest.approx(whole, rel=0.03)
