"""vLLM in the generator's place: it batches by itself, so give it as many images at once as main memory holds.

Optional, for GPU servers (`pip install 'chexreason[vllm]'`). Its kernels round otherwise than transformers' do, so the engine
is part of what defines a run. Everything else is the same: our processor writes the prompt's tokens and resizes the image. An
adapter goes beside the weights with each request, never into them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from chexreason.errors import ChexReasonError
from chexreason.families import family
from chexreason.models.encoding import chat, encode
from chexreason.models.generation import Completion, Sampling, seed_of
from chexreason.models.loading import stop_ids
from chexreason.models.processors import load_processor, resized
from chexreason.runs.files import read_json

if TYPE_CHECKING:
    from peft import PeftModel

    from chexreason.prompts import Prompt
    from chexreason.runs.groups import Model


@dataclass(frozen=True)
class VllmModel:
    """A loaded `vllm.LLM` that answers one prompt."""

    llm: Any
    processor: Any
    text: str  # as the chat template writes it
    prompt_ids: list[int]  # the image's placeholder in it once: vLLM writes as many as the image takes
    stops: list[int]
    image_token: int
    max_tokens: int
    seeds_requests: bool  # vLLM's CPU backend cannot: there the engine's seed decides
    prompts: dict[int, list[int]] = field(default_factory=dict, repr=False)  # our processor's, by their image's tokens

    def __call__(
        self, images: Sequence[Image.Image], sampling: Sampling, draw: int, adapter: Any = None, expected: Any = None
    ) -> list[Any]:
        """vLLM's output for each image: a request with its `prompt_token_ids` and one completion.

        Where completions are sampled, the first image's is number `draw` and each next one's the next. `expected`: the prompts
        that are to be read; None: those that our processor writes.

        Raises:
            ChexReasonError: vLLM read another prompt.
        """
        from vllm import SamplingParams

        sampled = sampling.temperature > 0
        how = [
            SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p if sampled else 1.0,
                seed=seed_of(sampling, draw + place) if sampled and self.seeds_requests else None,
                max_tokens=self.max_tokens,
                stop_token_ids=self.stops,
                logprobs=0,  # of the written token alone
                logit_bias={self.image_token: -100.0},  # a placeholder would refer to an image that does not exist
            )
            for place in range(len(images))
        ]
        films = [resized(self.processor, image) for image in images]
        asked = [{"prompt_token_ids": self.prompt_ids, "multi_modal_data": {"image": film}} for film in films]
        written = self.llm.generate(asked, how, lora_request=adapter, use_tqdm=False)
        for one, ids in zip(written, map(self._prompt, images) if expected is None else expected, strict=True):
            if list(one.prompt_token_ids) != list(ids):
                raise ChexReasonError(
                    f"vLLM read a prompt of {len(one.prompt_token_ids)} tokens where our processor writes one of {len(ids)}: "
                    "the checkpoint's processor files differ from its tokenizer's"
                )
        return written

    def _prompt(self, image: Image.Image) -> list[int]:
        length = self.processor.visual_tokens(*image.size)  # a prompt varies with nothing else
        if length not in self.prompts:
            self.prompts[length] = encode(self.processor, [self.text], [image.convert("RGB")])["input_ids"][0].tolist()
        return self.prompts[length]


@dataclass(frozen=True)
class VllmGenerator:
    """Answers one prompt like `Generator`."""

    engine: VllmModel
    sampling: Sampling
    adapter: Any = None  # a LoRARequest

    def __call__(self, images: Sequence[Image.Image], draw: int = 0) -> list[Completion]:
        """A completion for each image; where they are sampled, the same `draw` gives the same ones."""
        written = [one.outputs[0] for one in self.engine(images, self.sampling, draw, self.adapter)]
        return [self._completion(list(one.token_ids), one.finish_reason == "stop") for one in written]

    def _completion(self, ids: list[int], finished: bool) -> Completion:
        if finished and ids and ids[-1] in self.engine.stops:
            ids = ids[:-1]
        text = self.engine.processor.tokenizer.decode(ids, skip_special_tokens=True)
        return Completion(text, len(ids), finished)


def load(
    model: Model, prompt: Prompt, adapter: Path | None, max_tokens: int, memory: float | None
) -> Callable[[Sampling], VllmGenerator]:
    """The model in vLLM with its adapter beside it; returns a function from `Sampling` to a generator."""
    engine = load_engine(model, prompt, max_tokens, _rank(adapter) if adapter else None, memory)
    request = lora_request(1, adapter) if adapter else None
    return lambda sampling: VllmGenerator(engine, sampling, request)


def load_engine(
    model: Model, prompt: Prompt, max_tokens: int, rank: int | None, memory: float | None, seed: int = 0
) -> VllmModel:
    """`model` in vLLM, with room for the prompt, one image and `max_tokens`, and for adapters of `rank`, if any.

    `memory`: share of the GPU's that it may take.

    Raises:
        ChexReasonError: vLLM does not start; where its own process says why, that stands above.
    """
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # it would report the model, the hardware and the settings to its makers

    from transformers import AutoConfig, GenerationConfig
    from vllm import LLM
    from vllm.platforms import current_platform

    _require_images_at_once(model)
    cpu = current_platform.is_cpu()
    processor = load_processor(model)
    text = chat(processor, prompt.instruction)
    prompt_ids = list(processor.tokenizer(text, add_special_tokens=False)["input_ids"])  # the template has written them
    # Images arrive at their size and are not to be resized again. Where a model's bounds are close, rounding may exceed them.
    room = 2 * model.max_visual_tokens
    lora = {"enable_lora": True, "max_lora_rank": max(8, rank), "max_loras": 1} if rank else {}
    try:
        llm = LLM(
            model=model.weights,
            dtype=model.dtype,
            seed=seed,
            max_model_len=len(prompt_ids) + room + 8 + max_tokens,
            gpu_memory_utilization=memory,
            enforce_eager=cpu,  # on a CPU, compiling takes longer than a trial run
            generation_config="vllm",  # the checkpoint's own config may penalise words of the prompt
            logprobs_mode="processed_logprobs",  # of the distribution that is drawn from
            **processor.as_it_is(room),
            **lora,
        )
    except (RuntimeError, ValueError) as error:
        raise ChexReasonError(
            f"vLLM does not start on {model.weights}: {error}\n"
            "  engine.memory and, beside training, engine.rollout_memory say how much of the GPU's memory it may take"
        ) from error
    stops = stop_ids(GenerationConfig.from_pretrained(model.weights))
    image_token = int(AutoConfig.from_pretrained(model.weights).image_token_id)
    return VllmModel(llm, processor, text, prompt_ids, stops, image_token, max_tokens, seeds_requests=not cpu)


@dataclass
class Rollouts:
    """GRPO's completions by vLLM: the policy's adapter is sent with the requests, under a new id after each update.

    The base weights are loaded once and stay as they are: merging an adapter into them and taking it out again, as TRL does at
    each update, drifts them in bfloat16 (TRL #6688). `folder` holds the adapter that is in use, and nothing else.
    """

    engine: VllmModel
    sampling: Sampling
    folder: Path
    update: int = -1
    request: Any = field(default=None, repr=False)

    def __call__(
        self, policy: PeftModel, update: int, prompt_ids: Sequence[Sequence[int]], images: Sequence[Image.Image]
    ) -> tuple[list[list[int]], list[list[float]]]:
        """Completions of `policy` after `update` optimizer steps, and the log-probabilities that vLLM drew their tokens with.

        `prompt_ids`: what the trainer will score the completions after, image placeholders and all. Shapes: (images, tokens).

        Raises:
            ChexReasonError: vLLM answered another prompt than `prompt_ids`.
        """
        if update != self.update:
            self.request, self.update = self._sent(policy, update), update
        written = self.engine(images, self.sampling, update * len(images), self.request, prompt_ids)
        drawn = [one.outputs[0] for one in written]
        ids = [list(one.token_ids) for one in drawn]
        return ids, [[row[token].logprob for row, token in zip(one.logprobs, one.token_ids, strict=True)] for one in drawn]

    def _sent(self, policy: PeftModel, update: int) -> Any:
        shutil.rmtree(self.folder, ignore_errors=True)
        policy.save_pretrained(self.folder, selected_adapters=["default"], save_embedding_layers=False)
        return lora_request(update + 1, self.folder)


def load_rollouts(
    model: Model, prompt: Prompt, adapter: Path, max_tokens: int, sampling: Sampling, memory: float | None, folder: Path
) -> Rollouts:
    """`model` in vLLM beside the trainer's own copy, for policies that start from `adapter`; `folder` is for theirs."""
    return Rollouts(load_engine(model, prompt, max_tokens, _rank(adapter), memory, sampling.seed), sampling, folder)


def _rank(adapter: Path) -> int:
    return int(read_json(adapter / "adapter_config.json")["r"])


def _require_images_at_once(model: Model) -> None:
    """Where the tokens of one image attend to each other both ways, vLLM 0.32 computes it on GPUs alone.

    Raises:
        ChexReasonError: on a CPU, where what it answered would not be the model's answer.
    """
    from vllm.platforms import current_platform
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

    if not family(model.family).images_at_once or not current_platform.is_cpu():
        return
    if not AttentionBackendEnum.CPU_ATTN.get_class().supports_mm_prefix():
        raise ChexReasonError(
            f"model={model.name}: on a CPU, vLLM reads the tokens of an image one after the other, where this model reads them "
            "at once, and answers otherwise than the model: engine=transformers, or a machine with a GPU"
        )


def lora_request(number: int, folder: Path) -> Any:
    from vllm.lora.request import LoRARequest

    return LoRARequest(f"adapter-{number}", number, str(folder))
