"""A sample of `make fault-campaign`: its own faults, on the stages that take seconds."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from benches.faults import strikes, surroundings
from benches.faults.study import NotTried, Study, Tried


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    made = Study(tmp_path_factory.mktemp("faults"), random.Random(0))
    made.make(("phantom", "curate", "teach", "teach, free text"))
    return made


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        (strikes.kills, 3),
        (strikes.damaged_when_complete, 2),
        (strikes.two_starts, 1),
        (surroundings.read_only_source, 3),  # also: the same bytes from another checkout, in another folder
        (surroundings.other_locale, 1),
        (surroundings.full_disk, 1),
        (surroundings.read_only_runs, 1),
    ],
)
def test_nothing_is_lost(study: Study, fault: Callable[[Study, int], Tried], times: int) -> None:
    try:
        tried = list(fault(study, times))
    except NotTried as reason:
        pytest.skip(str(reason))
    assert tried
    assert not [(what, lost) for what, lost in tried if lost]


def test_how_many_studies_are_taught_at_once_changes_no_trace(study: Study) -> None:
    stage = "teach, free text"
    assert not study.lost(stage, study.without(stage), words="teacher.concurrency=7")


def test_the_campaign_can_tell_a_loss(study: Study) -> None:
    runs = study.without(None)
    (runs / study.runs["teach"] / "traces.jsonl").write_text("")
    assert "traces.jsonl is not what its run left" in study.lost("teach", runs)
