"""Predictions: names that are no finding are refused, since each would silently count as nothing predicted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chexreason.answers import predictions
from chexreason.errors import ChexReasonError

GOOD = {"id": "a", "patient": "p", "labels": ["Edema"], "predicted": ["Edema"], "ignored": ["Fracture"]}


@pytest.mark.parametrize(
    ("change", "key", "nearest"),
    [
        ({"predicted": ["pleural effusion"]}, "predicted", "Pleural Effusion"),
        ({"predicted": ["Edema "]}, "predicted", "Edema"),
        ({"predicted": ["Edema", "Pneumothorax."]}, "predicted", "Pneumothorax"),
        ({"ignored": ["Lung_Opacity"]}, "ignored", "Lung Opacity"),
        ({"labels": ["Cardiomegalie"]}, "labels", "Cardiomegaly"),
        ({"samples": [{"predicted": ["edema"]}]}, "predicted", "Edema"),
    ],
)
def test_a_name_that_is_no_finding_is_refused_with_its_line_and_the_nearest_one(tmp_path: Path, change, key, nearest) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "predictions.jsonl"
    path.write_text(json.dumps(GOOD) + "\n\n" + json.dumps(GOOD | change) + "\n")
    with pytest.raises(ChexReasonError, match=rf"predictions.jsonl, line 3: {key} .*Did you mean '{nearest}'\?$"):
        predictions.read(path)


def test_a_name_that_resembles_none_is_refused_without_a_guess(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    path.write_text(json.dumps(GOOD | {"predicted": ["xyz"]}))
    with pytest.raises(ChexReasonError, match=r"Support Devices'\]\.$"):
        predictions.read(path)
    path.write_text(json.dumps(GOOD | {"predicted": None}))
    assert predictions.read(path)[0].predicted is None and predictions.read(path)[0].ignored == ("Fracture",)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"id": 1, "labels": [], "predicted": [], "predicted": ["Edema"]}', "'predicted' stands in it twice"),
        ('{"id": 1, "labels": [], "grammar": "tags", "completions": [{"text": "x", "finished": "false"}]}', "true or false"),
        ('{"id": 1, "labels": [], "grammar": "xml", "completions": [{"text": "x", "finished": true}]}', "'xml': one of tags"),
    ],
)
def test_a_line_that_says_two_things_or_none_is_named(line: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(line + "\n")
    with pytest.raises(ChexReasonError, match=f"in.jsonl, line 1: .*{why}"):
        predictions.read(tmp_path / "in.jsonl")
