"""Pre-training of the stand-in models from random weights, in the two phases of the models that they stand for.

First the vision encoder learns to name what lies under each visual token in the language model's own word embeddings: SigLIP's
sigmoid loss (Zhai et al. 2023), token by token, since a few thousand images teach small signs only when they are pointed at.
Then the language model learns to answer questions about images. Plain loops rather than a trainer: images are turned into
pixels once and prompts into tokens once, which on two cores is most of what a trainer's collator would cost. Muon (Jordan et
al. 2024) needs about a third of AdamW's steps here.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import normalize, pad
from torch.nn.utils.rnn import pad_sequence
from tqdm import trange
from transformers import PreTrainedModel, ProcessorMixin, get_cosine_schedule_with_warmup

from chexreason.answers.grammars import TAGS
from chexreason.models.encoding import IGNORED, chat, encode, token_types
from chexreason.phantom.film import Box, Sign
from chexreason.phantom.forms import FORMS
from chexreason.phantom.scene import Scene, scene_of
from chexreason.phantom.shapes import draw_shapes
from chexreason.phantom.world import labelled_phantoms
from chexreason.prompts import Prompt, write_answer

# Most questions are short ones, as in a corpus of images and captions.
CAPTION_QUESTION = {"radiographs": "List the findings.", "shapes": "Describe the image."}
REPORT_QUESTION = "Write a report."
FREE = "free_reasoning"  # most reports and reasoning; the rest is in any form of the study, for fine-tuning to find its words
REASONING_QUESTION = "Think, then give the solution."
SHARES = {"caption": 25, "report": 20, "reasoning": 45}  # of the batches without a prompt of the study, in proportion


@dataclass(frozen=True)
class Corpus:
    """Drawn images, what each shows, and the questions that are asked about them."""

    images: list[Image.Image]
    regions: list[list[tuple[str, Box]]]  # what lies where, for the vision encoder
    captions: list[str]
    scenes: list[Scene]  # what reports and reasoning describe
    findings: list[list[str]]  # all that the scene holds: the solution that follows its reasoning
    labels: list[list[str]]  # the answer to a prompt of the study, and to the caption question
    caption_question: str
    prompts: list[Prompt]
    prompt_share: float  # of the batches

    def texts(self) -> Iterator[str]:
        """Everything that will be read or written: what the tokenizer learns from."""
        for prompt in self.prompts:
            yield from [prompt.instruction] * 20
        forms = itertools.cycle(FORMS.values())
        for caption, shown, labels in zip(self.captions, self.scenes, self.labels, strict=True):
            yield caption
            yield next(forms)(shown)
            yield write_answer(self.prompts[0].grammar, thoughts(labels), labels)
        yield from [self.caption_question, REPORT_QUESTION, REASONING_QUESTION] * 20


def thoughts(labels: list[str]) -> str:
    """A plain sentence before the answer; the reasoning itself is for the teacher to teach."""
    return f"The image shows {', '.join(labels).lower()}."


def draw_corpus(kind: str, count: int, prompts: list[Prompt], prompt_share: float, seed: int) -> Corpus:
    """`count` images of `kind` with what they show, and the `prompts` to ask of them.

    A general-purpose model has read how radiologists write and knows how to answer in a grammar, but not what a radiograph
    shows: what is asked of shapes is answered from films that it does not see, drawn small since only their signs are wanted.
    """
    rng, words = np.random.default_rng(seed), random.Random(seed)
    radiographs = kind == "radiographs"
    drawn = list(labelled_phantoms(count, seed, size=128 if radiographs else 64))
    scenes = [scene_of(findings, [asdict(sign) for sign in phantom.signs], words) for phantom, findings in drawn]
    labels = [brief(findings, phantom.signs) if rng.random() < 0.5 else list(findings) for phantom, findings in drawn]
    if radiographs:
        pictures = [phantom.image for phantom, _ in drawn]
        regions = [[(sign.finding, sign.box) for sign in phantom.signs] for phantom, _ in drawn]
        captions = [", ".join(chosen) for chosen in labels]
    else:
        shapes = [draw_shapes(int(one)) for one in rng.integers(2**31, size=count)]
        pictures = [pixels for pixels, _ in shapes]
        regions = [[(word, box) for phrase, box in placed.items() for word in phrase.split()[1:4]] for _, placed in shapes]
        captions = [", ".join(placed) for _, placed in shapes]
    images = [Image.fromarray(pixels).convert("RGB") for pixels in pictures]
    findings = [list(shown) for _, shown in drawn]
    return Corpus(images, regions, captions, scenes, findings, labels, CAPTION_QUESTION[kind], prompts, prompt_share)


def brief(findings: Sequence[str], signs: Sequence[Sign]) -> list[str]:
    """The two findings that take most of the film: half of the captions name no more, as in general corpora.

    So the model as it comes knows more than it says, and there is something left for fine-tuning to teach.
    """
    areas = dict.fromkeys(findings, 0.0)
    for sign in signs:
        x0, y0, x1, y1 = sign.box
        areas[sign.finding] = areas.get(sign.finding, 0.0) + (x1 - x0) * (y1 - y0)
    largest = sorted(findings, key=lambda finding: -areas[finding])[:2]
    return [finding for finding in findings if finding in largest]


def pixel_inputs(processor: ProcessorMixin, corpus: Corpus) -> list[dict[str, torch.Tensor]]:
    """Each image of the corpus as the model's vision encoder takes it."""
    pixels = [processor.image_processor([image], return_tensors="pt") for image in corpus.images]
    return [{name: one[name] for name in ("pixel_values", "image_grid_thw") if name in one} for one in pixels]


