"""The policy of No Finding, for what is made to keep it."""

from __future__ import annotations

from collections.abc import Iterable

from chexreason.labels import NO_FINDING, PATHOLOGIES


def consistent(findings: Iterable[str]) -> bool:
    """Whether a set of positive findings keeps the policy of No Finding, which prompts, curation and test sets share.

    No Finding may stand beside Support Devices and beside nothing else (CheXpert's labeller gives it so), and it is the answer
    where nothing but a device is present. A set without it therefore names a pathology: an empty one, or a device alone, comes
    of a study whose abnormality is uncertain or none of the 14, and teaches nothing that the prompts ask for.
    """
    found = set(findings)
    return (NO_FINDING in found) != bool(found & set(PATHOLOGIES))
