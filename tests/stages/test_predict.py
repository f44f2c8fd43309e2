"""Answers for images of one's own: nothing is left out in silence, and several samples agree or not, label by label."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chexreason.answers.parser import parse
from chexreason.errors import ChexReasonError
from chexreason.models.generation import Completion
from chexreason.runs.config import Model, as_dict, compose, group
from chexreason.runs.files import read_json
from chexreason.runs.folders import Run
from chexreason.stages import predict
from tests.data.test_dicom import film, needs_films


def pair(text: str) -> tuple[Completion, object]:
    return Completion(text, len(text.split()), True), parse(text, "tags")


def said(labels: str) -> tuple[Completion, object]:
    return pair(f"<think>Because of {labels}.</think><solution>{labels}</solution>")


def test_labels_are_those_of_the_majority_and_the_reasoning_shown_is_one_that_reached_them() -> None:
    samples = [said("Edema, Fracture"), said("Edema"), said("Edema"), pair("no idea")]
    one = predict.describe(Path("film.png"), samples)
    assert one["labels"] == ["Edema"] and one["failure"] is None
    assert one["agreement"] == {"Edema": 0.75, "Fracture": 0.25}
    assert predict.finding(one) == "Edema (75%)" and predict.minority(one) == "named by fewer: Fracture (25%)"
    assert one["reasoning"].strip() == "Because of Edema."


def test_where_no_sample_can_be_read_the_failure_is_named() -> None:
    one = predict.describe(Path("film.png"), [pair("nothing"), pair("nothing")])
    assert one["reasoning"] == "nothing", "what was written instead"
    assert one["labels"] == [] and one["failure"] and "no readable answer" in predict.finding(one)


def run(folder: Path, model: Model, given: Path, samples: int = 1) -> Run:
    plain = as_dict(compose(("stage=predict", "model=phantom_gemma", f"stage.input={given}", f"stage.samples={samples}")))
    settings = predict.Settings(**plain["stage"] | {"max_completion_tokens": 6})
    folder.mkdir(parents=True)
    return Run(settings=settings, folder=folder, model=model, prompt=group("prompt", plain["prompt"]))


def test_a_folder_is_answered_and_what_cannot_be_read_is_said(
    tiny: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (64, 48), dtype=np.uint8)
    Image.fromarray(pixels).save(films / "a.png")
    (films / "b.jpg").write_bytes(b"no image")
    (films / ".DS_Store").write_bytes(b"what a desktop leaves")
    for name in ("notes.txt", "report.txt"):
        (films / name).write_text("no image either")
    done = predict.execute(run(tmp_path / "runs" / "predict", tiny, films, samples=3))
    assert (done["images"], done["left_out"]) == (1, 1)
    page = read_json(tmp_path / "runs" / "predict" / "answers.json")
    assert "Research use only" in page["notice"] and list(page["left_out"]) == [str(films / "b.jpg")]
    assert page["passed_over"] == {".txt": 2}
    predict.show(tmp_path / "runs" / "predict")
    shown = capsys.readouterr().out
    assert all(words in shown for words in ("Research use only", "a.png", "left out:\n", "b.jpg", "passed over: 2 .txt"))
    assert len(page["images"][0]["completions"]) == 3
    assert Image.open(tmp_path / "runs" / "predict" / "0001-a.png").size[0] > 600


@needs_films
@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_the_real_chest_film_is_read_and_shown(tiny: Model, tmp_path: Path) -> None:
    shutil.copy(film("RG1_UNCI.dcm"), tmp_path / "RG1 $UNCI$")  # DICOM files often have no suffix
    done = predict.execute(run(tmp_path / "runs" / "predict", tiny, tmp_path / "RG1 $UNCI$"))
    assert done["images"] == 1
    drawn = np.asarray(Image.open(tmp_path / "runs" / "predict" / "0001-RG1 $UNCI$.png").convert("L")).astype(float)
    assert drawn[:, : drawn.shape[1] // 2].std() > 30, "the film, and not a blank"


def test_nothing_readable_is_an_error(tiny: Model, tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(ChexReasonError, match="not one of 1 files"):
        predict.execute(run(tmp_path / "runs" / "predict", tiny, tmp_path / "b.png"))
    with pytest.raises(ChexReasonError, match="no such file"):
        predict.image_files(str(tmp_path / "nowhere"))
