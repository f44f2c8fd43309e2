"""Evaluation through the stage: repeats, going on after a cut, batches of like length, engines."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chexreason.answers import metrics, predictions
from chexreason.data import paths
from chexreason.data.integrity import FILMS
from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS
from chexreason.models.processors import load_processor
from chexreason.prompts import Prompt
from chexreason.report import study
from chexreason.runs.config import compose
from chexreason.runs.execute import execute as execute_command
from chexreason.runs.groups import Model
from chexreason.stages.evaluate import PREDICTIONS, longest_first, outdated
from tests.stages.conftest import execute

PROMPT = Prompt("test", "labels", "", "", "List the findings.")
WORDS = [
    "stage=evaluate",
    "prompt=only_label",
    "dataset=validation",
    "stage.batch_size=2",
    "stage.max_completion_tokens=16",
]
SAMPLED = ["stage.sampling.repeats=3", "stage.sampling.temperature=1.5"]


@pytest.fixture
def evaluation(order: Callable[..., Path], data: Path) -> Callable[..., Path]:
    """An evaluation of the four validation studies, ready to execute."""
    return lambda name, *words: order(name, *WORDS, f"dataset.root={data}", *words)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / PREDICTIONS).read_text().splitlines()]


def test_a_film_that_was_replaced_since_is_named_and_the_evaluation_not_reused(evaluation: Callable[..., Path]) -> None:
    folder = evaluation("films")
    execute(folder)
    assert outdated(folder) is None
    with (folder / FILMS).open() as stream:
        film = paths.read_root(folder) / list(csv.DictReader(stream))[1]["path"]
    before = film.read_bytes()
    Image.new("L", (64, 64), 90).save(film)
    assert outdated(folder) == f"{film} is not what its run read there"
    film.write_bytes(before)
    assert outdated(folder) is None, "its content counts, and not when it was written"
    film.unlink()
    assert outdated(folder) is None, "films that are not at hand any more are no others"
    film.write_bytes(before)


def test_metrics_are_means_over_repeats_in_the_run_and_in_the_report(evaluation: Callable[..., Path]) -> None:
    folder = evaluation("sampled", *SAMPLED)
    execute(folder)
    read = predictions.read(folder / PREDICTIONS)
    found = predictions.summary(read, FINDINGS)
    assert all(len(row["completions"]) == 3 for row in rows(folder))
    each = [metrics.summary([row.labels for row in read], [[row.repeats[i] for row in read]], FINDINGS) for i in range(3)]
    assert found["repeats"]["micro_f1"] == pytest.approx([one["micro"]["f1"] for one in each])
    assert len(set(found["repeats"]["micro_f1"])) > 1, "samples that are all alike would prove nothing"
    assert found["micro"]["f1"] == pytest.approx(sum(found["repeats"]["micro_f1"]) / 3)
    assert set(found["repeats"]["agreement"]) == set(FINDINGS)
    assert [len(one) for one in predictions.repeats(read)] == [4, 4, 4]
    (result,) = study.read([folder], resamples=20).results
    assert study.Study((result,), (), (), resamples=20).scores(result)[0].micro[2] == pytest.approx(found["micro"]["f1"])


def test_a_sampled_evaluation_that_was_cut_off_ends_as_if_it_had_not_been(
    evaluation: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    whole, cut = evaluation("whole", *SAMPLED), evaluation("cut", *SAMPLED)
    expected = execute(whole)
    lines = (whole / PREDICTIONS).read_text().splitlines(keepends=True)
    (cut / (PREDICTIONS + ".part")).write_text("".join(lines[:3]) + lines[3][:20])  # within the second batch
    capsys.readouterr()
    assert execute(cut) == expected
    # Whole batches of two are kept: a batch that the interruption cut is answered again, in the same company.
    assert "2 studies were answered before; 2 to go" in capsys.readouterr().err
    assert (cut / PREDICTIONS).read_text() == (whole / PREDICTIONS).read_text()


@pytest.mark.parametrize(
    ("word", "reason"),
    [("stage.sampling.repeats=2", "greedy answers are all alike"), ("engine=vllm", "pip install 'chexreason.vllm.'")],
)
def test_what_cannot_be_is_refused_with_the_way_out(
    tmp_path: Path, word: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)  # as if it were not installed, wherever this runs
    words = [*WORDS, "model=phantom_gemma", "dataset=phantom_chexpert", f"runs={tmp_path}", word]
    with pytest.raises(ChexReasonError, match=reason):
        execute_command(compose(words), words)
    assert not any(tmp_path.glob("evaluate-*")), "what fails before it works leaves no folder"


@pytest.mark.parametrize("tiny", ["qwen2_5_vl"], indirect=True)
def test_longest_prompts_come_first_and_answers_stay_in_the_tables_order(tiny: Model) -> None:
    processor = load_processor(tiny)
    sizes = {"small": (20, 20), "wide": (130, 140), "large": (300, 300), "tall": (60, 150)}
    counted = {}
    for name, size in sizes.items():
        ids = processor(images=[[Image.new("RGB", size)]], text=["<|image_pad|>"])["input_ids"][0]
        counted[name] = sum(token == processor.image_token_id for token in ids)
        assert processor.visual_tokens(*size) == counted[name], "what the processor itself makes of it"
    assert len(set(counted.values())) == 4
    ordered = [one["id"] for one in longest_first(tiny, [{"id": name} for name in sizes], lambda one: sizes[one["id"]])]
    assert ordered == sorted(sizes, key=lambda name: -counted[name]) != list(sizes)
    fixed = replace(tiny, max_visual_tokens=tiny.min_visual_tokens)
    assert [one["id"] for one in longest_first(fixed, [{"id": name} for name in sizes], lambda one: (0, 0))] == list(sizes)


def test_predictions_are_in_the_tables_order_whatever_the_batches(evaluation: Callable[..., Path], data: Path) -> None:
    folder = evaluation("greedy")
    execute(folder)
    assert [row["id"] for row in rows(folder)] == [f"{number}.png" for number in range(8, 12)]
