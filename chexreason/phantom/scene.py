"""What the offline teacher says of one drawn image: findings placed and graded as drawn, and regions that are clear.

The labels decide what is said (section 3.1: the teacher is given the ground truth); the signs only say where and how much.
A label without a sign is named without a place, a sign without a label is passed over in silence.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chexreason.labels import FINDINGS, NO_FINDING, SUPPORT_DEVICES

# Where a sign lies, by its zone: (one side, both sides). {} is the patient's side.
PLACES: dict[str, tuple[str, str]] = {
    "apex": ("at the {} apex", "at both apices"),
    "upper": ("in the {} upper zone", "in both upper zones"),
    "mid": ("in the {} middle zone", "in both middle zones"),
    "lower": ("in the {} lower zone", "in both lower zones"),
    "base": ("at the {} base", "at both bases"),
    "hilum": ("at the {} hilum", "around both hila"),
    "pleura": ("along the {} chest wall", "along both chest walls"),
    "rib": ("of the {} ribs", "of ribs on both sides"),
    "clavicle": ("of the {} clavicle", "of both clavicles"),
}

# The regions that a reader looks at: the findings that would show there, and how to say that nothing is wrong. The words for
# a clear region name no finding, so that a trace never mentions one that is absent.
REGIONS: dict[str, tuple[frozenset[str], tuple[str, ...]]] = {
    "mediastinum": (frozenset({"Enlarged Cardiomediastinum"}), ("mediastinum of normal width", "mediastinal contours normal")),
    "heart": (frozenset({"Cardiomegaly"}), ("heart size normal", "heart not enlarged")),
    "hila": (frozenset({"Edema"}), ("hila normal", "vessels sharp")),
    "lungs": (
        frozenset({"Lung Opacity", "Lung Lesion", "Edema", "Consolidation", "Pneumonia", "Atelectasis"}),
        ("lungs clear", "both lungs clear"),
    ),
    "pleura": (frozenset({"Pneumothorax", "Pleural Other"}), ("pleural edges normal", "no pleural line")),
    "angles": (frozenset({"Pleural Effusion"}), ("costophrenic angles sharp", "both angles sharp")),
    "bones": (frozenset({"Fracture"}), ("bones intact", "no bony step")),
    "devices": (frozenset({SUPPORT_DEVICES}), ("no lines or tubes", "no hardware")),
}


@dataclass(frozen=True)
class Seen:
    """One labelled finding as it is drawn; without a sign it has no place, grade or appearance."""

    finding: str
    sides: frozenset[str] = frozenset()  # left, right, or neither for the midline
    place: str = ""
    severity: str = ""
    kind: str = ""

    @property
    def name(self) -> str:
        return self.finding.lower()

    def appearance(self) -> str:
        """`moderate meniscus blunting the angle at the left base`, or the finding's name where nothing was drawn."""
        return " ".join(part for part in (self.severity, self.kind or self.name, self.place) if part)


@dataclass(frozen=True)
class Scene:
    """A study as the offline teacher sees it; `rng` chooses the words."""

    seen: tuple[Seen, ...]  # No Finding is not among them
    silent: frozenset[str]  # drawn, but not in the labels: nothing is said of their regions
    rng: random.Random

    @property
    def names(self) -> list[str]:
        """The findings by their names in running text."""
        return [one.name for one in self.seen]

    def of(self, region: str) -> list[Seen]:
        """What is seen in a region."""
        return [one for one in self.seen if one.finding in REGIONS[region][0]]

    def clear(self, region: str) -> str:
        """How to say that a region is normal; empty where it is not, or where nothing should be said."""
        findings, words = REGIONS[region]
        spoken_for = {one.finding for one in self.seen} | self.silent
        return "" if findings & spoken_for else self.rng.choice(words)

    def clear_regions(self, many: int) -> list[str]:
        """Up to `many` statements on normal regions, in reading order."""
        chosen = [text for text in map(self.clear, REGIONS) if text]
        kept = set(self.rng.sample(chosen, min(many, len(chosen))))
        return [text for text in chosen if text in kept]


def scene_of(labels: Sequence[str], signs: Sequence[Mapping[str, Any]], rng: random.Random) -> Scene:
    """The scene of a study with these labels, in whose image these signs were drawn."""
    seen = [
        _seen(finding, [sign for sign in signs if sign["finding"] == finding])
        for finding in FINDINGS
        if finding in labels and finding != NO_FINDING
    ]
    return Scene(tuple(seen), frozenset(sign["finding"] for sign in signs) - set(labels), rng)


def _seen(finding: str, signs: Sequence[Mapping[str, Any]]) -> Seen:
    if not signs:
        return Seen(finding)
    named = {sign["side"] for sign in signs}
    sides = frozenset({"left", "right"}) if "bilateral" in named else frozenset(named & {"left", "right"})
    if finding == SUPPORT_DEVICES:  # each where it belongs, and none of them graded
        kinds = dict.fromkeys(_device(sign) for sign in signs)
        return Seen(finding, sides, kind=" and ".join(kinds))
    worst = max(signs, key=lambda sign: ("mild", "moderate", "severe").index(sign["severity"]))
    one_side, both = PLACES.get(worst["zone"], ("", ""))
    place = both if len(sides) == 2 else one_side.format(*sides) if sides else ""
    return Seen(finding, sides, place, worst["severity"], worst["kind"])


def _device(sign: Mapping[str, Any]) -> str:
    return f"{sign['side']} {sign['kind']}" if sign["side"] in ("left", "right") else str(sign["kind"])


def joined(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."
