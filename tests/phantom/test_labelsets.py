"""Label sets follow the real table, stay legal, and can be enriched for rare findings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from chexreason.labels import FINDINGS, NO_FINDING
from chexreason.phantom import labelsets
from chexreason.phantom.labelsets import draw_states, population, positives, real_table


@pytest.fixture(params=["real table", "frequencies"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "frequencies":
        monkeypatch.setattr(labelsets, "real_table", lambda: None)
    elif real_table() is None:
        pytest.skip("torchxrayvision, which carries the real table, is not installed")
    population.cache_clear()
    yield request.param
    population.cache_clear()


def test_no_finding_stands_alone_or_beside_a_device(source: str) -> None:
    for findings in positives(draw_states(5000, np.random.default_rng(0), enriched=0.5)):
        if NO_FINDING in findings:
            assert set(findings) <= {NO_FINDING, "Support Devices"}


def test_every_state_is_one_of_four_and_the_draw_repeats(source: str) -> None:
    states = draw_states(3000, np.random.default_rng(1))
    assert states.shape == (3000, 14)
    assert set(np.unique(states[~np.isnan(states)])) <= {-1.0, 0.0, 1.0}
    assert np.array_equal(states, draw_states(3000, np.random.default_rng(1)), equal_nan=True)


def test_natural_prevalence_is_the_populations(source: str) -> None:
    states, weights, _ = population()
    expected = weights @ (states == 1.0)
    drawn = (draw_states(20_000, np.random.default_rng(2)) == 1.0).mean(axis=0)
    assert np.abs(drawn - expected).max() < 0.015


def test_enrichment_leaves_every_finding_enough_to_curate_from(source: str) -> None:
    natural, enriched = ((draw_states(6000, np.random.default_rng(3), share) == 1.0).sum(axis=0) for share in (0.0, 0.6))
    assert natural.min() < 175 <= 250 < enriched.min()  # 5 % of the 3,500 images of three sets


@pytest.mark.skipif(real_table() is None, reason="torchxrayvision, which carries the real table, is not installed")
def test_the_frequencies_in_the_repository_are_those_of_the_real_table(monkeypatch: pytest.MonkeyPatch) -> None:
    population.cache_clear()
    states, weights, _ = population()
    real = weights @ (states == 1.0)
    monkeypatch.setattr(labelsets, "real_table", lambda: None)
    population.cache_clear()
    states, weights, source = population()
    population.cache_clear()
    assert source == "label_frequencies.csv"
    assert dict(zip(FINDINGS, weights @ (states == 1.0), strict=True)) == pytest.approx(
        dict(zip(FINDINGS, real, strict=True)), abs=1e-9
    )
