"""The 14 findings, their four label states, and the names that other sites give them.

Sources: CheXpert (Irvin et al. 2019, arXiv:1901.07031) for the findings, their order and the four states; NIH
ChestX-ray14 (Wang et al. 2017, arXiv:1705.02315) for its names; the paper's section 3.1 for the nine shared classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chexreason.errors import ChexReasonError, nearest

FINDINGS: tuple[str, ...] = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
# Of the 14, the two that are no pathologies. No Finding may stand beside Support Devices and beside nothing else, in prompts,
# training sets and test sets alike: `data.records.under_policy` and `stages.curate.teachable` see to it.
NO_FINDING, SUPPORT_DEVICES = FINDINGS[0], FINDINGS[-1]
PATHOLOGIES = FINDINGS[1:-1]

# The label states as CheXpert and MIMIC-CXR-JPG write them in their tables; the fourth, unmentioned, is a blank (NaN).
POSITIVE, NEGATIVE, UNCERTAIN = 1.0, 0.0, -1.0


@dataclass(frozen=True)
class SiteName:
    """How one name of another site maps to a CheXpert finding (None: it has no counterpart) and why."""

    finding: str | None
    exact: bool
    reason: str


NIH_NAMES: dict[str, SiteName] = {
    "No Finding": SiteName("No Finding", True, "same name; NIH means none of its 14, CheXpert none of its 12"),
    "Atelectasis": SiteName("Atelectasis", True, "same name"),
    "Cardiomegaly": SiteName("Cardiomegaly", True, "same name"),
    "Consolidation": SiteName("Consolidation", True, "same name"),
    "Edema": SiteName("Edema", True, "same name"),
    "Pneumonia": SiteName("Pneumonia", True, "same name"),
    "Pneumothorax": SiteName("Pneumothorax", True, "same name"),
    "Effusion": SiteName("Pleural Effusion", True, "NIH's effusion is pleural; left out of the paper's nine"),
    "Mass": SiteName("Lung Lesion", False, "CheXpert's lung lesion covers masses, nodules and other focal lesions"),
    "Nodule": SiteName("Lung Lesion", False, "CheXpert's lung lesion covers masses, nodules and other focal lesions"),
    "Pleural_Thickening": SiteName("Pleural Other", False, "pleural thickening is the commonest 'pleural other'"),
    "Infiltration": SiteName(None, False, "nearest is Lung Opacity, which is far wider; the paper leaves it out"),
    "Emphysema": SiteName(None, False, "CheXpert has no such finding"),
    "Fibrosis": SiteName(None, False, "CheXpert has no such finding"),
    "Hernia": SiteName(None, False, "CheXpert has no such finding"),
}

# Section 3.1: the label set is reduced to nine categories that match a subset of CheXpert's.
NIH_SHARED: tuple[str, ...] = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Lung Lesion",
    "No Finding",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
)


def check_findings(
    names: Sequence[str], known: Sequence[str] = FINDINGS, whose: str = "the 14 findings", key: str = "dataset.findings"
) -> None:
    """Check that each of `key` is a known finding, named once.

    Raises:
        ChexReasonError: names the first that is not, and the nearest that is.
    """
    for name in names:
        if name not in known:
            raise ChexReasonError(f"{key}: {name!r} is not one of {whose}.{nearest(name, known)} They are: {', '.join(known)}")
        if list(names).count(name) > 1:
            raise ChexReasonError(f"{key}: {name!r} is named twice; name each finding once")
    if not names:
        raise ChexReasonError(f"{key} is empty: name at least one of {', '.join(known)}")


def marked(rows: Iterable[Iterable[bool]]) -> list[list[str]]:
    """The findings that are marked in each row of 14, in CheXpert's order."""
    return [[finding for finding, mark in zip(FINDINGS, row, strict=True) if mark] for row in rows]


def in_order(findings: set[str] | list[str] | tuple[str, ...]) -> list[str]:
    """The findings once each, in CheXpert's order."""
    chosen = set(findings)
    return [finding for finding in FINDINGS if finding in chosen]
