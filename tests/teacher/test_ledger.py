"""What has been paid is read back, or it is said why not."""

from __future__ import annotations

from pathlib import Path

import pytest

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
