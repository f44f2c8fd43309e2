"""What GRPO promises: equation 2, the SFT checkpoint as its reference, and a ratio of 1 before the policy has moved."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from chexreason.data.images import read_image
from chexreason.errors import ChexReasonError
from chexreason.models.loading import adapter_digest, frozen_digest, load_adapter, load_model
from chexreason.models.processors import load_processor
from chexreason.runs.config import as_dict, compose, group
from chexreason.runs.folders import Run
from chexreason.runs.groups import Model
from chexreason.stages import grpo
from chexreason.training.reward_function import RewardFunction
from chexreason.training.rollouts import NucleusMass, RolloutTrainer
from chexreason.training.trainer import with_images
from tests.stages.conftest import GRPO, execute, loaded, log


def trainer_of(run: Run) -> RolloutTrainer:
    """The stage's trainer, before it has trained."""
    model = load_adapter(load_model(run.model), run.parents["policy"] / "adapter", trainable=True)
    studies = [grpo.example(study, run) for study in grpo.read_studies(run)]
    processor = load_processor(run.model, padding_side="left")
    trainer = RolloutTrainer(
        model=model,
        reward_funcs=[RewardFunction(run.reward, run.prompt.grammar, {}, processor.tokenizer.all_special_ids)],
        args=grpo.arguments(run),
        train_dataset=with_images(studies, read_image),
        processing_class=processor,
    )
    trainer.current_gradient_accumulation_steps = run.settings.accumulation
    return trainer


def rollout(trainer: RolloutTrainer, count: int = 4) -> dict[str, Any]:
    """One rollout for the first two studies, as the trainer makes it."""
    trainer.model.train()
    rows = [trainer.train_dataset[index // 2] for index in range(count)]
    return trainer._generate_and_score_completions(rows)


@pytest.fixture
def run(order: Callable[..., Path], policy: Path) -> Run:
    return loaded(order("run", *GRPO, policy=policy))


def move(model: torch.nn.Module, size: float) -> None:
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".default." in name and "lora_" in name:
                weight.add_(size * torch.randn_like(weight))


def log_probabilities(model: Any, batch: dict[str, Any], temperature: float) -> torch.Tensor:
    """log pi(token) at `temperature` for each completion token, from the whole distribution."""
    inputs = {
        "input_ids": torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1),
        "attention_mask": torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1),
        "pixel_values": batch["pixel_values"].to(model.dtype),
    }
    inputs |= {key: batch[key] for key in ("token_type_ids", "mm_token_type_ids", "image_grid_thw") if key in batch}
    length = batch["completion_ids"].size(1)
    logits = model(**inputs).logits[:, -length - 1 : -1] / temperature
    return torch.log_softmax(logits, -1).gather(-1, batch["completion_ids"].unsqueeze(-1)).squeeze(-1)


@pytest.mark.parametrize("weighted", [True, False])
def test_the_loss_is_equation_2(order: Callable[..., Path], policy: Path, weighted: bool) -> None:
    run = loaded(order("run", *GRPO, f"stage.trainer.use_bias_correction_kl={weighted}", policy=policy))
    trainer = trainer_of(run)
    batch = rollout(trainer)
    batch["advantages"] = torch.tensor([0.7, -0.7, 0.4, -0.4])  # whatever the rewards were, both signs can be clipped
    move(trainer.model, 0.06)
    loss = trainer.compute_loss(trainer.model, batch) * run.settings.accumulation

    exact = trainer.model.to(torch.float64).eval()
    with torch.no_grad():
        new = log_probabilities(exact, batch, run.settings.temperature)
        exact.set_adapter("ref")
        reference = log_probabilities(exact, batch, run.settings.temperature)  # the SFT checkpoint
    old = reference  # at the rollout the policy was the SFT checkpoint
    total, clipped = 0.0, 0
    for i, advantage in enumerate(batch["advantages"].tolist()):
        for j in range(int(batch["completion_mask"][i].sum())):
            ratio = math.exp(new[i, j] - old[i, j])
            bounded = min(max(ratio, 1 - 0.15), 1 + 0.22)
            clipped += bounded * advantage < ratio * advantage
            gap = float(reference[i, j] - new[i, j])
            divergence = math.exp(gap) - gap - 1  # an unbiased estimate of KL(policy || reference), never negative
            total += min(ratio * advantage, bounded * advantage) - 0.15 * divergence * (ratio if weighted else 1)
    # Dr. GRPO: every token weighs the same, whatever its completion's length: the constant is the longest that may be.
    objective = total / (len(old) * run.settings.max_completion_tokens)
    assert clipped > 0, "or clipping would not be tested"
    assert float(loss) == pytest.approx(-objective, rel=1e-4)


