"""The one exception that is meant for a person to read."""

from __future__ import annotations


class ChexReasonError(Exception):
    """What was wrong, where (file, row, key), and what to do next. Printed without a traceback."""
