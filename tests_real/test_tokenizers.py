"""The published tokenizers of Gemma 3 and Qwen: prompts are read as the chat templates write them, once, image and all.

They lie in the folder that CHEXREASON_TOKENIZERS names (tests_real/environment.sh fetches them) and are never committed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer
from transformers.convert_slow_tokenizer import TikTokenConverter
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.qwen2 import Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from chexreason.families import gemma3, qwen2_5_vl
from chexreason.models.rendering import render
from chexreason.prompts import Prompt, messages
from chexreason.runs.config import every
from tests.chats import answered

FOLDER = Path(os.environ.get("CHEXREASON_TOKENIZERS", "nowhere"))
if not FOLDER.is_dir():
    pytest.skip("CHEXREASON_TOKENIZERS names no folder: see tests_real/environment.sh", allow_module_level=True)

FILM = (2544, 3056)
PIXELS = 28 * 28  # of one of Qwen's visual tokens
PROMPTS = every("prompt")


@pytest.fixture(scope="module")
def gemma() -> Any:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "gemma3")
    images = Gemma3ImageProcessorPil(size={"height": 896, "width": 896}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return gemma3.GemmaProcessor(images, tokenizer, chat_template=tokenizer.chat_template, image_seq_length=256)


@pytest.fixture(scope="module")
def qwen() -> Any:
    vocab, merges = TikTokenConverter(str(FOLDER / "qwen.tiktoken")).extract_vocab_merges_from_model(
        str(FOLDER / "qwen.tiktoken")
    )
    vocab |= {token: len(vocab) + place for place, token in enumerate(qwen2_5_vl.SPECIAL)}
    tokenizer = Qwen2Tokenizer(vocab, merges, eos_token="<|im_end|>", extra_special_tokens=qwen2_5_vl.SPECIAL)
    images = Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, min_pixels=256 * PIXELS, max_pixels=512 * PIXELS)
    return qwen2_5_vl.QwenProcessor(images, tokenizer, chat_template=qwen2_5_vl.TEMPLATE)


def read(processor: Any, prompt: Prompt) -> dict[str, list[int]]:
    from PIL import Image

    text = processor.apply_chat_template(messages(prompt.instruction), tokenize=False, add_generation_prompt=True)
    inputs = processor(images=[[Image.new("RGB", FILM)]], text=[text], return_tensors="pt", add_special_tokens=False)
    return {name: inputs[name][0].tolist() for name in inputs if name == "input_ids" or name.endswith("token_type_ids")}


def test_gemmas_ids_are_the_published_ones(gemma: Any) -> None:
    named = {"<bos>": 2, "<start_of_turn>": 105, "<end_of_turn>": 106, "\n": 107, "\n\n": 108, "\n\n\n": 109}
    named |= {"<start_of_image>": 255999, "<end_of_image>": 256000, "<image_soft_token>": 262144}
    assert {token: gemma.tokenizer.convert_tokens_to_ids(token) for token in named} == named


def test_qwens_ids_are_the_published_ones(qwen: Any) -> None:
    named = {"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645, "<|vision_start|>": 151652}
    named |= {"<|vision_end|>": 151653, "<|image_pad|>": 151655, "<|video_pad|>": 151656}
    assert {token: qwen.tokenizer.convert_tokens_to_ids(token) for token in named} == named


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.name)
def test_gemma_reads_one_bos_and_256_image_tokens_that_its_types_mark(gemma: Any, prompt: Prompt) -> None:
    found = read(gemma, prompt)
    ids = found["input_ids"]
    assert ids[:3] == [2, 105, 2364] and ids.count(2) == 1, "<bos><start_of_turn>user"
    assert ids[-4:] == [107, 105, 4368, 107], "\\n<start_of_turn>model\\n"
    assert [token == 262144 for token in ids] == [kind == 1 for kind in found["token_type_ids"]] and ids.count(262144) == 256
    print(f"\ngemma3 {prompt.name}: {len(ids) - 256} tokens of text")
    assert render(gemma, prompt.instruction, FILM).tokens == len(ids) < 256 + 450


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.name)
def test_qwen_reads_its_system_prompt_and_as_many_image_tokens_as_the_film_takes(qwen: Any, prompt: Prompt) -> None:
    found = read(qwen, prompt)
    ids = found["input_ids"]
    assert qwen.tokenizer.decode(ids[:11]).startswith("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n")
    assert [token == 151655 for token in ids] == [kind == 1 for kind in found["mm_token_type_ids"]]
    assert ids.count(151655) == qwen.visual_tokens(*FILM) and 256 <= ids.count(151655) <= 512
    print(f"\nqwen {prompt.name}: {len(ids) - ids.count(151655)} tokens of text")
    assert len(ids) < 512 + 450


def test_a_templated_prompt_that_is_read_with_special_tokens_has_two_bos(gemma: Any) -> None:
    """The fault that add_special_tokens=False is there for, and that stand-ins must have too."""
    text = gemma.apply_chat_template(messages("List."), tokenize=False, add_generation_prompt=True)
    assert gemma.tokenizer(text)["input_ids"][:3] == [2, 2, 105]


def test_the_stand_ins_template_writes_what_gemmas_own_writes(gemma: Any) -> None:
    turn = answered("List.\n", "Edema ")
    system = [{"type": "text", "text": "Be brief."}]
    for chat in (turn[:1], turn, [{"role": "system", "content": system}, *turn], [{"role": "system", "content": "x"}, *turn]):
        for ahead in (False, True):
            written = [
                gemma.apply_chat_template(chat, tokenize=False, add_generation_prompt=ahead, chat_template=template)
                for template in (gemma.chat_template, gemma3.TEMPLATE)
            ]
            assert written[0] == written[1]


@pytest.mark.parametrize("family", ["gemma", "qwen"])
def test_an_answer_is_read_back_as_it_was_written(family: str, request: pytest.FixtureRequest) -> None:
    tokenizer = request.getfixturevalue(family).tokenizer
    answer = "<think>\nThe left base is dense.\n\n  - meniscus, 3 cm\n</think>\n<solution>Pleural Effusion</solution>"
    ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == answer
