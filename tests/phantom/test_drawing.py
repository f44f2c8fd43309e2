"""What is drawn can be measured: each sign is where it says, and does to the film what the finding does."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chexreason.labels import FINDINGS, NO_FINDING
from chexreason.phantom.anatomy import LEFT, RIGHT, draw_chest, heart_mask, lung_masks
from chexreason.phantom.drawing import draw, normal, shaped
from chexreason.phantom.film import SEVERITIES
from chexreason.phantom.signs import pneumothorax
from chexreason.phantom.styles import CHEXPERT, MIMIC, NIH, Style

SIGNS = [finding for finding in FINDINGS if finding != NO_FINDING]
SEEDS = range(12)


@cache
def normal_film(seed: int) -> np.ndarray:
    """The film of a patient without a finding."""
    return draw([], MIMIC, seed).image.astype(float)


def within(box: tuple[float, float, float, float], size: int = 256, margin: float = 0.0) -> tuple[slice, slice]:
    x0, y0, x1, y1 = (round(size * corner) for corner in (box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin))
    return slice(max(y0, 0), y1), slice(max(x0, 0), x1)


@settings(max_examples=25)
@given(st.sets(st.sampled_from(SIGNS)), st.integers(0, 2**31), st.sampled_from(["PA", "AP"]))
def test_any_set_of_findings_is_drawn_the_same_each_time_with_legal_signs(findings: set[str], seed: int, view: str) -> None:
    phantom, again = draw(findings, NIH, seed, view=view), draw(sorted(findings), NIH, seed, view=view)
    assert (phantom.image == again.image).all() and phantom.signs == again.signs
    assert phantom.image.shape == (256, 256) and phantom.image.dtype == np.uint8 and phantom.image.std() > 20
    assert {sign.finding for sign in phantom.signs} == findings
    for sign in phantom.signs:
        assert sign.side in ("left", "right", "bilateral", "midline") and sign.severity in SEVERITIES
        x0, y0, x1, y1 = sign.box
        assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1


def test_patients_differ() -> None:
    assert np.abs(normal_film(1) - normal_film(2)).mean() > 5


def test_another_finding_leaves_the_signs_of_the_first_as_they_were() -> None:
    for seed in SEEDS:
        alone = draw(["Lung Lesion"], MIMIC, seed).signs
        assert set(alone) < set(draw(["Lung Lesion", "Fracture", "Edema"], MIMIC, seed).signs)


def test_sides_are_the_patients_as_a_radiologist_sees_them() -> None:
    for seed in SEEDS:
        for finding in ("Lung Lesion", "Pneumothorax", "Fracture"):
            (sign,) = draw([finding], MIMIC, seed).signs
            assert (sign.box[0] + sign.box[2] > 1.0) == (sign.side == "left")


@pytest.mark.parametrize("view", ["PA", "AP"])
def test_the_cardiothoracic_ratio_exceeds_one_half_with_cardiomegaly_alone(view: str) -> None:
    for seed in range(40):
        for present in (set(), {"Cardiomegaly"}):
            chest, _ = shaped(draw_chest(np.random.default_rng(seed), view), present, seed)
            heart = heart_mask(chest, 256)
            lungs = lung_masks(chest, heart)
            chest_width = np.ptp(np.nonzero((lungs[LEFT] + lungs[RIGHT] > 0.5).any(axis=0))[0])
            heart_width = np.ptp(np.nonzero((heart > 0.5).any(axis=0))[0])
            assert (heart_width / chest_width > 0.5) == bool(present)


def test_the_mediastinum_is_wider_with_enlarged_cardiomediastinum() -> None:
    for seed in SEEDS:
        wide = draw(["Enlarged Cardiomediastinum"], MIMIC, seed)
        where = within(wide.signs[0].box)
        assert wide.image[where].mean() > normal_film(seed)[where].mean() + 5


@pytest.mark.parametrize(
    "finding",
    ["Pleural Effusion", "Consolidation", "Pneumonia", "Lung Lesion", "Lung Opacity", "Edema", "Pleural Other"],
)
def test_opacities_are_brighter_than_the_same_place_without_them(finding: str) -> None:
    for seed in SEEDS:
        with_sign, without = draw([finding], MIMIC, seed), normal_film(seed)
        gains = [(with_sign.image[within(sign.box)] - without[within(sign.box)]).mean() for sign in with_sign.signs]
        assert min(gains) > 2


def test_beyond_a_pneumothorax_there_is_less_density_and_no_vessel() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        film = normal(draw_chest(rng, "PA"), rng, "PA", 256)
        before = film.density
        pneumothorax(film, rng)
        air = film.density < before - 0.1
        assert air.mean() > 0.01
        lung, there = (np.cov(film.vessels[air], density[air])[0, 1] for density in (before, film.density))
        assert lung > 0 and abs(there) < 0.5 * lung, "vessels are still to be seen"


@pytest.mark.parametrize("finding", ["Lung Lesion", "Consolidation", "Pneumonia", "Pleural Other", "Fracture", "Lung Opacity"])
def test_what_a_local_sign_changes_lies_in_its_box(finding: str) -> None:
    for seed in SEEDS:
        phantom = draw([finding], MIMIC, seed)
        change = np.maximum(np.abs(phantom.image - normal_film(seed)) - 3, 0)
        inside = sum(change[within(sign.box, margin=0.03)].sum() for sign in phantom.signs)
        assert inside / change.sum() > 0.75


@pytest.mark.parametrize("finding", SIGNS)
def test_a_sign_survives_the_stand_ins_resolution(finding: str) -> None:
    def small(image: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(image.astype(np.uint8)).resize((96, 96), Image.Resampling.BILINEAR), dtype=float)

    for seed in SEEDS:
        assert np.abs(small(draw([finding], MIMIC, seed).image) - small(normal_film(seed))).max() > 15


@pytest.mark.parametrize("finding", [finding for finding in SIGNS if finding != "Atelectasis"])  # its diaphragm varies more
def test_severe_signs_change_more_of_the_film_than_mild_ones(finding: str) -> None:
    change: dict[str, list[float]] = {severity: [] for severity in SEVERITIES}
    for seed in range(40):
        phantom = draw([finding], MIMIC, seed)
        change[phantom.signs[0].severity].append(np.abs(phantom.image - normal_film(seed)).mean())
    assert np.mean(change["severe"]) > 1.15 * np.mean(change["mild"])


def test_sites_differ_in_brightness_and_contrast() -> None:
    def look(style: Style) -> tuple[float, float]:
        films = np.stack([draw([], style, seed).image[32:-32, 32:-32] for seed in SEEDS])
        return films.mean(), films.std(axis=(1, 2)).mean()

    mimic, chexpert, nih = look(MIMIC), look(CHEXPERT), look(NIH)
    assert chexpert[0] > mimic[0] + 10 and nih[0] < mimic[0] - 10
    assert nih[1] > chexpert[1] + 10
