"""Filled review pages read back: checked against their pack, compared, and honoured in the SFT set."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS
from chexreason.prompts import write_answer
from chexreason.review.summary import summary
from chexreason.review.verdicts import read_filled
from chexreason.runs.files import as_lines, read_json, read_lines, write_json, write_text
from chexreason.stages.review import PACK, REPORT, VERDICTS, show
from tests.manifests import complete
from tests.review.conftest import fill, learnt, review


def test_verdicts_are_read_back_reported_and_honoured(taught: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = review(taught)
    cases = read_json(made / PACK)["cases"]
    first, second = cases[0], cases[1]
    filled = fill(
        made,
        {
            0: {
                "verdict": "reject",
                "comment": "no <such> thing",
                "marks": {first["labels"][0]: "not_seen"},
                "missed": ["Fracture"],
            }
            if "Fracture" not in first["labels"]
            else {"verdict": "reject", "marks": {first["labels"][0]: "not_seen"}},
            1: {"verdict": "edit", "text": "The left base is dense, in my own words.", "marks": {second["labels"][0]: "seen"}},
            2: {"verdict": "edit", "text": "As provided, the left base is dense."},
            3: {"verdict": "accept"},
            4: {"comment": "not decided"},
        },
    )
    read = review(taught, "review-2", filled=[filled])
    found = read_json(read / "review.json")
    assert (found["judgements"], found["all"]["accept"], found["all"]["edit"], found["all"]["reject"]) == (4, 1, 1, 2)
    assert found["all"]["accepted"] == 0.25 and found["all"]["agreement"] == 0.5
    low, high = found["all"]["interval"]
    assert low < 0.25 < high
    (version,) = found["by_prompt_version"]
    assert version.startswith("free_reasoning ") and found["by_prompt_version"][version]["judgements"] == 4
    assert sum(row["judgements"] for row in found["by_label"].values()) == sum(len(case["labels"]) for case in cases[:4])
    assert found["by_label"][first["labels"][0]]["reject"] >= 1
    text = (read / REPORT).read_text()
    assert "leak: as provided" in text and version in text
    show(read)
    assert f"stage.reviewed={read / VERDICTS}" in capsys.readouterr().out

    kept = {trace["path"]: trace["completion"] for trace in learnt(taught, str(read / VERDICTS))}
    before = {trace["path"]: trace["completion"] for trace in learnt(taught, None)}
    assert set(before) - set(kept) == {first["path"], cases[2]["path"]}, "rejected, and edited into a leak"
    assert kept.pop(second["path"]) == write_answer("tags", "The left base is dense, in my own words.", second["labels"])
    assert all(before[path] == completion for path, completion in kept.items())


def test_readers_are_compared_and_a_rejection_by_one_holds(taught: Path) -> None:
    made = review(taught)
    files = [
        fill(made, {0: {"verdict": "reject"}, 1: {"verdict": "accept"}, 2: {"verdict": "reject"}}, " Dr  A\n"),
        fill(made, {0: {"verdict": "accept"}, 1: {"verdict": "reject"}, 2: {"verdict": "reject"}}, "Dr B"),
    ]
    read = review(taught, "review-2", filled=files)
    (pair,) = read_json(read / "review.json")["between_readers"]
    assert pair["readers"] == ["Dr A", "Dr B"] and pair["same"] == pytest.approx(1 / 3) and pair["kappa"] == pytest.approx(-0.5)
    decided = {row["path"]: row["verdict"] for row in read_lines(read / VERDICTS)}
    assert [decided[case["path"]] for case in read_json(made / PACK)["cases"][:3]] == ["reject"] * 3


def test_a_filled_page_that_an_editor_saved_in_another_encoding_is_read(taught: Path) -> None:
    filled = Path(fill(review(taught), {0: {"verdict": "accept"}}, "Dr M\u00fcller"))
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le"):
        copy = filled.with_name(f"{encoding}.json")
        copy.write_text(filled.read_text(encoding="utf-8"), encoding=encoding)
        (row,) = read_lines(review(taught, f"review-{encoding}", filled=[str(copy)]) / VERDICTS)
        assert row["readers"] == ["Dr M\u00fcller"], encoding


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_readers_edits_the_words_saved_last_hold_and_the_others_are_named(order: int, taught: Path) -> None:
    made = review(taught)
    words = ("The left base is dense, I think.", "The right base is dense, I think.")
    files = [
        fill(made, {1: {"verdict": "edit", "text": text}}, reader, **saved)
        for text, reader, saved in zip(words, ("Dr A", "\x1b[31mDr B"), (MONDAY, TUESDAY), strict=True)
    ]
    (row,) = read_lines(review(taught, "review-2", filled=files[::order]) / VERDICTS)
    assert words[1] in row["completion"] and row["comments"] == ["Dr A - edited it otherwise"]
    assert "\\x1b[31mDr B" in row["readers"], "what would steer a terminal is written as its code"


MONDAY, TUESDAY = {"saved": "2026-03-02T16:00:00.000Z"}, {"saved": "2026-03-03T08:00:00.000+01:00"}
SAID = {0: {"verdict": "reject"}, 1: {"verdict": "accept"}, 2: {"marks": {}, "comment": "later"}}


@pytest.mark.parametrize("saved", [{}, MONDAY])
def test_what_a_reader_said_of_a_case_in_several_files_counts_once(saved: dict[str, str], taught: Path) -> None:
    made = review(taught)
    filled = fill(made, SAID, **saved)
    again = shutil.copy(filled, filled.replace("Dr A", "copy"))
    Path(again).write_text(Path(again).read_text().replace("Dr A", "dr a"))
    once, often = (
        read_json(review(taught, name, filled=files) / "review.json")
        for name, files in (("review-2", [filled]), ("review-3", [filled, filled, str(again)]))
    )
    assert (once.pop("superseded"), often.pop("superseded")) == (0, 6)
    assert "6 more are not counted: the same reader's last word" in (taught.parent / "review-3" / REPORT).read_text()
    assert once == often and once["readers"] == ["Dr A"] and once["judgements"] == 2 == once["all"]["judgements"]
    rows = [read_lines(taught.parent / name / VERDICTS) for name in ("review-2", "review-3")]
    assert rows[0] == rows[1] and rows[1][0]["readers"] == ["Dr A"]


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_readers_words_on_a_case_the_last_saved_one_counts(order: int, taught: Path) -> None:
    made = review(taught)
    other = {0: {"verdict": "accept"}, 1: {"verdict": "edit", "text": "The left base is dense, in my own words."}}
    files = [
        fill(made, SAID, **MONDAY),
        fill(made, other, "dr  A", **TUESDAY),
        fill(made, {0: {"verdict": "accept"}}, "Dr B"),
    ][::order]
    read = review(taught, "review-2", filled=files)
    found = read_json(read / "review.json")
    assert (found["judgements"], found["undecided"], found["all"]["accept"], found["all"]["edit"]) == (3, 1, 2, 1)
    assert len(found["readers"]) == 2 and found["between_readers"][0]["same"] == 1.0
    rows = read_lines(read / VERDICTS)
    assert sorted((row["verdict"], len(row["readers"])) for row in rows) == [("accept", 2), ("edit", 1)]


@pytest.mark.parametrize(
    ("first", "second"), [({}, {}), (MONDAY, {}), ({}, MONDAY), (MONDAY, MONDAY), (MONDAY, {"saved": "2026-03-02T17:00+01:00"})]
)
def test_a_reader_who_says_two_things_and_not_which_is_later_is_refused(first: Any, second: Any, taught: Path) -> None:
    made = review(taught)
    case = read_json(made / PACK)["cases"][0]["id"]
    one = fill(made, SAID, **first)
    two = shutil.copy(one, one.replace("Dr A", "other"))
    write_json(Path(two), read_json(Path(one)) | {"saved": None} | second)
    read = review(taught, "review-2", filled=[one, str(two)])
    assert read_json(read / "review.json")["judgements"] == 2, "the same words contradict nothing"
    Path(two).write_text(Path(two).read_text().replace('"reject"', '"accept"'))
    with pytest.raises(ChexReasonError, match=f"(?=.*Dr A.json)(?=.*other.json).* case {case}, both in the name of Dr A"):
        review(taught, "review-3", filled=[one, str(two)])


def test_a_case_in_two_packs_is_one_case(taught: Path) -> None:
    packs = [review(taught), review(taught, "review-2", sample=3)]
    places = [{case["id"]: at for at, case in enumerate(read_json(made / PACK)["cases"])} for made in packs]
    assert read_json(packs[0] / PACK)["digest"] != read_json(packs[1] / PACK)["digest"]
    (shared, *_) = places[0].keys() & places[1].keys()
    for reader in ("Dr A", "Dr B"):
        files = [
            fill(packs[0], {places[0][shared]: {"verdict": "reject"}}, "Dr A", **MONDAY),
            fill(packs[1], {places[1][shared]: {"verdict": "accept"}}, reader + " ", **TUESDAY),
        ]
        found = read_json(review(taught, f"review-{reader[-1]}", filled=files) / "review.json")
        assert found["cases"] == 1 and found["judgements"] == len({"Dr A", reader})
        assert bool(found["between_readers"]) == (reader == "Dr B")


def test_versions_of_a_prompt_are_counted_apart(taught: Path) -> None:
    made = review(taught)
    pack = read_json(made / PACK)
    other = made.parent / "review-9"
    write_json(other / PACK, pack | {"prompt_version": "other", "digest": ""})
    write_json(other / "manifest.json", complete("review", finished="9"))
    from chexreason.review.pack import from_json

    packs = {one.digest: one for one in (from_json(pack), from_json(read_json(other / PACK)))}
    assert len(packs) == 2
    write_json(other / PACK, read_json(other / PACK) | {"digest": next(key for key in packs if key != pack["digest"])})
    files = [fill(made, {0: {"verdict": "accept"}}, "A"), fill(other, {0: {"verdict": "reject"}}, "B")]
    found = summary([one for path in files for one in read_filled(Path(path), packs)])
    assert {name.split()[1]: row["accepted"] for name, row in found["by_prompt_version"].items()} == {
        pack["prompt_version"]: 1.0,
        "other": 0.0,
    }


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pack": "0123"}, "filled for the pack '0123'"),
        ({"schema": 2}, "no saved review of schema 1"),
        ({"schema": True}, "no saved review of schema 1"),
        ({"reader": ["x"]}, "a name is wanted"),
        ({"verdicts": []}, "no saved review"),
        ({"saved": "yesterday"}, "saved is 'yesterday'; a time as the page writes it"),
        ({"saved": "2026-03-02T16:00"}, "a time as the page writes it"),
        ({"saved": 1772467200}, "saved is 1772467200"),
        ({"verdicts": {"nowhere": {}}}, "case 'nowhere' is not in its pack"),
    ],
)
def test_a_file_that_does_not_belong_is_refused(changed: dict[str, Any], message: str, taught: Path) -> None:
    filled = fill(review(taught), {0: {"verdict": "accept"}}, **changed)
    with pytest.raises(ChexReasonError, match=message):
        review(taught, "review-2", filled=[filled])


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"verdict": "maybe"}, "the verdict is 'maybe'"),
        ({"verdict": "edit", "text": " \n"}, "case .*: an edit without text"),
        ({"verdict": "accept", "marks": {"No Finding": "seen"}}, "marks"),
        ({"verdict": "accept", "missed": ["Flu"]}, "no list of findings"),
        ({"verdict": "accept", "missed": [{"a": 1}]}, "no list of findings"),
        ({"verdict": "accept", "marks": {"No Finding": ["seen"]}}, "marks"),
        ({"verdict": "accept", "comment": 3}, "must be texts"),
        ({}, "no case has a verdict or a mark yet"),
    ],
)
def test_a_wrong_verdict_names_its_case(said: dict[str, Any], message: str, taught: Path) -> None:
    filled = fill(review(taught), {0: said})
    with pytest.raises(ChexReasonError, match=message):
        review(taught, "review-2", filled=[filled])


def test_no_json_is_no_review_and_verdicts_of_other_traces_are_refused(taught: Path) -> None:
    broken = taught.parent / "broken.json"
    for text in ("{", "[" * 200_000, '{"schema": 1, "reader": "\\ud800", "verdicts": {}}'):
        broken.write_text(text)
        with pytest.raises(ChexReasonError, match="no saved review"):
            review(taught, "review-2", filled=[str(broken)])
    read = review(taught, "review-3", filled=[fill(review(taught), {0: {"verdict": "reject"}})])
    rows = read_lines(taught / "traces.jsonl")
    write_text(taught / "traces.jsonl", as_lines([row | {"completion": row["completion"] + " "} for row in rows]))
    with pytest.raises(ChexReasonError, match="judges none of these traces"):
        learnt(taught, str(read / VERDICTS))
    with pytest.raises(ChexReasonError, match="no such file"):
        learnt(taught, "nowhere.jsonl")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"verdict": "Reject"}, "the verdict is 'Reject'; one of accept, edit, reject"),
        ({"verdict": None}, "none that stage=review"),
        ({"path": None}, "none that stage=review"),
    ],
)
def test_verdicts_that_no_review_wrote_are_refused(changed: dict[str, Any], said: str, taught: Path) -> None:
    file = review(taught, "review-2", filled=[fill(review(taught), {0: {"verdict": "reject"}})]) / VERDICTS
    (row,) = read_lines(file)
    write_text(file, as_lines([row | changed]))
    with pytest.raises(ChexReasonError, match=said):
        learnt(taught, str(file))
    write_text(file, as_lines([row, row]))
    learnt(taught, str(file))
    write_text(file, as_lines([row, row | {"verdict": "accept"}]))  # two readers' files, put together by hand
    with pytest.raises(ChexReasonError, match="is judged twice"):
        learnt(taught, str(file))


@pytest.mark.parametrize("key", ["verdicts", "verdict", "marks", "{case}"])
def test_a_key_that_stands_twice_in_an_object_is_refused_by_its_name(key: str, taught: Path) -> None:
    made = review(taught)
    path, key = Path(fill(made, {0: {"verdict": "accept"}})), key.format(case=read_json(made / PACK)["cases"][0]["id"])
    path.write_text(path.read_text().replace(f'"{key}":', f'"{key}": {{}}, "{key}":'))
    with pytest.raises(ChexReasonError, match=f"Dr A.json is no saved review: the key '{key}' stands in it twice"):
        review(taught, "review-2", filled=[str(path)])


def test_marks_without_a_verdict_count_and_decide_nothing(taught: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = review(taught)
    cases = read_json(made / PACK)["cases"]
    (first, second), missed = (case["labels"] for case in cases[:2]), next(f for f in FINDINGS if f not in cases[1]["labels"])
    said = {0: {"marks": {first[0]: "not_seen"}}, 1: {"marks": {second[0]: "seen"}, "missed": [missed]}, 2: {"comment": " "}}
    read = review(taught, "review-2", filled=[fill(made, said | {3: {"verdict": "accept"}})])
    found = read_json(read / "review.json")
    assert (found["judgements"], found["undecided"], found["all"]["accepted"]) == (1, 2, 1.0)
    assert found["all"]["marked"] == 2 and found["all"]["agreement"] == 0.5 and found["by_label"][missed]["missed"] == 1
    assert "In 2 more there is no verdict yet" in (read / REPORT).read_text()
    assert [row["path"] for row in read_lines(read / VERDICTS)] == [cases[3]["path"]]
    read = review(taught, "review-3", filled=[fill(made, said, "Dr B")])
    show(read)
    assert "nothing to honour" in capsys.readouterr().out and read_json(read / "review.json")["all"]["marked"] == 2
