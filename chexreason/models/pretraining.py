"""Pre-training of the stand-in models from random weights, in the two phases of the models that they stand for.

First the vision encoder learns to tell from an image which words its caption holds (as contrastive image-text pre-training
does for SigLIP), then the whole model learns to answer questions about images. Plain loops rather than a trainer: images
are turned into pixels once and prompts into tokens once, which on two cores is most of what a trainer's collator would cost.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import trange
from transformers import PreTrainedModel, ProcessorMixin, get_cosine_schedule_with_warmup

from chexreason.completion import TAGS
from chexreason.labels import FINDINGS
from chexreason.prompts import Prompt, all_prompts, write_answer
from chexreason.teacher.forms import FORMS
from chexreason.teacher.scene import scene

# Most questions are short ones, as in a corpus of images and captions: the study's long prompts are the rarer kind.
CAPTION_QUESTION = {"radiographs": "List the findings.", "shapes": "Describe the image."}
REPORT_QUESTION = "Write a report."
REASONING_QUESTION = "Think, then give the solution."
SHARES = {"caption": 0.25, "report": 0.25, "reasoning": 0.2, "prompt": 0.3}  # of the batches
IGNORED = -100


@dataclass(frozen=True)
class Corpus:
    """Drawn images, what each shows, and the questions that are asked about them."""

    images: list[Image.Image]
    captions: list[str]  # the answer to the caption question
    reports: list[str]  # radiology's prose, which a model must have read before it can be taught to reason in it
    labels: list[list[str]]  # the answer to every other question
    caption_question: str
    prompts: list[Prompt]

    def texts(self) -> Iterator[str]:
        """Everything that will be read or written: what the tokenizer learns from."""
        for prompt in self.prompts:
            yield from [prompt.instruction] * 20
        yield from self.reports
        for caption, labels in zip(self.captions, self.labels, strict=True):
            yield caption
            yield write_answer(self.prompts[0].grammar, thoughts(labels), labels)
        yield from [self.caption_question, REPORT_QUESTION, REASONING_QUESTION] * 20


def thoughts(labels: list[str]) -> str:
    """A plain sentence before the answer; the reasoning itself is for the teacher to teach."""
    return f"The image shows {', '.join(labels).lower()}."


def draw_corpus(kind: str, count: int, seed: int) -> Corpus:
    """`count` images of `kind` with what they show.

    Shapes carry no medical meaning, so the labels and reports asked of them are drawn at random: a general-purpose model
    has read how radiologists write and knows how to answer in a grammar, but not what a radiograph shows.
    """
    rng, words = np.random.default_rng(seed), random.Random(seed)
    prompts = all_prompts()
    if kind == "radiographs":
        from chexreason.data.phantom.world import labelled_phantoms

        drawn = list(labelled_phantoms(count, seed=seed))
        images = [Image.fromarray(phantom.image).convert("RGB") for phantom, _ in drawn]
        labels = [list(findings) for _, findings in drawn]
        reports = [report(findings, [asdict(sign) for sign in phantom.signs], words) for phantom, findings in drawn]
        return Corpus(images, [", ".join(chosen) for chosen in labels], reports, labels, CAPTION_QUESTION[kind], prompts)

    from chexreason.data.phantom.shapes import draw_shapes

    shapes = [draw_shapes(int(one)) for one in rng.integers(2**31, size=count)]
    images = [Image.fromarray(pixels).convert("RGB") for pixels, _ in shapes]
    labels = [_random_labels(rng) for _ in shapes]
    reports = [report(chosen, [], words) for chosen in labels]
    return Corpus(images, [caption for _, caption in shapes], reports, labels, CAPTION_QUESTION[kind], prompts)


def report(labels: Sequence[str], signs: Sequence[Mapping[str, Any]], rng: random.Random) -> str:
    """A few sentences on what was drawn, in one of the ways in which the offline teacher writes."""
    return rng.choice(list(FORMS.values()))(scene(labels, signs, rng))


def _random_labels(rng: np.random.Generator) -> list[str]:
    chosen = rng.choice(len(FINDINGS), size=rng.integers(1, 4), replace=False)
    return [FINDINGS[index] for index in sorted(chosen)]


def image_inputs(processor: ProcessorMixin, corpus: Corpus) -> list[dict[str, torch.Tensor]]:
    """Each image of the corpus as the model's vision encoder takes it."""
    pixels = [processor.image_processor([image], return_tensors="pt") for image in corpus.images]
    return [{name: one[name] for name in ("pixel_values", "image_grid_thw") if name in one} for one in pixels]


def _stacked(inputs: list[dict[str, torch.Tensor]], chosen: np.ndarray, device: str) -> dict[str, torch.Tensor]:
    return {name: torch.cat([inputs[index][name] for index in chosen]).to(device) for name in inputs[0]}


def pretrain_vision(
    model: PreTrainedModel,
    images: list[dict[str, torch.Tensor]],
    captions: list[str],
    steps: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    log: Callable[[dict[str, Any], int], None],
) -> float:
    """Teach the vision encoder which words an image's caption holds; returns the mean loss of the last tenth of steps."""
    device = _device(model)
    vocabulary = sorted({word for caption in captions for word in _words(caption)})
    targets = torch.tensor([[float(word in _words(caption)) for word in vocabulary] for caption in captions])
    head = torch.nn.Linear(model.config.get_text_config().hidden_size, len(vocabulary)).to(device)
    share = targets.mean(dim=0).clamp(0.01, 0.99)
    criterion = torch.nn.BCEWithLogitsLoss(pos_weight=((1 - share) / share).sqrt().to(device))
    rng = np.random.default_rng(seed)

    def loss() -> torch.Tensor:
        chosen = rng.choice(len(images), batch_size, replace=False)
        features = model.model.get_image_features(**_stacked(images, chosen, device), return_dict=True).pooler_output
        pooled = torch.stack([one.mean(dim=0) for one in features])
        return criterion(head(pooled), targets[chosen].to(device))

    weights = [*model.parameters(), *head.parameters()]
    return _optimise(weights, loss, steps, learning_rate, weight_decay, "vision", log)


