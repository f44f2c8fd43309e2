"""Data use, closed by default: what is credentialed, or of unknown origin, leaves only where its agreement is acknowledged."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
import pytest

from chexreason.data.agreements import agreement_of
from chexreason.data.paths import write_root
from chexreason.errors import ChexReasonError
from chexreason.runs.files import read_json, write_json
from tests.manifests import complete
from tests.teacher.conftest import STUDIES, state_agreement
from tests.teacher.server import Server
from tests.teacher.test_teaching import run

AGREEMENT = "PhysioNet Credentialed Health Data Use Agreement 1.5.0"


def refused(curated: Path, why: str, **changed: Any) -> str:
    """What a teacher that is somebody else's is refused with: it has got nothing."""
    with Server() as server, pytest.raises(ChexReasonError, match=why) as caught:
        run(curated, server.elsewhere, **changed)
    assert not server.asked
    return str(caught.value)


def phantom(curated: Path, stage: str = "phantom", **manifest: Any) -> str:
    """A phantom run beside `curated` that drew its images; its folder's name."""
    folder = curated.parent / "phantom-1"
    shutil.copytree(curated.parent / "images", folder / "site")
    write_json(folder / "manifest.json", complete(stage, **manifest))
    return folder.name


@pytest.mark.parametrize("said", [None, "yes", "unrestricted", AGREEMENT[:-1] + "1"])
def test_credentialed_data_needs_its_agreement_by_name(said: str | None, curated: Path, key: str) -> None:
    state_agreement(curated, AGREEMENT)
    told = refused(curated, re.escape(AGREEMENT), data_use_agreement=said)
    assert told.splitlines()[-1].strip().startswith("If you may:  teacher.data_use_agreement=") and "http://0.0.0.0" in told


def test_acknowledged_by_name_or_on_this_machine_it_may(curated: Path, key: str) -> None:
    state_agreement(curated, AGREEMENT)
    with Server() as server:
        assert run(curated, server.elsewhere, "a", data_use_agreement=AGREEMENT)["traces"] == STUDIES
        assert run(curated, server.url, "b")["traces"] == STUDIES
        assert len(server.asked) == 2 * STUDIES


@pytest.mark.parametrize("stated", [(), (None,), ("",)])
def test_a_dataset_that_states_no_agreement_is_not_sent(stated: tuple[str | None, ...], curated: Path, key: str) -> None:
    state_agreement(curated, *stated)
    told = refused(curated, "dataset=test.* names no data-use agreement", data_use_agreement=AGREEMENT)
    assert "give the same command again" in told.splitlines()[-1]


def test_data_that_anyone_may_have_is_sent(curated: Path, key: str) -> None:
    state_agreement(curated, "unrestricted")
    with Server() as server:
        assert run(curated, server.elsewhere)["traces"] == STUDIES


def test_an_edited_card_is_not_believed(curated: Path, key: str) -> None:
    state_agreement(curated, AGREEMENT)
    write_json(curated / "card.json", read_json(curated / "card.json") | {"agreement": None})
    refused(curated, re.escape(AGREEMENT))
    (curated / "manifest.json").unlink()
    refused(curated, "no manifest")


def test_other_images_than_were_curated_are_not_sent_under_its_agreement(curated: Path, key: str) -> None:
    others = curated.parent / "others"
    shutil.copytree(curated.parent / "images", others)
    shutil.copyfile(others / "3.png", others / "7.png")
    write_root(curated, others)
    refused(curated, "1 images are not those that were curated; the first is .*others/7.png")


def test_a_parquet_exports_images_are_sent_and_others_in_their_place_are_not(curated: Path, key: str) -> None:
    cells = [(curated.parent / f"images/{number}.png").read_bytes() for number in range(STUDIES)]
    for folder, given in (("images", cells), ("others", [*cells[1:], cells[0]])):
        (curated.parent / folder).mkdir(exist_ok=True)
        exported = pyarrow.table({"image": [{"bytes": cell} for cell in given]})
        parquet.write_table(exported, curated.parent / folder / "x.parquet")
    table = curated / "curated.csv"
    table.write_text(re.sub(r"\b(\d+)\.png", r"x.parquet#\1", table.read_text()))
    with Server() as server:
        assert run(curated, server.elsewhere)["traces"] == STUDIES
    write_root(curated, curated.parent / "others")
    refused(curated, f"{STUDIES} images are not those that were curated; the first is .*x.parquet#0", name="again")


class TestDrawnHere:
    """What a phantom run drew is nobody's, whatever its dataset says; what merely claims to be drawn is not."""

    def test_what_a_phantom_run_drew_is_sent(self, curated: Path, key: str) -> None:
        state_agreement(curated, None, parent=phantom(curated), root="site")
        with Server() as server:
            assert run(curated, server.elsewhere)["traces"] == STUDIES

    def test_a_drawn_set_that_names_an_agreement_is_held_to_it(self, curated: Path, key: str) -> None:
        state_agreement(curated, AGREEMENT, parent=phantom(curated), root="site")
        with Server() as server, pytest.raises(ChexReasonError, match="data_use_agreement"):
            run(curated, server.elsewhere)
        assert not server.asked

    def test_a_set_curated_from_a_curated_set_is_under_that_ones_agreement(self, curated: Path) -> None:
        second = curated.parent / "curate-2"
        second.mkdir()
        state_agreement(second, "unrestricted", parent=curated.name, root=".")
        state_agreement(curated, AGREEMENT)
        assert agreement_of(second) == AGREEMENT
        state_agreement(curated, None, parent=phantom(curated), root="site")
        assert agreement_of(second) is None

    @pytest.mark.parametrize("manifest", [{"status": "running"}, {"stage": "inspect"}])
    def test_an_unfinished_or_other_run_vouches_for_nothing(self, manifest: dict[str, str], curated: Path) -> None:
        state_agreement(curated, None, parent=phantom(curated, **manifest), root="site")
        with pytest.raises(ChexReasonError, match="names no data-use agreement"):
            agreement_of(curated)

    def test_a_phantom_dataset_whose_root_or_link_is_real_is_not_sent(self, curated: Path, key: str) -> None:
        name, real = phantom(curated), curated.parent / "images"
        (curated.parent / name / "link").symlink_to(real)
        for root in (str(real), "link", "../images"):
            state_agreement(curated, None, parent=name, root=root)
            refused(curated, "was not drawn by a phantom run")
        state_agreement(curated, None, root=str(real), made_by=None)
        refused(curated, "was not drawn by a phantom run")


def test_a_proxy_on_the_way_of_credentialed_data_is_refused_by_name(
    curated: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://me:secret@proxy.example:3128")
    state_agreement(curated, AGREEMENT)
    told = refused(curated, "http://proxy.example:3128", data_use_agreement=AGREEMENT)
    assert "secret" not in told and "export NO_PROXY=0.0.0.0" in told.splitlines()[-1]
    monkeypatch.setenv("no_proxy", "0.0.0.0")
    with Server() as server:
        assert run(curated, server.elsewhere, data_use_agreement=AGREEMENT)["traces"] == STUDIES
