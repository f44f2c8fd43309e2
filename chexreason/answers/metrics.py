"""Label metrics and their intervals, from sets of labels alone.

Precision, recall and F1 (micro, macro, per label) are scikit-learn's with zero_division=0; they are computed here from
counts, so that ten thousand bootstrap resamples are one matrix product. Paper: sections 4.1-4.4, Tables 1-6.
How the intervals are computed, and their measured coverage: docs/intervals.md.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chexreason.answers import intervals
from chexreason.answers.intervals import RESAMPLES, difference, interval
from chexreason.errors import ChexReasonError

RATES = ("precision", "recall", "f1")
FEW_PATIENTS = 50  # with fewer, the interval of a macro average covers the truth clearly less often than stated
FEW_POSITIVES = 5  # a label with fewer (its "support" in a summary) has an unreliable interval
MACRO_SHARE = 2 / 3  # of each pseudo-count, in macro averages: chosen by benches/coverage.py


@dataclass(frozen=True)
class Answers:
    """What was true and what was answered, for n records and L labels."""

    labels: tuple[str, ...]
    truth: NDArray[np.bool_]  # (n, L)
    predicted: NDArray[np.bool_]  # (n, L); a failure's row is empty
    failed: NDArray[np.bool_]  # (n,)
    patients: NDArray[np.int64]  # (n,) a number for each patient, from 0
    stream: int = 0  # the patients' stream of random weights, derived from who they are

    def select(self, records: NDArray[np.bool_]) -> Answers:
        """The answers of some records (boolean mask of shape (n,)); each patient keeps number, stream and so weights."""
        kept = {name: getattr(self, name)[records] for name in ("truth", "predicted", "failed", "patients")}
        return replace(self, **kept)


@dataclass(frozen=True)
class Scores:
    """Metrics whose leading axes are () for one set of records or (resamples,) for many."""

    per_label: NDArray[np.float64]  # (..., L, 3): precision, recall, F1
    micro: NDArray[np.float64]  # (..., 3)
    macro: NDArray[np.float64]  # (..., 3)
    failure_rate: NDArray[np.float64]  # (...)
    exact_match: NDArray[np.float64]  # (...)
    jaccard: NDArray[np.float64]  # (...)

    def __sub__(self, other: Scores) -> Scores:
        return Scores(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(Scores)))


def indicator(label_sets: Sequence[Collection[str] | None], labels: Sequence[str]) -> NDArray[np.bool_]:
    """Sets of labels as a boolean array of shape (len(label_sets), len(labels)); labels not asked for are left out."""
    column = {label: index for index, label in enumerate(labels)}
    array = np.zeros((len(label_sets), len(labels)), dtype=bool)
    for row, chosen in enumerate(label_sets):
        array[row, [column[label] for label in chosen or () if label in column]] = True
    return array


def answers(
    truth: Sequence[Collection[str]],
    predicted: Sequence[Collection[str] | None],
    labels: Sequence[str],
    patients: Sequence[Hashable] | None = None,
    ignored: Sequence[Collection[str]] | None = None,
) -> Answers:
    """Arrays from sets of labels; `predicted` is None where parsing failed, `patients` None if each record is its own patient.

    `ignored` names, per record, the labels that are neither true nor false there (uncertain ones, by policy): nothing
    that is predicted for them counts. Patients are numbered in the order of their names, so that the order of the records
    does not matter to their weights.

    Raises:
        ChexReasonError: no records, no labels, or sequences of unequal length.
    """
    if not labels or not truth:
        raise ChexReasonError(f"nothing to score: {len(truth)} records, {len(labels)} labels")
    patients = range(len(truth)) if patients is None else patients
    ignored = [()] * len(truth) if ignored is None else ignored
    counts = [len(truth), len(predicted), len(patients), len(ignored)]
    if len(set(counts)) > 1:
        raise ChexReasonError(f"one truth, prediction, patient (and ignored set) per record is wanted, not {counts}")
    codes = {patient: code for code, patient in enumerate(sorted(dict.fromkeys(patients), key=str))}
    numbered = np.array([codes[patient] for patient in patients])
    stream = zlib.crc32("\n".join(sorted(map(str, patients))).encode(errors="backslashreplace"))
    failed = np.array([chosen is None for chosen in predicted])
    counted = ~indicator(ignored, labels)
    true, named = indicator(truth, labels) & counted, indicator(predicted, labels) & counted
    return Answers(tuple(labels), true, named, failed, numbered, stream)


def scores(given: Answers) -> Scores:
    """Metrics of all records. Two empty sets of labels match exactly and have a Jaccard index of 1."""
    return _from_sums(_per_record(given).sum(axis=0), len(given.labels))


def resampled(given: Sequence[Answers], resamples: int = RESAMPLES) -> Scores:
    """Draws of the metrics' values in the population, by a Bayesian bootstrap over patients; leading axis (resamples,).

    `given` holds one or more repeats of answers to the same records; the draws are those of the mean over them. In each
    draw every patient gets a random weight, the same for all of their records and in every run on the same records,
    which is what pairs two runs. Random pseudo-counts stand for what a sample of this size may have
    missed; they follow from the answers, so that two runs that answered alike get the same draws.

    Source: Rubin (1981), The Bayesian Bootstrap; pseudo-counts of Gamma(1/2) make Jeffreys' interval of a plain share.
    """
    patients = max(int(one.patients.max()) for one in given) + 1
    tables = [_per_patient(one, patients) for one in given]
    sums = intervals.weighted_sums(np.hstack(tables), resamples, [0, given[0].stream])
    answered = sorted(zlib.crc32(table[:, :-1].tobytes()) for table in tables)  # counts alone: Jaccard's sums are rounded
    drawn = intervals.pseudo_counts((resamples, 3 * len(given[0].labels) + 5), [0, given[0].stream, *answered])
    parts = zip(np.split(sums, len(given), axis=1), tables, strict=True)
    return mean([_with_pseudo_counts(part, table, drawn) for part, table in parts])


def summary(
    truth: Sequence[Collection[str]],
    repeats: Sequence[Sequence[Collection[str] | None]],
    labels: Sequence[str],
    patients: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
    exclude_failures: bool = False,
    ignored: Sequence[Collection[str]] | None = None,
) -> dict[str, Any]:
    """Every metric with its 95 % interval over patients, as JSON-able values.

    `repeats` holds the predictions of each time that the records were answered, usually one: each metric is its mean over
    them, its interval that of the mean, each patient with one weight in all repeats; what varies is under "repeats".

    Failures count as empty predictions or, with `exclude_failures`, are left out of each repeat ("records" counts those that
    some repeat answered); the aggregates of both ways
    are under "failures_as_empty" and "failures_excluded". Predicted labels outside `labels` are ignored (section 3.2.2:
    "filtered to the valid labels before evaluation").
    """
    everything = [answers(truth, predicted, labels, patients, ignored) for predicted in repeats]
    answered = [one.select(~one.failed) for one in everything if not one.failed.all()]
    if exclude_failures and not answered:
        raise ChexReasonError(f"all {len(truth)} records are failures: there is nothing to score without them")
    given = answered if exclude_failures else everything
    points = [scores(one) for one in given]
    point, cloud = mean(points), resampled(given, resamples)
    never = np.all([one.failed for one in everything], axis=0)  # answered in no repeat
    counted = everything[0].select(~never) if exclude_failures else everything[0]
    failure_rate = np.mean([one.failed.mean() for one in everything])
    bounds = Scores(*(interval(getattr(cloud, field.name), getattr(point, field.name)) for field in fields(Scores)))
    if exclude_failures:
        failing = resampled(everything, resamples).failure_rate
        bounds = replace(bounds, failure_rate=interval(failing, failure_rate))
    return {
        "labels": list(labels),
        "records": len(counted.truth),
        "patients": len(np.unique(counted.patients)),
        **_nested(point, labels, counted.truth.sum(axis=0)),
        "failure_rate": float(failure_rate),
        "cardinality": {
            "truth": float(np.mean([one.truth.sum(axis=1).mean() for one in given])),
            "predicted": float(np.mean([one.predicted.sum(axis=1).mean() for one in given])),
        },
        "intervals": _nested(bounds, labels),
        "resamples": resamples,
        "failures_count_as": "excluded" if exclude_failures else "empty",
        "failures_as_empty": _aggregates(everything),
        "failures_excluded": _aggregates(answered) if answered else None,
        **({"repeats": _spread(everything, points)} if len(repeats) > 1 else {}),
    }


def mean(given: Sequence[Scores]) -> Scores:
    """The mean of each metric."""
    return Scores(*(np.mean([getattr(one, field.name) for one in given], axis=0) for field in fields(Scores)))


def agreement(given: Sequence[Answers]) -> NDArray[np.float64]:
    """For each label, the share of pairs of answers to one record that both name it or both do not; shape (L,)."""
    count = len(given)
    votes = np.sum([one.predicted for one in given], axis=0)
    return ((votes * (votes - 1) + (count - votes) * (count - votes - 1)) / (count * (count - 1))).mean(axis=0)


def paired_difference(first: Sequence[Answers], second: Sequence[Answers], resamples: int = RESAMPLES) -> dict[str, Any]:
    """`first` minus `second` on the same records in the same order: difference, 95 % interval and two-sided p.

    Each side is the mean of one or more repeats, each patient with one weight in all of them.
    """
    one = first[0]
    for other in (*first, *second):
        if (other.labels, other.stream) != (one.labels, one.stream) or not np.array_equal(other.patients, one.patients):
            raise ChexReasonError("a paired difference needs the same labels, records and patients in the same order")
    point = mean([scores(side) for side in first]) - mean([scores(side) for side in second])
    cloud = resampled(first, resamples) - resampled(second, resamples)
    result: dict[str, Any] = {"records": len(one.truth), "resamples": resamples}
    for name in ("micro", "macro"):
        rates, many = getattr(point, name), getattr(cloud, name)
        result[name] = {rate: difference(rates[i], many[:, i]) for i, rate in enumerate(RATES)}
    f1 = RATES.index("f1")
    result["per_label"] = {
        label: {"f1": difference(point.per_label[i, f1], cloud.per_label[:, i, f1])} for i, label in enumerate(one.labels)
    }
    for name in ("failure_rate", "exact_match", "jaccard"):
        result[name] = difference(getattr(point, name), getattr(cloud, name))
    return result


def _per_record(given: Answers) -> NDArray[np.float64]:
    """Columns, one row per record, whose sums are all that the metrics need.

    TP, FP and FN of each label (3 L), of all labels together (3), records, failures, exact matches, Jaccard.
    """
    both, either = given.truth & given.predicted, given.truth | given.predicted
    shared, union = both.sum(axis=1), either.sum(axis=1)
    jaccard = np.where(union == 0, 1.0, shared / np.maximum(union, 1))
    counts = [both, given.predicted & ~given.truth, given.truth & ~given.predicted]
    rest = [np.ones(len(shared)), given.failed, shared == union, jaccard]
    return np.column_stack([*counts, *(count.sum(axis=1) for count in counts), *rest]).astype(np.float64)


def _per_patient(given: Answers, patients: int) -> NDArray[np.float64]:
    """The sums of `_per_record` by patient, of shape (patients, C); a row of zeros for one whose records are left out."""
    columns = _per_record(given)
    sums = np.zeros((patients, columns.shape[1]))
    np.add.at(sums, given.patients, columns)
    return sums


def _with_pseudo_counts(sums: NDArray[np.float64], table: NDArray[np.float64], drawn: NDArray[np.float64]) -> Scores:
    """Metrics of weighted sums (resamples, C) of a table (patients, C), with `drawn` (resamples, C - 2) added to its counts.

    Pseudo-counts pull every label the same way, which adds up in a macro average: there they count for less, and not at
    all for a label that is never true or never named, whose rates are 0 by convention in the observed average too.
    """
    counts = table.shape[1] - 4
    labels = counts // 3 - 1
    worth = intervals.worth(table)
    added = np.empty_like(sums)
    added[:, :counts] = drawn[:, :counts] * worth[:counts]
    # Two pseudo-records for the rates over records: one fails and matches, the other does neither.
    added[:, counts] = drawn[:, counts:].sum(axis=1) * worth[counts]
    added[:, counts + 1 :] = drawn[:, [counts]] * worth[counts]
    tp, fp, fn = np.split(table[:, : 3 * labels].sum(axis=0), 3)
    seen = ((tp + fp > 0) & (tp + fn > 0))[:, None]
    share = _rates(*np.split((sums + MACRO_SHARE * added)[:, : 3 * labels], 3, axis=1))
    return replace(_from_sums(sums + added, labels), macro=np.where(seen, share, 0.0).mean(axis=1))


def _from_sums(sums: NDArray[np.float64], labels: int) -> Scores:
    per_label = _rates(*np.split(sums[..., : 3 * labels], 3, axis=-1))
    tp, fp, fn, records, failures, exact, jaccard = np.moveaxis(sums[..., 3 * labels :], -1, 0)
    return Scores(
        per_label=per_label,
        micro=_rates(tp, fp, fn),
        macro=per_label.mean(axis=-2),
        failure_rate=failures / records,
        exact_match=exact / records,
        jaccard=jaccard / records,
    )


def _rates(tp: NDArray[np.float64], fp: NDArray[np.float64], fn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Precision, recall and F1 on a new last axis; 0 where undefined."""

    def ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.divide(part, whole, out=np.zeros_like(part, dtype=np.float64), where=whole > 0)

    return np.stack([ratio(tp, tp + fp), ratio(tp, tp + fn), ratio(2 * tp, 2 * tp + fp + fn)], axis=-1)


