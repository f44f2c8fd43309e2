"""Metrics against scikit-learn, intervals against what they promise."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benches import coverage
from chexreason.answers import intervals, metrics
from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS, NIH_SHARED

label_sets = st.sets(st.sampled_from(FINDINGS))
records = st.lists(st.tuples(label_sets, st.none() | label_sets, st.integers(0, 5)), min_size=1, max_size=30)


def draw(count: int, seed: int, share: float = 0.25) -> list[list[str]]:
    chosen = np.random.default_rng(seed).random((count, len(FINDINGS))) < share
    return [[FINDINGS[i] for i in np.flatnonzero(row)] for row in chosen]


@settings(max_examples=60)
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


def test_without_failures_a_record_counts_where_it_was_answered_in_any_repeat():
    truth, patients = [["Edema"], ["Edema"], ["Fracture"]], ["a", "b", "b"]
    repeats = [[None, ["Edema"], None], [["Edema"], ["Edema"], None]]
    found = metrics.summary(truth, repeats, FINDINGS, patients, resamples=50, exclude_failures=True)
    assert (found["records"], found["patients"], found["failure_rate"]) == (2, 2, 0.5)
    assert (found["per_label"]["Edema"]["support"], found["per_label"]["Fracture"]["support"]) == (2, 0)
    assert found["micro"]["f1"] == 1.0


def test_a_subset_of_labels_ignores_the_others():
    found = metrics.summary([["Edema", "Fracture"]], [[["Edema", "Pneumonia"]]], ["Edema"], resamples=5)
    assert found["exact_match"] == 1.0 and list(found["per_label"]) == ["Edema"]


def test_records_of_one_patient_tell_less_than_those_of_many():
    # Ten films of each patient, all ten right or all ten wrong: as much as one film of each tells.
    truth, predicted = [["Edema"]] * 200, [["Edema"]] * 100 + [["Fracture"]] * 100
    ten = metrics.answers(truth, predicted, FINDINGS, [row // 10 for row in range(200)])
    one = metrics.answers(truth[::10], predicted[::10], FINDINGS)
    widths = [np.ptp(metrics.interval(metrics.resampled([given_], 4000).exact_match)) for given_ in (ten, one)]
    assert widths[0] == pytest.approx(widths[1], rel=0.05)
    # Nor are twenty patients without an error as good as two hundred.
    right = metrics.answers(truth, truth, FINDINGS, [row // 10 for row in range(200)])
    cloud = metrics.resampled([right], 4000)
    for low, _ in (metrics.interval(cloud.exact_match), metrics.interval(cloud.micro[:, 2])):
        assert 0.8 < low < 0.95


def test_intervals_hold_the_truth_as_often_as_they_say():
    # Seven of the bench's labels, five of them with about ten positives: a percentile bootstrap holds Pleural Other's F1
    # in half of these studies, and the difference between two models in two thirds.
    chosen = [3, 4, 7, 9, 11, 12, 13]
    world = replace(
        coverage.CHEXPERT,
        labels=tuple(FINDINGS[i] for i in chosen),
        prevalence=coverage.CHEXPERT.prevalence[chosen],
        named=coverage.CHEXPERT.named[:, chosen],
        falsely=coverage.CHEXPERT.falsely[:, chosen],
    )
    held = np.array([one for one, _, _ in coverage.studies(world, 120, 200_000, 400)]).mean(axis=0)
    rare = held[:, len(coverage.METRICS) + 1 : -1]
    assert 0.93 <= rare.mean() <= 0.99 and rare.min() >= 0.88
    macro, micro = held[:, 2], held[:, 5]
    assert macro.min() >= 0.87 and micro.min() >= 0.9


def test_interval_agrees_with_an_explicit_bootstrap_where_no_label_is_rare():
    truth, predicted = draw(120, 1), draw(120, 2)
    low, high = metrics.summary(truth, [predicted], FINDINGS, resamples=4000)["intervals"]["macro"]["f1"]
    rng, values = np.random.default_rng(9), []
    for _ in range(1500):
        rows = rng.integers(0, 120, 120)
        values.append(metrics.scores(metrics.answers([truth[i] for i in rows], [predicted[i] for i in rows], FINDINGS)))
    assert [low, high] == pytest.approx(np.quantile([one.macro[2] for one in values], [0.025, 0.975]), abs=0.01)


@settings(max_examples=25)
@given(records)
def test_intervals_are_ordered_and_within_bounds(drawn):
    truth, predicted, patients = zip(*drawn, strict=True)
    found = metrics.summary(truth, [predicted], FINDINGS, patients, resamples=40)
    bounds = found["intervals"]
    pairs = [(found[name], bounds[name]) for name in ("jaccard", "failure_rate", "exact_match")]
    for rate in metrics.RATES:
        pairs += [(found[kind][rate], bounds[kind][rate]) for kind in ("micro", "macro")]
        pairs += [(found["per_label"][label][rate], bounds["per_label"][label][rate]) for label in FINDINGS]
    for point, (low, high) in pairs:
        assert 0.0 <= low <= point <= high <= 1.0


def test_paired_difference_is_certain_where_an_unpaired_one_is_not():
    truth = draw(300, 3)
    worse = [None if row % 20 == 0 else set(labels) for row, labels in enumerate(truth)]
    first, second = metrics.answers(truth, truth, FINDINGS), metrics.answers(truth, worse, FINDINGS)
    found = metrics.paired_difference([first], [second], 2000)
    assert found["micro"]["f1"]["difference"] > 0 and found["micro"]["f1"]["interval"][0] > 0
    assert found["micro"]["f1"]["p"] <= 0.01


def test_sides_that_answered_alike_do_not_differ():
    truth = draw(60, 3)
    one, two, three = (metrics.answers(truth, draw(60, seed), FINDINGS) for seed in (4, 5, 6))
    nothing = {"difference": 0.0, "interval": [0.0, 0.0], "p": 1.0}
    for first, second in (([one], [one]), ([one, two, three], [three, one, two])):
        found = metrics.paired_difference(first, second, 200)
        assert found["macro"]["f1"] == found["micro"]["recall"] == found["jaccard"] == found["failure_rate"] == nothing


def test_one_film_does_not_decide_between_two_models():
    truth = draw(300, 3)
    film = next(row for row, labels in enumerate(truth) if "Fracture" in labels)
    once = [set(labels) - {"Fracture"} if row == film else labels for row, labels in enumerate(truth)]
    found = metrics.paired_difference(*([metrics.answers(truth, side, FINDINGS)] for side in (truth, once)), 2000)
    for one in (found["per_label"]["Fracture"]["f1"], found["macro"]["f1"], found["exact_match"]):
        assert one["difference"] > 0 and one["interval"][0] < 0 and one["p"] > 0.1


def test_p_is_about_the_other_side_of_zero():
    draws = np.linspace(-0.1, 0.9, 1001)
    assert metrics.difference(0.4, draws)["p"] == pytest.approx(0.2, abs=0.01)
    assert metrics.difference(0.4, draws + 1)["p"] == pytest.approx(1 / 1001)
    assert metrics.difference(-0.2, draws) == {"difference": -0.2, "interval": [-0.2, pytest.approx(0.875)], "p": 1.0}
    assert metrics.difference(0.0, draws + 1)["p"] == 1.0


def test_paired_difference_refuses_other_records():
    first = metrics.answers([["Edema"]], [["Edema"]], FINDINGS)
    second = metrics.answers([["Edema"]] * 2, [["Edema"]] * 2, FINDINGS)
    with pytest.raises(ChexReasonError, match="same labels, records"):
        metrics.paired_difference([first], [second])


def test_the_same_answers_have_the_same_intervals():
    given_ = metrics.answers(draw(60, 6), draw(60, 7), FINDINGS)
    assert np.array_equal(metrics.resampled([given_], 50).macro, metrics.resampled([given_], 50).macro)


def test_the_stream_follows_from_the_records_whatever_their_order():
    truth, predicted = draw(80, 6), draw(80, 7)
    patients = [f"patient{row // 2}" for row in range(80)]
    order = np.random.default_rng(0).permutation(80)
    shuffled = [[column[i] for i in order] for column in (truth, predicted, patients)]
    found = metrics.summary(truth, [predicted], FINDINGS, patients, 300)
    again = metrics.summary(shuffled[0], [shuffled[1]], FINDINGS, shuffled[2], 300)
    assert again["intervals"]["macro"]["f1"] == pytest.approx(found["intervals"]["macro"]["f1"], abs=1e-12)
    assert again["intervals"]["jaccard"] == pytest.approx(found["intervals"]["jaccard"], abs=1e-12)


def test_runs_on_the_same_records_are_paired_and_on_others_independent():
    truth = draw(200, 6)
    better = [labels if row % 4 else ["Edema"] for row, labels in enumerate(truth)]
    worse = [labels if row % 3 else ["Edema"] for row, labels in enumerate(better)]

    def exact(predicted, patients):
        return metrics.resampled([metrics.answers(truth, predicted, FINDINGS, patients)], 2000).exact_match

    here, elsewhere = [f"p{row}" for row in range(200)], [f"q{row}" for row in range(200)]
    assert np.corrcoef(exact(better, here), exact(worse, here))[0, 1] > 0.3
    assert abs(np.corrcoef(exact(better, here), exact(worse, elsewhere))[0, 1]) < 0.1


def test_records_left_out_change_no_other_records_weights():
    answered = metrics.answers(draw(60, 6), draw(60, 7), FINDINGS)
    kept = np.ones(60, dtype=bool)
    kept[[0, 31, 59]] = False
    clouds = [metrics.resampled([given_], 2000).micro[:, 2] for given_ in (answered, answered.select(kept))]
    assert np.corrcoef(*clouds)[0, 1] > 0.8
    assert len(metrics.resampled([answered, answered.select(kept)], 20).macro) == 20


def test_a_label_that_is_never_named_counts_nothing_in_macro_averages_but_may_have_been_missed():
    truth = [["Edema", "Fracture"]] * 8 + [[]] * 92
    found = metrics.summary(truth, [[["Edema"] if "Edema" in labels else [] for labels in truth]], FINDINGS, resamples=500)
    assert found["per_label"]["Fracture"]["support"] == 8 >= metrics.FEW_POSITIVES
    assert found["intervals"]["macro"]["f1"][1] == pytest.approx(1 / 14)
    low, high = found["intervals"]["per_label"]["Fracture"]["f1"]
    assert low == 0.0 and 0.1 < high < 0.7
    assert found["intervals"]["failure_rate"][0] == 0.0 < found["intervals"]["failure_rate"][1] < 0.05


def test_weights_are_one_on_average_and_pseudo_counts_a_half():
    sums = intervals.weighted_sums(np.eye(50), 4000, [0])
    assert sums.mean(axis=0) == pytest.approx(np.ones(50), abs=0.1)
    assert intervals.pseudo_counts((20000,), [0]).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("truth, predicted", [([], []), ([["Edema"]], [])])
def test_unequal_or_empty_input_is_refused(truth, predicted):
    with pytest.raises(ChexReasonError):
        metrics.answers(truth, predicted, FINDINGS)
