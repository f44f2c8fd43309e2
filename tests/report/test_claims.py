"""Which of the paper's claims hold for runs whose answers are known."""

from __future__ import annotations

import pytest

from chexreason.report import claims, tables
from tests.report.conftest import read


def verdict_of(found, id_):
    return next(one for one in claims.check(found) if one.claim.id == id_).here


def test_claims_hold_fail_and_stay_undecided(runs):
    sft = runs.sft("free_reasoning")
    grpo = runs.grpo("hard")
    runs.evaluate("chexpert", "sft", adapter=sft, skill=0.3)
    runs.evaluate("chexpert", "grpo", adapter=grpo, skill=0.9)
    runs.evaluate("nih", "sft", adapter=sft, skill=0.3)
    runs.evaluate("nih", "grpo", adapter=grpo, skill=0.9)
    found = read(runs)
    raised = verdict_of(found, "grpo_raises_chexpert")
    assert raised.verdict == claims.HOLDS and raised.interval[0] > 0 and raised.paired
    assert verdict_of(found, "grpo_lowers_nih").verdict == claims.FAILS
    assert not verdict_of(found, "grpo_loses_in_transfer").paired
    assert verdict_of(found, "sft_lowers_chexpert") is None


@pytest.mark.parametrize(
    "expect, margin, low, high, wanted",
    [
        ("higher", 0, 0.01, 0.02, claims.HOLDS),
        ("higher", 0, -0.01, 0.02, claims.UNDECIDED),
        ("higher", 0, -0.02, -0.01, claims.FAILS),
        ("lower", 0, -0.02, -0.01, claims.HOLDS),
        ("lower", 0, 0.01, 0.02, claims.FAILS),
        ("no_worse", 0.02, -0.01, 0.01, claims.HOLDS),
        ("no_worse", 0.02, -0.03, 0.01, claims.UNDECIDED),
        ("no_worse", 0.02, -0.04, -0.03, claims.FAILS),
        ("no_worse", 0, 0, 0, claims.HOLDS),
        ("equivalent", 0.02, -0.01, 0.02, claims.HOLDS),
        ("equivalent", 0.02, 0.15, 0.20, claims.FAILS),
        ("equivalent", 0.02, -0.03, 0.01, claims.UNDECIDED),
        ("higher", 0, 0, 0, claims.UNDECIDED),
    ],
)
def test_verdict_rule(expect, margin, low, high, wanted):
    claim = claims.Claim("x", "", "", "macro_f1", expect, {}, {}, {}, margin)
    assert claims.verdict(claim, low, high) == wanted


def test_a_claim_about_the_best_checkpoint_falls_back_to_the_last(runs):
    for reward in ("hard", "nuanced"):
        runs.evaluate("mimic", "grpo", adapter=runs.grpo(reward), skill=0.5)
    last = verdict_of(read(runs), "hard_no_worse_than_nuanced")
    for reward in ("hard", "nuanced"):
        runs.evaluate("mimic", "grpo_best", adapter=runs.grpo(reward), skill=0.9 if reward == "hard" else 0.2)
    best = verdict_of(read(runs), "hard_no_worse_than_nuanced")
    assert last.effect == 0 and best.effect > 0.2 and "best checkpoint" in best.of
    assert len(tables.paper_tables(read(runs))[0].rows) == 4


def test_nothing_is_best_where_all_are_alike(runs):
    for model in ("phantom_gemma", "phantom_qwen"):
        runs.evaluate("chexpert", model=model, failures=1.0)
    (made,) = tables.paper_tables(read(runs))
    assert all(cell.ours == 0 for row in made.rows for cell in row[1:]) and not made.best


def test_best_of_several_must_beat_every_rival(runs):
    for prompt, skill in (("reasoning_a", 0.8), ("only_label", 0.2), ("free_reasoning", 0.85)):
        adapter = runs.sft(prompt, "phantom_qwen")
        runs.evaluate("mimic", "sft", model="phantom_qwen", prompt=prompt, adapter=adapter, skill=skill)
    found = verdict_of(read(runs), "structured_best_for_general")
    assert len(found.than) == 2 and found.verdict != claims.HOLDS


def test_best_of_several_is_undecided_until_every_rival_has_run(runs):
    def evaluate(prompt, skill):
        adapter = runs.sft(prompt, "phantom_qwen")
        runs.evaluate("mimic", "sft", model="phantom_qwen", prompt=prompt, adapter=adapter, skill=skill)

    def judged():
        checked = claims.check(read(runs))
        (row,) = (
            row
            for row in claims.table(checked).rows
            if row[0].startswith("The structured 12-step format (Reasoning A) is the b")
        )
        return next(one for one in checked if one.claim.id == "structured_best_for_general"), row

    evaluate("reasoning_a", 0.95)
    evaluate("only_label", 0.2)
    found, row = judged()
    assert found.here.verdict == claims.UNDECIDED and found.here.interval[0] > 0
    assert found.needs["than"]["prompt"] == ["free_reasoning", "reasoning_narrative"]
    assert row[0].endswith("Not run yet: free_reasoning, reasoning_narrative.")
    evaluate("free_reasoning", 0.2)
    evaluate("reasoning_narrative", 0.2)
    found, row = judged()
    assert found.here.verdict == claims.HOLDS and not found.needs and "Not run" not in row[0]
    runs.evaluate("mimic", "base", prompt="reasoning_c", failures=0.0, skill=0.9)
    runs.evaluate("mimic", "base", prompt="reasoning_a", failures=1.0, skill=0.9)
    assert verdict_of(read(runs), "matrix_prompt_fails_most").verdict == claims.FAILS, "whatever the others may do"


def test_models_of_two_worlds_are_told_apart_and_never_compared(runs):
    for model, skill in (("phantom_gemma", 0.9), ("medgemma", 0.3)):
        for site in ("chexpert", "nih"):
            runs.evaluate(site, model=model, skill=skill)
        for prompt in ("reasoning_narrative", "reasoning_c"):
            runs.evaluate("mimic", model=model, prompt=prompt, skill=skill)
    found = read(runs)
    checked = [one for one in claims.check(found) if one.here]
    assert checked
    for one in checked:
        models = {model for side in (one.here.of, *one.here.than) for model in ("phantom_gemma", "medgemma") if model in side}
        assert len(models) == 1, one
    table1 = next(table for table in tables.paper_tables(found) if table.name == "table1")
    assert len({row[0] for row in table1.rows}) == len(table1.rows) == 4
