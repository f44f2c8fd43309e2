"""Checks before a film is sent from this machine to a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chexreason.data.agreements import agreement_of, refuse_unacknowledged
from chexreason.errors import ChexReasonError
from chexreason.teacher.address import is_loopback, place, proxy_on_the_way
from chexreason.teacher.reply import Teacher


def refuse_to_send(teacher: Teacher, curated: Path, studies: Sequence[dict[str, Any]], root: Path) -> None:
    """Check that these studies of the curate run in `curated`, with images under `root`, may be sent to `teacher`.

    Raises:
        ChexReasonError: their agreement is not acknowledged, a proxy would see them, or they are not what was curated.
    """
    from chexreason.data.integrity import refuse_other_images
    from chexreason.data.paths import image_file

    if teacher.address is None or is_loopback(teacher.address):
        return
    refuse_address(teacher, agreement_of(curated))
    # The agreement covers the images that were curated: replaced images must not be sent under it.
    files = [image_file(root, study["path"]) for study in studies]
    refuse_other_images(files, [study["sha256"] for study in studies], curated.parent)


def refuse_address(teacher: Teacher, agreement: str | None) -> None:
    """Check that data under `agreement` (None: unrestricted) may be sent to the address of `teacher`.

    Raises:
        ChexReasonError: the agreement is not acknowledged, or a proxy would see the data.
    """
    if teacher.address is None or is_loopback(teacher.address):
        return
    there = place(teacher.address)
    doing = f"teacher={teacher.name} would send them to {there}"
    refuse_unacknowledged(agreement, teacher.data_use_agreement, "teacher.data_use_agreement", doing)
    proxy = proxy_on_the_way(teacher.address)
    if agreement is not None and proxy:
        raise ChexReasonError(
            f"these images and labels are under the {agreement}, and the environment puts a proxy on their way to {there}: "
            f"{place(proxy)} (HTTP_PROXY, HTTPS_PROXY or ALL_PROXY).\n"
            f"  Go there without it:  export NO_PROXY={there.rpartition('/')[2]}"
        )
