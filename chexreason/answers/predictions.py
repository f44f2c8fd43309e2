"""Predictions as JSON Lines: what evaluation writes and what metrics, tables and the gallery read.

An evaluation keeps what the model wrote; what it answered is read from that by today's parser, whenever it is asked for. Files
from elsewhere may hold the answers themselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any

from chexreason.answers import metrics
from chexreason.answers.intervals import RESAMPLES
from chexreason.answers.parser import parse
from chexreason.errors import ChexReasonError, nearest
from chexreason.labels import FINDINGS
from chexreason.runs.files import each_line

KEYS = frozenset("id patient labels predicted ignored samples completions grammar failure completion how path".split())
# Other tools' names for our keys, in lower case and without punctuation.
CALLED = dict.fromkeys("subjectid patientid patientname patientnumber personid pid mrn".split(), "patient")
CALLED |= {"uncertain": "ignored", "uncertainlabels": "ignored"}
PREDICTIONS = "predictions.jsonl"  # in the folder of an evaluate run


@dataclass(frozen=True)
class Prediction:
    """One record's truth and answer; `predicted` is None where no answer could be read, `failure` then says why.

    `repeats` holds every answer where the record was answered several times, else the only one; `predicted` is the first.
    """

    id: str
    patient: str
    labels: tuple[str, ...]
    predicted: tuple[str, ...] | None
    repeats: tuple[tuple[str, ...] | None, ...]
    ignored: tuple[str, ...] = ()  # labels that count neither way for this record
    failure: str | None = None
    completion: str = ""
    path: str = ""
    how: str | None = None  # list | table | json | prose: how the answer was read; None where it was given, or none was read


def row(study: dict[str, Any], grammar: str, completions: Sequence[Any]) -> dict[str, Any]:
    """One line of an evaluation: a study's id, path, patient, labels and ignored labels, with what a model wrote about it.

    `completions`: one for each time that the study was answered, each with text, num_tokens and finished.
    """
    written = [{"text": one.text, "num_tokens": one.num_tokens, "finished": one.finished} for one in completions]
    return {**study, "grammar": grammar, "completions": written}


def summary(
    predictions: Sequence[Prediction], labels: Sequence[str], resamples: int = RESAMPLES, exclude_failures: bool = False
) -> dict[str, Any]:
    """Every metric of these predictions over `labels`, with its 95 % interval over patients (see metrics.summary)."""
    return metrics.summary(
        [one.labels for one in predictions],
        repeats(predictions),
        labels,
        [one.patient for one in predictions],
        resamples=resamples,
        exclude_failures=exclude_failures,
        ignored=[one.ignored for one in predictions],
    )


def main_numbers(result: dict[str, Any]) -> str:
    """The main numbers of a summary, in a line."""
    low, high = result["intervals"]["macro"]["f1"]
    absent = sum(found["support"] == 0 for found in result["per_label"].values())
    labels = f"{len(result['labels'])} labels{f', {absent} of them in no record' if absent else ''}"
    few = f" (of {result['patients']} patients, it promises little)" if result["patients"] < metrics.FEW_PATIENTS else ""
    return (
        f"{result['records']} records, {labels}: micro-F1 {result['micro']['f1']:.3f}, macro-F1 {result['macro']['f1']:.3f} "
        f"[{low:.3f}, {high:.3f}]{few}, failures {result['failure_rate']:.3f}"
    )


def read(path: Path) -> list[Prediction]:
    """The predictions in a JSON Lines file.

    Raises:
        ChexReasonError: no such file, an empty one, or a line that is no prediction (with its number).
    """
    if not path.is_file():
        raise ChexReasonError(f"{path}: there is no such file of predictions")
    rows = list(each_line(path))
    found = [_prediction(value, where) for where, value in rows]
    if not found:
        raise ChexReasonError(f"{path}: no predictions in it; one JSON object a line is wanted")
    lacking = [where for where, value in rows if "patient" not in value]
    if 0 < len(lacking) < len(rows):  # else records of one patient would count as different patients
        raise ChexReasonError(f"{lacking[0]}: no patient, which other lines have; give each line its patient, or none of them")
    return found


def as_answers(predictions: Sequence[Prediction], labels: Sequence[str]) -> list[metrics.Answers]:
    """The predictions as arrays over `labels`, once for each time that the records were answered."""
    truth, patients, ignored = ([getattr(one, name) for one in predictions] for name in ("labels", "patient", "ignored"))
    return [metrics.answers(truth, predicted, labels, patients, ignored) for predicted in repeats(predictions)]


def repeats(predictions: Sequence[Prediction]) -> list[list[tuple[str, ...] | None]]:
    """What was predicted for every record, once for each time that they were answered."""
    if len({len(one.repeats) for one in predictions}) > 1:
        raise ChexReasonError("some records were answered more often than others: their repeats cannot be compared")
    return [list(answers) for answers in zip(*(one.repeats for one in predictions), strict=True)]


def without_patients(predictions: Sequence[Prediction]) -> bool:
    """Whether each record counts as a patient of its own: no line names another."""
    return all(one.patient == one.id for one in predictions)


def same_records(first: Sequence[Prediction], second: Sequence[Prediction]) -> list[Prediction] | None:
    """`second` in the order of `first`, or None where they are not about the same records."""
    by_id = {one.id: one for one in second}
    if len(by_id) != len(second) or len(second) != len(first) or any(one.id not in by_id for one in first):
        return None
    return [by_id[one.id] for one in first]


def _prediction(value: dict[str, Any], where: str) -> Prediction:
    if "completions" in value:
        if "predicted" in value:
            raise ChexReasonError(f'{where}: "predicted" beside "completions", which are read anew: leave one of the two out')
        value = _parsed(value, where)
    missing = [key for key in ("id", "labels", "predicted") if key not in value]
    if missing:
        raise ChexReasonError(f"{where}: no {', '.join(missing)}; wanted: id, patient, labels, predicted (or null)")
    one = _who(value["id"], f"{where}: id", "one for each record")
    patient = _who(value.get("patient", one), f"{where}: patient", "leave it out where every record is a patient of its own")
    refuse_misspelt(value, KEYS, where)
    samples = value.get("samples", [value])
    if not isinstance(samples, list) or not samples or not all(isinstance(one, dict) and "predicted" in one for one in samples):
        raise ChexReasonError(f'{where}: "samples" is no list of objects with "predicted" in each')
    predicted, *repeats = (_answer(one["predicted"], where) for one in (value, *samples))
    if predicted != repeats[0]:
        raise ChexReasonError(f'{where}: "predicted" is not that of the first of its "samples"')
    return Prediction(
        id=one,
        patient=patient,
        labels=names(value["labels"], where, "labels"),
        predicted=predicted,
        ignored=names(value.get("ignored", []), where, "ignored"),
        failure=value.get("failure"),
        completion=str(value.get("completion", "")),
        how=value.get("how"),
        path=str(value.get("path", "")),
        repeats=tuple(repeats),
    )


def _who(value: Any, key: str, otherwise: str) -> str:
    """An id or a patient as text, without blanks around it; 7.0, as a spreadsheet saves 7, is 7.

    Raises:
        ChexReasonError: it is neither a text nor a number that is one; `otherwise` says what to do.
    """
    number = type(value) is int or isinstance(value, float) and isfinite(value)  # no float holds every int
    if not number and not (isinstance(value, str) and value.strip()):
        raise ChexReasonError(f"{key} is {json.dumps(value)[:60]}; a text or a number is wanted, {otherwise}")
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _parsed(value: dict[str, Any], where: str) -> dict[str, Any]:
    """An evaluation's line with the answers that today's parser reads from its completions."""
    try:
        texts = [(one["text"], one["finished"]) for one in value["completions"]]
        if not all(isinstance(text, str) and isinstance(finished, bool) for text, finished in texts):
            raise TypeError('"text" is a text, "finished" true or false')
        found = [parse(text, value["grammar"], finished) for text, finished in texts]
    except (KeyError, TypeError) as error:
        raise ChexReasonError(
            f'{where}: each of "completions" needs "text" (a string) and "finished" (true or false), and the line needs '
            f'"grammar" ({error!r})'
        ) from None
    except ChexReasonError as error:
        raise ChexReasonError(f"{where}: {error}") from None
    samples: list[dict[str, Any]] = [{"predicted": list(one.labels) if one.failure is None else None} for one in found]
    if not samples:
        raise ChexReasonError(f'{where}: "completions" is empty')
    return (
        value | samples[0] | {"failure": found[0].failure, "how": found[0].how, "completion": texts[0][0], "samples": samples}
    )


def _answer(value: Any, where: str) -> tuple[str, ...] | None:
    return None if value is None else names(value, where, "predicted")


def refuse_misspelt(value: Mapping[str, Any], read: Set[str], where: str) -> None:
    """Raises ChexReasonError for a key that stands for one of those that are read: misspelt, or as others call it.

    Other keys of a line are ignored.
    """
    for key in (key for key in value if key not in read):
        called = CALLED.get("".join(filter(str.isalnum, key)).lower()) if value[key] else None
        meant = get_close_matches(key, read - value.keys(), n=1, cutoff=0.8) or [
            one for one in read - value.keys() if one == called
        ]
        if meant:
            raise ChexReasonError(f"{where}: the key {key!r} is not read. Did you mean {meant[0]!r}?")


def names(value: Any, where: str, key: str) -> tuple[str, ...]:
    """A list of findings by their exact names; another name would silently count as no finding at all.

    Raises:
        ChexReasonError: it is none; names `where` it stands, its `key` and the nearest finding.
    """
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ChexReasonError(f'{where}: {key}: a list of labels is wanted, such as ["Edema"] or [], not {value!r}')
    unknown = [name for name in value if name not in FINDINGS]
    if unknown:
        meant = nearest(unknown[0], FINDINGS)
        raise ChexReasonError(f"{where}: {key} {unknown} are not among the findings {list(FINDINGS)}.{meant}")
    return tuple(value)
