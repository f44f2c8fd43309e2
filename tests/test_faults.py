"""A sample of `make fault-campaign`: its own faults, on the stages that take seconds."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from benches import faults


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> faults.Study:
    made = faults.Study(tmp_path_factory.mktemp("faults"), random.Random(0))
    made.make(("phantom", "curate", "teach"))
    return made


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        (faults.kills, 3),
        (faults.damaged_when_complete, 2),
        (faults.two_starts, 1),
        (faults.read_only_source, 2),  # also: the same bytes from another checkout, in another folder
        (faults.other_locale, 2),
    ],
)
def test_nothing_is_lost(study: faults.Study, fault: Callable[[faults.Study, int], faults.Tried], times: int) -> None:
    tried = list(fault(study, times))
    assert tried or fault is faults.kills, "a kill may come too late"
    assert not [(what, lost) for what, lost in tried if lost]


def test_the_campaign_can_tell_a_loss(study: faults.Study) -> None:
    runs = study.without(None)
    (runs / study.runs["teach"] / "traces.jsonl").write_text("")
    assert "traces.jsonl is not what its run left" in study.lost("teach", runs)
