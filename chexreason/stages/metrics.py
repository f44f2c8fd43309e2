"""Label metrics of any file of predictions, with intervals over patients; against a second file, paired differences.

The metrics are those of the paper's Tables 1-6; the intervals are ours.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from chexreason.answers import metrics, predictions
from chexreason.answers.intervals import MOST_RESAMPLES, RESAMPLES
from chexreason.errors import ChexReasonError, at_least, at_most, printable
from chexreason.labels import FINDINGS, check_findings, in_order
from chexreason.runs.files import read_json, require_output, write_json
from chexreason.runs.folders import Run
from chexreason.runs.identity import CIRCUMSTANCE, CONTENT, UNORDERED


@dataclass(frozen=True)
class Settings:
    """`labels` empty means all 14 findings; `against` holds predictions for the same records as `input`."""

    CODE: ClassVar = ("answers",)  # results depend on the parser's version

    name: str
    input: str | None = field(metadata=CONTENT, default=None)
    output: str | None = field(metadata=CIRCUMSTANCE, default=None)
    against: str | None = field(metadata=CONTENT, default=None)
    labels: list[str] = field(metadata=UNORDERED, default_factory=list)
    exclude_failures: bool = False
    resamples: int = RESAMPLES

    def __post_init__(self) -> None:
        at_least(1, resamples=self.resamples)
        at_most(MOST_RESAMPLES, resamples=self.resamples)
        if self.labels:
            check_findings(list(dict.fromkeys(self.labels)), key="stage.labels")

    def require(self) -> None:
        """Raises ChexReasonError if `input` is not set, or a path is unusable."""
        if not self.input:
            raise ChexReasonError("stage.input is not set: name a JSON Lines file of predictions, e.g. predictions.jsonl")
        require_output(self.output, self.input, self.against)


USES = ()


def execute(run: Run) -> dict[str, Any]:
    """Score `stage.input`; leaves metrics.json."""
    settings: Settings = run.settings
    labels = in_order(settings.labels) or list(FINDINGS)
    given = predictions.read(Path(str(settings.input)))
    result = predictions.summary(given, labels, settings.resamples, settings.exclude_failures)
    result["notes"] = list(_notes(given, settings))
    if settings.against:
        result["against"] = {"file": settings.against} | _against(given, labels, settings)
    write_json(run.folder / "metrics.json", result)
    return result


def _notes(given: list[predictions.Prediction], settings: Settings) -> Iterator[str]:
    """Notes on a file of predictions that can be scored but may not be what the user intended."""
    repeated = len(given) - len({one.id for one in given})
    if repeated:
        yield f"{settings.input}: {repeated} lines have the id of another line; each is counted"
    if predictions.without_patients(given):
        yield f'{settings.input}: each line counts as a patient of its own; "patient" says which belong together'
    told = {name for one in given for name in (*one.labels, *one.ignored)}
    untold = {name for one in given for name in one.predicted or ()} - told
    if untold and not settings.labels:  # as of a site that labels fewer findings: each naming of the others counts as wrong
        named = ",".join(name if " " not in name else repr(name) for name in in_order(told))
        yield (
            f"{', '.join(in_order(untold))}: answered, and true of no record. If nobody labelled them, leave them out: "
            f"stage.labels=[{named}]"
        )


def draws(_: Settings) -> bool:
    """No: its resamples are the same for every seed."""
    return False


def deliver(folder: Path, output: Path) -> None:
    """Write the metrics to the file that the user named."""
    write_json(output, read_json(folder / "metrics.json"))


def show(folder: Path) -> None:
    """Print the main numbers, of metrics computed now or before."""
    result = read_json(folder / "metrics.json")
    for note in result["notes"]:
        print(printable(note), file=sys.stderr)
    print(predictions.main_numbers(result))
    if "against" in result:
        macro = result["against"]["macro"]["f1"]
        low, high = macro["interval"]
        on = f"on {result['against']['records']} records"
        print(f"macro-F1 minus that of stage.against, {on}: {macro['difference']:+.3f} [{low:+.3f}, {high:+.3f}]")


def _against(given: list[predictions.Prediction], labels: list[str], settings: Settings) -> dict[str, Any]:
    other = predictions.read(Path(str(settings.against)))
    matched = predictions.same_records(given, other)
    if matched is None:
        lacking = {one.id for one in given} ^ {one.id for one in other}
        example = f", e.g. {sorted(lacking)[0]!r}" if lacking else " (some id occurs twice)"
        raise ChexReasonError(
            f"{settings.against}: a paired difference needs the same records as {settings.input}; "
            f"{len(lacking)} ids are in one file only{example}"
        )
    for ours, theirs in zip(given, matched, strict=True):
        if ours.patient != theirs.patient:
            for file, side in ((settings.input, given), (settings.against, other)):
                if predictions.without_patients(side):
                    raise ChexReasonError(f'{file}: no line names its "patient", as the other file does; give each its patient')
            raise ChexReasonError(
                f"{settings.against}: record {ours.id!r} belongs to another patient, {theirs.patient!r}, than in "
                f"{settings.input}, {ours.patient!r}"
            )
        if {*ours.labels} != {*theirs.labels} or {*ours.ignored} != {*theirs.ignored}:
            raise ChexReasonError(f"{settings.against}: record {ours.id!r} has other true labels in {settings.input}")
    first, second = (predictions.as_answers(side, labels) for side in (given, matched))
    if settings.exclude_failures:
        both = ~np.any([one.failed for one in (*first, *second)], axis=0)
        if not both.any():
            raise ChexReasonError("no record was always answered in both files: nothing to compare without failures")
        first, second = ([one.select(both) for one in side] for side in (first, second))
    found = metrics.paired_difference(first, second, settings.resamples)
    if settings.exclude_failures:
        del found["failure_rate"]  # no record with a failure is left
    return found
