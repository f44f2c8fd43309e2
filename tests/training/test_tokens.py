"""One <bos>, the template's own system prompt, and an image mask that fits: in rollouts, in SFT, and in answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from chexreason.errors import ChexReasonError
from chexreason.models.encoding import check_inputs, check_starts, encode, image_token_of, token_types
from chexreason.models.generation import Generator
from chexreason.models.loading import load_model
from chexreason.models.processors import load_processor
from chexreason.prompts import Prompt, messages
from chexreason.training.collator import TraceCollator
from chexreason.training.rollouts import RolloutTrainer
from tests.training.conftest import INSTRUCTION, SYSTEM, film


def starts_as_published(processor: Any, ids: list[int]) -> None:
    """What the published templates begin with."""
    text = processor.tokenizer.decode(ids)
    if processor.tokenizer.bos_token:
        assert text.startswith("<bos><start_of_turn>user") and text.count("<bos>") == 1
    elif SYSTEM not in processor.chat_template:  # Qwen3-VL's
        assert text.startswith("<|im_start|>user") and SYSTEM not in text
    else:
        assert text.startswith(f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user") and text.count(SYSTEM) == 1


def prompt_text(processor: Any, words: str = INSTRUCTION) -> str:
    return processor.apply_chat_template(messages(words), tokenize=False, add_generation_prompt=True)


def test_the_stand_ins_are_awkward(awkward: Any) -> None:
    """Without care, the tokenizer would add a second <bos>, as the published one does."""
    processor = load_processor(awkward)
    ids = processor.tokenizer(prompt_text(processor))["input_ids"]
    assert ids.count(processor.tokenizer.bos_token_id) == (2 if awkward.family == "gemma3" else 0)


def test_a_rollout_is_tokenised_once_and_its_mask_fits(grpo: Callable[..., RolloutTrainer]) -> None:
    trainer = grpo()
    trainer.model.train()
    processor = trainer.processing_class
    made = trainer._generate_and_score_completions([trainer.train_dataset[index // 4] for index in range(8)])
    assert trainer.processing_class is processor
    for row, mask in zip(made["prompt_ids"], made["prompt_mask"], strict=True):
        starts_as_published(processor, row[mask.bool()].tolist())
    ids = torch.cat([made["prompt_ids"], made["completion_ids"]], dim=1)
    kinds = made[token_types(made)]
    assert torch.equal(kinds == 1, ids == image_token_of(processor)) and int(kinds.sum()) > 0


def test_traces_and_answers_begin_as_the_template_says(awkward: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    processor = load_processor(awkward)
    trace = {
        "prompt": [{"role": "user", "content": INSTRUCTION}],
        "completion": [{"role": "assistant", "content": "Clear."}],
        "image": film(0),
    }
    batch = TraceCollator(processor)([dict(trace), trace | {"completion": [{"role": "assistant", "content": "Not clear."}]}])
    for row, mask, labels in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
        starts_as_published(processor, row[mask.bool()].tolist())
        assert "clear" in processor.tokenizer.decode(labels[labels != -100]).lower()

    asked: list[torch.Tensor] = []
    model = load_model(awkward).eval()
    generate = model.generate
    monkeypatch.setattr(model, "generate", lambda **inputs: (asked.append(inputs["input_ids"]), generate(**inputs))[1])
    processor = load_processor(awkward, padding_side="left")
    Generator(model, processor, Prompt("test", "labels", "", "", INSTRUCTION), 2)([film(0), film(1)])
    for row in asked[0]:
        starts_as_published(processor, row.tolist())


def test_a_second_bos_or_a_lost_system_prompt_is_refused(awkward: Any) -> None:
    processor = load_processor(awkward, padding_side="left")
    text = prompt_text(processor)
    good = encode(processor, [text], [film(0)])
    if awkward.family == "gemma3":
        spoilt = processor(images=[[film(0)]], text=[text], return_tensors="pt")
    else:
        turn = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n"
        other = text.removeprefix(turn) if text.startswith(turn) else turn + text
        spoilt = processor(images=[[film(0)]], text=[other], return_tensors="pt")
    with pytest.raises(ChexReasonError, match="the chat template says"):
        check_starts(processor, spoilt, [text])

    kinds = good[token_types(good)]
    with pytest.raises(ChexReasonError, match="image mask would be shifted"):
        check_inputs(processor, {"input_ids": good["input_ids"], token_types(good): kinds.roll(1, 1)})
    longer = torch.cat([torch.zeros_like(kinds[:, :1]), kinds], dim=1)
    with pytest.raises(ChexReasonError, match="tokenised twice"):
        check_inputs(processor, {"input_ids": good["input_ids"], token_types(good): longer})
