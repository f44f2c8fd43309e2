"""Which of the paper's claims hold for runs whose answers are known."""

from __future__ import annotations

import json

import pytest

from chexreason.answers.metrics import FEW_PATIENTS
from chexreason.labels import NIH_SHARED
from chexreason.report import claims, tables, transfer
from tests.report.conftest import Runs, read


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


def rewrite(runs, name, config=None, rows=None):
    """Change a run's dataset config or its rows, as if it had been evaluated so."""
    manifest = runs.folder / name / "manifest.json"
    if config:
        made = json.loads(manifest.read_text())
        made["config"]["dataset"] |= config
        manifest.write_text(json.dumps(made))
    if rows:
        path = runs.folder / name / "predictions.jsonl"
        path.write_text("".join(json.dumps(rows(json.loads(line))) + "\n" for line in path.read_text().splitlines()))


@pytest.mark.parametrize(
    ("config", "rows", "told"),
    [
        ({"findings": list(NIH_SHARED[:3])}, None, ", findings=[Atelectasis, Cardiomegaly, Consolidation]"),
        ({"findings": [*NIH_SHARED, "Pleural Effusion"]}, None, ", 10 findings"),
        ({"split": "valid"}, lambda row: row | {"id": f"other-{row['id']}"}, ", split=valid"),
        ({"views": ["lateral"]}, lambda row: row | {"id": f"other-{row['id']}"}, ", views=[lateral]"),
        ({}, lambda row: row | {"labels": [*{*row["labels"], "Pneumonia"}]}, " as scored by run"),
        ({}, lambda row: row | {"ignored": ["Pneumonia"]}, " as scored by run"),
    ],
    ids=["fewer labels", "more labels", "another split", "another view", "another truth", "labels that do not count"],
)
@pytest.mark.parametrize("odd", ["sft", "grpo"])
def test_what_is_scored_otherwise_is_another_test_set(runs, config, rows, told, odd):
    adapters = {"base": None, "sft": runs.sft("free_reasoning"), "grpo": runs.grpo("hard")}
    for name, adapter in adapters.items():
        runs.evaluate("nih", name, adapter=adapter, skill=0.5)
    before = read(runs)
    again = runs.evaluate("nih", odd, adapter=adapters[odd], skill=0.95)
    rewrite(runs, again, config, rows)
    after = read(runs)
    assert claims.check(after) == claims.check(before) and verdict_of(after, "grpo_lowers_nih").paired
    (title,) = {*after.datasets} - {"phantom_nih"}
    assert told in title
    assert [row[1] for row in tables.headline(after).rows] == [row[1] for row in tables.headline(before).rows]
    assert after.on("nih") and title not in {one.dataset for one in after.on("nih")}


def test_seeds_are_averaged_over_one_truth_alone(runs):
    sft = runs.sft("free_reasoning")
    runs.evaluate("nih", "sft", adapter=sft)
    odd = runs.evaluate("nih", "sft", adapter=runs.sft("free_reasoning"), seed=1)
    rewrite(runs, odd, {"findings": [*NIH_SHARED, "Pleural Effusion"]})
    assert [len(one.evaluations) for one in read(runs).results] == [1, 1]


@pytest.mark.parametrize(("key", "value"), [("views", ["AP"]), ("uncertain", "positive"), ("split", "valid")])
def test_the_papers_test_set_has_the_papers_films_and_truth(runs, key, value):
    for checkpoint, adapter in (("base", None), ("sft", runs.sft("free_reasoning"))):
        rewrite(runs, runs.evaluate("nih", checkpoint, adapter=adapter), {key: value})
    found = read(runs)
    shown = f"[{', '.join(value)}]" if isinstance(value, list) else value
    assert not found.on("nih") and found.datasets == [f"phantom_nih, {key}={shown}"]
    assert verdict_of(found, "sft_improves_nih") is None
    rewrite(runs, runs.evaluate("nih"), {"views": ["frontal", "PA", "AP"], "uncertain": "negative"})
    assert [one.dataset for one in read(runs).on("nih")] == ["phantom_nih"], "one such is the paper's, most as they may be"


