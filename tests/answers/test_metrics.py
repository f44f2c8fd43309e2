"""Metrics against scikit-learn, intervals against what they promise."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chexreason.answers import metrics
from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS, NIH_SHARED

label_sets = st.sets(st.sampled_from(FINDINGS))
records = st.lists(st.tuples(label_sets, st.none() | label_sets, st.integers(0, 5)), min_size=1, max_size=30)


def draw(count: int, seed: int, share: float = 0.25) -> list[list[str]]:
    chosen = np.random.default_rng(seed).random((count, len(FINDINGS))) < share
    return [[FINDINGS[i] for i in np.flatnonzero(row)] for row in chosen]


@settings(max_examples=60, deadline=None)
@given(records, st.sampled_from([FINDINGS, NIH_SHARED]))
def test_rates_are_those_of_scikit_learn(drawn, labels):
    from sklearn.metrics import accuracy_score, jaccard_score, precision_recall_fscore_support

    truth, predicted, patients = zip(*drawn, strict=True)
    found = metrics.summary(truth, [predicted], labels, patients, resamples=5)
    y_true, y_pred = metrics.indicator(truth, labels), metrics.indicator(predicted, labels)
    for average in ("micro", "macro"):
        wanted = precision_recall_fscore_support(y_true, y_pred, average=average, zero_division=0)[:3]
        assert [found[average][rate] for rate in metrics.RATES] == pytest.approx(wanted)
    columns = precision_recall_fscore_support(y_true, y_pred, average=None, zero_division=0)
    for index, label in enumerate(labels):
        row = found["per_label"][label]
        assert [row[rate] for rate in metrics.RATES] == pytest.approx([float(values[index]) for values in columns[:3]])
        assert row["support"] == columns[3][index]
    assert found["exact_match"] == pytest.approx(accuracy_score(y_true, y_pred))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nonempty = (y_true | y_pred).any(axis=1)
        wanted = jaccard_score(y_true[nonempty], y_pred[nonempty], average="samples") if nonempty.any() else 0.0
    assert found["jaccard"] == pytest.approx((wanted * nonempty.sum() + (~nonempty).sum()) / len(truth))


def test_failures_count_as_empty_and_are_reported_without_them_too():
    truth, predicted = [["Edema"], ["Edema"], ["Fracture"]], [["Edema"], None, ["Fracture"]]
    empty = metrics.summary(truth, [predicted], FINDINGS, resamples=50)
    excluded = metrics.summary(truth, [predicted], FINDINGS, resamples=50, exclude_failures=True)
    assert empty["failure_rate"] == excluded["failure_rate"] == pytest.approx(1 / 3)
    assert empty["micro"]["recall"] == pytest.approx(2 / 3) and excluded["micro"]["recall"] == 1.0
    assert empty["failures_excluded"]["micro"] == excluded["micro"]
    assert excluded["failures_as_empty"]["micro"] == empty["micro"]
    assert empty["cardinality"] == {"truth": 1.0, "predicted": pytest.approx(2 / 3)}
    assert empty["intervals"]["failure_rate"] == excluded["intervals"]["failure_rate"]


def test_repeats_are_averaged_and_their_agreement_is_that_of_all_pairs():
    truth = draw(40, 1)
    repeats = [draw(40, seed) for seed in (2, 3, 4)]
    repeats[1][7] = None
    found = metrics.summary(truth, repeats, FINDINGS, resamples=200)
    each = [metrics.summary(truth, [one], FINDINGS, resamples=200) for one in repeats]
    assert found["macro"]["f1"] == pytest.approx(np.mean([one["macro"]["f1"] for one in each]))
    assert found["failure_rate"] == pytest.approx(1 / 120)
    assert found["repeats"]["macro_f1"] == pytest.approx([one["macro"]["f1"] for one in each])
    (low, high), widths = found["intervals"]["macro"]["f1"], [np.diff(one["intervals"]["macro"]["f1"])[0] for one in each]
    assert low < found["macro"]["f1"] < high and high - low < np.mean(widths), "a mean varies less than its parts"
    pairs = [(a, b) for i, a in enumerate(repeats) for b in repeats[i + 1 :]]
    wanted = np.mean([("Edema" in (x or [])) == ("Edema" in (y or [])) for a, b in pairs for x, y in zip(a, b, strict=True)])
    assert found["repeats"]["agreement"]["Edema"] == pytest.approx(wanted)
    assert "repeats" not in each[0]


def test_a_subset_of_labels_ignores_the_others():
    found = metrics.summary([["Edema", "Fracture"]], [[["Edema", "Pneumonia"]]], ["Edema"], resamples=5)
    assert found["exact_match"] == 1.0 and list(found["per_label"]) == ["Edema"]


def test_resamples_draw_patients_with_all_their_records():
    # Two patients, one always right and one always wrong: a resample's exact match can only be 0, 1/2 or 1.
    truth = [["Edema"]] * 20
    predicted = [["Edema"]] * 10 + [["Fracture"]] * 10
    clustered = metrics.resampled(metrics.answers(truth, predicted, FINDINGS, ["a"] * 10 + ["b"] * 10), 500)
    alone = metrics.resampled(metrics.answers(truth, predicted, FINDINGS), 500)
    assert set(np.unique(clustered.exact_match)) == {0.0, 0.5, 1.0}
    assert len(np.unique(alone.exact_match)) > 5


def test_interval_agrees_with_an_explicit_bootstrap():
    truth, predicted = draw(120, 1), draw(120, 2)
    low, high = metrics.summary(truth, [predicted], FINDINGS, resamples=4000)["intervals"]["macro"]["f1"]
    rng, values = np.random.default_rng(9), []
    for _ in range(1500):
        rows = rng.integers(0, 120, 120)
        values.append(metrics.scores(metrics.answers([truth[i] for i in rows], [predicted[i] for i in rows], FINDINGS)))
    assert [low, high] == pytest.approx(np.quantile([one.macro[2] for one in values], [0.025, 0.975]), abs=0.01)


@settings(max_examples=25, deadline=None)
@given(records)
def test_intervals_are_ordered_and_within_bounds(drawn):
    truth, predicted, patients = zip(*drawn, strict=True)
    found = metrics.summary(truth, [predicted], FINDINGS, patients, resamples=40)["intervals"]
    for low, high in (found["micro"]["f1"], found["macro"]["f1"], found["jaccard"], found["failure_rate"]):
        assert 0.0 <= low <= high <= 1.0


def test_paired_difference_is_certain_where_an_unpaired_one_is_not():
    truth = draw(300, 3)
    worse = [None if row % 20 == 0 else set(labels) for row, labels in enumerate(truth)]
    first, second = metrics.answers(truth, truth, FINDINGS), metrics.answers(truth, worse, FINDINGS)
    found = metrics.paired_difference([first], [second], 2000)
    assert found["micro"]["f1"]["difference"] > 0 and found["micro"]["f1"]["interval"][0] > 0
    assert found["micro"]["f1"]["p"] <= 0.01
    same = metrics.paired_difference([first], [first], 200)
    assert same["macro"]["f1"] == {"difference": 0.0, "interval": [0.0, 0.0], "p": 1.0}


def test_paired_difference_refuses_other_records():
    first = metrics.answers([["Edema"]], [["Edema"]], FINDINGS)
    second = metrics.answers([["Edema"]] * 2, [["Edema"]] * 2, FINDINGS)
    with pytest.raises(ChexReasonError, match="same labels, records"):
        metrics.paired_difference([first], [second])


def test_ten_thousand_resamples_of_the_test_set_take_under_two_seconds():
    given_ = metrics.answers(draw(518, 4), draw(518, 5), FINDINGS)
    clock = time.perf_counter()
    assert metrics.resampled(given_, 10_000).macro.shape == (10_000, 3)
    assert time.perf_counter() - clock < 2.0


def test_same_seed_same_intervals():
    given_ = metrics.answers(draw(60, 6), draw(60, 7), FINDINGS)
    assert np.array_equal(metrics.resampled(given_, 50, 1).macro, metrics.resampled(given_, 50, 1).macro)
    assert not np.array_equal(metrics.resampled(given_, 50, 1).macro, metrics.resampled(given_, 50, 2).macro)


@pytest.mark.parametrize("truth, predicted", [([], []), ([["Edema"]], [])])
def test_unequal_or_empty_input_is_refused(truth, predicted):
    with pytest.raises(ChexReasonError):
        metrics.answers(truth, predicted, FINDINGS)
