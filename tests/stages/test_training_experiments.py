"""The experiments about training say what they mean: each composes, passes the schema, and differs where it should."""

from __future__ import annotations

from pathlib import Path

import pytest

from chexreason.config import Config, as_dict, check, compose

ROOT = Path(__file__).parents[2]


def composed(*words: str) -> Config:
    return check(compose((f"hydra.searchpath=[file://{ROOT}]", *words)))


def test_collapse_differs_in_its_stabilisers_alone() -> None:
    kept, dropped = (
        as_dict(compose((f"hydra.searchpath=[file://{ROOT}]", "+experiments=collapse", f"+experiments/stabilisers={choice}")))
        for choice in ("kept", "dropped")
    )
    differing = {key for key in kept["stage"] if kept["stage"][key] != dropped["stage"][key]}
    assert differing == {"beta", "clip_low", "clip_high"}
    published = as_dict(compose(("stage=grpo", "model=medgemma")))["stage"]
    assert {key: kept["stage"][key] for key in differing} == {key: published[key] for key in differing}
    assert dropped["stage"]["beta"] == 0
    composed("+experiments=collapse", "+experiments/stabilisers=dropped")


@pytest.mark.parametrize(
    ("variant", "reward", "checkpoint"),
    [
        ("hard", "hard", "grpo"),
        ("balanced", "balanced", "grpo"),
        ("two_sites", "hard", "grpo"),
        ("other_site_stops", "hard", "grpo_best"),
    ],
)
def test_a_variant_of_transfer_changes_one_thing(variant: str, reward: str, checkpoint: str) -> None:
    import shlex

    config = composed("+experiments=transfer", f"+experiments/transfer={variant}", "dataset=phantom_nih")
    assert (config.reward.name, config.stage.checkpoint) == (reward, checkpoint)
    trained = compose(tuple(shlex.split(config.stage.trained[checkpoint])))  # the line parses, and makes a valid run
    parents = check(trained).stage.parents
    other = "stage=curate dataset=phantom_chexpert dataset.split=train"
    assert (parents["validation"] or "").startswith(other) == (variant == "other_site_stops")
    assert parents.get("curated_chexpert", "").startswith(other) == (variant == "two_sites")


def test_formats_fine_tunes_section_4_2s_four_on_both_models() -> None:
    assert composed("+experiments=formats").stage.name == "sft"
    text = (ROOT / "experiments" / "formats.yaml").read_text(encoding="utf-8")
    assert "prompt: only_label,free_reasoning,reasoning_narrative,reasoning_a" in text
    assert "model: phantom_gemma,phantom_qwen" in text
