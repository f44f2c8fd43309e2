"""SFT and GRPO against what a user would write with TRL alone, side by side (python -m benches.speed --only training growth).

Both sides run in one process, in turns, on the same model, data, batch, steps and threads. The models are small but
proportioned: their shares of work in vision, prompt, completion and head are those of MedGemma-4B and Qwen2.5-VL-3B at the
paper's settings (256 image tokens, a prompt of some 600, completions of 250, vision 45 to 48 % of a forward pass).
Seconds are those of the processor (CPU time), which other programs on the machine hardly change. A ratio above 1: ours is
faster; `floor`: the ratio of operations counted.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from typing import Any

import torch
from datasets import Dataset
from PIL import Image, ImageDraw
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from chexreason.families import Architecture
from chexreason.models.features import FeatureStore, without_gradients
from chexreason.models.loading import LORA_TARGETS
from chexreason.phantom.standins import build
from chexreason.training.collator import TraceCollator
from chexreason.training.rollouts import RolloutTrainer

TEXT = {
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
PROPORTIONED = {
    "gemma3": Architecture(
        text=TEXT | {"head_dim": 64, "sliding_window": 512},
        vision={
            "hidden_size": 192,
            "intermediate_size": 720,
            "num_hidden_layers": 9,
            "num_attention_heads": 4,
            "patch_size": 14,
        },
        image_size=448,
        visual_tokens=256,
        vocabulary=4096,
    ),
    "qwen2_5_vl": Architecture(
        text=TEXT | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]}},
        vision={
            "depth": 9,
            "hidden_size": 192,
            "intermediate_size": 720,
            "num_heads": 4,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [2, 5, 8],
        },
        image_size=448,
        visual_tokens=None,
        vocabulary=4096,
    ),
}
WORDS = "the left base is dense with a meniscus and the heart is of normal size; no pneumothorax, mild haze in the upper zone. "
COMPLETION = WORDS * 9  # some 240 tokens
Side = Callable[[], dict[str, float]]
Results = Iterator[tuple[str, dict[str, float]]]


@dataclass(frozen=True)
class Setting:
    """What is trained: a family's `proportioned` or `small` model, asked in `words` times WORDS (some 27 tokens each).

    GRPO: one rollout of `group` completions, of `tokens` each, about each of `prompts` images. SFT: `epochs` of `images`.
    """

    family: str
    size: str = "proportioned"
    words: int = 13
    group: int = 4
    prompts: int = 1
    tokens: int = 250
    images: int = 4
    epochs: int = 3


def model_of(family: str, size: str = "proportioned") -> tuple[Any, Any]:
    """A model with an adapter on its language model, and its processor."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    model, processor = build(
        family, [WORDS, "user assistant model"] * 10, 480, PROPORTIONED[family] if size == "proportioned" else size
    )
    processor.tokenizer.padding_side = "left"
    for weight in model.parameters():
        weight.requires_grad = False
    lora = LoraConfig(r=16, lora_alpha=32, target_modules=LORA_TARGETS, task_type="CAUSAL_LM")
    return get_peft_model(model, lora), processor


def films(count: int) -> list[Image.Image]:
    """Drawn films, no two of which are alike."""
    drawn = []
    for number in range(count):
        image = Image.new("RGB", (448, 448), (20 + 9 * number,) * 3)
        ImageDraw.Draw(image).ellipse((50, 40 + 9 * number, 300, 400), fill=(180, 200, 90))
        drawn.append(image)
    return drawn


def rows(count: int, words: int) -> Dataset:
    """Studies with prompt, image and a trace."""
    images = films(count)
    table = Dataset.from_list([{"number": number} for number in range(count)])
    return table.with_transform(
        lambda batch: {
            "prompt": [[{"role": "user", "content": WORDS * words}] for _ in batch["number"]],
            "completion": [[{"role": "assistant", "content": COMPLETION}] for _ in batch["number"]],
            "image": [images[number] for number in batch["number"]],
        }
    )


