"""Run folders in the contract's form, from seeded random answers through the real metrics."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chexreason.labels import FINDINGS, NIH_SHARED, in_order
from chexreason.report import study
from chexreason.runs.files import write_json, write_text
from chexreason.runs.folders import SCHEMA

HOSTILE = '</script><img src=x onerror="document.title=1"><b>|bold|</b> {{ 7 * 7 }}'


def model_of(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "paper_name": {"medgemma": "MedGemma", "phantom_gemma": "MedGemma", "phantom_qwen": "Qwen2.5"}.get(name),
    }


@dataclass
class Runs:
    """A runs folder being filled; every method returns the name of the run that it made."""

    folder: Path
    records: int = 100
    made: int = 0

    def run(self, kind: str, parents: dict[str, str] | None = None, status: str = "complete", **config: Any) -> str:
        self.made += 1
        name = f"{kind}-{self.made:08x}"
        manifest = {
            "schema": SCHEMA,
            "name": name,
            "outputs": {},
            "stage": kind,
            "status": status,
            "started": "2026-01-01T00:00:00+00:00",
            "finished": f"2026-01-01T00:{self.made // 60:02d}:{self.made % 60:02d}+00:00",
            "config": {"seed": 0, **config, "stage": {"name": kind, **config.get("stage", {})}},
            "parents": parents or {},
            "command": f"python -m chexreason.run stage={kind}",
            "wall_seconds": 1.5,
            "device": "2 CPU cores",
            "peak_memory_bytes": {"main": 2**30},
            "git": {"commit": "0123456789abcdef", "dirty": False},
        }
        write_json(self.folder / name / "manifest.json", manifest)
        return name

    def phantom(self, sites: tuple[str, ...] = ("chexpert", "nih", "mimic")) -> str:
        name = self.run("phantom")
        rng = np.random.default_rng(0)
        for site in sites:
            for index in range(self.records):
                path = self.folder / name / site / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 255, (32, 32), dtype=np.uint8)).save(path)
        return name

    def sft(self, prompt: str, model: str = "phantom_gemma", steps: int = 60) -> str:
        name = self.run("sft", model=model_of(model), prompt={"name": prompt})
        rng = np.random.default_rng(len(prompt))
        entries = [
            {
                "step": step,
                "loss": 3 / (1 + step / 9) + rng.normal(0, 0.05),
                "mean_token_accuracy": 1 - 0.7 / (1 + step / 9),
            }
            for step in range(1, steps)
        ]
        return self._log(name, [*entries, {"step": steps, "eval_loss": 0.4}])

    def grpo(self, reward: str, prompt: str = "free_reasoning", steps: int = 120, variant: str | None = None) -> str:
        config = {"model": model_of("phantom_gemma"), "prompt": {"name": prompt}, "reward": {"name": reward}}
        config["variant"] = {"name": "published", "title": variant}
        name = self.run("grpo", **config)
        rng = np.random.default_rng(len(reward))
        scale = 100 if reward == "nuanced" else 1
        entries = []
        for step in range(1, steps + 1):
            value = scale * (0.5 + 0.001 * step + rng.normal(0, 0.08))
            length = 90 - 0.1 * step + rng.normal(0, 4)
            entries.append({"step": step, "reward": value, f"rewards/{reward}/mean": value, "completions/mean_length": length})
        return self._log(name, entries)

    def evaluate(
        self,
        site: str,
        checkpoint: str = "base",
        *,
        skill: float = 0.5,
        model: str = "phantom_gemma",
        prompt: str = "free_reasoning",
        adapter: str | None = None,
        dataset: str | None = None,
        phantom: str | None = None,
        seed: int = 0,
        failures: float = 0.05,
        note: str = "",
        stage: dict[str, Any] | None = None,
        split: str | None = None,
    ) -> str:
        name = dataset or f"phantom_{site}"
        labels = list(NIH_SHARED) if site == "nih" else list(FINDINGS)
        parents = {role: run for role, run in (("dataset", phantom), ("checkpoint", adapter)) if run}
        root = Path(site) if phantom else self.folder / "images" / site
        split = split or ("validation" if site == "mimic" else "test")
        benchmark = {"chexpert": "chexpert", "nih": "nih", "mimic": "validation"}.get(site)
        run = self.run(
            "evaluate",
            parents,
            stage=stage or {},
            checkpoint={"name": checkpoint},
            model=model_of(model),
            prompt={"name": prompt},
            dataset={
                "name": name,
                "root": str(root),
                "split": split,
                "benchmark": benchmark,
                "views": ["AP", "PA"],
                "findings": labels,
                "site": site,
            },
            seed=seed,
        )
        rows = self._answers(labels, skill, failures, seed, note)
        write_text(self.folder / run / "predictions.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        return run

    def _answers(self, labels: list[str], skill: float, failures: float, seed: int, note: str) -> list[dict[str, Any]]:
        drawn, rng = np.random.default_rng(len(labels)), np.random.default_rng([int(skill * 1000), seed])
        rows = []
        for index in range(self.records):
            truth = in_order({label for label in labels if drawn.random() < 0.25})
            guess = in_order({label for label in labels if (label in truth if rng.random() < skill else rng.random() < 0.25)})
            failed = rng.random() < failures
            rows.append(
                {
                    "id": f"image-{index}",
                    "path": f"{index}.png",
                    "patient": f"patient-{index // 2}",
                    "labels": truth,
                    "predicted": None if failed else guess,
                    "failure": "no_solution" if failed else None,
                    "completion": f"<think>A heart of usual size. {note}</think>\n<solution>{', '.join(guess)}</solution>",
                    "num_tokens": 40,
                }
            )
        return rows

    def _log(self, name: str, entries: list[dict[str, Any]]) -> str:
        write_text(self.folder / name / "log.jsonl", "".join(json.dumps(entry) + "\n" for entry in entries))
        return name


def whole_study(folder: Path, records: int = 100) -> Runs:
    """A run of every kind that the report has a place for."""
    runs = Runs(folder, records)
    phantom = runs.phantom()
    prompts = ("only_label", "free_reasoning", "reasoning_narrative", "reasoning_a")
    adapters = {prompt: runs.sft(prompt) for prompt in prompts}
    qwen = {prompt: runs.sft(prompt, "phantom_qwen") for prompt in prompts}
    rewards = {reward: runs.grpo(reward) for reward in ("nuanced", "hard")}
    for place, prompt in enumerate(("reasoning_narrative", "reasoning_c", "free_reasoning")):
        runs.evaluate("mimic", prompt=prompt, skill=0.4 - 0.1 * place, phantom=phantom, failures=0.02 + 0.2 * place)
    for place, prompt in enumerate(prompts):
        runs.evaluate("mimic", "sft", prompt=prompt, adapter=adapters[prompt], skill=0.4 + 0.05 * place, phantom=phantom)
        runs.evaluate(
            "mimic",
            "sft",
            prompt=prompt,
            model="phantom_qwen",
            adapter=qwen[prompt],
            skill=0.1 * place,
            phantom=phantom,
        )
    for adapter in rewards.values():
        runs.evaluate("mimic", "grpo", adapter=adapter, skill=0.65, phantom=phantom)
    for site, fall in (("chexpert", 0.0), ("nih", 0.2)):
        runs.evaluate(site, skill=0.4 - fall, phantom=phantom, note=HOSTILE)
        runs.evaluate(site, model="phantom_qwen", skill=0.25 - fall, phantom=phantom)
        runs.evaluate(site, "sft", skill=0.6 - fall, adapter=adapters["free_reasoning"], phantom=phantom)
        runs.evaluate(site, "grpo", skill=0.85 - 2 * fall, adapter=rewards["hard"], phantom=phantom)
    return runs


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "runs")


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with a whole study in it."""
    return whole_study(tmp_path_factory.mktemp("study") / "runs").folder


def read(runs, **settings):
    return study.read(sorted(runs.folder.iterdir()), resamples=300, **settings)
