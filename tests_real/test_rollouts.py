"""GRPO through its stage with engine=vllm: it learns as with transformers, and the base weights stay as they are."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from PIL import Image

from chexreason.models.loading import adapter_digest, frozen_digest, load_adapter, load_model
from chexreason.runs.folders import read_manifest
from tests.stages.conftest import curate, execute, log, write_order
from tests_real.conftest import LABELS, PROMPT, Trained, require_vllm

require_vllm()

STEPS, COMPLETIONS = 5, 16  # of each step, four for each of four studies
WORDS = [
    "stage=grpo",
    f"prompt={PROMPT.name}",
    "reward.min_tokens=8",
    f"stage.max_steps={STEPS}",
    "stage.completions=4",
    "stage.batch_size=8",
    "stage.accumulation=2",
    "stage.steps_per_rollout=1",
    "stage.max_completion_tokens=48",
    "stage.learning_rate=1e-4",  # so low that runs part by what is sampled, and hardly by what they have learnt from it
    "stage.logging_steps=1",
]


@pytest.fixture(scope="module")
def runs(trained: Trained, films: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Complete runs: plain, by vLLM twice, and from the whole distribution. A study has the labels that the adapter names."""
    folder = tmp_path_factory.mktemp("grpo") / "runs"
    data = folder / "data"
    data.mkdir(parents=True)
    studies = [
        {"path": f"{number}.png", "patient": f"p{number}", "labels": LABELS[(number + 5) % len(LABELS)]}
        for number in range(len(films))
    ]
    for study, film in zip(studies, films, strict=True):
        film.save(data / study["path"])
    curate(data, studies, rl=slice(STEPS * COMPLETIONS // 4), sft=slice(0), validation=slice(0))
    made = {}
    served = ["engine=vllm"]
    for name, words in {"plain": [], "vllm": served, "again": served, "whole": [*served, "stage.top_p=1.0"]}.items():
        made[name] = write_order(folder / name, trained.model, data, [*WORDS, *words], {"policy": trained.adapter.parent})
        execute(made[name])
    return made


def curve(folder: Path, name: str) -> list[float]:
    """What the run logged under `name` at each step."""
    found = [line[name] for line in log(folder) if name in line]
    assert len(found) == STEPS
    return found


def test_training_on_its_rollouts_moves_the_adapter_alone(trained: Trained, runs: dict[str, Path]) -> None:
    untouched = frozen_digest(load_model(trained.model))
    start = adapter_digest(load_adapter(load_model(trained.model), trained.adapter))
    for folder in runs.values():
        manifest = read_manifest(folder)
        assert manifest is not None and manifest["status"] == "complete"
        digests = manifest["metrics"]["digests"]
        assert digests["frozen"] == untouched
        assert digests["reference"] == digests["adapter_at_start"] == start != digests["adapter"]


def test_rewards_are_those_of_the_plain_engine_within_noise(runs: dict[str, Path]) -> None:
    mean, spread = ({name: curve(folder, key) for name, folder in runs.items()} for key in ("reward", "rewards/hard/std"))
    print("\nreward at each step, by", *(f"\n  {name}: {' '.join(f'{one:.3f}' for one in mean[name])}" for name in runs))
    gaps = [a - b for a, b in zip(mean["vllm"], mean["plain"], strict=True)]
    noise = [math.hypot(a, b) / COMPLETIONS**0.5 for a, b in zip(spread["vllm"], spread["plain"], strict=True)]
    assert all(abs(gap) <= 4 * error for gap, error in zip(gaps, noise, strict=True))
    assert abs(sum(gaps)) <= 3 * math.hypot(*noise), "nor is it another curve on the whole"
    assert min(mean["plain"]) > 0.1, "or an engine that forgot the adapter would earn as much"


def test_the_sampler_and_the_policy_agree(runs: dict[str, Path]) -> None:
    ratio, spread = (
        {name: curve(runs[name], f"sampling/log_ratio{end}") for name in ("vllm", "whole")} for end in ("", "_spread")
    )
    for name in ratio:
        said = (f"{mean:.1e} +- {around:.1e}" for mean, around in zip(ratio[name], spread[name], strict=True))
        print(f"\nlog(policy / sampler) at each step, {name}: {', '.join(said)}")
    assert max(map(abs, ratio["whole"])) < 1e-3 and max(spread["whole"]) < 1e-3, "nothing but rounding is between the engines"
    # With top-p .95, the policy's probability of a token is the sampler's times what its nucleus holds: .95 to 1.
    assert all(math.log(0.95) < mean < -1e-3 for mean in ratio["vllm"]) and max(spread["vllm"]) < -math.log(0.95)


def test_a_seed_makes_the_same_rollouts(runs: dict[str, Path]) -> None:
    assert curve(runs["vllm"], "reward") == curve(runs["again"], "reward")
    assert curve(runs["vllm"], "completions/mean_length") == curve(runs["again"], "completions/mean_length")
