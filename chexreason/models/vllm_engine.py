"""vLLM in the generator's place: it batches by itself, so give it as many images at once as main memory holds.

Optional, for GPU servers (`pip install 'chexreason[vllm]'`). Its kernels round otherwise than transformers' do, so the engine
is part of what defines a run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from chexreason.models.generation import Completion, Sampling, seed_of
from chexreason.runs.files import read_json

if TYPE_CHECKING:
    from chexreason.prompts import Prompt
    from chexreason.runs.config import Model


@dataclass(frozen=True)
class VllmGenerator:
    """Answers one prompt like `Generator`, through a loaded `vllm.LLM`."""

    engine: Any
    prompt: Prompt
    max_tokens: int
    sampling: Sampling
    image_token: int
    adapter: Any = None  # a LoRARequest

    def __call__(self, images: Sequence[Image.Image], draw: int = 0) -> list[Completion]:
        """A completion for each image; where they are sampled, the same `draw` gives the same ones."""
        from vllm import SamplingParams

        how = [
            SamplingParams(
                temperature=self.sampling.temperature,
                top_p=self.sampling.top_p if self.sampling.temperature > 0 else 1.0,
                max_tokens=self.max_tokens,
                seed=seed_of(self.sampling, draw + place),
                logit_bias={self.image_token: -100.0},  # a placeholder would claim an image that is not there
            )
            for place in range(len(images))
        ]
        asked = [
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_pil", "image_pil": image},
                        {"type": "text", "text": self.prompt.instruction},
                    ],
                }
            ]
            for image in images
        ]
        written = [one.outputs[0] for one in self.engine.chat(asked, how, lora_request=self.adapter, use_tqdm=False)]
        return [Completion(one.text, len(one.token_ids), one.finish_reason == "stop") for one in written]


def load(model: Model, prompt: Prompt, adapter: Path | None, max_tokens: int) -> Callable[[Sampling], VllmGenerator]:
    """The model in vLLM, its adapter beside it: what answers, once it is told how to sample."""
    from transformers import AutoConfig
    from vllm import LLM
    from vllm.lora.request import LoRARequest

    config = AutoConfig.from_pretrained(model.weights)
    pixels = {}
    if model.family == "qwen2_5_vl":  # as load_processor does: one token is (patch x merge)^2 pixels
        side = config.vision_config.patch_size * config.vision_config.spatial_merge_size
        pixels = {"min_pixels": model.min_visual_tokens * side**2, "max_pixels": model.max_visual_tokens * side**2}
    rank = {"enable_lora": True, "max_lora_rank": read_json(adapter / "adapter_config.json")["r"]} if adapter else {}
    engine = LLM(
        model=model.weights,
        dtype=model.dtype,
        limit_mm_per_prompt={"image": 1},
        mm_processor_kwargs=pixels or None,
        **rank,
    )
    request = LoRARequest("adapter", 1, str(adapter)) if adapter else None
    image_token = int(config.image_token_id)
    return lambda sampling: VllmGenerator(engine, prompt, max_tokens, sampling, image_token, request)
