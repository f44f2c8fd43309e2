"""What has been paid is read back, or it is said why not."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chexreason.errors import ChexReasonError
from chexreason.teacher.ledger import Ledger
from chexreason.teacher.reply import Reply


class TestLedger:
    """The journal on its own."""

    def test_a_price_that_was_met_is_reckoned_with(self, tmp_path: Path) -> None:
        ledger = Ledger(tmp_path / "journal.jsonl", 1.0)
        ledger.close(ledger.open("a", 1, 0.1), "a", Reply("x", 9, 9, cost=0.6))  # six times what was thought possible
        with pytest.raises(ChexReasonError, match="could cost 0.6000"):
            ledger.open("b", 1, 0.1)

    def test_another_schema_is_not_read(self, tmp_path: Path) -> None:
        (tmp_path / "journal.jsonl").write_text('{"schema": 2}\n')
        with pytest.raises(ChexReasonError, match="line 1: schema 2"):
            Ledger(tmp_path / "journal.jsonl", None)

    def test_a_broken_line_in_the_middle_is_an_error_and_at_the_end_it_is_repaired(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.jsonl"
        ledger = Ledger(path, None)
        for name in ("a", "b"):
            ledger.close(ledger.open(name, 1, 0.0), name, Reply("\u00e9t\u00e9", 1, 2, 0.5))
        whole = path.read_bytes()
        for cut in range(len(whole.splitlines()[0]) + 2, len(whole)):
            path.write_bytes(whole[:cut])
            again = Ledger(path, None)
            assert [reply.text for reply in again.replies("a")] == ["\u00e9t\u00e9"]
            assert again.spent == (0.5 if cut < len(whole) - 1 else 1.0), cut
            assert path.read_bytes().endswith(b"\n")
        path.write_bytes(b"{half\n" + whole)
        with pytest.raises(ChexReasonError, match="line 1: no JSON object"):
            Ledger(path, None)

    @example(price=1, bought=3, left=0, places=1, answered=True)
    @example(price=1, bought=3, left=0, places=1, answered=False)
    @given(st.integers(1, 200), st.integers(1, 20), st.floats(0, 0.99), st.integers(0, 9), st.booleans())
    def test_a_budget_of_so_many_prices_buys_so_many(
        self, price: int, bought: int, left: float, places: int, answered: bool
    ) -> None:
        """As people reckon, in decimals, whether the requests were answered or under way when a process died."""
        each, budget = price / 10**places, (price * bought + int(price * left)) / 10**places
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "journal.jsonl"
            before = Ledger(path, None)
            for number in range(1, bought):
                opened = before.open(f"{number}", 1, each)
                if answered:
                    before.close(opened, f"{number}", Reply("x", cost=each))
            Ledger(path, budget).open("the last", 1, each)
            with pytest.raises(ChexReasonError, match="leaves no room"):
                Ledger(path, budget).open("one more", 1, each)

    @given(st.floats(1e-12, 1e6), st.lists(st.floats(1e-12, 1e6), max_size=20))
    def test_no_more_is_spent_than_there_is(self, budget: float, prices: list[float]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            ledger, spent = Ledger(Path(folder) / "journal.jsonl", budget), Fraction(0)
            for number, price in enumerate(prices):
                try:
                    ledger.close(ledger.open(f"{number}", 1, price), f"{number}", Reply("x", cost=price))
                except ChexReasonError:
                    continue
                spent += Fraction(price)
            assert spent <= Fraction(budget) * (1 + Fraction(1, 10**11))
            assert ledger.spent == pytest.approx(float(spent), rel=1e-11)