def test_the_ratio_is_one_before_the_policy_has_moved(run: Run) -> None:
    assert run.settings.top_p == 0.95
    trainer = trainer_of(run)
    batch = rollout(trainer)
    with torch.no_grad():
        now = log_probabilities(trainer.model, batch, run.settings.temperature)
    ratio = (now - batch["old_per_token_logps"]).exp()[batch["completion_mask"].bool()]
    assert torch.allclose(ratio, torch.ones_like(ratio), atol=1e-4)


def test_what_top_p_leaves_out_is_measured(run: Run) -> None:
    trainer = trainer_of(run)
    trainer.nucleus.stride = 1
    rollout(trainer)
    measured = trainer._metrics["train"]["sampling/top_p_log_ratio"]
    assert len(measured) == 1 and math.log(0.95) - 1e-6 <= measured[0] < 0
    # Three tokens of 0.6, 0.36 and 0.04: the nucleus of 0.95 holds 0.96.
    nucleus = NucleusMass(temperature=0.8, top_p=0.95, ends=[9], stride=1)
    scores = 0.8 * torch.tensor([[0.6, 0.36, 0.04], [1.0, 1.0, 1.0]]).log()
    assert torch.equal(nucleus(torch.tensor([[5], [9]]), scores), scores)
    assert nucleus.log_ratio() == pytest.approx(math.log(0.96), rel=1e-4), "a completion that has ended is not counted"


def test_the_reference_is_the_sft_checkpoint_and_not_the_base_model(run: Run) -> None:
    trainer = trainer_of(run)
    batch = rollout(trainer)
    sft = load_adapter(load_model(run.model), run.parents["policy"] / "adapter")
    mask = batch["completion_mask"].bool()
    with torch.no_grad():
        checkpoint = log_probabilities(sft, batch, run.settings.temperature)[mask]
        with sft.disable_adapter():
            base = log_probabilities(sft, batch, run.settings.temperature)[mask]
    assert torch.allclose(batch["ref_per_token_logps"][mask], checkpoint, atol=1e-4)
    assert not torch.allclose(checkpoint, base, atol=1e-2), "or the test could not tell them apart"
    move(trainer.model, 0.05)
    again = rollout(trainer)
    assert adapter_digest(trainer.model, "ref") == adapter_digest(sft)
    with torch.no_grad():
        still = log_probabilities(sft, again, run.settings.temperature)
    mask = again["completion_mask"].bool()
    assert torch.allclose(again["ref_per_token_logps"][mask], still[mask], atol=1e-4)


def test_only_the_policys_adapter_trains(run: Run) -> None:
    trainer = trainer_of(run)
    batch = rollout(trainer)
    trainable = [name for name, weight in trainer.model.named_parameters() if weight.requires_grad]
    assert trainable and all(".language_model." in name and ".default." in name for name in trainable)
    trainer.compute_loss(trainer.model, batch).backward()
    assert {name for name, weight in trainer.model.named_parameters() if weight.grad is not None} <= set(trainable)


def test_an_image_token_is_never_sampled(run: Run) -> None:
    trainer = trainer_of(run)
    wanted = trainer.model.config.image_token_id
    head = trainer.model.get_output_embeddings()
    bias = torch.zeros(head.out_features)
    bias[wanted] = 1e4
    head.bias = torch.nn.Parameter(bias, requires_grad=False)  # a policy that wants nothing but image tokens
    rows = [trainer.train_dataset[0]] * 2
    prompts = [[{"role": "user", "content": [{"type": "image", "image": row["image"]}, *_text(row)]}] for row in rows]
    completions = trainer._generate(prompts)[1]
    assert all(wanted not in ids for ids in completions) and all(completions)


def _text(row: dict[str, Any]) -> list[dict[str, str]]:
    return [{"type": "text", "text": row["prompt"][0]["content"]}]


