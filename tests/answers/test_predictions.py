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


@pytest.mark.parametrize("key", ["id", "patient"])
@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), True, [], ["p"], {"p": 1}, "", " "])
def test_who_cannot_be_told_is_refused_with_its_line(key: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (GOOD, GOOD | {key: value})))
    with pytest.raises(ChexReasonError, match=f"predictions.jsonl, line 2: {key} is .*; a text or a number is wanted"):
        predictions.read(path)


def test_a_number_is_one_id_however_it_is_written_and_however_large(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(GOOD | {"id": one, "patient": one}) + "\n" for one in (7, 7.0, "7", 0, 10**400)))
    assert [(one.id, one.patient) for one in predictions.read(path)] == [("7", "7")] * 3 + [("0", "0"), (f"1{'0' * 400}",) * 2]


@pytest.mark.parametrize("lacking", [0, 1, 2])
def test_a_file_in_which_only_some_lines_have_a_patient_is_refused(lacking: int, tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    rows = [GOOD | {"id": str(number)} for number in range(3)]
    del rows[lacking]["patient"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ChexReasonError, match=f"line {lacking + 1}: no patient, which other lines have; give each line"):
        predictions.read(path)
    path.write_text("".join(json.dumps({key: row[key] for key in row if key != "patient"}) + "\n" for row in rows))
    assert [one.patient for one in predictions.read(path)] == ["0", "1", "2"]


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


TEXT = "".join(json.dumps(GOOD | {"id": one, "patient": "Jos\u00e9"}, ensure_ascii=False) + "\n" for one in "ab")


@pytest.mark.parametrize(
    "content",
    [TEXT.encode("utf-8-sig"), TEXT.encode("utf-16"), TEXT.encode("utf-16-be"), TEXT.replace("\n", "\r").encode()],
)
def test_a_copy_in_another_encoding_is_read_all_the_same(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(content)
    assert [(one.id, one.patient) for one in predictions.read(tmp_path / "in.jsonl")] == [
        ("a", "Jos\u00e9"),
        ("b", "Jos\u00e9"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("in.jsonl", TEXT.encode("latin-1"), "byte 27 is no UTF-8 .*iconv -f latin1"),
        ("in.xls", b"<html><table><tr><td>id</td></tr></table>", "the file is an HTML page"),
        ("in.csv", b"\n<!DOCTYPE html>\n<table>", "the file is an HTML page"),
        ("in.csv", b"id;labels;score\na;Edema;0,7\n", "the file is a table divided by semicolons"),
        ("in.csv", b"id,labels\na,Edema\n", "the file is a table, as CSV is"),
        ("in.xlsx", b"PK\x03\x04", "the file is a workbook"),
        ("in.jsonl.gz", b"\x1f\x8b\x08", "gunzip"),
        ("in.json", json.dumps([GOOD, GOOD]).encode(), r"jq -c '\.\[\]'"),
        ("in.json", json.dumps(GOOD, indent=1).encode(), "jq -c \\. FILE"),
        ("in.jsonl", b'{"id": 1,5}\n', "at column 10, '5}'"),
    ],
)
def test_a_file_that_is_no_json_lines_is_refused_with_what_it_is(name: str, content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        ChexReasonError, match=f"{name}, line [12]: no JSON object: .*{why}.*; one object in each line is wanted"
    ):
        predictions.read(tmp_path / name)
