"""Batches of traces for SFT, each checked before the model sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import ProcessorMixin
from trl.data_utils import apply_chat_template, prepare_multimodal_messages
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from chexreason.models.encoding import IGNORED, check_inputs, check_starts, token_types
from chexreason.models.features import FeatureStore, image_inputs


@dataclass(frozen=True)
class TraceCollator:
    """Prompts and completions in TRL's form, one image each, as a batch with the loss on the completions alone.

    With `features` the batch has image features in the place of pixels; without, it is that of TRL's own collator.

    Raises:
        ChexReasonError: a batch's image mask is shifted, or a prompt does not begin as the chat template says.
    """

    processor: ProcessorMixin
    features: FeatureStore | None = None

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        texts = [
            apply_chat_template(
                {
                    "prompt": prepare_multimodal_messages(example["prompt"], images=[example["image"]]),
                    "completion": prepare_multimodal_messages(example["completion"]),
                },
                self.processor,
            )
            for example in examples
        ]
        asked = [text["prompt"] for text in texts]
        if self.features is None:
            batch = DataCollatorForVisionLanguageModeling(self.processor, completion_only_loss=True)(examples)
        else:
            images = [example["image"] for example in examples]
            batch = self._with_features(self.features, asked, [text["completion"] for text in texts], images)
        check_inputs(self.processor, batch)
        check_starts(self.processor, batch, asked)
        return batch

    def _with_features(
        self, store: FeatureStore, prompts: list[str], completions: list[str], images: list[Any]
    ) -> dict[str, Any]:
        inputs, films = store.encode(prompts, images)
        tokenizer = self.processor.tokenizer
        kinds = token_types(inputs)
        rows: dict[str, list[torch.Tensor]] = {"input_ids": [], "attention_mask": [], kinds: [], "labels": []}
        for place, mask in enumerate(inputs["attention_mask"].bool()):
            ids = inputs["input_ids"][place][mask]
            learnt = torch.tensor(tokenizer(completions[place], add_special_tokens=False)["input_ids"])
            rows["input_ids"].append(torch.cat([ids, learnt]))
            rows["attention_mask"].append(torch.ones(len(ids) + len(learnt), dtype=torch.long))
            rows[kinds].append(torch.cat([inputs[kinds][place][mask], torch.zeros_like(learnt)]))
            rows["labels"].append(torch.cat([torch.full_like(ids, IGNORED), learnt]))
        fillers = {"input_ids": tokenizer.pad_token_id, "labels": IGNORED}
        padded = {
            name: torch.nn.utils.rnn.pad_sequence(values, batch_first=True, padding_value=fillers.get(name, 0))
            for name, values in rows.items()
        }
        return padded | image_inputs(films)