def _nested(given: Scores, labels: Sequence[str], support: NDArray[np.int64] | None = None) -> dict[str, Any]:
    """Scores, or their intervals, in the shape of the metrics file."""
    nested: dict[str, Any] = {
        name: {rate: getattr(given, name)[i].tolist() for i, rate in enumerate(RATES)} for name in ("micro", "macro")
    }
    nested["per_label"] = {
        label: {rate: given.per_label[row, i].tolist() for i, rate in enumerate(RATES)}
        | ({} if support is None else {"support": int(support[row])})
        for row, label in enumerate(labels)
    }
    return nested | {name: getattr(given, name).tolist() for name in ("failure_rate", "exact_match", "jaccard")}


def _aggregates(given: Sequence[Answers]) -> dict[str, Any]:
    nested = _nested(mean([scores(one) for one in given]), given[0].labels)
    return {"records": len(given[0].truth)} | {key: nested[key] for key in ("micro", "macro", "exact_match", "jaccard")}


def _spread(everything: Sequence[Answers], points: Sequence[Scores]) -> dict[str, Any]:
    f1 = RATES.index("f1")
    each = {"micro_f1": [one.micro[f1] for one in points], "macro_f1": [one.macro[f1] for one in points]}
    each |= {"failure_rate": [one.failed.mean() for one in everything]}
    agreeing = dict(zip(everything[0].labels, agreement(everything).tolist(), strict=True))
    return {name: [float(value) for value in values] for name, values in each.items()} | {"agreement": agreeing}