def test_the_papers_test_set_has_the_papers_labels(runs):
    rewrite(runs, runs.evaluate("nih"), {"findings": list(NIH_SHARED[:3])})
    found = read(runs)
    assert found.datasets == [f"phantom_nih, findings=[{', '.join(sorted(NIH_SHARED[:3]))}]"]
    assert not found.on("nih") and "3 labels" in tables.headline(found).columns[1]
    assert not tables.paper_tables(found) and tables.headline(found).rows[0][1].paper is None


def test_another_dataset_of_the_same_benchmark_silences_no_claim(runs):
    sft, grpo = runs.sft("free_reasoning"), runs.grpo("hard")
    runs.evaluate("nih", "sft", adapter=sft, skill=0.9)
    runs.evaluate("nih", "grpo", adapter=grpo, skill=0.3)
    before = verdict_of(read(runs), "grpo_lowers_nih")
    runs.evaluate("nih", "grpo", adapter=grpo, skill=0.3, dataset="nih_again")
    assert before.verdict == claims.HOLDS and verdict_of(read(runs), "grpo_lowers_nih") == before


@pytest.mark.parametrize("side", ["hard", "nuanced"])
def test_a_best_checkpoint_is_not_compared_with_a_last_one(runs, side):
    adapters = {reward: runs.grpo(reward) for reward in ("hard", "nuanced")}
    for adapter in adapters.values():
        runs.evaluate("mimic", "grpo", adapter=adapter, skill=0.5)
    last = verdict_of(read(runs), "hard_no_worse_than_nuanced")
    runs.evaluate("mimic", "grpo_best", adapter=adapters[side], skill=0.9)
    assert verdict_of(read(runs), "hard_no_worse_than_nuanced") == last


def test_between_test_sets_one_training_is_compared_with_itself(runs):
    first, second = runs.sft("free_reasoning"), runs.sft("free_reasoning")
    runs.evaluate("chexpert", "sft", adapter=first, skill=0.9, seed=0)
    runs.evaluate("nih", "sft", adapter=second, skill=0.2, seed=1)
    found = read(runs)
    assert verdict_of(found, "sft_gains_in_transfer") is None and not transfer.table(found).rows
    runs.evaluate("nih", "sft", adapter=first, skill=0.9, seed=0)
    both = read(runs)
    (moved,) = transfer.transfers(both)
    assert [one.seed for one in (*moved.near.evaluations, *moved.far.evaluations)] == [0, 0]
    assert abs(verdict_of(both, "sft_gains_in_transfer").effect) < 0.1, "the other seed's fall is none of its own"


def test_nothing_is_decided_by_a_few_patients(runs):
    for records, decided in ((2 * FEW_PATIENTS - 2, False), (2 * FEW_PATIENTS, True)):
        few = Runs(runs.folder / str(records), records)  # two films of each patient
        few.evaluate("chexpert", "sft", adapter=few.sft("free_reasoning"), skill=0.1)
        few.evaluate("chexpert", "grpo", adapter=few.grpo("hard"), skill=0.95)
        checked = claims.check(read(few))
        found = next(one for one in checked if one.claim.id == "grpo_raises_chexpert")
        assert (found.here.verdict == claims.HOLDS) is decided and found.here.interval[0] > 0
        said = next(row[2] for row in claims.table(checked).rows if row[0] == found.claim.claim)
        assert ("fewer than 50 patients" in said) is not decided


def test_that_nothing_is_as_good_as_nothing_decides_nothing(runs):
    runs.evaluate("chexpert", failures=1.0)
    adapters = {reward: runs.grpo(reward) for reward in ("hard", "nuanced")}
    runs.evaluate("chexpert", "grpo", adapter=adapters["hard"], failures=1.0)
    for adapter in adapters.values():
        runs.evaluate("mimic", "grpo", adapter=adapter, failures=1.0)
    found = read(runs)
    for one in ("grpo_nearly_matches_base", "hard_no_worse_than_nuanced"):
        assert verdict_of(found, one).verdict == claims.UNDECIDED
