"""How values are written into commands."""

from __future__ import annotations

from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from chexreason.runs.overrides import quoted, written


def taken(word: str) -> Any:
    """What Hydra makes of an override's value."""
    return OmegaConf.create({"key": OverridesParser.create().parse_override(f"key={word}").value()}).key


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
@example("~/films")
@example("/data/~me")
@example("NULL")
@example("True")
@example("nan")
@example("-INF")
@example("1_000")
@example("1e5")
@example("1.")
@example("a,b [c] {d: e} (f) = $HOME ${oc.env:HOME} \\\\' \"")
def test_a_text_comes_back_as_it_was_whatever_is_in_it(text: str) -> None:
    assert taken(quoted(text)) == text


@pytest.mark.parametrize("value", [1, 0.5, True, None, "1", "true", "null", "two words"])
def test_a_value_keeps_its_type(value: object) -> None:
    found = taken(written(value))
    assert found == value and type(found) is type(value)
