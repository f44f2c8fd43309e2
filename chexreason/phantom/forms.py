"""The offline teacher's reasoning: the forms that the prompts ask for, filled in from a scene.

One function for each prompt with a form of its own; a prompt that has none gets free reasoning. They are concise, since
the models that learn from them in the phantom world have a few million parameters.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from chexreason.labels import FINDINGS, NO_FINDING, SUPPORT_DEVICES
from chexreason.phantom.scene import REGIONS, Scene, Seen, joined, scene_of, sentence
from chexreason.prompts import Prompt, write_answer


class Words(NamedTuple):
    """What defines a finding, what else it could be, and what on the film speaks against that."""

    criterion: str
    rival: str
    against: str


WORDS: dict[str, Words] = {
    "Enlarged Cardiomediastinum": Words("silhouette too wide", "rotation", "the clavicles lie level"),
    "Cardiomegaly": Words("heart over half the thorax", "magnification", "the heart fills over half the thorax"),
    "Lung Opacity": Words("denser than the lung around it", "overlying soft tissue", "it stays inside the lung"),
    "Lung Lesion": Words("focal and rounded", "a vessel end on", "it is far wider than its vessels"),
    "Edema": Words("vessels blurred, septal lines", "a shallow breath", "septal lines reach the wall"),
    "Consolidation": Words("vessels hidden, airways dark", "volume loss", "the fissure keeps its place"),
    "Pneumonia": Words("airspace pattern of infection", "blood", "the patches follow segments"),
    "Atelectasis": Words("volume lost, linear band", "a scar", "the dome is drawn up"),
    "Pneumothorax": Words("pleural edge, no markings beyond", "a skin fold", "no vessel crosses the line"),
    "Pleural Effusion": Words("angle blunted by fluid", "fat at the angle", "the border curves upward"),
    "Pleural Other": Words("pleura thickened", "a rib margin", "it keeps to the inner wall"),
    "Fracture": Words("cortex broken", "an overlap of shadows", "the cortex is stepped"),
    SUPPORT_DEVICES: Words("hardware on the film", "an object on the skin", "its course is inside"),
}
NORMAL = ("Nothing abnormal stands out", "No abnormality is seen", "The film looks normal")


def free_reasoning(scene: Scene) -> str:
    """What is seen of each finding, then a clear region or several; worded alike each time, without place or grade.

    Every token that a stand-in could as well have written otherwise is noise in GRPO's gradient, and a rollout of the phantom
    world is small; the other forms place and grade what they see.
    """
    parts = [f"{one.kind or one.name}: {one.name}" for one in scene.seen]
    if not _abnormal(scene):
        parts.insert(0, NORMAL[0])
    clear = [words[0] for region, (_, words) in REGIONS.items() if scene.clear(region)]
    parts.append(joined(clear[: 1 if _abnormal(scene) else 4]))
    return _prose(parts)


def narrative(scene: Scene) -> str:
    """Flowing prose that gathers evidence."""
    rng = scene.rng
    if not _abnormal(scene):
        parts = [rng.choice(("My eye finds no point of rest on this film", "At first glance this film is unremarkable"))]
    else:
        parts = []
    openings = ["What strikes me first is", "Beside it I find", "The film also shows", "Further on there is", "I add"]
    for place, one in enumerate(scene.seen):
        opening = openings[min(place, len(openings) - 1)]
        weigh = rng.choice(("which I read as", "which speaks for", "best explained as"))
        parts.append(f"{opening} {one.appearance()}, {weigh} {one.name}")
    clear = scene.clear_regions(5)
    if clear:
        parts.append(f"{rng.choice(('Elsewhere I note', 'For the rest I see', 'Of the other regions,'))} {joined(clear)}")
    drawn = joined(scene.names) or "a film without abnormality"
    parts.append(f"{rng.choice(('Taken together the evidence supports', 'Weighing all this, I settle on'))} {drawn}")
    return _prose(parts)


def self_check(scene: Scene) -> str:
    """A scan by region, then a second look at each finding."""
    scan = "; ".join(text for region in REGIONS if (text := _region(scene, region)))
    doubts = [f"{one.name}: {WORDS[one.finding].against}, kept" for one in scene.seen]
    return f"Scan: {scan}.\nVerify: {'; '.join(doubts) or 'no region holds more on a second look'}. Nothing to add."


def hypothesis(scene: Scene) -> str:
    """Each finding against a rival explanation."""
    if not scene.seen:
        clear = joined(scene.clear_regions(5))
        return _prose([scene.rng.choice(NORMAL), f"a faint shadow was the hypothesis; against it, {clear}", "it is dropped"])
    parts = []
    for one in scene.seen:
        _, rival, against = WORDS[one.finding]
        parts.append(f"{one.appearance()}: {one.name} or {rival}? {against}, so {one.name} is kept")
    parts.append(joined(scene.clear_regions(2)))
    return _prose(parts)


def twelve_steps(scene: Scene) -> str:
    """The mandatory 12 steps, a line each."""
    rng = scene.rng
    lines = {
        "Technique": rng.choice(("frontal film, adequate breath", "frontal, not rotated", "frontal, exposure adequate")),
        "Airway": rng.choice(("trachea central", "trachea in the midline")),
        "Mediastinum": _region(scene, "mediastinum"),
        "Heart": _region(scene, "heart"),
        "Hila": _region(scene, "hila"),
        "Right lung": _lung(scene, "right"),
        "Left lung": _lung(scene, "left"),
        "Pleura": _region(scene, "pleura"),
        "Diaphragm and angles": _region(scene, "angles"),
        "Bones": _region(scene, "bones"),
        "Devices": _region(scene, "devices"),
        "Synthesis": joined(scene.names) or "no abnormality",
    }
    return "\n".join(f"{number}. {step}: {text or 'as is'}." for number, (step, text) in enumerate(lines.items(), start=1))


def zones(scene: Scene) -> str:
    """Right against left in three zones, then the rest of the film."""
    lines, rest = [], scene
    for zone, places in (("Upper", ("apex", "upper")), ("Middle", ("middle", "hil")), ("Lower", ("base", "lower"))):
        here = [one for one in rest.seen if any(place in one.place for place in places)]
        lines.append(f"{zone}: " + ("; ".join(f"{one.appearance()}, {one.name}" for one in here) or "right equals left"))
        left = tuple(one for one in rest.seen if one not in here)
        rest = Scene(left, rest.silent | {one.finding for one in here}, rest.rng)
    others = [f"{one.appearance()}, {one.name}" for one in rest.seen] + rest.clear_regions(3)
    return "\n".join(f"{line}." for line in [*lines, f"Rest: {'; '.join(others) or 'nothing more'}"])


def confidence(scene: Scene) -> str:
    """Findings, impression, and a matrix of all 14 names."""
    seen = {one.finding: one for one in scene.seen}
    findings = "; ".join([one.appearance() for one in scene.seen] + scene.clear_regions(3))
    rows = []
    for finding in FINDINGS:
        if finding in seen or (finding == NO_FINDING and not _abnormal(scene)):
            reason = WORDS[finding].criterion if finding in seen else "film normal"
            rows.append(f"{finding} | {reason} | none | {scene.rng.choice((80, 85, 90, 95))}")
        else:
            rows.append(f"{finding} | none | not shown | {scene.rng.choice((1, 2, 5, 10))}")
    impression = joined(scene.names) or "no abnormality"
    return "\n".join([f"FINDINGS: {findings}.", f"IMPRESSION: {impression}.", "CONFIDENCE:", *rows])


def definitions(scene: Scene) -> str:
    """Each criterion that is met."""
    parts = [f"{one.name}: {WORDS[one.finding].criterion}; {one.appearance()}; met" for one in scene.seen]
    if not _abnormal(scene):
        parts.append("no other definition is met" if scene.seen else "no definition is met")
    return _prose([*parts, joined(scene.clear_regions(3))])


def second_look(scene: Scene) -> str:
    """A first reading, then the blind spots."""
    first = "; ".join(f"{one.appearance()}, {one.name}" for one in scene.seen) or scene.rng.choice(NORMAL).lower()
    drawn = {  # by blind spot: what the place of a finding there holds; None: nothing is drawn there
        "apices": "apex",
        "behind the heart": None,
        "hila": "hil",
        "below the diaphragm": None,
        "bones": "of ",
        "film edges": "chest wall",
    }
    spots = []
    for spot, place in drawn.items():
        here = [one.name for one in scene.seen if place and place in one.place]
        spots.append(f"{spot}: {joined(here) if here else scene.rng.choice(('nothing more', 'clear', 'unchanged'))}")
    return f"First: {first}.\nSecond look: {'; '.join(spots)}.\nThe first reading stands."


def differential(scene: Scene) -> str:
    """Abnormality, differential, for and against, decision."""
    blocks = []
    for one in scene.seen:
        if one.finding == SUPPORT_DEVICES:
            blocks.append(f"Device: {one.kind or one.name}, {one.name}.")
            continue
        _, rival, against = WORDS[one.finding]
        blocks.append(
            f"Abnormality: {one.appearance()}.\nDifferential: {one.name}, {rival}.\n"
            f"For and against: {against}.\nDecision: {one.name}."
        )
    if not _abnormal(scene):
        blocks.append(f"No abnormality: {joined(scene.clear_regions(5))}.")
    return "\n".join(blocks)


FORMS: dict[str, Callable[[Scene], str]] = {
    "free_reasoning": free_reasoning,
    "reasoning_narrative": narrative,
    "reasoning_self_check": self_check,
    "reasoning_hypothesis": hypothesis,
    "reasoning_a": twelve_steps,
    "reasoning_b": zones,
    "reasoning_c": confidence,
    "reasoning_d": definitions,
    "reasoning_e": second_look,
    "reasoning_f": differential,
}


def written(prompt: Prompt, labels: Sequence[str], signs: Sequence[Mapping[str, Any]], rng: random.Random) -> str:
    """A completion in the prompt's grammar and form: the labels, argued from the signs; `rng` chooses the words."""
    reasoning = FORMS.get(prompt.name, free_reasoning)(scene_of(labels, signs, rng))
    return write_answer(prompt.grammar, reasoning, list(labels))


def _abnormal(scene: Scene) -> bool:
    """Whether anything but a device is seen."""
    return any(one.finding != SUPPORT_DEVICES for one in scene.seen)


def _region(scene: Scene, region: str) -> str:
    here = [one if region != "hila" else Seen(one.finding, one.sides, one.place, "", "haze") for one in scene.of(region)]
    return joined([one.appearance() for one in here]) or scene.clear(region)


def _lung(scene: Scene, side: str) -> str:
    """What is seen in one lung; findings that were not drawn could be in either."""
    here = [one for one in scene.of("lungs") if side in one.sides or not one.sides]
    if here:
        return joined([one.appearance() for one in here])
    return "" if scene.silent & REGIONS["lungs"][0] else scene.rng.choice(("clear", "all zones clear"))


def _prose(parts: list[str]) -> str:
    return " ".join(sentence(part) for part in parts if part)
