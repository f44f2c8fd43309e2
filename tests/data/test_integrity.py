"""No run trains on an image or a patient of a registered test set."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexreason.data import integrity
from chexreason.data.images import read_image
from chexreason.data.sites.chexpert import Chexpert
from chexreason.errors import ChexReasonError
from chexreason.runs.files import write_json
from chexreason.runs.folders import Run, outputs
from tests.manifests import complete

from .layouts import chexpert, write_image


def site(root: Path, split: str, patient: str = "patient1", name: str = "CheXpert") -> Chexpert:
    chexpert(root, split, [(f"{patient}/study1/view1_frontal.jpg", "AP", {"Edema": 1.0})])
    return Chexpert(root=str(root), split=split, site=name)


def test_separate_data_may_train(tmp_path: Path) -> None:
    integrity.register(site(tmp_path / "a", "test").load(), "held_out", tmp_path)
    integrity.refuse_test_data(integrity.listing(site(tmp_path / "b", "train", "patient2").load(), tmp_path), tmp_path)


def test_a_test_patient_is_refused_by_name_and_the_same_id_at_another_site_is_not(tmp_path: Path) -> None:
    integrity.register(site(tmp_path / "a", "test").load(), "held_out", tmp_path)
    with pytest.raises(ChexReasonError, match=r"held_out.*view1_frontal.jpg, patient patient1"):
        integrity.refuse_test_data(integrity.listing(site(tmp_path / "b", "train").load(), tmp_path), tmp_path)
    integrity.refuse_test_data(integrity.listing(site(tmp_path / "b", "train", name="another").load(), tmp_path), tmp_path)


def test_a_copied_test_image_is_refused_whatever_its_name_and_patient(tmp_path: Path) -> None:
    integrity.register(site(tmp_path / "a", "test").load(), "held_out", tmp_path)
    training = site(tmp_path / "b", "train", "patient9", name="another")
    image = "patient1/study1/view1_frontal.jpg"
    shutil.copy(tmp_path / "a/test" / image, tmp_path / "b/train/patient9/study1/view1_frontal.jpg")
    with pytest.raises(ChexReasonError, match=r"1 images and 0 images' patients"):
        integrity.refuse_test_data(integrity.listing(training.load(), tmp_path), tmp_path)


def test_a_label_table_alone_is_checked_by_patient(tmp_path: Path) -> None:
    held_out = site(tmp_path / "a", "test")
    integrity.register(held_out.load(), "held_out", tmp_path)
    with pytest.raises(ChexReasonError, match="patient patient1"):
        integrity.refuse_test_data(integrity.listing(Chexpert(table=str(tmp_path / "a/test.csv")).load(), tmp_path), tmp_path)


def test_training_proves_which_images_it_saw_and_refuses_altered_ones(tmp_path: Path) -> None:
    table = site(tmp_path / "a", "train").load()
    (path,), folder = table.records["path"], tmp_path / "runs" / "sft"
    studies = [{"site": "CheXpert", "patient": "patient1", "root": str(table.root), "path": path}]
    with_digest = [study | {"sha256": hashlib.sha256((table.root / path).read_bytes()).hexdigest()} for study in studies]
    integrity.vouch_for_training(with_digest, folder)
    assert with_digest[0]["sha256"] in (folder / integrity.STUDIES).read_text()
    write_image(table.root / path, seed=99)
    with pytest.raises(ChexReasonError, match="1 images are not those that were curated"):
        integrity.vouch_for_training(with_digest, folder)


def test_another_draw_of_a_test_set_does_not_set_the_one_before_free(tmp_path: Path) -> None:
    for patient in ("patient1", "patient2", "patient2"):
        listed = integrity.register(site(tmp_path / patient, "test", patient).load(), "held_out", tmp_path)
    assert len(listed.read_text().splitlines()) == 4, "a seal, a head and two images"
    with pytest.raises(ChexReasonError, match="patient patient1"):
        integrity.refuse_test_data(integrity.listing(site(tmp_path / "b", "train").load(), tmp_path), tmp_path)


@pytest.mark.parametrize("spelt", ["Patient 1", "patient00001", "1", "1.0", " PATIENT1 "])
def test_a_patient_is_the_same_however_spelt(spelt: str, tmp_path: Path) -> None:
    integrity.register(site(tmp_path / "a", "test").load(), "held_out", tmp_path)
    listed = pd.DataFrame([{"site": "chexpert ", "patient": spelt, "path": "x.jpg", "sha256": ""}])
    with pytest.raises(ChexReasonError, match="patient patient1"):
        integrity.refuse_test_data(listed, tmp_path)
    integrity.refuse_test_data(listed.assign(patient="patient10"), tmp_path)


@pytest.mark.parametrize(
    "damaged",
    [
        lambda text: text[:-5],
        lambda text: text[:60],
        lambda text: "",
        lambda text: "".join(text.splitlines(keepends=True)[:2]),  # at the end of a line
        lambda text: "".join(text.splitlines(keepends=True)[:1]),
        lambda text: text.replace("patient1", "patient7"),
        lambda text: text.upper(),
    ],
)
def test_a_register_that_is_not_what_was_written_is_noticed(damaged: Callable[[str], str], tmp_path: Path) -> None:
    path = integrity.register(site(tmp_path / "a", "test").load(), "held_out", tmp_path)
    path.write_text(damaged(path.read_text()))
    with pytest.raises(ChexReasonError, match=r"held_out.csv is cut short, changed or .*delete it"):
        integrity.refuse_test_data(integrity.listing(site(tmp_path / "b", "train", "patient2").load(), tmp_path), tmp_path)


def test_no_cell_of_a_register_is_a_formula_or_begins_a_row(tmp_path: Path) -> None:
    table = site(tmp_path / "a", "test").load()
    table.records["patient"] = "=HYPERLINK(1)\rother"
    path = integrity.register(table, "held_out", tmp_path)
    assert ",'=HYPERLINK" in path.read_text() or "\n'=HYPERLINK" in path.read_text()
    assert "\r" not in path.read_bytes().decode()


def test_two_that_register_at_once_lose_nothing(tmp_path: Path) -> None:
    sites = [site(tmp_path / str(number), "test", f"patient{number}").load() for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        paths = list(pool.map(lambda table: integrity.register(table, "held_out", tmp_path), sites))
    assert len(paths[0].read_text().splitlines()) == 2 + len(sites)


def test_an_evaluation_is_refused_where_training_saw_its_images_before_it_was_a_test_set(tmp_path: Path) -> None:
    table, trained = site(tmp_path / "a", "test").load(), tmp_path / "sft-1"
    listed = integrity.listing(table, tmp_path)
    trained.mkdir()
    copied = listed.assign(patient="another", path="renamed")
    same_patient = listed.assign(sha256="", patient=listed["patient"].str.upper())
    for seen in (copied, same_patient):
        seen.to_csv(trained / integrity.STUDIES, index=False)
        with pytest.raises(ChexReasonError, match="sft-1 was trained on"):
            integrity.refuse_what_was_trained_on(table, "held_out", [trained], tmp_path)
    listed.assign(patient="another", sha256="other").to_csv(trained / integrity.STUDIES, index=False)
    integrity.refuse_what_was_trained_on(table, "held_out", [trained], tmp_path)


@pytest.mark.parametrize("left", [None, b"", b"patient,path,site,sha256\n"])
def test_a_list_of_what_was_learnt_from_that_its_run_did_not_leave_so_is_not_believed(
    left: bytes | None, tmp_path: Path
) -> None:
    table, trained = site(tmp_path / "a", "test").load(), tmp_path / "sft-1"
    trained.mkdir()
    integrity.listing(table, tmp_path).assign(patient="another", sha256="other").to_csv(
        trained / integrity.STUDIES, index=False
    )
    write_json(trained / "manifest.json", complete("sft", outputs=outputs(trained)))
    integrity.refuse_what_was_trained_on(table, "held_out", [trained], tmp_path)
    (trained / integrity.STUDIES).unlink() if left is None else (trained / integrity.STUDIES).write_bytes(left)
    for ask in (
        lambda: integrity.refuse_what_was_trained_on(table, "held_out", [trained], tmp_path),
        lambda: integrity.look_alikes(table, [trained], read_image),
    ):
        with pytest.raises(ChexReasonError, match=f"sft-1/{integrity.STUDIES} is not what its run left there"):
            ask()


@pytest.mark.parametrize("named", ["adapter", "checkpoints/checkpoint-3", "weights"])
def test_what_a_run_here_trained_is_known_however_it_is_named(named: str, tmp_path: Path) -> None:
    for name, parents in (("sft-1", {}), ("grpo-1", {"policy": "sft-1"}), ("export-1", {"checkpoint": "grpo-1"})):
        write_json(tmp_path / name / "manifest.json", complete(name[:-2], parents=parents))
    adapter = None if named == "weights" else f"{tmp_path}/grpo-1/{named}"
    model = SimpleNamespace(weights=f"{tmp_path}/export-1/export" if named == "weights" else "org/model")
    run = Run(None, tmp_path / "evaluate-1", model=model, checkpoint=SimpleNamespace(adapter=adapter))
    assert {place.name for place in integrity.learnt_from(run)} >= {"grpo-1", "sft-1"}
    elsewhere = replace(run, model=SimpleNamespace(weights="org/model"), checkpoint=SimpleNamespace(adapter=None))
    assert integrity.learnt_from(elsewhere) == []


def jpeg(film: Image.Image) -> Image.Image:
    film.save(stream := io.BytesIO(), "JPEG", quality=40)
    return Image.open(stream)


COPIES = {
    "encoded again": jpeg,
    "smaller": lambda film: film.resize((90, 110)),
    "cropped": lambda film: film.crop((4, 9, 252, 253)),
    "mirrored": lambda film: film.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "all of it": lambda film: jpeg(film.transpose(Image.Transpose.FLIP_LEFT_RIGHT).crop((6, 5, 250, 250)).resize((180, 180))),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_test_image_that_is_a_changed_copy_of_a_training_image_is_named(tmp_path: Path, copy: str) -> None:
    films = [film(number) for number in range(6)]
    test = site(tmp_path / "a", "test").load()
    training = site(tmp_path / "b", "train", "patient9", name="another").load()
    (path,), (held_out,) = training.records["path"], test.records["path"]
    COPIES[copy](films[0]).convert("L").save(training.root / path)
    sha256 = hashlib.sha256((training.root / path).read_bytes()).hexdigest()
    study = {"site": "another", "patient": "patient9", "root": str(training.root), "path": path, "sha256": sha256}
    folder = tmp_path / "runs" / "sft"
    integrity.vouch_for_training([study], folder)
    for number, other in enumerate(films):
        other.save(test.root / held_out, quality=95)
        found = integrity.look_alikes(test, [folder], read_image)
        assert [held_out in line and "patient patient9" in line for line in found] == ([True] if number == 0 else []), number


def film(seed: int) -> Image.Image:
    """Soft shapes in a frame that all films have in common."""
    rng = np.random.default_rng(seed)
    own = Image.fromarray(rng.integers(0, 256, (12, 12), dtype=np.uint8)).resize((256, 256), Image.Resampling.BICUBIC)
    return Image.blend(Image.linear_gradient("L"), own, 0.6)