def _words(caption: str) -> set[str]:
    return set(caption.replace(",", " ").split())


def pretrain_language(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    images: list[dict[str, torch.Tensor]],
    corpus: Corpus,
    steps: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    log: Callable[[dict[str, Any], int], None],
) -> float:
    """Teach the language model to answer from what the vision encoder sees, which stays as it is.

    Returns:
        The mean loss over the answers' tokens in the last tenth of steps.
    """
    device = _device(model)
    batches = _batches(processor, images, corpus, batch_size, seed)
    weights = [weight for name, weight in model.named_parameters() if "vision_tower" not in name and "visual" not in name]
    for weight in set(model.parameters()) - set(weights):
        weight.requires_grad_(False)

    def loss() -> torch.Tensor:
        return model(**{name: value.to(device) for name, value in next(batches).items()}).loss

    return _optimise(weights, loss, steps, learning_rate, weight_decay, "language", log)


def _device(model: PreTrainedModel) -> str:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).train()
    return device


def _optimise(
    weights: list[torch.nn.Parameter],
    loss: Callable[[], torch.Tensor],
    steps: int,
    learning_rate: float,
    weight_decay: float,
    name: str,
    log: Callable[[dict[str, Any], int], None],
) -> float:
    """AdamW with warm-up and cosine decay over `steps` calls of `loss`."""
    optimizer = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=weight_decay, betas=(0.9, 0.98))
    schedule = get_cosine_schedule_with_warmup(optimizer, steps // 20, steps)
    losses: list[float] = []
    with trange(steps, desc=f"pre-training {name}", unit="step") as bar:
        for step in bar:
            current = loss()
            current.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(current.item())
            if (step + 1) % 20 == 0:
                recent = float(np.mean(losses[-20:]))
                bar.set_postfix(loss=f"{recent:.3f}")
                log({f"{name}_loss": recent}, step + 1)
    return float(np.mean(losses[-max(1, steps // 10) :]))


@dataclass(frozen=True)
class _Question:
    """A question turned into tokens: the prompt with its image placeholders, and the fields that mark them."""

    ids: torch.Tensor
    marks: dict[str, torch.Tensor]
    grammar: str | None = None  # answered with the labels in it


def _batches(
    processor: ProcessorMixin, images: list[dict[str, torch.Tensor]], corpus: Corpus, batch_size: int, seed: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Endless batches: images in a new order each time round, each with one question and its answer."""
    rng = np.random.default_rng(seed)
    kinds = {
        "caption": [_question(processor, corpus.caption_question)],
        "report": [_question(processor, REPORT_QUESTION)],
        "reasoning": [_question(processor, REASONING_QUESTION, TAGS.name)],
        "prompt": [_question(processor, prompt.instruction, prompt.grammar) for prompt in corpus.prompts],
    }
    end = processor.tokenizer.convert_tokens_to_ids(_end_of_turn(processor))
    while True:
        order = rng.permutation(len(images))
        for start in range(0, len(order) - batch_size + 1, batch_size):
            chosen = order[start : start + batch_size]
            # One question per batch, so that short ones are not padded to the length of long ones.
            kind = str(rng.choice(list(SHARES), p=list(SHARES.values())))
            question = kinds[kind][rng.integers(len(kinds[kind]))]
            prose = {"caption": corpus.captions, "report": corpus.reports}.get(kind)
            answers = [
                prose[index]
                if prose
                else write_answer(str(question.grammar), thoughts(corpus.labels[index]), corpus.labels[index])
                for index in chosen
            ]
            yield _collate(processor, question, answers, end) | _stacked(images, chosen, "cpu")


def _question(processor: ProcessorMixin, instruction: str, grammar: str | None = None) -> _Question:
    message = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": instruction}]}]
    text = processor.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    blank = Image.new("RGB", (256, 256))
    inputs = processor(images=[[blank]], text=[text], return_tensors="pt", add_special_tokens=False)
    marks = {name: inputs[name][0] for name in ("token_type_ids", "mm_token_type_ids") if name in inputs}
    return _Question(inputs["input_ids"][0], marks, grammar)


def _collate(processor: ProcessorMixin, question: _Question, answers: list[str], end: int) -> dict[str, torch.Tensor]:
    written = [[*processor.tokenizer(answer, add_special_tokens=False)["input_ids"], end] for answer in answers]
    longest = max(len(ids) for ids in written)
    pad = processor.tokenizer.pad_token_id
    answer = torch.tensor([ids + [pad] * (longest - len(ids)) for ids in written])
    real = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in written])
    many = len(answers)
    prompt = question.ids.expand(many, -1)
    return {
        "input_ids": torch.cat([prompt, answer], dim=1),
        "attention_mask": torch.cat([torch.ones_like(prompt), real], dim=1),
        "labels": torch.cat([torch.full_like(prompt, IGNORED), answer.masked_fill(real == 0, IGNORED)], dim=1),
        **{name: torch.cat([mark.expand(many, -1), torch.zeros_like(answer)], dim=1) for name, mark in question.marks.items()},
    }


def _end_of_turn(processor: ProcessorMixin) -> str:
    """The marker that the chat template closes a turn with."""
    rendered = processor.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
    return rendered.rstrip("\n").rsplit("x", 1)[1]
