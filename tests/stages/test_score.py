"""The score stage: the paper's reward of any file of completions, and errors that name the line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chexreason.errors import ChexReasonError
from chexreason.stages.score import read_completions, read_frequencies

RIGHT = "<think>The left base is dense.</think>\n<solution>Edema, Pleural Effusion</solution>"
LINE = {"id": "a", "completion": RIGHT, "labels": ["Edema", "Pleural Effusion"], "num_tokens": 300}


def score(folder: Path, *words: str) -> list[dict[str, object]]:
    """The lines that the command leaves for one completion of 300 tokens and the same one with 40."""
    source, target = folder / "in.jsonl", folder / "out.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in (LINE, LINE | {"num_tokens": 40})))
    command = [sys.executable, "-m", "chexreason.run", "stage=score", f"stage.input={source}", f"stage.output={target}"]
    done = subprocess.run([*command, f"runs={folder / 'runs'}", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "answer" in done.stdout, done.stderr
    return [json.loads(line) for line in target.read_text().splitlines()]


def test_a_completion_is_scored_by_the_threshold_that_training_at_its_scale_has(tmp_path: Path) -> None:
    assert [line["reward"] for line in score(tmp_path, "reward=hard")] == [1.0, 1.0], "a stand-in's are short: 20 tokens"
    long, short = score(tmp_path, "reward=hard", "scale=paper")
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


def test_beside_the_reward_stands_what_evaluation_reads_and_how(tmp_path: Path) -> None:
    said = {
        "prose": "<think>t</think><solution>The heart is enlarged, without effusion.</solution>",
        "table": "<think>t</think><solution>| Finding | Status |\n|---|---|\n| Edema | yes |\n| Fracture | no |</solution>",
        "denied": "<think>t</think><solution>Absent:\nEdema, Pleural Effusion</solution>",
    }
    lines = [{"id": name, "completion": text, "labels": ["Edema"], "num_tokens": 300} for name, text in said.items()]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = [sys.executable, "-m", "chexreason.run", "stage=score", "reward=hard", f"stage.input={tmp_path / 'in.jsonl'}"]
    command += [f"stage.output={tmp_path / 'out.jsonl'}", f"runs={tmp_path / 'runs'}"]
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["reward"] for row in rows] == [0.0, 0.0, 0.0], "what is no list of the 14 names earns nothing"
    assert [row["tolerant"] for row in rows] == [
        {"labels": ["Cardiomegaly"], "failure": None, "how": "prose"},
        {"labels": ["Edema"], "failure": None, "how": "table"},
        {"labels": [], "failure": "no_valid_label", "how": None},
    ]


def test_a_reward_that_asks_for_no_length_needs_no_tokenizer(tmp_path: Path) -> None:
    LESS = {key: value for key, value in LINE.items() if key != "num_tokens"}
    (tmp_path / "in.jsonl").write_text(json.dumps(LESS) + "\n")
    command = [sys.executable, "-m", "chexreason.run", "stage=score", f"stage.input={tmp_path / 'in.jsonl'}"]
    command += [f"runs={tmp_path / 'my runs'}"]
    assert subprocess.run([*command, "reward=nuanced"], capture_output=True, timeout=60).returncode == 0
    refused = subprocess.run([*command, "reward=hard"], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert "my runs" in refused.stderr.split("make it:")[1], "the runs folder belongs to the command"


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


@pytest.mark.parametrize("text", ["", "[]", '{"Oedema": 0.1}', '{"Edema": "often"}'])
def test_frequencies_are_shares_of_findings(tmp_path: Path, text: str) -> None:
    (tmp_path / "frequencies.json").write_text(text)
    with pytest.raises(ChexReasonError, match="stage.frequencies"):
        read_frequencies(tmp_path / "frequencies.json")
