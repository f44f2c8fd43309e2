"""The tolerant readers, one after the other: objects (JSON), then lines, of which some are tables, lists, or prose."""

from __future__ import annotations

from collections.abc import Sequence

from chexreason.answers import lists, markup, objects
from chexreason.answers.mentions import Mention
from chexreason.labels import NO_FINDING, SUPPORT_DEVICES

_WEAKEST_FIRST = ("prose", "table", "json", "list")


def read(body: str) -> list[Mention]:
    """What the body of an answer claims, denies and leaves open, in its order.

    That a film is normal, in other words than CheXpert's own, is said of the rest of it where a finding is claimed beside it.
    """
    found = objects.read(markup.unfenced(body))
    if found is None:
        found = lists.read(markup.plain(body))
    if any(mention.claimed and mention.finding not in (NO_FINDING, SUPPORT_DEVICES) for mention in found):
        found = [mention for mention in found if not _is_remark(mention)]
    return found


def _is_remark(mention: Mention) -> bool:
    own_name = NO_FINDING.casefold() in mention.text.casefold()
    return mention.finding == NO_FINDING and not (own_name and mention.how != "prose")


def weakest(mentions: Sequence[Mention]) -> str:
    """How the claims were read; of several ways the one that is the weakest claim."""
    used = {mention.how for mention in mentions if mention.claimed}
    return next((how for how in _WEAKEST_FIRST if how in used), "list")