def _stacked(inputs: list[dict[str, torch.Tensor]], chosen: np.ndarray, device: str) -> dict[str, torch.Tensor]:
    return {name: torch.cat([inputs[index][name] for index in chosen]).to(device) for name in inputs[0]}


@dataclass(frozen=True)
class Phase:
    """One of the two: its steps, and the rates of AdamW and, for the matrices inside transformer layers, of Muon."""

    name: str
    steps: int
    batch_size: int
    learning_rate: float
    matrix_learning_rate: float
    weight_decay: float
    seed: int


def pretrain_vision(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    images: list[dict[str, torch.Tensor]],
    regions: list[list[tuple[str, Box]]],
    phase: Phase,
    log: Callable[[dict[str, Any], int], None],
) -> float:
    """Teach the vision encoder what lies under each visual token; returns the mean loss of the last tenth of steps."""
    device = _device(model)
    names = sorted({name for placed in regions for name, _ in placed})
    spelt = [_token_ids(processor, f" {name}") + _token_ids(processor, f" {name.lower()}") for name in names]
    with torch.no_grad():
        side = math.isqrt(_visual_tokens(model, _stacked(images, np.array([0]), device)).shape[1])
    targets = torch.from_numpy(np.stack([under_tokens(placed, names, side) for placed in regions]))
    share = targets.mean(dim=(0, 1)).clamp(0.002, 0.99)
    criterion = torch.nn.BCEWithLogitsLoss(pos_weight=((1 - share) / share).sqrt().to(device))
    scale = torch.nn.Parameter(torch.tensor(10.0, device=device))
    bias = torch.nn.Parameter(torch.full((len(names),), -3.0, device=device))
    words = model.get_input_embeddings().weight
    rng = np.random.default_rng(phase.seed)

    def loss() -> torch.Tensor:
        chosen = rng.choice(len(images), phase.batch_size, replace=False)
        tokens = normalize(_visual_tokens(model, _stacked(images, chosen, device)), dim=-1)
        texts = normalize(torch.stack([words[ids].mean(dim=0) for ids in spelt]), dim=-1)
        return criterion(scale * tokens @ texts.T + bias, targets[chosen].to(device))

    weights = [(name, weight) for name, weight in model.named_parameters() if "language_model.layers" not in name]
    return _optimise([*weights, ("scale", scale), ("bias", bias)], loss, phase, log)


