"""A stand-in's folder has the published form: what breaks on the real repository must break on it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer

from chexreason.families.gemma3 import tokenizer_of
from chexreason.models.loading import load_model
from chexreason.models.processors import load_processor
from chexreason.phantom.standins import build, save
from chexreason.prompts import messages
from chexreason.runs.config import choices
from chexreason.runs.files import read_json
from tests.chats import answered

TEXTS = ["Look at this chest radiograph and list its findings."] * 20
# Names as they stand in google/medgemma-4b-it's and Qwen/Qwen2.5-VL-3B-Instruct's safetensors.
PUBLISHED = {
    "gemma3": {
        "language_model.model.embed_tokens.weight",
        "language_model.model.layers.0.self_attn.q_norm.weight",
        "vision_tower.vision_model.embeddings.patch_embedding.weight",
        "vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.bias",
        "multi_modal_projector.mm_input_projection_weight",
    },
    "qwen2_5_vl": {
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.q_proj.bias",
        "visual.patch_embed.proj.weight",
        "visual.blocks.0.attn.qkv.weight",
        "visual.merger.ln_q.weight",
    },
}
OWN = {"gemma3": "phantom_gemma", "qwen2_5_vl": "phantom_qwen"}
CHAT = {
    "gemma3": "<bos><start_of_turn>user\n<start_of_image>List.<end_of_turn>\n<start_of_turn>model\n",
    "qwen2_5_vl": (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>List.<|im_end|>\n<|im_start|>assistant\n"
    ),
    "qwen3_vl": "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>List.<|im_end|>\n<|im_start|>assistant\n",
}


def tensor_names(folder: Path) -> set[str]:
    return {name for file in folder.glob("*.safetensors") for name in safe_open(file, "pt").keys()}  # noqa: SIM118


@pytest.mark.parametrize("family", ["gemma3", "qwen2_5_vl"])
def test_weights_have_their_published_names_and_keep_them(family: str, tmp_path: Path) -> None:
    model, processor = build(family, TEXTS, 400)
    save(model, processor, tmp_path / "made")
    names = tensor_names(tmp_path / "made")
    assert names >= PUBLISHED[family] and not any(name.startswith("model.language_model") for name in names)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path / "made")
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight), name
    loaded.save_pretrained(tmp_path / "again")
    assert tensor_names(tmp_path / "again") == names


@pytest.mark.parametrize("family", ["gemma3", "qwen2_5_vl"])
def test_its_files_are_those_of_the_published_repository(family: str, tmp_path: Path) -> None:
    model, processor = build(family, TEXTS, 400, dtype="bfloat16")
    save(model, processor, tmp_path)
    config, images = read_json(tmp_path / "config.json"), read_json(tmp_path / "preprocessor_config.json")
    assert config["torch_dtype"] == "bfloat16" and AutoConfig.from_pretrained(tmp_path).dtype == torch.bfloat16
    generation = read_json(tmp_path / "generation_config.json")
    if family == "gemma3":
        assert generation.items() >= {"do_sample": True, "top_k": 64, "top_p": 0.95, "cache_implementation": "hybrid"}.items()
        assert images["processor_class"] == "Gemma3Processor" and "text_config" in config
    else:
        assert generation.items() >= {"do_sample": True, "repetition_penalty": 1.05, "temperature": 1e-6}.items()
        assert images["processor_class"] == "Qwen2_5_VLProcessor" and "text_config" not in config
        assert config["rope_scaling"]["type"] == "mrope" and config["hidden_size"] == model.config.text_config.hidden_size
        video = read_json(tmp_path / "video_preprocessor_config.json")
        assert video["video_processor_type"] == "Qwen2VLVideoProcessor" and video["patch_size"] == images["patch_size"]
    assert "image_processor" not in read_json(tmp_path / "processor_config.json")


def test_the_third_familys_files_are_those_of_the_published_repository(tmp_path: Path) -> None:
    model, processor = build("qwen3_vl", TEXTS, 400)
    save(model, processor, tmp_path)
    names = tensor_names(tmp_path)
    wanted = {"visual.deepstack_merger_list.1.norm.weight", "language_model.layers.0.self_attn.q_norm.weight"}
    assert {f"model.{name}" for name in wanted} <= names
    config = read_json(tmp_path / "config.json")
    assert config["text_config"]["rope_parameters"]["mrope_interleaved"] and config["architectures"] == [type(model).__name__]
    parts = [read_json(tmp_path / f"{name}.json") for name in ("processor_config", "video_preprocessor_config")]
    assert [part["processor_class"] for part in parts] == ["Qwen3VLProcessor"] * 2
    assert parts[1]["video_processor_type"] == "Qwen3VLVideoProcessor"


@pytest.mark.parametrize("family", CHAT)
def test_a_chat_is_written_as_the_published_template_writes_it(family: str) -> None:
    _, processor = build(family, TEXTS, 400)
    assert processor.apply_chat_template(messages("List."), tokenize=False, add_generation_prompt=True) == CHAT[family]
    system = [{"role": "system", "content": "Be brief."}, *answered("List.", "Edema")]
    written = processor.apply_chat_template(system, tokenize=False)
    assert written.count("Be brief.") == 1 and "helpful" not in written
    assert written.endswith("model\nEdema<end_of_turn>\n" if family == "gemma3" else "assistant\nEdema<|im_end|>\n")


def test_gemmas_tokenizer_writes_a_bos_of_its_own_accord_and_has_newlines_as_tokens(tmp_path: Path) -> None:
    tokenizer_of(TEXTS, 400).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    bos = tokenizer.bos_token_id
    assert tokenizer("List.")["input_ids"][0] == bos and tokenizer("<bos>List.")["input_ids"][:2] == [bos, bos]
    assert bos not in tokenizer("List.", add_special_tokens=False)["input_ids"]
    for length in (1, 2, 3, 31):
        assert len(tokenizer("\n" * length, add_special_tokens=False)["input_ids"]) == 1
    text = "Two  spaces,\ta ☃\n\n\nand é"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_words_of_the_texts_become_tokens_and_digits_stay_single() -> None:
    tokenizer = tokenizer_of(["Grade 123 edema"] * 20, 600)
    assert tokenizer.tokenize("a edema 123") == ["a", "▁edema", "▁", "1", "2", "3"]


@pytest.mark.parametrize("family", ["gemma3", "qwen2_5_vl"])
def test_a_loaded_one_generates_by_no_setting_of_its_checkpoint_but_its_stops(family: str, tmp_path: Path) -> None:
    built, processor = build(family, TEXTS, 400)
    save(built, processor, tmp_path)
    model = replace(choices("model", [OWN[family]])[0], weights=str(tmp_path), made_by=None)
    settings = load_model(model).generation_config.to_diff_dict()
    assert {name for name in settings if not re.fullmatch(r"(bos|eos|pad)_token_id|transformers_version", name)} == set()
    assert settings["eos_token_id"] == built.generation_config.eos_token_id and len(settings["eos_token_id"]) == 2
    prompt = load_processor(model).apply_chat_template(messages("List."), tokenize=False, add_generation_prompt=True)
    inputs = load_processor(model)(
        images=[[Image.new("RGB", (96, 96))]], text=[prompt], return_tensors="pt", add_special_tokens=False
    )
    bos = processor.tokenizer.bos_token_id
    assert family == "qwen2_5_vl" or (inputs["input_ids"] == bos).sum() == 1
