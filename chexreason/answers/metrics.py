"""Label metrics and their intervals, from sets of labels alone.

Precision, recall and F1 (micro, macro, per label) are scikit-learn's with zero_division=0; they are computed here from
counts, so that ten thousand bootstrap resamples are one matrix product. Paper: sections 4.1-4.4, Tables 1-6.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chexreason.errors import ChexReasonError

RATES = ("precision", "recall", "f1")
_CELLS = 8_000_000  # resampled weights held at once: 64 MB


@dataclass(frozen=True)
class Answers:
    """What was true and what was answered, for n records and L labels."""

    labels: tuple[str, ...]
    truth: NDArray[np.bool_]  # (n, L)
    predicted: NDArray[np.bool_]  # (n, L); a failure's row is empty
    failed: NDArray[np.bool_]  # (n,)
    patients: NDArray[np.int64]  # (n,) codes 0..patients-1

    def select(self, records: NDArray[np.bool_]) -> Answers:
        """The answers of some records (boolean mask of shape (n,)), patients renumbered."""
        _, patients = np.unique(self.patients[records], return_inverse=True)
        return Answers(self.labels, self.truth[records], self.predicted[records], self.failed[records], patients)


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
    """Arrays from sets of labels; `predicted` is None where parsing failed, `patients` None where each record is one's.

    `ignored` names, per record, the labels that are neither true nor false there (uncertain ones, by policy): nothing
    that is predicted for them counts.

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
    # Numbered in order of appearance: any hashable id will do, and no two sort orders can disagree.
    codes: dict[Hashable, int] = {}
    numbered = np.array([codes.setdefault(patient, len(codes)) for patient in patients])
    failed = np.array([chosen is None for chosen in predicted])
    counted = ~indicator(ignored, labels)
    return Answers(tuple(labels), indicator(truth, labels) & counted, indicator(predicted, labels) & counted, failed, numbered)


def scores(given: Answers) -> Scores:
    """Metrics of all records. Two empty sets of labels match exactly and have a Jaccard index of 1."""
    return _from_sums(_per_record(given).sum(axis=0), len(given.labels))


def resampled(given: Answers, resamples: int = 10_000, seed: int = 0) -> Scores:
    """Metrics of bootstrap resamples of patients, each drawn with all of its records: leading axis (resamples,).

    The same seed and the same patients in the same order give the same resamples, which is what pairs two runs.
    A label that a resample happens to lack has F1 0 there, as in scikit-learn: rare labels' intervals reach downward.
    """
    count = int(given.patients.max()) + 1
    sums = np.zeros((count, _per_record(given).shape[1]))
    np.add.at(sums, given.patients, _per_record(given))
    drawn = [weights @ sums for weights in _weights(count, resamples, seed)]
    return _from_sums(np.concatenate(drawn), len(given.labels))


def interval(values: NDArray[np.float64], level: float = 0.95) -> NDArray[np.float64]:
    """Percentile interval over the first axis: the result's last axis is (low, high)."""
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):  # a bound between infinite values is not a number, and nobody need be warned
        return np.moveaxis(np.quantile(values, [tail, 1 - tail], axis=0), 0, -1)


def summary(
    truth: Sequence[Collection[str]],
    repeats: Sequence[Sequence[Collection[str] | None]],
    labels: Sequence[str],
    patients: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    exclude_failures: bool = False,
    ignored: Sequence[Collection[str]] | None = None,
) -> dict[str, Any]:
    """Every metric with its 95 % interval over patients, as JSON-able values.

    `repeats` holds the predictions of each time that the records were answered, usually one: each metric is its mean over
    them, its interval that of the mean, the same patients drawn for every repeat; what varies is under "repeats".

    Failures count as empty predictions, or their records are left out (`exclude_failures`); the aggregates of both ways
    are under "failures_as_empty" and "failures_excluded". Predicted labels outside `labels` are ignored (section 3.2.2:
    "filtered to the valid labels before evaluation").
    """
    everything = [answers(truth, predicted, labels, patients, ignored) for predicted in repeats]
    answered = [one.select(~one.failed) for one in everything if not one.failed.all()]
    if exclude_failures and not answered:
        raise ChexReasonError(f"all {len(truth)} records are failures: there is nothing to score without them")
    given = answered if exclude_failures else everything
    points = [scores(one) for one in given]
    point, cloud = mean(points), mean([resampled(one, resamples, seed) for one in given])
    bounds = Scores(*(interval(getattr(cloud, field.name)) for field in fields(Scores)))
    if exclude_failures:
        failing = mean([resampled(one, resamples, seed) for one in everything])
        bounds = replace(bounds, failure_rate=interval(failing.failure_rate))
    return {
        "labels": list(labels),
        "records": len(given[0].truth),
        "patients": int(given[0].patients.max()) + 1,
        **_nested(point, labels, given[0].truth.sum(axis=0)),
        "failure_rate": float(np.mean([one.failed.mean() for one in everything])),
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


def paired_difference(
    first: Sequence[Answers], second: Sequence[Answers], resamples: int = 10_000, seed: int = 0
) -> dict[str, Any]:
    """`first` minus `second` on the same records in the same order: difference, 95 % interval and two-sided p.

    Each side is the mean of one or more repeats, the same patients drawn for all of them.
    p is the bootstrap's: twice the smaller share of resampled differences on either side of zero, at least 1/resamples.
    """
    one = first[0]
    if any(other.labels != one.labels or not np.array_equal(other.patients, one.patients) for other in (*first, *second)):
        raise ChexReasonError("a paired difference needs the same labels, records and patients in the same order")
    point = mean([scores(side) for side in first]) - mean([scores(side) for side in second])
    cloud = mean([resampled(side, resamples, seed) for side in first])
    cloud = cloud - mean([resampled(side, resamples, seed) for side in second])
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


def difference(point: float, cloud: NDArray[np.float64]) -> dict[str, Any]:
    """An observed difference with the interval and p of its resamples."""
    side = min(float((cloud <= 0).mean()), float((cloud >= 0).mean()))
    return {
        "difference": float(point),
        "interval": [float(bound) for bound in interval(cloud)],
        "p": min(1.0, max(2 * side, 1 / len(cloud))),
    }


def _per_record(given: Answers) -> NDArray[np.float64]:
    """Columns that sums of are all that the metrics need: TP, FP, FN (L each), records, failures, exact, Jaccard."""
    both, either = given.truth & given.predicted, given.truth | given.predicted
    shared, union = both.sum(axis=1), either.sum(axis=1)
    jaccard = np.where(union == 0, 1.0, shared / np.maximum(union, 1))
    counts = [both, given.predicted & ~given.truth, given.truth & ~given.predicted]
    rest = [np.ones(len(shared)), given.failed, shared == union, jaccard]
    return np.column_stack([*counts, *rest]).astype(np.float64)


def _weights(patients: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each patient is drawn in each resample, in blocks of shape (some, patients)."""
    rng = np.random.default_rng(seed)
    block = max(1, _CELLS // patients)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(0, patients, size=(rows, patients))
        drawn += patients * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * patients).reshape(rows, patients).astype(np.float64)


def _from_sums(sums: NDArray[np.float64], labels: int) -> Scores:
    tp, fp, fn = (sums[..., i * labels : (i + 1) * labels] for i in range(3))
    records, failures, exact, jaccard = np.moveaxis(sums[..., 3 * labels :], -1, 0)
    per_label = _rates(tp, fp, fn)
    return Scores(
        per_label=per_label,
        micro=_rates(tp.sum(axis=-1), fp.sum(axis=-1), fn.sum(axis=-1)),
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
