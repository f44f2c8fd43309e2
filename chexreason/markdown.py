"""Tables in GitHub's Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[Any]], align: str = "right") -> str:
    """A table whose first column stands left and whose others stand `align`; no cell breaks it."""
    from tabulate import tabulate

    grid = [[str(cell).replace("|", r"\|").replace("\n", " ") for cell in row] for row in (head, *rows)]
    aligned = ["left", *[align] * (len(head) - 1)] if grid[1:] else None
    return tabulate(grid[1:], grid[0], tablefmt="pipe", disable_numparse=True, colalign=aligned)
