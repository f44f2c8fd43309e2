"""Whose rules data is under, and when it may leave this machine.

A dataset's `agreement` names its data-use agreement, null for data that anyone may have; a curated set inherits its site's.
"""

from __future__ import annotations

from chexreason.errors import ChexReasonError


def refuse_unacknowledged(agreement: str | None, acknowledged: str | None, key: str, doing: str) -> None:
    """Pass silently where the data is free, or where the config key `key` acknowledges its agreement by name.

    Raises:
        ChexReasonError: names the agreement and the key.
    """
    if agreement is None or acknowledged == agreement:
        return
    other = f" ({key} names another: {acknowledged!r})" if acknowledged else ""
    raise ChexReasonError(
        f"these images and labels are under the {agreement}, and {doing}{other}.\n"
        "  Read the agreement, and its owner's word on online services, first: many forbid it, or allow it only with a\n"
        "  service that keeps nothing and lets nobody look (https://physionet.org/news/post/gpt-responsible-use for MIMIC).\n"
        f"  If you may:  {key}={_quoted(agreement)}"
    )


def _quoted(text: str) -> str:
    return f"\"'{text}'\"" if "'" not in text else repr(text)
