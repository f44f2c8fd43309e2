"""Answers in batches: the same as one by one, reproducible where sampled, and none lost where memory is short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from peft.tuners.lora import LoraLayer
from PIL import Image

from chexreason.models.generation import Completion, Generator, Sampling, completions, load_generator
from chexreason.models.loading import add_lora, load_adapter, load_model, save_adapter
from chexreason.models.processors import load_processor
from chexreason.prompts import Prompt
from chexreason.runs.groups import Engine, Model

PROMPT = Prompt("test", "labels", "", "", "List the findings.")
IMAGES = [Image.new("RGB", (256, 256), (shade,) * 3) for shade in (0, 90, 255)]


GREEDY = Sampling()


def generator(model: Model, sampling: Sampling = GREEDY, tokens: int = 12) -> Generator:
    return Generator(load_model(model).eval(), load_processor(model, padding_side="left"), PROMPT, tokens, sampling)


def test_a_batch_is_answered_as_its_images_are_one_by_one(checkpoint: Model) -> None:
    answer = generator(checkpoint)
    assert answer(IMAGES) == [answer([image])[0] for image in IMAGES]


def test_a_draw_is_reproducible_and_draws_differ(checkpoint: Model) -> None:
    answer = generator(checkpoint, Sampling(temperature=1.0, top_p=0.95, seed=1))
    first, again, other = answer(IMAGES, 0), answer(IMAGES, 0), answer(IMAGES, 1)
    assert first == again and first != other
    assert generator(checkpoint, Sampling(temperature=1.0, top_p=0.95, seed=2))(IMAGES, 0) != first


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_adapter_is_added_to_the_weights_only_where_these_can_hold_it(dtype: str, checkpoint: Model, tmp_path: Path) -> None:
    adapted = add_lora(load_model(checkpoint), seed=0, rank=4, alpha=8, dropout=0.1)
    torch.manual_seed(0)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    save_adapter(adapted, tmp_path, checkpoint)
    given = replace(checkpoint, dtype=dtype)
    answer = load_generator(Engine("transformers", None, None), given, PROMPT, str(tmp_path), 12)(GREEDY)
    apart = load_adapter(load_model(given), tmp_path)
    assert [one.text for one in answer(IMAGES, 0)] == [one.text for one in replace(answer, model=apart)(IMAGES, 0)]
    assert all(layer.merged == (dtype == "float32") for layer in answer.model.modules() if isinstance(layer, LoraLayer))


def test_the_image_token_is_never_written(checkpoint: Model) -> None:
    answer = generator(checkpoint, tokens=6)
    wanted = answer.model.config.image_token_id
    head = answer.model.get_output_embeddings()
    bias = torch.zeros(head.out_features)
    bias[wanted] = 1e4
    head.bias = torch.nn.Parameter(bias)  # a policy that wants nothing but image tokens
    (written,) = answer([Image.new("RGB", (64, 64))])
    assert answer.processor.tokenizer.convert_ids_to_tokens(wanted) not in written.text
    assert written.num_tokens > 0


@dataclass
class Memory:
    """A model that holds `room` images at once."""

    room: int
    tried: list[int] = field(default_factory=list)

    def __call__(self, images: Sequence[Image.Image], draw: int) -> list[Completion]:
        self.tried.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError
        return [Completion(f"{image.getpixel((0, 0))} {draw}", 1, True) for image in images]


def read(file: Path) -> Image.Image:
    return Image.new("L", (1, 1), int(file.stem))


def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_skipped() -> None:
    small = Memory(room=2)
    written = list(completions(small, [Path(f"{number}.png") for number in range(10)], read, 8))
    assert [int(completion.text.split()[0]) for completion in written] == list(range(10))
    assert small.tried == [8, 4, 2, 2, 2, 2, 2]


def test_one_image_that_does_not_fit_is_an_error_and_no_endless_loop() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        list(completions(Memory(room=0), [Path("1.png"), Path("2.png")], read, 2))


def test_a_run_that_goes_on_at_a_batch_draws_what_it_would_have_drawn() -> None:
    files = [Path(f"{number}.png") for number in range(6)]
    whole = [completion.text for completion in completions(Memory(9), files, read, 2)]
    rest = [completion.text for completion in completions(Memory(9), files[4:], read, 2, first_draw=4)]
    assert whole[4:] == rest