def timed(found: dict[str, float], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, whose seconds are added to `found[name]`."""

    def run(*args: Any, **kwargs: Any) -> Any:
        began = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            found[name] += time.process_time() - began

    return run


def grpo(setting: Setting, ours: bool) -> dict[str, float]:
    """Seconds of one rollout with two updates: rollout, scoring (reference and old log-probabilities), update, all of it."""
    model, processor = model_of(setting.family, setting.size)
    table = rows(setting.prompts, setting.words)
    data = table.with_transform(_without_completion(table))
    config = GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        use_cpu=True,
        bf16=False,
        report_to="none",
        disable_tqdm=True,
        max_steps=2,
        num_iterations=2,
        num_generations=setting.group,
        per_device_train_batch_size=setting.group,
        gradient_accumulation_steps=setting.prompts,
        max_completion_length=setting.tokens,
        beta=0.15,
        temperature=0.8,
        top_p=0.95,
        top_k=0,
        loss_type="dr_grpo",
        scale_rewards="none",
        gradient_checkpointing=False,
        disable_dropout=True,
        save_strategy="no",
        logging_strategy="no",
    )
    kinds: dict[str, Any] = {"model": model, "reward_funcs": [_reward], "args": config, "train_dataset": data}
    if ours:
        without_gradients(model.get_base_model())
        trainer = RolloutTrainer(**kinds, processing_class=processor, features=FeatureStore(model, processor))
    else:
        trainer = GRPOTrainer(**kinds, processing_class=processor)
    found: dict[str, float] = defaultdict(float)
    for name, method in (("rollout", "_generate_single_turn"), ("step", "training_step"), ("prepare", "_prepare_inputs")):
        setattr(trainer, method, timed(found, name, getattr(trainer, method)))
    score = trainer._get_per_token_logps_and_entropies
    scored = timed(found, "scoring", score)
    either = {"_get_per_token_logps_and_entropies": lambda *a, **k: (score if torch.is_grad_enabled() else scored)(*a, **k)}
    trainer.__dict__.update(either)
    timed(found, "grpo", trainer.train)()
    found["update"] = found.pop("step") - found.pop("prepare")
    return dict(found)


def _without_completion(table: Dataset) -> Callable[[dict[str, list[Any]]], dict[str, list[Any]]]:
    return lambda batch: {name: values for name, values in table[batch["number"]].items() if name != "completion"}


def _reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [len(set(ids)) / len(ids) for ids in completion_ids]


def sft(setting: Setting, ours: bool) -> dict[str, float]:
    """Seconds of some epochs of SFT, batches of one, with gradient checkpointing (TRL's default, and the paper's)."""
    model, processor = model_of(setting.family, setting.size)
    processor.tokenizer.padding_side = "right"
    if ours:
        without_gradients(model.get_base_model())
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=tempfile.mkdtemp(),
            use_cpu=True,
            bf16=False,
            report_to="none",
            disable_tqdm=True,
            num_train_epochs=setting.epochs,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=setting.images,
            gradient_checkpointing=True,
            max_length=None,
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
        ),
        train_dataset=rows(setting.images, setting.words),
        processing_class=processor,
        data_collator=TraceCollator(processor, FeatureStore(model, processor)) if ours else None,
    )
    found: dict[str, float] = defaultdict(float)
    timed(found, "sft", trainer.train)()
    return dict(found)


def operations(side: Callable[[], object]) -> float:
    """Floating-point operations of one side's matrix products, attention included, which torch counts in this form alone."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        side()
    return float(counter.get_total_flops())


def compare(plain: Side, ours: Side, repeats: int, count: bool = False) -> dict[str, dict[str, float]]:
    """Ratios of seconds, `plain` to `ours`, in turns; with the ratio of all operations where `count`."""
    pairs = []
    for _ in range(repeats):
        with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            pairs.append((plain(), ours()))
        gc.collect()
    found: dict[str, dict[str, float]] = {}
    for name in pairs[0][0]:
        ratios = [one[name] / other[name] for one, other in pairs]
        found[name] = {"ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}
        for side, key in enumerate(("plain_s", "ours_s")):
            found[name][key] = statistics.median(pair[side][name] for pair in pairs)
    if count:
        whole = max(found, key=lambda name: found[name]["plain_s"])  # all that was measured
        with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            found[whole]["floor"] = operations(plain) / operations(ours)
    return found


def prompt_tokens(family: str, words: int) -> int:
    """Length of a prompt, its image included."""
    labels = TraceCollator(model_of(family)[1])([rows(1, words)[0]])["labels"]
    return int((labels == -100).sum())


def vision_share(family: str) -> float:
    """Share of a plain forward pass over one prompt and completion that the vision tower takes, in operations."""
    model, processor = model_of(family)
    batch = TraceCollator(processor)([rows(1, Setting.words)[0]])
    asked = [batch["pixel_values"]] + ([batch["image_grid_thw"]] if "image_grid_thw" in batch else [])
    batch.pop("labels")
    with torch.no_grad():
        tower = operations(lambda: model.get_base_model().base_model.get_image_features(*asked))
        return tower / operations(lambda: model(**batch))


def both(
    kind: Callable[[Setting, bool], dict[str, float]], name: str, setting: Setting, repeats: int, count: bool = False
) -> Results:
    """`kind` of training with TRL alone and with ours, compared; whole and in parts."""
    sides = [partial(kind, setting, ours) for ours in (False, True)]
    for part, measured in compare(sides[0], sides[1], repeats, count).items():
        yield f"{setting.family}/{name}/{part}", measured


def training(families: list[str], repeats: int) -> Results:
    """GRPO and SFT of the proportioned models, and of the phantom world's stand-ins."""
    for family in families:
        yield f"{family}/vision share", {"ratio": vision_share(family), "prompt": prompt_tokens(family, Setting.words)}
        setting = Setting(family)
        yield from both(grpo, "G=4", setting, repeats, count=True)
        yield from both(sft, "epochs=3", setting, repeats, count=True)
        small = replace(setting, size="small", prompts=8, tokens=100)
        yield from both(grpo, "stand-in", small, repeats)
        yield from both(sft, "stand-in", small, repeats)


def growth(families: list[str], repeats: int) -> Results:
    """GRPO with larger and smaller groups and with shorter and longer prompts, SFT with fewer and more epochs."""
    for family in families:
        setting = Setting(family)
        for epochs in (1, 6):
            yield from both(sft, f"epochs={epochs}", replace(setting, epochs=epochs), repeats)
        for length, words in (("short", 3), ("long", 24)):
            for name, measured in both(grpo, f"{length} prompt", replace(setting, words=words), repeats):
                yield name, measured | {"prompt": prompt_tokens(family, words)}
        for group in (2, 8, 16):
            yield from both(grpo, f"G={group}", replace(setting, group=group), repeats)
