"""The tables of docs/performance.md come from what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benches.tables import COMPARED, FAMILIES, RATES, written

DOCUMENT = (Path(__file__).parents[1] / "docs" / "performance.md").read_text(encoding="utf-8")
MEASURED = {"ratio": 2.345, "low": 2.0, "high": 3.0, "plain_s": 9.25, "ours_s": 4.0, "floor": 3.14, "prompt": 777.0}
ALL = {f"{family}/{name}": MEASURED for family in FAMILIES for rows in COMPARED.values() for _, name in rows}
ALL |= {name: {"rate": 123_456.0} for _, *names in RATES.values() for name in names}


def test_every_table_is_written_anew_and_nothing_else_is() -> None:
    text = written(DOCUMENT, ALL)
    assert text.count("2.35x (2.00 to 3.00; 9.2 s, 4.0 s; counted: 3.1)") == len(FAMILIES) * sum(map(len, COMPARED.values()))
    assert "prompts of 777 and 777 tokens" in text and "123,000 strict, 123,000 tolerant" in text
    assert text.count("On: one core of") == len(COMPARED) + 1
    assert written(text, ALL) == text
    outside = "".join(part.partition("-->")[2] for part in text.split("<!-- /"))
    assert all(line in DOCUMENT for line in outside.splitlines() if line.startswith("##")) and "## What is left" in outside


@pytest.mark.parametrize("name", COMPARED)
def test_a_table_of_which_something_was_not_measured_stays(name: str) -> None:
    lacking = {key: values for key, values in ALL.items() if key != f"qwen2_5_vl/{COMPARED[name][-1][1]}"}
    text = written(DOCUMENT, lacking)

    def section(whole: str) -> str:
        return whole.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]

    assert section(text) == section(DOCUMENT) and section(written(DOCUMENT, ALL)) != section(DOCUMENT)


def test_the_document_has_the_rows_that_the_bench_writes() -> None:
    rows, there = (
        [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ") and "prompts of" not in line]
        for text in (written(DOCUMENT, ALL), DOCUMENT)
    )
    assert rows == there
