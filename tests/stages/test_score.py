"""The score stage: the paper's reward of any file of completions, and errors that name the line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from chexreason.answers.parser import Answer
from chexreason.errors import ChexReasonError, reason_last
from chexreason.labels import FINDINGS
from chexreason.rewards.scored import Scorer
from chexreason.runs.config import compose
from chexreason.runs.execute import execute
from chexreason.runs.files import as_lines, read_lines, require_output, write_text
from chexreason.runs.imports import NAMED
from chexreason.stages.score import read_completions, read_frequencies

RIGHT = "<think>The left base is dense.</think>\n<solution>Edema, Pleural Effusion</solution>"
LINE = {"id": "a", "completion": RIGHT, "labels": ["Edema", "Pleural Effusion"], "num_tokens": 300}


def run(folder: Path, lines: list[dict[str, object]], *words: str) -> None:
    words = ("stage=score", f"stage.input={folder / 'in.jsonl'}", f"runs='{folder / 'my runs'}'", *words)
    write_text(folder / "in.jsonl", as_lines(lines))
    execute(compose(words), words)


def score(folder: Path, *words: str, lines: list[dict[str, object]]) -> list[dict[str, object]]:
    """The lines that the command leaves."""
    run(folder, lines, f"stage.output={folder / 'out.jsonl'}", *words)
    return read_lines(folder / "out.jsonl")


def test_a_completion_is_scored_by_the_threshold_that_training_at_its_scale_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [LINE, LINE | {"num_tokens": 40}]
    found = [line["reward"] for line in score(tmp_path, "reward=hard", lines=lines)]
    assert found == [1.0, 1.0] and "answer" in capsys.readouterr().out, "a stand-in's are short: 20 tokens"
    long, short = score(tmp_path, "reward=hard", "scale=paper", lines=lines)
    assert long == {
        "id": "a",
        "valid": True,
        "predicted": ["Edema", "Pleural Effusion"],
        "failure": None,
        "reward": 1.0,
        "parts": {"jaccard": 1.0, "length": 0.0},
        "tolerant": {"labels": ["Edema", "Pleural Effusion"], "failure": None, "how": "list"},
    }
    assert short["reward"] == pytest.approx(0.9) and short["parts"] == {"jaccard": 1.0, "length": -0.1}


def test_a_completion_that_was_cut_off_is_read_as_evaluation_reads_it(tmp_path: Path) -> None:
    cut = LINE | {"completion": "<think>t</think>\n<solution>Edema, Lung Lesion"}
    whole, ended = score(tmp_path, lines=[cut, cut | {"finished": False}])
    assert whole["tolerant"]["labels"] == ["Lung Lesion", "Edema"] and ended["tolerant"]["labels"] == ["Edema"]


def test_an_id_that_would_steer_a_terminal_is_shown_as_its_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score(tmp_path, lines=[LINE | {"id": "\x1b[31m\n1"}])
    assert "\x1b" not in capsys.readouterr().out
    with pytest.raises(ChexReasonError) as refused:
        score(tmp_path, lines=[LINE | {"labels": ["\x1b[31m"]}])
    assert "\x1b" not in reason_last(str(refused.value))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"ignored": ["Edema"]}, "'ignored' is not read. Did you mean 'uncertain'"),
        ({"tokens": 3}, "'tokens' is not read. Did you mean 'num_tokens'"),
        ({"finished": "no"}, "true or false is wanted"),
    ],
)
def test_what_predictions_call_otherwise_is_named(more: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(ChexReasonError, match=said):
        score(tmp_path, lines=[LINE | more])


def test_beside_the_reward_stands_what_evaluation_reads_and_how(tmp_path: Path) -> None:
    said = {
        "prose": "<think>t</think><solution>The heart is enlarged, without effusion.</solution>",
        "table": "<think>t</think><solution>| Finding | Status |\n|---|---|\n| Edema | yes |\n| Fracture | no |</solution>",
        "denied": "<think>t</think><solution>Absent:\nEdema, Pleural Effusion</solution>",
    }
    lines = [{"id": name, "completion": text, "labels": ["Edema"], "num_tokens": 300} for name, text in said.items()]
    rows = score(tmp_path, "reward=hard", lines=lines)
    assert [row["reward"] for row in rows] == [0.0, 0.0, 0.0], "what is no list of the 14 names earns nothing"
    assert [row["tolerant"] for row in rows] == [
        {"labels": ["Cardiomegaly"], "failure": None, "how": "prose"},
        {"labels": ["Edema"], "failure": None, "how": "table"},
        {"labels": [], "failure": "no_valid_label", "how": None},
    ]


def test_a_reward_that_asks_for_no_length_needs_no_tokenizer(tmp_path: Path) -> None:
    less = {key: value for key, value in LINE.items() if key != "num_tokens"}
    run(tmp_path, [less], "reward=nuanced")
    with pytest.raises(ChexReasonError) as refused:
        run(tmp_path, [less], "reward=hard")
    assert "my runs" in str(refused.value).split("make it:")[1], "the runs folder belongs to the command"


@dataclass(frozen=True)
class LongReward:
    """A reward of one's own, which says in words of its own how long a completion is to be."""

    name: str
    unit: float
    enough: int

    def parts(self, answer: Answer, truth: set[str], num_tokens: int, uncertain: set[str], scorer: Scorer) -> dict[str, float]:
        return {"long": float(num_tokens >= self.enough)}


