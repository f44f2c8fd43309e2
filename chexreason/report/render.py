"""Tables as Markdown, CSV, LaTeX, and plain text for the terminal; as HTML, build.py writes them."""

from __future__ import annotations

import csv
import io
import math
import re
import textwrap
from collections.abc import Callable

from chexreason.data.paths import FORMULA
from chexreason.pages import markdown_table, markdown_text
from chexreason.report.tables import Cell, Table, Value

HEADER = 60  # characters of a row's header on one line of the terminal
DASH, PAPER = "–", "paper "
HEADING = r"p{0.4\linewidth}"  # a LaTeX column of row headers that do not fit on one line
_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "−": "$-$"}
_TEX |= {char: "\\" + char for char in "&%$#_{}"}


def plain(number: float | None, signed: bool = False, percent: bool = False) -> str:
    """Three decimals, or a percentage; a dash for a missing or infinite number."""
    if number is None or not math.isfinite(number):
        return DASH
    text = f"{100 * number:+.1f} %" if percent else f"{number:+.3f}"
    return text.replace("-", "−") if signed or number < 0 else text[1:]


def parts(cell: Cell) -> list[str]:
    """A cell's lines: ours, its interval, then the paper's number with the difference."""
    if not isinstance(cell, Value):
        return [DASH if cell is None else cell]
    lines = [plain(cell.ours, cell.signed, cell.percent)]
    if cell.low is not None:
        low, high = (plain(bound, cell.signed, cell.percent) for bound in (cell.low, cell.high))
        lines.append(f"[{low}, {high}]")
    if cell.positives is not None:
        lines.append(f"{cell.positives} positive{'s' * (cell.positives != 1)}")
    if cell.paper is not None:
        by = "" if cell.difference is None else f" ({plain(cell.difference, True, cell.percent)})"
        lines.append(f"{PAPER}{plain(cell.paper, cell.signed, cell.percent)}{by}")
    return lines


def markdown(table: Table) -> str:
    """A GitHub-flavoured table with its title and note."""

    from markupsafe import Markup

    def cell(first: str, rest: list[str], is_best: bool) -> str:
        first, *below = map(markdown_text, [first, *rest])
        return Markup("<br>".join([f"**{first}**" if is_best else first, *below]))

    note = f"\n{markdown_text(table.note)}\n" if table.note else ""
    return f"### {markdown_text(table.title)}\n\n{markdown_table(table.columns, _cells(table, cell))}\n{note}"


def _cells(table: Table, form: Callable[[str, list[str], bool], str]) -> list[list[str]]:
    """For each cell: its first line as `form` writes it, the lines below, and whether it is the best."""
    return [
        [form(first, rest, (index, column) in table.best) for column, (first, *rest) in enumerate(map(parts, row))]
        for index, row in enumerate(table.rows)
    ]


def tidy_csv(table: Table) -> str:
    """One line per number: row, column, value, low, high, paper, difference; texts as they are."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["row", "column", "value", "low", "high", "paper", "difference"])
    for header, *cells in table.rows:
        for name, cell in zip(table.columns[1:], cells, strict=True):
            if isinstance(cell, Value):
                numbers = [cell.ours, cell.low, cell.high, cell.paper, cell.difference]
                written = ["" if number is None else f"{number:.6g}" for number in numbers]
            else:
                written = [_harmless(cell or ""), "", "", "", ""]
            writer.writerow([_harmless(str(header)), _harmless(name), *written])
    return stream.getvalue()


def latex(table: Table) -> str:
    r"""A table for \usepackage{booktabs}; interval and the paper's number in small type under ours. LaTeX numbers it itself."""
    import pandas as pd

    def cell(first: str, rest: list[str], is_best: bool) -> str:
        top, *below = map(_tex, [first, *rest])
        lines = [rf"\textbf{{{top}}}" if is_best else top, *(rf"\tiny {line}" for line in below)]
        stack = r" \\ ".join(lines)
        return rf"\shortstack{{{stack}}}" if rest else lines[0]

    title = re.sub(r"\ATable \d+\. ", "", table.title)
    long = max((len(parts(row[0])[0]) for row in table.rows), default=0) > HEADER
    frame = pd.DataFrame(_cells(table, cell), columns=[*map(_tex, table.columns)])
    written = frame.style.hide(axis="index").to_latex(
        hrules=True,
        position_float="centering",
        caption=f"{_tex(title)}. {_tex(table.note)}".strip(),
        label=f"tab:{table.name}",
        column_format=(HEADING if long else "l") + "c" * (len(table.columns) - 1),
    )
    return written.replace(r"\centering", r"\centering\small", 1)


def text(table: Table) -> str:
    """Aligned columns for the terminal: ours with the interval, and below it the paper's with the difference."""
    grid = [list(table.columns)]
    for row in table.rows:
        cells = [parts(cell) for cell in row]
        grid.append([" ".join(line for line in cell if not line.startswith(PAPER)) for cell in cells])
        theirs = [next((line.removeprefix(PAPER) for line in cell if line.startswith(PAPER)), "") for cell in cells]
        if any(theirs):
            grid.append([f"  {PAPER.strip()}", *theirs[1:]])
    grid = [line for row in grid for line in _wrapped(row)]
    widths = [max(len(row[column]) for row in grid) for column in range(len(table.columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in grid]
    return "\n".join([table.title, "-" * len(table.title), *lines]) + "\n"


def _wrapped(row: list[str]) -> list[list[str]]:
    """A row with its header on as many lines as it needs."""
    if len(row[0]) <= HEADER:
        return [row]
    first, *more = textwrap.wrap(row[0], HEADER, subsequent_indent="  ")
    return [[first, *row[1:]], *([line, *[""] * (len(row) - 1)] for line in more)]


def _tex(value: str) -> str:
    return re.sub(r"[\\~^–−&%$#_{}]", lambda found: _TEX[found.group()], " ".join(value.split()))  # a blank line ends a caption


def _harmless(value: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return "'" + value if value.startswith(FORMULA) else value
