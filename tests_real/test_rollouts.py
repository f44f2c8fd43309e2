"""Five steps of GRPO whose completions vLLM writes: the adapter moves, and the base weights stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("vllm", reason="no vLLM here: tests_real/environment.sh makes an environment that has it")

from datasets import Dataset  # noqa: E402
from trl import GRPOConfig  # noqa: E402

from chexreason.models.generation import Sampling  # noqa: E402
from chexreason.models.loading import adapter_digest, frozen_digest, load_adapter, load_model  # noqa: E402
from chexreason.models.processors import load_processor  # noqa: E402
from chexreason.models.vllm_engine import Rollouts, load_rollouts  # noqa: E402
from chexreason.training.rollouts import RolloutTrainer  # noqa: E402
from tests_real.conftest import PROMPT, Trained  # noqa: E402

STEPS = 5


class Served(RolloutTrainer):
    """TRL's trainer, its completions by `rollouts`, and its correction for the other engine's probabilities in force."""

    def __init__(self, *args: Any, rollouts: Rollouts, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.rollouts = rollouts
        self.use_vllm = True  # only now, or TRL would start an engine of its own and merge the adapter into it

    def _generate_single_turn(self, prompt_ids: Any, images: Any, *_: Any, **__: Any) -> Any:
        policy = self.accelerator.unwrap_model(self.model)
        return self.rollouts(policy, self.state.global_step, prompt_ids, [one for (one,) in images])


@pytest.mark.parametrize("trained", ["qwen2_5_vl"], indirect=True)  # vLLM's CPU backend misreads a Gemma's images
def test_training_on_its_rollouts_moves_the_adapter_alone(trained: Trained, films: list[Image.Image], tmp_path: Path) -> None:
    model = load_adapter(load_model(trained.model), trained.adapter, trainable=True)
    before = frozen_digest(model), adapter_digest(model)
    rows = [{"prompt": [{"role": "user", "content": PROMPT.instruction}], "image": film.convert("RGB")} for film in films[:8]]
    written: list[str] = []

    def reward(completions: list[Any], **_: Any) -> list[float]:
        texts = [one[0]["content"] for one in completions]
        written.extend(texts)
        return [text.count("e") / 10 for text in texts]

    sampling = Sampling(temperature=1.0, top_p=1.0, seed=0)
    rollouts = load_rollouts(trained.model, PROMPT, 16, 24, sampling, tmp_path / "sent")
    trainer = Served(
        model=model,
        reward_funcs=[reward],
        args=GRPOConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=STEPS,
            num_generations=4,
            per_device_train_batch_size=8,
            max_completion_length=24,
            temperature=1.0,
            learning_rate=1e-3,
            beta=0.0,
            loss_type="dr_grpo",
            vllm_importance_sampling_mode="token_truncate",
            use_cpu=True,
            bf16=False,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=load_processor(trained.model, padding_side="left"),
        rollouts=rollouts,
    )
    trainer.train()
    assert frozen_digest(model) == before[0] and adapter_digest(model) != before[1]
    assert rollouts.update == STEPS - 1 and rollouts.request.lora_int_id == STEPS, "an adapter of its own for each update"
    assert len(written) == 8 * STEPS and len(set(written)) > STEPS
    history = [entry for entry in trainer.state.log_history if "sampling/sampling_logp_difference/mean" in entry]
    apart = [entry["sampling/sampling_logp_difference/mean"] for entry in history]
    print(f"\nmean |log-probability, ours - vLLM's| at each of {STEPS} steps: {', '.join(f'{one:.1e}' for one in apart)}")
    assert len(apart) == STEPS and max(apart) < 1e-3, "each rollout was drawn from the policy that it is scored by"
