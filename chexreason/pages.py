"""Markdown tables and HTML pages; pages load nothing from elsewhere, and the text of models is escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import chexreason

_BEGINS = re.compile(r"<(?=[A-Za-z/!?])|\\(?=[*`|(<\\])|[*`|]|(?<=\])\(")  # a tag, emphasis, code, a cell, a link's address


def markdown_text(text: str) -> str:
    """Escape a text for Markdown, on one line."""
    return _BEGINS.sub(lambda found: "&lt;" if found[0] == "<" else "\\" + found[0], " ".join(text.split()))


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[Any]], align: str = "right") -> str:
    """A table whose first column stands left and whose others stand `align`; no cell breaks it. Markup stays Markdown."""
    from markupsafe import Markup
    from tabulate import tabulate

    grid = [[str(cell) if isinstance(cell, Markup) else markdown_text(str(cell)) for cell in row] for row in (head, *rows)]
    aligned = ["left", *[align] * (len(head) - 1)] if grid[1:] else None
    return tabulate(grid[1:], grid[0], tablefmt="pipe", disable_numparse=True, colalign=aligned)


def html(template: Path, **values: Any) -> str:
    """A page from a template; the page.css and page.js beside it are its `style` and `script`.

    `style_digest` and `script_digest` let the page's own policy allow these and no others.
    """
    from markupsafe import Markup

    for name, file in (("style", "page.css"), ("script", "page.js")):
        text = template.with_name(file).read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        values |= {name: Markup(text), f"{name}_digest": digest}
    return _filled(template, True, values | {"version": chexreason.__version__})


def markdown(template: Path, **values: Any) -> str:
    """A text from a template."""
    return _filled(template, False, values)


def _filled(template: Path, escape: bool, values: dict[str, Any]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = FileSystemLoader(template.parent)
    engine = Environment(
        loader=folder, autoescape=escape, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=not escape
    )
    return engine.get_template(template.name).render(values)


def data_uri(media: str, content: bytes) -> str:
    """A file inside a page: `media` is its type, such as image/jpeg."""
    return f"data:{media};base64,{base64.b64encode(content).decode()}"
