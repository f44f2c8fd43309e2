"""The metrics stage: files in, files out, and errors that name the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chexreason.answers.metrics import FEW_PATIENTS
from chexreason.errors import ChexReasonError
from chexreason.runs.files import read_json
from chexreason.runs.folders import Run
from chexreason.stages.metrics import Settings, deliver, execute, show

LINES = [
    {"id": "1", "patient": "a", "labels": ["Edema", "Pneumonia"], "predicted": ["Edema"]},
    {"id": "2", "patient": "a", "labels": ["No Finding"], "predicted": None},
    {"id": "3", "patient": "b", "labels": ["Fracture"], "predicted": ["Fracture", "Edema"]},
]


def lines(path: Path, values: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return str(path)


def score(folder: Path, **settings: Any) -> dict[str, Any]:
    return execute(Run(settings=Settings("metrics", resamples=200, **settings), folder=folder))


def test_contract(tmp_path):
    source, target = lines(tmp_path / "in.jsonl", LINES), tmp_path / "made" / "out.json"
    found = score(tmp_path, input=source)
    deliver(tmp_path, target)
    assert read_json(target) == read_json(tmp_path / "metrics.json") == found
    assert found["failure_rate"] == pytest.approx(1 / 3) and found["exact_match"] == 0.0
    assert found["micro"] == {"precision": pytest.approx(2 / 3), "recall": 0.5, "f1": pytest.approx(4 / 7)}
    assert found["per_label"]["Edema"] == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1}
    assert found["jaccard"] == pytest.approx((0.5 + 0 + 0.5) / 3)
    assert found["patients"] == 2 and len(found["intervals"]["macro"]["f1"]) == 2


@pytest.mark.parametrize(("patients", "said"), [(FEW_PATIENTS - 1, True), (FEW_PATIENTS, False)])
def test_few_patients_are_said_beside_the_numbers(tmp_path, capsys, patients, said):
    one_each = [LINES[0] | {"id": str(number), "patient": f"p{number}"} for number in range(patients)]
    score(tmp_path, input=lines(tmp_path / "in.jsonl", one_each))
    show(tmp_path)
    assert (f"] (of {patients} patients, it promises little)" in capsys.readouterr().out) is said


def test_what_may_not_be_meant_is_said_again_where_a_result_is_shown_again(tmp_path, capsys):
    alone = [{"id": "1", "labels": ["Edema"], "predicted": ["Fracture"]}]
    score(tmp_path, input=lines(tmp_path / "in.jsonl", [*alone, *alone]))
    for _ in range(2):
        show(tmp_path)
        said = capsys.readouterr().err
        assert said.count("\n") == 3
        for one in ("1 lines have the id of another", "a patient of its own", "Fracture: answered, and true of no record"):
            assert one in said


def test_subset_of_labels(tmp_path):
    found = score(tmp_path, input=lines(tmp_path / "in.jsonl", LINES), labels=["Edema", "Fracture"])
    assert list(found["per_label"]) == ["Edema", "Fracture"] and found["macro"]["recall"] == 1.0


def test_against_pairs_by_id_whatever_the_order(tmp_path):
    worse = [line | {"predicted": []} for line in reversed(LINES)]
    found = score(tmp_path, input=lines(tmp_path / "a.jsonl", LINES), against=lines(tmp_path / "b.jsonl", worse))
    assert found["against"]["micro"]["f1"]["difference"] == pytest.approx(4 / 7)
    assert set(found["against"]["macro"]["f1"]) == {"difference", "interval", "p"}


def test_a_label_asked_for_twice_counts_once(tmp_path):
    source = lines(tmp_path / "in.jsonl", LINES)
    assert score(tmp_path, input=source, labels=["Edema", "Edema"]) == score(tmp_path, input=source, labels=["Edema"])


def test_against_compares_the_means_of_repeats(tmp_path):
    twice = [line | {"samples": [{"predicted": line["predicted"]}, {"predicted": []}]} for line in LINES]
    found = score(tmp_path, input=lines(tmp_path / "a.jsonl", twice), against=lines(tmp_path / "b.jsonl", LINES))
    assert found["against"]["micro"]["f1"]["difference"] == pytest.approx(found["micro"]["f1"] - 4 / 7) != 0


def test_against_another_truth_is_no_pair(tmp_path):
    other = [LINES[0] | {"labels": ["Edema"]}, *LINES[1:]]
    with pytest.raises(ChexReasonError, match="record '1' has other true labels"):
        score(tmp_path, input=lines(tmp_path / "a.jsonl", LINES), against=lines(tmp_path / "b.jsonl", other))


def test_a_line_that_is_no_text_or_only_means_harm_is_named(tmp_path):
    for line in (b"\xfe\xfe", b"[" * 200_000):
        (tmp_path / "in.jsonl").write_bytes(line)
        with pytest.raises(ChexReasonError, match="in.jsonl, line 1: no JSON object"):
            score(tmp_path, input=str(tmp_path / "in.jsonl"))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda two: {**two, "labels": ["Oedema"]}, "in.jsonl, line 2.*Oedema"),
        (lambda two: {"id": "2", "labels": []}, "in.jsonl, line 2: no predicted"),
        (lambda two: {**two, "predicted": "Edema"}, "in.jsonl, line 2: predicted: a list"),
        (lambda two: [], "in.jsonl, line 2: no JSON object: this is a list"),
        (lambda two: {**two, "patient": None}, "in.jsonl, line 2: patient is null"),
        (lambda two: {**two, "samples": []}, 'in.jsonl, line 2: "samples"'),
        (lambda two: {**two, "samples": ["Edema"]}, 'in.jsonl, line 2: "samples"'),
        (lambda two: {**two, "samples": [{"prediction": ["Edema"]}]}, 'in.jsonl, line 2: "samples"'),
        (lambda two: {**two, "samples": [{"predicted": ["Fracture"]}]}, "line 2: .predicted. is not that of the first"),
        (lambda two: {**two, "patient": " "}, "line 2: patient is ...;"),
        (lambda two: {**two, "patient": float("nan")}, "line 2: patient is NaN"),
        (lambda two: {**two, "ignore": ["Edema"]}, "line 2: the key 'ignore' is not read. Did you mean 'ignored'"),
    ],
)
def test_bad_lines_are_named(tmp_path, change, message):
    source = lines(tmp_path / "in.jsonl", [LINES[0], change(LINES[1])])
    with pytest.raises(ChexReasonError, match=message):
        score(tmp_path, input=source)


def test_other_errors_say_what_to_do(tmp_path):
    source = lines(tmp_path / "in.jsonl", LINES)
    with pytest.raises(ChexReasonError, match="stage.input"):
        Settings("metrics").require()
    with pytest.raises(ChexReasonError, match="Did you mean .Edema."):
        score(tmp_path, input=source, labels=["Edemma"])
    with pytest.raises(ChexReasonError, match="1 ids are in one file only, e.g. '3'"):
        score(tmp_path, input=source, against=lines(tmp_path / "b.jsonl", LINES[:2]))
    moved = [*LINES[:2], LINES[2] | {"patient": "z"}]
    with pytest.raises(ChexReasonError, match="'3' belongs to another patient"):
        score(tmp_path, input=source, against=lines(tmp_path / "c.jsonl", moved))
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ChexReasonError, match="no predictions"):
        score(tmp_path, input=str(tmp_path / "empty.jsonl"))


@pytest.mark.parametrize("called", ["subject_id", "PatientID", "pid", "MRN", "patient_name"])
def test_a_patient_by_another_name_is_not_passed_over(tmp_path, called):
    renamed = [{called if key == "patient" else key: value for key, value in line.items()} for line in LINES]
    with pytest.raises(ChexReasonError, match=f"line 1: the key '{called}' is not read. Did you mean 'patient'"):
        score(tmp_path, input=lines(tmp_path / "in.jsonl", renamed))
    beside = [line | {called: "x"} for line in LINES]
    assert score(tmp_path, input=lines(tmp_path / "in.jsonl", beside))["patients"] == 2, (
        "beside ours it is the file's own matter"
    )


def test_labels_that_do_not_count_go_by_one_name(tmp_path):
    with pytest.raises(ChexReasonError, match="'uncertain' is not read. Did you mean 'ignored'"):
        score(tmp_path, input=lines(tmp_path / "in.jsonl", [LINES[0] | {"uncertain": ["Edema"]}]))
    for nothing in ([], None, False):
        score(tmp_path, input=lines(tmp_path / "in.jsonl", [LINES[0] | {"uncertain": nothing}]))


def test_that_no_patient_is_named_is_said(tmp_path):
    nobody = [{key: value for key, value in line.items() if key != "patient"} for line in LINES]
    plain, other = lines(tmp_path / "plain.jsonl", nobody), lines(tmp_path / "in.jsonl", LINES)
    found = score(tmp_path, input=plain)
    assert found["patients"] == 3 and 'counts as a patient of its own; "patient" says' in found["notes"][0]
    assert score(tmp_path, input=other)["notes"] == []
    for sides in ({"input": plain, "against": other}, {"input": other, "against": plain}):
        with pytest.raises(ChexReasonError, match='plain.jsonl: no line names its "patient", as the other file does'):
            score(tmp_path, **sides)
    moved = lines(tmp_path / "moved.jsonl", [line | {"patient": line["patient"] * 2} for line in LINES])
    with pytest.raises(
        ChexReasonError, match="moved.jsonl: record '1' belongs to another patient, 'aa', than in .*in.jsonl, 'a'"
    ):
        score(tmp_path, input=other, against=moved)


def test_findings_that_nobody_labelled_are_named_where_they_are_answered(tmp_path: Path) -> None:
    given = lines(tmp_path / "in.jsonl", [*LINES, {**LINES[0], "id": "4", "predicted": ["Lung Lesion"]}])
    (said,) = score(tmp_path, input=given)["notes"]
    assert "Lung Lesion: answered, and true of no record" in said and "stage.labels=['No Finding',Edema,Pneumonia" in said
    assert score(tmp_path, input=given, labels=["Edema", "Lung Lesion"])["notes"] == []


def test_a_difference_without_failures_says_of_how_many_records_and_of_no_failures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (lines(tmp_path / f"{name}.jsonl", LINES) for name in "ab")
    against = score(tmp_path, input=one, against=two, exclude_failures=True)["against"]
    assert against["records"] == 2 and "failure_rate" not in against
    show(tmp_path)
    assert "on 2 records" in capsys.readouterr().out


def test_blanks_around_an_id_or_a_patient_make_no_other_one(tmp_path: Path) -> None:
    spaced = [one | {"patient": f" {one['patient']} " if one["id"] == "1" else one["patient"]} for one in LINES]
    assert score(tmp_path, input=lines(tmp_path / "in.jsonl", spaced))["patients"] == 2


def test_answers_beside_completions_are_refused(tmp_path: Path) -> None:
    written = {"grammar": "tags", "completions": [{"text": "<solution>Edema</solution>", "finished": True}]}
    with pytest.raises(ChexReasonError, match='"predicted" beside "completions"'):
        score(tmp_path, input=lines(tmp_path / "in.jsonl", [LINES[0] | written]))
