"""The order of the tests."""

from pathlib import Path

import pytest

LONGEST = Path(__file__).parent / "test_study.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first: what workers take last should be short."""
    items.sort(key=lambda item: item.path != LONGEST)
