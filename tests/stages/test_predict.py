"""Answers for images of one's own: nothing is left out in silence, and several samples agree or not, label by label."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chexreason import marks
from chexreason.answers.parser import parse
from chexreason.errors import ChexReasonError
from chexreason.models.generation import Completion
from chexreason.phantom.standins import README
from chexreason.runs.config import as_dict, compose, group
from chexreason.runs.files import read_json, write_json
from chexreason.runs.folders import MANIFEST, Run
from chexreason.runs.groups import Model
from chexreason.runs.overrides import quoted
from chexreason.stages import predict
from tests.data.encodings import FILM, dicom
from tests.data.test_dicom import film, needs_films
from tests.manifests import complete


def pair(text: str) -> tuple[Completion, object]:
    return Completion(text, len(text.split()), True), parse(text, "tags")


def said(labels: str) -> tuple[Completion, object]:
    return pair(f"<think>Because of {labels}.</think><solution>{labels}</solution>")


def test_labels_are_those_of_the_majority_and_the_reasoning_shown_is_one_that_reached_them() -> None:
    samples = [said("Edema, Fracture"), said("Edema"), said("Edema"), pair("no idea")]
    one = predict.describe(Path("film.png"), samples)
    assert one["labels"] == ["Edema"] and one["failure"] is None
    assert one["agreement"] == {"Edema": 0.75, "Fracture": 0.25}
    assert predict.finding(one) == "Edema (named in 3 of 4 samples)"
    assert predict.minority(one) == "named by fewer: Fracture (named in 1 of 4 samples)"
    assert one["reasoning"].strip() == "Because of Edema."


def test_a_sample_that_can_be_read_is_shown_rather_than_one_that_cannot() -> None:
    one = predict.describe(Path("film.png"), [pair("no idea"), said("Edema"), said("Fracture")])
    assert one["labels"] == [] and one["failure"] is None and one["reasoning"].strip() == "Because of Edema."
    assert predict.finding(one) == "none agreed"


def test_what_a_film_says_that_it_shows_stands_before_its_answer() -> None:
    one = predict.describe(Path("knee.dcm"), [said("No Finding")], ["Body Part Examined (0018,0015) says KNEE"])
    page = {"notice": "", "model": "m", "checkpoint": "sft", "prompt": "p", "images": [one], "left_out": {}, "passed_over": {}}
    shown = predict.as_text(page)
    assert shown.index("NO FRONTAL CHEST FILM? Body Part Examined (0018,0015) says KNEE") < shown.index("No Finding")


def test_where_no_sample_can_be_read_the_failure_is_named() -> None:
    one = predict.describe(Path("film.png"), [pair("nothing"), pair("nothing")])
    assert one["reasoning"] == "nothing", "what was written instead"
    assert one["labels"] == [] and one["failure"] and "no readable answer" in predict.finding(one)


def run(folder: Path, model: Model, given: Path, samples: int = 1) -> Run:
    plain = as_dict(compose(("stage=predict", f"stage.input={quoted(str(given))}", f"stage.samples={samples}")))
    settings = group("stage", plain["stage"] | {"max_completion_tokens": 6})
    folder.mkdir(parents=True)
    groups = {name: group(name, plain[name]) for name in ("prompt", "checkpoint", "engine")}
    return Run(settings=settings, folder=folder, model=model, **groups)


def test_a_folder_is_answered_and_what_cannot_be_read_is_said(
    tiny: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (64, 48), dtype=np.uint8)
    Image.fromarray(pixels).save(films / "a.png")
    (films / "b.jpg").write_bytes(b"no image")
    Image.fromarray(pixels[:8]).resize((8, 5520)).save(films / "strip.png")  # 690 times as long as wide
    Image.fromarray(pixels[:1].repeat(2, 1)[:, :90]).save(films / "thin.png")  # 90 times: the processor has to bear it
    os.mkfifo(films / "pipe.dcm")
    Image.fromarray(pixels[::-1]).save(films / "scan.IMA", "PNG")
    (films / ".DS_Store").write_bytes(b"what a desktop leaves")
    for name in ("notes.txt", "report.txt"):
        (films / name).write_text("no image either")
    done = predict.execute(run(tmp_path / "runs" / "predict", tiny, films, samples=3))
    assert (done["images"], done["left_out"]) == (3, 3)
    page = read_json(tmp_path / "runs" / "predict" / "answers.json")
    assert "Research use only" in page["notice"]
    assert [Path(one["file"]).name for one in page["images"]] == ["a.png", "scan.IMA", "thin.png"]
    assert list(page["left_out"]) == [str(films / name) for name in ("b.jpg", "pipe.dcm", "strip.png")]
    assert "8 x 5520 pixels are a strip" in page["left_out"][str(films / "strip.png")]
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


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_names_of_files_steer_neither_the_terminal_nor_the_run(
    tiny: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (64, 48), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "film.png")
    hostile = [b"\x1b]0;title\x07.png", b"\xff\xfe not utf-8.png", "\u202egnp.exe".encode(), b"two\nlines", b"n" * 250]
    for name in hostile:
        shutil.copy(tmp_path / "film.png", os.fsencode(films) + b"/" + name)
    for name in (b"\x1b[2J.dcm", b"notes.\x1b[1m"):
        Path(os.fsdecode(os.fsencode(films) + b"/" + name)).write_text("no image")
    done = predict.execute(run(tmp_path / "runs" / "predict", tiny, films))
    predict.show(tmp_path / "runs" / "predict")
    assert (done["images"], done["left_out"]) == (len(hostile), 1)
    printed = "".join(capsys.readouterr())
    assert not set(printed) & set("\x1b\x07\u202e") and r"\x1b]0;title\x07.png" in printed and r"two\nlines" in printed
    assert len(list((tmp_path / "runs" / "predict").glob("*.png"))) == len(hostile)


def test_what_a_model_writes_does_not_steer_the_terminal() -> None:
    one = predict.describe(Path("film.png"), [pair("<think>\x1b[31mred\n\tand more</think><solution>Edema</solution>")])
    page = {"notice": "n", "model": "m", "checkpoint": "base", "prompt": "p", "left_out": {}, "passed_over": {}}
    shown = predict.as_text(page | {"images": [one]})
    assert r"  \x1b[31mred" in shown.splitlines() and "  \tand more" in shown.splitlines()


def test_a_folder_is_listed_by_content(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 48), dtype=np.uint8)
    (tmp_path / "deep").mkdir()
    Image.fromarray(pixels).save(tmp_path / "deep" / "1.2.840.113619.2", "PNG")
    (tmp_path / "film").write_bytes(dicom(FILM))
    (tmp_path / "README").write_text("no image, but longer than what a preamble has before it says DICM " * 4)
    found, passed_over = predict.image_files(str(tmp_path))
    assert found == [tmp_path / "deep" / "1.2.840.113619.2", tmp_path / "film"] and passed_over == {"without suffix": 1}
    (tmp_path / "film").unlink()
    shutil.rmtree(tmp_path / "deep")
    with pytest.raises(ChexReasonError, match="no JPEG, PNG or DICOM file"):
        predict.image_files(str(tmp_path))


def test_films_behind_links_are_found_once_and_a_folder_that_is_shut_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films, elsewhere = tmp_path / "films", tmp_path / "elsewhere"
    for folder in (films / "folder.png", films / ".thumbnails", films / "shut", elsewhere):
        folder.mkdir(parents=True)
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(folder / "film.png")
    (films / "linked").symlink_to(elsewhere)
    (films / "again").symlink_to(elsewhere)
    (films / "round").symlink_to(films)
    (films / "loop.png").symlink_to(films / "loop.png")
    scandir = os.scandir

    def refused(folder: str) -> Any:
        if Path(folder).name == "shut":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refused)
    found, passed_over = predict.image_files(str(films))
    assert [str(file.relative_to(films)) for file in found] == ["again/film.png", "folder.png/film.png", "loop.png"]
    assert passed_over == {"folder that cannot be opened (Permission denied)": 1}
    with pytest.raises(ChexReasonError, match="no JPEG, PNG or DICOM file in this folder; passed over: 1 folder that cannot"):
        predict.image_files(str(films / "shut"))
    with pytest.raises(ChexReasonError, match="there is no such file or folder"):
        predict.image_files("x" * 300)


def test_a_file_that_cannot_be_opened_or_whose_name_is_no_utf_8_is_one_of_many(
    tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (64, 48), dtype=np.uint8)
    for name in (b"a.png", b"shut.png", b"caf\xe9.png"):
        Image.fromarray(pixels).save(tmp_path / "film.png")
        shutil.copy(tmp_path / "film.png", os.fsencode(films) + b"/" + name)
    opened = Path.open

    def refused(path: Path, *how: Any, **more: Any) -> Any:
        if path.name == "shut.png":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *how, **more)

    with monkeypatch.context() as shut:
        shut.setattr(Path, "open", refused)
        started = run(tmp_path / "runs" / "predict", tiny, films)
        first = started.settings.inputs(tmp_path / "digests.sqlite")
        assert started.settings.inputs(tmp_path / "digests.sqlite") == first
        assert predict.execute(started)["left_out"] == 1
    page = read_json(tmp_path / "runs" / "predict" / "answers.json")
    assert "Permission denied" in page["left_out"][str(films / "shut.png")] and len(page["images"]) == 2
    assert started.settings.inputs(tmp_path / "digests.sqlite") != first, "it can be read by now: another run"


def test_nothing_readable_is_an_error(tiny: Model, tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"no image")
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("b.png", "cannot be read as JPEG, PNG or DICOM"), ("pipe", "a folder, pipe, socket or device")):
        with pytest.raises(ChexReasonError, match=f"not one of 1 files is a readable image; the first: .*{name}: {why}"):
            predict.execute(run(tmp_path / "runs" / name, tiny, tmp_path / name))
    with pytest.raises(ChexReasonError, match="no such file"):
        predict.image_files(str(tmp_path / "nowhere"))


def test_a_stand_ins_picture_is_stamped(tmp_path: Path) -> None:
    one = predict.describe(Path("film.png"), [said("Edema")])
    drawn = []
    for stamp in ("", "STAND-IN"):
        predict.draw(tmp_path / "a.png", Image.new("L", (64, 64)), one, "t", stamp)
        drawn.append(np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int))
    red = [(picture[..., 0] > picture[..., 1] + 40).mean() for picture in drawn]
    assert red[0] == 0 and red[1] > 0.01


@pytest.mark.parametrize("tiny", ["gemma3"], indirect=True)
def test_a_stand_in_in_a_folder_and_an_adapter_of_drawn_films_are_called_so(tiny: Model, tmp_path: Path) -> None:
    Image.linear_gradient("L").save(tmp_path / "film.png")
    weights = shutil.copytree(tiny.weights, tmp_path / "medgemma")
    (weights / "README.md").write_text(README.format(architecture="Gemma3ForConditionalGeneration"))
    one = run(tmp_path / "runs" / "predict-1", replace(tiny, weights=str(weights)), tmp_path / "film.png")
    predict.execute(one)
    assert "is a stand-in: its answers" in read_json(one.folder / "answers.json")["notice"]
    picture = np.asarray(Image.open(one.folder / "0001-film.png").convert("RGB")).astype(int)
    assert (picture[..., 0] > picture[..., 1] + 40).mean() > 0.01
    for name, stage in (("phantom-1", "phantom"), ("sft-1", "sft")):
        write_json(
            one.folder.parent / name / MANIFEST, complete(stage, parents={"traces": "phantom-1"} if stage == "sft" else {})
        )
    taught = replace(one, model=tiny, parents={"checkpoint": one.folder.parent / "sft-1"})
    assert predict.stamp(marks.of_run(taught)) == "DRAWN FILMS"
    assert "tiny was trained on drawn films: its" in predict.notice("tiny", marks.of_run(taught))
    assert predict.stamp(marks.of_run(replace(one, model=tiny))) == ""
