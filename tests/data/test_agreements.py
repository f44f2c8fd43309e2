"""Data-use agreements: what is printed to acknowledge one."""

from __future__ import annotations

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from chexreason.data.agreements import refuse_unacknowledged
from chexreason.errors import ChexReasonError

KEY = "teacher.data_use_agreement"


@pytest.mark.parametrize(
    "agreement", ["PhysioNet Credentialed Health Data Use Agreement 1.5.0", "The Owner's Agreement", "CC0"]
)
def test_the_override_that_is_printed_acknowledges_the_agreement_when_it_is_pasted(agreement: str) -> None:
    with pytest.raises(ChexReasonError) as told:
        refuse_unacknowledged(agreement, None, KEY, "they would leave this machine")
    (word,) = shlex.split(str(told.value).splitlines()[-1].partition("If you may:")[2])
    said = OverridesParser.create().parse_override(word)
    assert said.key_or_group == KEY
    refuse_unacknowledged(agreement, str(said.value()), KEY, "")
