"""Stand-ins and drawn films are known by their own card, and by what was made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from chexreason import marks
from chexreason.phantom import standins
from chexreason.runs.files import write_json
from chexreason.runs.folders import MANIFEST, Run
from chexreason.runs.groups import Checkpoint
from chexreason.stages import phantom
from tests.manifests import complete


@pytest.mark.parametrize(
    ("card", "found"),
    [
        (standins.README.format(architecture="X"), {marks.STAND_IN}),
        (phantom.README, {marks.DRAWN_FILMS}),
        ("---\ntags: [chest-x-ray, chexreason, stand-in, drawn-films]\n---\n", {marks.STAND_IN, marks.DRAWN_FILMS}),
        ("---\ntags:\n- medical\nlicense: other\n---\n# MedGemma\nNo stand-in.", set()),
        ("# MIMIC-CXR-JPG\n\nA stand-in for nothing.\n", set()),
        ("---\ntags: {\n---\n", set()),
        ("---\ntags: stand-in\n---\n", set()),
    ],
)
def test_a_card_says_what_it_is_by_its_tags(card: str, found: set[str], tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(card)
    assert marks.on_card(tmp_path) == found


def test_where_there_is_no_card_nothing_is_said(tmp_path: Path) -> None:
    assert marks.on_card(tmp_path) == marks.on_card("google/medgemma-4b-it") == marks.on_card("no/such/name/at all") == set()


def test_what_a_run_read_from_a_folder_is_inherited_by_all_that_stands_on_it(tmp_path: Path) -> None:
    write_json(tmp_path / "curate-1" / MANIFEST, complete("curate", metrics={"marks": [marks.DRAWN_FILMS]}))
    write_json(tmp_path / "sft-1" / MANIFEST, complete("sft", parents={"curated": "curate-1"}))
    assert marks.of_run(Run(None, tmp_path / "x", parents={"checkpoint": tmp_path / "sft-1"})) == [marks.DRAWN_FILMS]
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "README.md").write_text("---\ntags: [stand-in]\n---\n")
    adapter = Checkpoint("mine", None, str(tmp_path / "adapter"))
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "README.md").write_text(phantom.README)
    both = Run(None, tmp_path / "y", checkpoint=adapter)
    assert marks.of_run(both) == [marks.STAND_IN]
    assert marks.in_words(marks.of_run(both, tmp_path / "films")) == "stand-ins on drawn films"
