"""Batches of traces for SFT, each checked before the model sees it."""

from __future__ import annotations

from typing import Any

from trl.data_utils import apply_chat_template, prepare_multimodal_messages
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from chexreason.models.encoding import check_inputs, check_starts


class TraceCollator(DataCollatorForVisionLanguageModeling):
    """TRL's collator of prompts and completions, with the loss on the completions alone.

    Raises:
        ChexReasonError: a batch's image mask is shifted, or a prompt does not begin as the chat template says.
    """

    def __init__(self, processor: Any):
        super().__init__(processor, completion_only_loss=True)

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        prompts = [prepare_multimodal_messages(example["prompt"], images=[example["image"]]) for example in examples]
        texts = [apply_chat_template({"prompt": prompt}, self.processor)["prompt"] for prompt in prompts]
        batch = super().torch_call(examples)
        check_inputs(self.processor, batch)
        check_starts(self.processor, batch, texts)
        return batch
