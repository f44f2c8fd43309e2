"""GRPO's rollouts: what TRL's trainer is given besides its configuration, and what is measured on the way.

The sampler draws from the nucleus (top-p), while the trainer's old and new log-probabilities are both those of the whole
distribution. The importance ratio is therefore exactly 1 at a rollout's first step, as equation 2 wants; what is left is
that a token was drawn with the probability pi / mass, mass being its nucleus's, which lies between top_p and 1. The ratio
of the policy to its sampler is `mass`: at 0.95 it is at most 5 % below 1, well within the clipping range. Its mean
logarithm is logged as `sampling/top_p_log_ratio`; it is not corrected, as the paper corrects nothing.

Where another engine draws (engine=vllm), it says with which probability, its own rounding included, and TRL's truncated
importance ratio of policy to sampler weighs each token; that ratio corrects what top-p leaves out, too. Its logarithm's mean
and standard deviation over a rollout's tokens are logged as `sampling/log_ratio` and `sampling/log_ratio_spread`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, TopPLogitsWarper
from trl import GRPOTrainer
from trl.trainer.utils import split_tensor_dict

from chexreason.models import shared_prompt
from chexreason.models.decoding import decode
from chexreason.models.encoding import check_inputs, encode, token_types
from chexreason.models.features import FeatureStore, ImageFeatures
from chexreason.training.packing import can_pack, groups, score

# The two terms that a step weighs against each other: mean |advantage| of a token's gradient, and beta times its mean KL.
ADVANTAGE, WEIGHTED_KL = "balance/advantage", "balance/beta_kl"


class NucleusMass(LogitsProcessor):
    """Measures the nucleus on every `stride`-th token of a rollout; changes no score."""

    def __init__(self, temperature: float, top_p: float, ends: list[int], stride: int = 8):
        self.temperature, self.nucleus, self.ends, self.stride = temperature, TopPLogitsWarper(top_p), ends, stride
        self.total, self.count, self.length = 0.0, 0, 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.length += 1
        if self.length % self.stride == 1 or self.stride == 1:
            scaled = scores.float() / self.temperature
            mass = self.nucleus(input_ids, scaled).logsumexp(-1) - scaled.logsumexp(-1)
            writing = ~torch.isin(input_ids[:, -1], torch.tensor(self.ends, device=input_ids.device))
            self.total += float(mass[writing].sum())
            self.count += int(writing.sum())
        return scores

    def log_ratio(self) -> float:
        """Mean over tokens of log(policy / sampler) since the last call: between log(top_p) and 0."""
        mean = self.total / max(1, self.count)
        self.total, self.count, self.length = 0.0, 0, 0
        return mean


@dataclass(frozen=True)
class Tokenised:
    """Stands in for the processor where TRL would tokenise the prompts of a rollout a second time, with special tokens."""

    processor: Any
    inputs: dict[str, torch.Tensor]

    def __call__(self, **_: Any) -> dict[str, torch.Tensor]:
        return dict(self.inputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.processor, name)


class RolloutTrainer(GRPOTrainer):
    """TRL's trainer, with prompts tokenised once; a resumed one goes on with the order of studies of an uninterrupted one.

    `epochs_before`: epochs that were over when the run was interrupted. `unit`: the reward's points that count as 1, so that
    beta times the KL term weighs the same against every reward; rewards are logged in points. (Advantages that
    `scale_rewards` divides by their own spread have no unit.) `features`: where given, image features are computed once
    and a group's prompt once for all its completions, in rollouts, scoring and updates; None: as TRL does it. `rollouts`:
    writes completions in transformers' place; from the policy, its optimizer steps so far, prompts' ids and images it makes
    completions' ids and the log-probabilities that they were drawn with.
    """

    processing_class: Any
    num_iterations: int
    _buffered_inputs: list[dict[str, Any]] | None

    def __init__(
        self,
        *args: Any,
        epochs_before: int = 0,
        unit: float = 1.0,
        features: FeatureStore | None = None,
        rollouts: Callable[[Any, int, Any, Any], tuple[list[list[int]], list[list[float]]]] | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.epochs_before = epochs_before
        self.unit = unit if self.scale_rewards == "none" else 1.0
        ends = [*self.eos_token_ids, self._tokenizer.pad_token_id]
        self.nucleus = NucleusMass(self.temperature, self.top_p, ends)
        self.features = features if features is not None and can_pack(features.model) else None
        self.rollouts = rollouts
        # Set only after __init__: TRL then applies its importance correction, but starts no vLLM of its own.
        self.use_vllm = rollouts is not None
        self.films: list[ImageFeatures] = []  # of the rollout's prompts
        self.scored: torch.Tensor | None = None

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        sampler = super()._get_train_sampler(dataset)
        for _ in range(self.epochs_before):  # its generator draws one permutation per epoch
            torch.randperm(sampler.num_samples, generator=sampler.generator)
        return sampler

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """As in TRL, but whole groups are shuffled, so that completions of one prompt stay in one update."""
        steps = self.args.steps_per_generation
        if self.features is None or not self.model.training:
            return super()._prepare_inputs(generation_batch)
        if self._step % (steps * self.num_iterations) == 0 or self._buffered_inputs is None:
            made = self._generate_and_score_completions(generation_batch)
            # As many random numbers as TRL's own shuffle would draw.
            drawn = torch.randperm(len(made["advantages"])) // self.num_generations
            places = [group * self.num_generations for group in dict.fromkeys(drawn.tolist())]
            order = torch.cat([torch.arange(place, place + self.num_generations) for place in places])
            made = {key: value[order] if torch.is_tensor(value) and value.ndim else value for key, value in made.items()}
            self._buffered_inputs = split_tensor_dict(made, steps)
        return self._buffered_inputs[self._step % steps]

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        processor, iterations = self.processing_class, self.num_iterations
        if self.features is not None and self.args.steps_per_generation == self.args.gradient_accumulation_steps:
            # TRL then takes the first update's log-probabilities as the old ones: its policy generated the rollout.
            self.num_iterations = 1
        try:
            made = super()._generate_and_score_completions(inputs)
        finally:
            self.processing_class, self.num_iterations = processor, iterations
        if self.rollouts is not None:
            log_ratio = (made["old_per_token_logps"] - made["sampling_per_token_logps"])[made["completion_mask"].bool()]
            metrics = self._metrics["train" if self.model.training else "eval"]
            metrics["sampling/log_ratio"].append(log_ratio.mean().item())
            metrics["sampling/log_ratio_spread"].append(log_ratio.std().item())
        return made | {"advantages": made["advantages"] / self.unit}

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss = super()._compute_loss(model, inputs)
        if self.scored is not None:
            inputs.setdefault("old_per_token_logps", self.scored.detach())
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics[ADVANTAGE].append(self.accelerator.gather(inputs["advantages"].abs().mean()).mean().item())
        if self.beta:
            metrics[WEIGHTED_KL].append(self.beta * metrics["kl"][-1])
        return loss

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], list[Any], dict[str, Any]]:
        """The prompts' ids without padding, their images, and what else the model takes, as TRL wants them.

        With a feature store, the place of pixels is taken by the number of the first prompt that equals each.
        """
        images = [[part["image"] for part in prompt[0]["content"] if part["type"] == "image"] for prompt in prompts]
        processor = self.processing_class
        texts = [processor.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True) for prompt in prompts]
        if self.features is None:
            inputs = dict(encode(processor, texts, [image for (image,) in images]))
        else:
            inputs, self.films = self.features.encode(texts, [image for (image,) in images])
            rows = [(text, id(film)) for text, film in zip(texts, self.films, strict=True)]
            inputs["pixel_values"] = torch.tensor([rows.index(row) for row in rows])
        self.processing_class = Tokenised(processor, inputs)
        real = inputs["attention_mask"].bool()
        name = token_types(inputs)
        ids, kinds = ([row[mask].tolist() for row, mask in zip(inputs[key], real, strict=True)] for key in ("input_ids", name))
        fields = {key: value for key, value in inputs.items() if key not in ("input_ids", "attention_mask", name)}
        return ids, images, fields | {name: kinds}

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> Any:
        check_inputs(self.processing_class, {"input_ids": input_ids, **kwargs})
        if self.features is None:
            return super()._get_per_token_logps_and_entropies(model, input_ids, attention_mask, logits_to_keep, *args, **kwargs)
        length = input_ids.shape[1] - logits_to_keep
        real, kinds = attention_mask.bool(), kwargs[token_types(kwargs)]
        found: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        for group in groups(kwargs["pixel_values"].tolist(), kwargs.get("batch_size") or len(input_ids)):
            row = group.start
            shown = real[row, :length]
            written = [ids[length:][mask[length:]] for ids, mask in zip(input_ids[group], real[group], strict=True)]
            film = self.films[int(kwargs["pixel_values"][row])]
            with self.accelerator.autocast():
                found += score(
                    model, self.features.model, input_ids[row, :length][shown], kinds[row, :length][shown], film, written
                )
        self.scored, entropies = (_padded(values, logits_to_keep) for values in zip(*found, strict=True))
        return self.scored, entropies if kwargs.get("compute_entropy") else None, None

    def _generate_single_turn(self, prompt_ids: list[list[int]], images: list[Any], *args: Any, **kwargs: Any) -> Any:
        model = self.accelerator.unwrap_model(self.model)
        if self.rollouts is not None:
            return self.rollouts(model, self.state.global_step, prompt_ids, [image for (image,) in images])
        write = partial(model.generate, custom_generate=decode)  # completions that have ended leave the batch
        if self.top_p < 1:
            write = partial(write, logits_processor=LogitsProcessorList([self.nucleus]))
        model.generate = write if self.features is None else partial(self._write, write)
        try:
            return super()._generate_single_turn(prompt_ids, images, *args, **kwargs)
        finally:
            vars(model).pop("generate", None)
            if self.nucleus.count:
                self._log_metric("sampling/top_p_log_ratio", self.nucleus.log_ratio())

    def _write(self, write: Callable[..., torch.Tensor], pixel_values: torch.Tensor, **inputs: Any) -> torch.Tensor:
        assert self.features is not None
        asked = {name: inputs.pop(name) for name in ("input_ids", "attention_mask", token_types(inputs))}
        return shared_prompt.generate(write, self.features.model, asked, self.films, pixel_values.tolist(), **inputs)


def _padded(values: Sequence[torch.Tensor | None], length: int) -> torch.Tensor | None:
    rows = [torch.nn.functional.pad(row, (0, length - len(row))) for row in values if row is not None]
    return torch.stack(rows) if rows else None
