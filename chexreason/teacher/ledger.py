"""A journal on disk of requests, replies and costs, and the budget that they count against.

A paid request is recorded before it is sent and again when it is answered, and flushed to disk each time. After a kill, no
reply that had arrived is requested again, and requests that were under way count as spent.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from dataclasses import asdict, fields
from decimal import Decimal
from pathlib import Path
from typing import Any

from chexreason.errors import ChexReasonError
from chexreason.runs.files import as_lines, read_lines, write_text
from chexreason.teacher.reply import Reply

SCHEMA = 1


def _money(amount: float) -> Decimal:
    """`amount` as a decimal of twelve significant digits, so that three times 0.1 is 0.3.

    Binary rounding errors lie beyond these digits; a sum may fall short of what is spent by at most 1e-11 of it.
    """
    return Decimal(f"{amount:.12g}")


class Ledger:
    """Thread-safe. `budget` is in the currency of the teacher's prices; None sets no limit."""

    def __init__(self, path: Path, budget: float | None):
        self.budget = budget
        self.requests, self.input_tokens, self.output_tokens = 0, 0, 0
        self._settled = Decimal(0)  # cost of answered requests
        self._open: dict[int, Decimal] = {}  # the most that each request under way can cost
        self._lost = Decimal(0)  # the most that requests under way when a process died may have cost
        self._dearest = 0.0
        self._replies: dict[str, list[Reply]] = defaultdict(list)
        self.declined: set[str] = set()  # studies that the service refused to take in earlier processes
        self._changed = threading.Condition()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._read(path)
        self._stream = path.open("ab")

    def _read(self, path: Path) -> None:
        rows = read_lines(path, SCHEMA) if path.exists() else []
        write_text(path, as_lines(rows))  # without a last line that a kill cut short
        for row in rows:
            self.requests = max(self.requests, row["request"])
            if "at_most" in row:
                self._open[row["request"]] = _money(row["at_most"])
            else:
                reply = Reply(**{one.name: row[one.name] for one in fields(Reply) if one.name in row})
                self._settle(row["request"], row["path"], reply, row["counts"])
                if row.get("declined"):
                    self.declined.add(row["path"])
        self._lost = self._under_way
        self._open.clear()

    @property
    def spent(self) -> float:
        """The money spent; requests of unknown price count at their maximum."""
        return float(self._settled + self._lost)

    @property
    def _under_way(self) -> Decimal:
        """The most that the requests under way can cost."""
        return sum(self._open.values(), Decimal(0))

    def replies(self, path: str) -> list[Reply]:
        """The replies of the teacher for a study so far, in order."""
        return list(self._replies[path])

    def open(self, path: str, attempt: int, at_most: float) -> int:
        """Reserve the price of one request, waiting for those under way if that may make room; returns its number.

        Raises:
            ChexReasonError: the request could exceed the budget.
        """
        with self._changed:
            while self.budget is not None:
                at_most = max(at_most, self._dearest) if at_most else 0.0  # a price that occurred may occur again
                if self._settled + self._lost + self._under_way + _money(at_most) <= _money(self.budget):
                    break
                if not self._open:
                    self._changed.notify_all()  # wake the other waiters: there will be no room for them either
                    raise ChexReasonError(self._exhausted(at_most))
                self._changed.wait()
            self.requests += 1
            self._open[self.requests] = _money(at_most)
            if at_most:
                self._write({"request": self.requests, "path": path, "attempt": attempt, "at_most": at_most}, durable=True)
            return self.requests

    def close(self, number: int, path: str, reply: Reply, counts: bool = True, declined: str | None = None) -> None:
        """Record the outcome of a request; `counts` is false if the teacher did not reply at all.

        `declined`: why the service did not take it.
        """
        with self._changed:
            row: dict[str, Any] = {"request": number, "path": path, "counts": counts}
            row |= {"declined": declined} if declined else {}
            self._write(row | asdict(reply), durable=self._open[number] > 0)
            self._settle(number, path, reply, counts)
            self._changed.notify_all()

    def _settle(self, number: int, path: str, reply: Reply, counts: bool) -> None:
        self._open.pop(number, None)
        self._settled += _money(reply.cost)
        self._dearest = max(self._dearest, reply.cost)
        self.input_tokens += reply.input_tokens
        self.output_tokens += reply.output_tokens
        if counts:
            self._replies[path].append(reply)

    def _write(self, row: dict[str, Any], durable: bool) -> None:
        self._stream.write(as_lines([{"schema": SCHEMA, **row}]).encode())
        self._stream.flush()
        if durable:
            os.fsync(self._stream.fileno())

    def _exhausted(self, at_most: float) -> str:
        answered = sum(bool(replies) for replies in self._replies.values())
        return (
            f"stage.budget={self.budget:g} leaves no room for another request, which could cost {at_most:.4f}: "
            f"{self.spent:.4f} is spent, on {self.requests} requests for {answered} studies ({self.input_tokens} tokens read, "
            f"{self.output_tokens} written).\n"
            "  Every reply is kept. To go on from there: the same command with a larger stage.budget."
        )