def test_a_reward_of_ones_own_is_told_how_long_a_completion_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own" / "reward" / "long.yaml"
    write_text(own, f"_target_: {__name__}.LongReward\nname: long\nunit: 1.0\nenough: 5\n")
    monkeypatch.setenv(NAMED, __name__)
    monkeypatch.setattr("chexreason.models.tokens.weights_folder", lambda *_: "somewhere")
    monkeypatch.setattr("chexreason.models.tokens.token_counter", lambda _: lambda text: len(text.split()))
    lines = [{"id": text, "completion": text, "labels": []} for text in ("one two", "one two three four five")]
    found = score(tmp_path, "reward=long", f"hydra.searchpath=['{tmp_path / 'own'}']", lines=lines)
    assert [one["reward"] for one in found] == [0.0, 1.0]


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[" * 200_000,
        b'{"id": 1, "completion": "\xff", "labels": []}',
        b'{"id": "\\ud800", "completion": "", "labels": []}',
        b'{"id": 1, "completion": "", "labels": ["edema"]}',
        b'{"id": 1, "completion": "", "labels": [], "num_tokens": ' + b"9" * 5000 + b"}",
        b'{"id": 1, "completion": "", "labels": [], "num_tokens": -1}',
        b'{"id": 1, "labels": []}',
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(json.dumps(LINE).encode() + b"\n\n" + line + b"\n")
    with pytest.raises(ChexReasonError, match="line 3"):
        read_completions(path)


SHARES = dict.fromkeys(FINDINGS, 0.1)
ODD = [SHARES | {"Edema": value} for value in (10, -0.1, float("nan"), True, None)] + [{"Edema": 0.1}]


@pytest.mark.parametrize(("key", "given"), [("num_token", "num_tokens"), ("uncertan", "uncertain"), ("Uncertain", "uncertain")])
def test_a_misspelt_key_is_not_passed_over(tmp_path: Path, key: str, given: str) -> None:
    whole = LINE | {"uncertain": ["Fracture"], "comment": "what else there is is read by nobody"}
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(whole))
    assert read_completions(path)[0].uncertain == ["Fracture"]
    path.write_text(json.dumps({key if name == given else name: value for name, value in whole.items()}))
    with pytest.raises(ChexReasonError, match=f"x.jsonl, line 1: the key '{key}' is not read. Did you mean '{given}'"):
        read_completions(path)


def test_of_several_misspelt_keys_the_first_in_the_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    wrong = ["uncertan", "Uncertain", "uncertian", "uncertein"]
    for keys in (wrong, wrong[::-1]):
        path.write_text(json.dumps(LINE | dict.fromkeys(keys)))
        with pytest.raises(ChexReasonError, match=f"the key '{keys[0]}' is not read"):
            read_completions(path)


@pytest.mark.parametrize("text", ["", "[]", '{"Oedema": 0.1}', '{"Edema": "often"}', "{}", *map(json.dumps, ODD)])
def test_frequencies_are_shares_of_findings(tmp_path: Path, text: str) -> None:
    (tmp_path / "frequencies.json").write_text(text)
    with pytest.raises(ChexReasonError, match="stage.frequencies"):
        read_frequencies(tmp_path / "frequencies.json")
    (tmp_path / "frequencies.json").write_text(json.dumps(SHARES))
    assert read_frequencies(tmp_path / "frequencies.json") == SHARES


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("{}")
    for output, said in ((tmp_path / "x/../in.jsonl", "is also the input"), (tmp_path, "is a folder")):
        with pytest.raises(ChexReasonError, match=f"stage.output=.*{said}"):
            require_output(str(output), None, str(tmp_path / "in.jsonl"))
    require_output(str(tmp_path / "out.jsonl"), str(tmp_path / "in.jsonl"))
    with pytest.raises(ChexReasonError, match="is a folder; the file that is to be read"):
        require_output(None, str(tmp_path))


def test_frequencies_as_an_editor_saves_them_are_read_and_none_stands_twice(tmp_path: Path) -> None:
    file = tmp_path / "frequencies.json"
    for encoding in ("utf-8-sig", "utf-16"):
        file.write_text(json.dumps(SHARES), encoding=encoding)
        assert read_frequencies(file) == SHARES
    file.write_text(json.dumps(SHARES)[:-1] + ', "Edema": 0.9}')
    with pytest.raises(ChexReasonError, match="'Edema' stands in it twice"):
        read_frequencies(file)