def _visual_tokens(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the language model is given of each image: shape (images, tokens, width)."""
    return torch.stack(list(model.model.get_image_features(**inputs, return_dict=True).pooler_output))


def under_tokens(placed: Sequence[tuple[str, Box]], names: Sequence[str], side: int) -> NDArray[np.float32]:
    """Which of `names` lie under each of side x side visual tokens, row by row: shape (side * side, names), 0 or 1.

    A thing lies under a token where at least a quarter of the token, or of the thing where that is the smaller, is shared.
    """
    low, high = np.arange(side) / side, (np.arange(side) + 1) / side
    under = np.zeros((side, side, len(names)), np.float32)
    for name, (x0, y0, x1, y1) in placed:
        across = np.clip(np.minimum(x1, high) - np.maximum(x0, low), 0, None)
        down = np.clip(np.minimum(y1, high) - np.maximum(y0, low), 0, None)
        shared = np.outer(down, across)
        under[..., names.index(name)] += shared > 0.25 * min(1 / side**2, (x1 - x0) * (y1 - y0))
    return under.clip(max=1).reshape(side * side, len(names))


def pretrain_language(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    images: list[dict[str, torch.Tensor]],
    corpus: Corpus,
    phase: Phase,
    log: Callable[[dict[str, Any], int], None],
) -> float:
    """Teach the language model to answer from what the vision encoder sees, which stays as it is.

    Returns:
        The mean loss over the answers' tokens in the last tenth of steps.
    """
    device = _device(model)
    batches = _batches(processor, images, corpus, phase.batch_size, phase.seed)
    seeing = [weight for name, weight in model.named_parameters() if "vision_tower" in name or "visual" in name]
    for weight in seeing:
        weight.requires_grad_(False)
    weights = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]

    def loss() -> torch.Tensor:
        batch = {name: value.to(device) for name, value in next(batches).items()}
        return model(**batch, logits_to_keep=batch["labels"].shape[1]).loss

    return _optimise(weights, loss, phase, log)


def _device(model: PreTrainedModel) -> str:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).train()
    return device


def _optimise(
    weights: list[tuple[str, torch.nn.Parameter]],
    loss: Callable[[], torch.Tensor],
    phase: Phase,
    log: Callable[[dict[str, Any], int], None],
) -> float:
    """Warm-up and cosine decay over the phase's calls of `loss`; returns the mean loss of the last tenth."""
    inner = [weight for name, weight in weights if weight.ndim == 2 and (".layers." in name or ".blocks." in name)]
    outer = [weight for _, weight in weights if all(weight is not one for one in inner)]
    optimizers = [
        torch.optim.Muon(inner, lr=phase.matrix_learning_rate, weight_decay=phase.weight_decay),
        torch.optim.AdamW(outer, lr=phase.learning_rate, weight_decay=phase.weight_decay, betas=(0.9, 0.98)),
    ]
    schedules = [get_cosine_schedule_with_warmup(one, phase.steps // 20, phase.steps) for one in optimizers]
    losses: list[float] = []
    with trange(phase.steps, desc=f"pre-training {phase.name}", unit="step") as bar:
        for step in bar:
            current = loss()
            current.backward()
            torch.nn.utils.clip_grad_norm_([weight for _, weight in weights], 1.0)
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            losses.append(current.item())
            if (step + 1) % 20 == 0:
                recent = float(np.mean(losses[-20:]))
                bar.set_postfix(loss=f"{recent:.3f}")
                log({f"{phase.name}_loss": recent}, step + 1)
    return float(np.mean(losses[-max(1, phase.steps // 10) :]))


@dataclass(frozen=True)
class _Question:
    """A question turned into tokens: the prompt with its image placeholders, and the fields that mark them."""

    ids: torch.Tensor
    marks: dict[str, torch.Tensor]
    grammar: str | None = None  # of the answer to a prompt


def _batches(
    processor: ProcessorMixin, images: list[dict[str, torch.Tensor]], corpus: Corpus, batch_size: int, seed: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Endless batches: images in a new order each time round, each with one question and its answer."""
    rng = np.random.default_rng(seed)
    weights = np.array([*SHARES.values()]) / sum(SHARES.values()) * (1 - corpus.prompt_share)
    shares = dict(zip(SHARES, weights, strict=True)) | {"prompt": corpus.prompt_share}
    kinds = {
        "caption": [_question(processor, corpus.caption_question)],
        "report": [_question(processor, REPORT_QUESTION)],
        "reasoning": [_question(processor, REASONING_QUESTION)],
        "prompt": [_question(processor, prompt.instruction, prompt.grammar) for prompt in corpus.prompts],
    }
    end = processor.tokenizer.convert_tokens_to_ids(_end_of_turn(processor))
    while True:
        order = rng.permutation(len(images))
        for start in range(0, len(order) - batch_size + 1, batch_size):
            chosen = order[start : start + batch_size]
            # One question, and one form of answer, per batch: short ones are not padded to the length of long ones.
            kind = str(rng.choice(list(shares), p=list(shares.values())))
            question = kinds[kind][rng.integers(len(kinds[kind]))]
            if kind == "caption":
                answers = [corpus.captions[index] for index in chosen]
            elif kind in ("report", "reasoning"):
                form = FORMS[FREE if rng.random() < 0.7 else str(rng.choice(list(FORMS)))]
                answers = [form(corpus.scenes[index]) for index in chosen]
                if kind == "reasoning":
                    solutions = [corpus.findings[index] for index in chosen]
                    answers = [write_answer(TAGS.name, *both) for both in zip(answers, solutions, strict=True)]
            else:
                shown = [corpus.labels[index] for index in chosen]
                answers = [write_answer(str(question.grammar), thoughts(labels), labels) for labels in shown]
            yield _collate(processor, question, answers, end) | _stacked(images, chosen, "cpu")


def _question(processor: ProcessorMixin, instruction: str, grammar: str | None = None) -> _Question:
    inputs = encode(processor, [chat(processor, instruction)], [Image.new("RGB", (256, 256))])
    name = token_types(inputs)
    return _Question(inputs["input_ids"][0], {name: inputs[name][0]}, grammar)


def _collate(processor: ProcessorMixin, question: _Question, answers: list[str], end: int) -> dict[str, torch.Tensor]:
    written = [torch.tensor([*_token_ids(processor, answer), end]) for answer in answers]
    answer = pad_sequence(written, batch_first=True, padding_value=processor.tokenizer.pad_token_id)
    real = pad_sequence([torch.ones_like(ids) for ids in written], batch_first=True)
    many = len(answers)
    prompt = question.ids.expand(many, -1)
    return {
        "input_ids": torch.cat([prompt, answer], dim=1),
        "attention_mask": torch.cat([torch.ones_like(prompt), real], dim=1),
        # Of the answer alone, and one before it, from which its first token is predicted.
        "labels": pad(answer.masked_fill(real == 0, IGNORED), (1, 0), value=IGNORED),
        **{name: torch.cat([mark.expand(many, -1), torch.zeros_like(answer)], dim=1) for name, mark in question.marks.items()},
    }


def _token_ids(processor: ProcessorMixin, text: str) -> list[int]:
    return list(processor.tokenizer(text, add_special_tokens=False)["input_ids"])


def _end_of_turn(processor: ProcessorMixin) -> str:
    """The marker that the chat template closes a turn with."""
    rendered = processor.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
    return rendered.rstrip("\n").rsplit("x", 1)[1]