def test_no_prompt_is_cut(run: Run, tiny: Model) -> None:
    trainer = trainer_of(run)
    batch = rollout(trainer)
    features = 36 if tiny.family == "gemma3" else int(batch["image_grid_thw"][0].prod()) // 4
    processor = load_processor(tiny)
    for row, mask in zip(batch["prompt_ids"], batch["prompt_mask"], strict=True):
        assert int((row == trainer.model.config.image_token_id).sum()) == features
        text = processor.tokenizer.decode(row[mask.bool()], skip_special_tokens=True)
        assert run.prompt.instruction.strip() in text


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_a_run_reuses_its_rollouts_and_proves_what_it_trained(
    order: Callable[..., Path], policy: Path, data: Path, tiny: Model
) -> None:
    # Long completions lose half a point: rewards that are all alike would teach nothing, and nothing would be clipped.
    spread = ["reward.min_tokens=8", "reward.length_penalty=0.5", "stage.temperature=2.0"]
    words = [*GRPO, *spread, "stage.max_steps=4", "stage.learning_rate=5e-2"]
    folder = order("proved", *words, policy=policy, validation=data)
    metrics = execute(folder)
    lines = log(folder)
    clipped = {line["step"]: line["clip_ratio/region_mean"] for line in lines if "kl" in line}
    assert [line["step"] for line in lines if "reward" in line] == [1, 3], "each rollout serves two steps"
    assert clipped[1] == clipped[3] == 0.0 and clipped[2] + clipped[4] > 0.0, "clipping acts on the second step"
    digests = metrics["digests"]
    assert digests["frozen"] == frozen_digest(load_model(tiny))
    assert digests["reference"] == digests["adapter_at_start"] != digests["adapter"]
    assert digests["adapter"] == adapter_digest(load_adapter(load_model(tiny), folder / "adapter"))
    assert metrics["collapsed"] is None and math.log(0.95) <= metrics["top_p_log_ratio"] < 0


@pytest.mark.parametrize("tiny", ["qwen2_5_vl"], indirect=True)
def test_validation_chooses_the_best_and_changes_nothing(order: Callable[..., Path], policy: Path, data: Path) -> None:
    words = [*GRPO, "stage.max_steps=4", "stage.save_steps=2", "stage.learning_rate=5e-2"]
    plain = execute(order("plain", *words, policy=policy))
    folder = order("chosen", *words, policy=policy, validation=data)
    chosen = execute(folder)
    assert chosen["digests"] == plain["digests"], "validation leaves no trace in the training"
    scores = {line["step"]: line["validation/macro_f1"] for line in log(folder) if "validation/macro_f1" in line}
    assert list(scores) == [2, 4]
    best = chosen["best"]
    assert best["by"] == "validation/macro_f1" and best["score"] == max(scores.values()) == scores[best["step"]]
    assert plain["best"]["by"] == "reward"
    assert (folder / "adapter_best" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_studies_of_several_sites_are_learnt_from_together(order: Callable[..., Path], policy: Path, data: Path) -> None:
    run = loaded(order("sites", *GRPO, "stage.limit=4", policy=policy, curated_other=data))
    studies = grpo.read_studies(run)
    assert len(studies) == 8 and studies[:4] == studies[4:], "the limit is each site's"
    assert {study["root"] for study in studies} == {str(data)}


def clinical(*words: str) -> Run:
    """A clinical run as its stage is given it, on the CPU."""
    plain = as_dict(compose(("stage=grpo", "model=medgemma", "model.dtype=float32", *words)))
    groups = {name: group(name, plain[name]) for name in grpo.USES}
    return Run(settings=group("stage", plain["stage"]), folder=Path("nowhere"), **groups)


def test_the_clinical_settings_are_the_papers() -> None:
    """Section 3.2.2."""
    found = group("stage", as_dict(compose(("stage=grpo", "model=medgemma")))["stage"])
    assert (found.completions, found.temperature, found.top_p) == (4, 0.8, 0.95)
    assert (found.beta, found.clip_low, found.clip_high, found.steps_per_rollout) == (0.15, 0.15, 0.22, 2)
    arguments = grpo.arguments(clinical())
    assert (arguments.loss_type, arguments.scale_rewards, arguments.importance_sampling_level) == ("dr_grpo", "none", "token")
    assert (arguments.epsilon, arguments.epsilon_high, arguments.num_iterations) == (0.15, 0.22, 2)
    assert arguments.save_steps == 26, "a checkpoint never parts the steps on one rollout"


def test_rollouts_by_another_engine_are_corrected_token_by_token() -> None:
    arguments = grpo.arguments(clinical("engine=vllm"))
    assert arguments.vllm_importance_sampling_correction and arguments.vllm_importance_sampling_mode == "token_truncate"
    assert not arguments.use_vllm, "TRL's own would merge each adapter into the base weights"
    with pytest.raises(ChexReasonError, match="engine.name=vlm: one of transformers, vllm is wanted"):
        clinical("engine.name=vlm")


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is there")
def test_an_engine_that_is_not_installed_says_how_to_get_it() -> None:
    with pytest.raises(ChexReasonError, match=r"pip install 'chexreason\[vllm\]'"):
        clinical("engine=vllm").engine.require()
