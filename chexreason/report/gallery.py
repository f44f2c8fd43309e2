"""The gallery: a sample of each test set with the truth and every model's answer and reasoning side by side."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chexreason.answers.predictions import Prediction
from chexreason.data import curated
from chexreason.data.agreements import agreement_of
from chexreason.errors import ChexReasonError
from chexreason.labels import in_order
from chexreason.pages import data_uri
from chexreason.report.study import Evaluation, Result, Study

LONGEST = 6000  # characters of one completion that the page shows
SIDE = 256  # pixels of a thumbnail's longer side


def cases(study: Study, count: int, seed: int, folder: Path, embed_credentialed: bool) -> list[dict[str, Any]]:
    """`count` records of each test set as JSON-able values for the page in `folder`.

    Up to a quarter are records that some model failed on, where there are any; the rest is drawn by `seed`.
    """
    drawn = []
    for dataset in study.datasets:
        results = [study.result(arm, dataset) for arm in study.arms]
        present = [one for one in results if one is not None]
        embed = embed_credentialed or is_free(present[0].evaluations[0])
        tables = {one: {record.id: record for record in one.predictions} for one in present}
        for record in _sample(present, count, seed):
            answers = [
                _answer(study.title(one.arm), tables[one][record.id], one.labels) for one in present if record.id in tables[one]
            ]
            truth = in_order(set(record.labels) & set(present[0].labels))
            drawn.append(
                {
                    "dataset": dataset,
                    "id": record.id,
                    "truth": truth,
                    "answers": answers,
                    "agreement": _agreement(truth, answers),
                    **_image(image_root(present[0].evaluations[0]) / record.path, folder, embed),
                }
            )
    return drawn


def is_free(evaluation: Evaluation) -> bool:
    """Whether the images are unrestricted: drawn ones, and those whose dataset says so. Without a statement they are not."""
    try:
        return agreement_of(evaluation.folder, evaluation.manifest) is None
    except ChexReasonError:
        return False


def image_root(evaluation: Evaluation) -> Path:
    """The folder that the predictions' paths are relative to: the dataset's, or that of the set it was curated from.

    A dataset lies where its config says or, if a run made it, inside that run.
    """
    maker = evaluation.manifest["parents"].get("dataset")
    root = evaluation.folder.parent / maker / evaluation.dataset["root"] if maker else Path(evaluation.dataset["root"])
    return (curated.origin(root).root if curated.is_curated(root) else None) or root


def _sample(results: Sequence[Result], count: int, seed: int) -> list[Prediction]:
    records = list(results[0].predictions)
    failed = {one.id for result in results for one in result.predictions if one.predicted is None}
    order = list(range(len(records)))
    random.Random(seed).shuffle(order)
    first = [place for place in order if records[place].id in failed][: count // 4]
    chosen = [*first, *(place for place in order if place not in set(first))][:count]
    return [records[place] for place in sorted(chosen)]


def _answer(title: str, record: Prediction, labels: Sequence[str]) -> dict[str, Any]:
    text = record.completion
    cut = f"\n[... {len(text) - LONGEST} more characters]" if len(text) > LONGEST else ""
    scored = set(labels) - set(record.ignored)
    return {
        "model": title,
        "predicted": None if record.predicted is None else in_order(set(record.predicted) & scored),
        "unscored": in_order(set(record.predicted or ()) - scored),  # not labelled by the site, or uncertain
        "failure": record.failure if record.predicted is None else None,
        "completion": text[:LONGEST] + cut,
    }


def _agreement(truth: list[str], answers: list[dict[str, Any]]) -> str:
    """all_right | all_wrong | some_right: how many of the models' answers equal the truth in all that is scored."""
    right = [one["predicted"] == truth for one in answers]
    return "all_right" if all(right) else "some_right" if any(right) else "all_wrong"


def _image(path: Path, folder: Path, embed: bool) -> dict[str, str | None]:
    """The image as data inside the page, or as a link to the file where it lies."""
    link = quote(Path(os.path.relpath(path, folder)).as_posix())
    if not embed:
        return {"image": link, "link": link}
    from chexreason.data.images import jpeg, read_image

    try:
        return {"image": data_uri("image/jpeg", jpeg(read_image(path), SIDE, quality=82)), "link": None}
    except (ChexReasonError, OSError):
        return {"image": None, "link": None}
