"""Groups evaluations by test set: the same choice of records and labels, and the same truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chexreason.data.records import FRONTAL, UNKNOWN_FRONTAL
from chexreason.labels import FINDINGS, NIH_SHARED

if TYPE_CHECKING:
    from chexreason.report.study import Evaluation

# What makes a dataset one of the paper's test sets, and which keys of a dataset choose neither records nor labels.
_USUAL = {"views": sorted(FRONTAL), "uncertain": "negative"}
PUBLISHED: dict[str, dict[str, Any]] = {
    "chexpert": {"split": "test", "findings": sorted(FINDINGS), **_USUAL},
    "nih": {"split": "test", "findings": sorted(NIH_SHARED), **_USUAL},
    "validation": {"split": "validation", "findings": sorted(FINDINGS), **_USUAL},
}
PLACES = frozenset("name world benchmark root made_by table agreement missing".split())


@dataclass
class _TestSet:
    """Evaluations with the same choice of records and labels that agree on the truth of every record."""

    choices: dict[str, Any]
    truths: dict[str, Any] = field(default_factory=dict)
    members: list[Evaluation] = field(default_factory=list)

    def takes(self, one: Evaluation, choices: dict[str, Any]) -> bool:
        """Add an evaluation of the same choices if its truth agrees with the others; returns whether it did."""
        truths = {record.id: ({*record.labels}, {*record.ignored}) for record in one.predictions}
        if self.choices != choices or any(self.truths.get(id, truth) != truth for id, truth in truths.items()):
            return False
        self.truths |= truths
        self.members.append(one)
        return True

    def agrees(self, published: dict[str, Any]) -> bool:
        """Whether the choices equal the published ones; a site's "frontal" view counts as AP or PA."""
        chosen = {
            key: [one for one in value if one != UNKNOWN_FRONTAL] if key == "views" else value
            for key, value in self.choices.items()
        }
        return all(chosen.get(key, value) == value for key, value in published.items())

    def title(self, plain: dict[str, Any]) -> str:
        """What tells it from the plain choices, in the words of a command; the run, where it is but another truth."""
        said = {key: value for key, value in self.choices.items() if key in plain and value != plain[key]}
        many = [f"{len(said.pop('findings'))} findings"] if len(said.get("findings", ())) > 3 else []
        differing = [*many, *(f"{key}={value}".replace("'", "") for key, value in said.items())]
        return "".join(f", {one}" for one in differing) or f" as scored by run {self.members[0].folder.name.rpartition('-')[2]}"


def _choices(one: Evaluation) -> dict[str, Any]:
    """The dataset's settings that choose the records and labels, without their location."""
    asked = {key: value for key, value in one.dataset.items() if key not in PLACES}
    return {key: sorted(value, key=str) if isinstance(value, list) else value for key, value in asked.items()}


def named(evaluations: Sequence[Evaluation]) -> dict[Evaluation, str]:
    """Each one's test set: its dataset, and what tells it from the paper's, or from that of most runs, where it is another."""
    found: dict[str, list[_TestSet]] = defaultdict(list)
    for one in evaluations:
        of_dataset, choices = found[one.dataset["name"]], _choices(one)
        if not any(test_set.takes(one, choices) for test_set in of_dataset):
            of_dataset.append(_TestSet(choices))
            of_dataset[-1].takes(one, choices)
    titles: dict[Evaluation, str] = {}
    for name, of_dataset in found.items():
        published = PUBLISHED.get(of_dataset[0].members[0].dataset.get("benchmark") or "", {})
        usual = [one for one in of_dataset if one.agrees(published)]
        plain = max(usual, key=lambda one: len(one.members), default=None)
        for test_set in of_dataset:
            title = name if test_set is plain else f"{name}{test_set.title(plain.choices if plain else published)}"
            if title in titles.values():  # another choice of many findings
                title += f", run {test_set.members[0].folder.name.rpartition('-')[2]}"
            titles |= dict.fromkeys(test_set.members, title)
    return titles
