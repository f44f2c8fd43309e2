"""A review pack: a seeded sample of traces on one self-contained page, with a form for each case.

Section 3.1: 100 datapoints of the SFT set were reviewed by radiologists, and the prompting strategy refined by what they said.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chexreason import pages
from chexreason.answers.grammars import grammar_named
from chexreason.answers.parser import parse_strict
from chexreason.labels import FINDINGS
from chexreason.runs.identity import digest

SCHEMA = 1
PAGE = Path(__file__).with_name("page") / "page.html.j2"


@dataclass(frozen=True)
class Case:
    """One trace under review; its id says nothing about the patient."""

    id: str
    path: str
    labels: list[str]
    completion: str


@dataclass(frozen=True)
class Pack:
    """The cases of a page, and what is needed to read the filled page."""

    prompt: str
    prompt_version: str
    grammar: str
    teacher: str
    run: str  # that wrote the traces
    gates: dict[str, int]  # that an edited trace must pass again
    cases: list[Case]

    @property
    def digest(self) -> str:
        """A digest that identifies the pack that a filled page was made from."""
        return digest([SCHEMA, self.prompt_version, [asdict(case) for case in self.cases]])[:16]

    def as_json(self) -> dict[str, Any]:
        """For pack.json, which stays where the data is."""
        return {"schema": SCHEMA, "digest": self.digest, **asdict(self)}


def from_json(values: dict[str, Any]) -> Pack:
    """A pack from its pack.json."""
    kept = {key: value for key, value in values.items() if key not in ("schema", "digest", "cases")}
    return Pack(**kept, cases=[Case(**case) for case in values["cases"]])


def text_digest(completion: str) -> str:
    """A digest of the text that a verdict is about."""
    return hashlib.sha256(completion.encode()).hexdigest()


def sample(traces: Sequence[dict[str, Any]], count: int, seed: int) -> list[Case]:
    """`count` traces with labels as equally frequent as possible, in a seeded order.

    Each draw picks a trace with the label that is rarest among those drawn so far, so that rare labels are judged too.
    """
    order = list(range(len(traces)))
    random.Random(f"{seed}/draw").shuffle(order)
    waiting = {finding: [place for place in order if finding in traces[place]["labels"]] for finding in FINDINGS}
    drawn: dict[int, None] = {}
    counts: Counter[str] = Counter()
    while len(drawn) < min(count, len(traces)):
        for finding in FINDINGS:
            waiting[finding] = [place for place in waiting[finding] if place not in drawn]
        open_labels = [finding for finding in FINDINGS if waiting[finding]]
        if not open_labels:
            break
        place = waiting[min(open_labels, key=lambda finding: counts[finding])][0]
        drawn[place] = None
        counts.update(traces[place]["labels"])
    chosen = [traces[place] for place in drawn]
    random.Random(f"{seed}/order").shuffle(chosen)
    return [
        Case(digest([one["path"], one["completion"]])[:10], one["path"], list(one["labels"]), one["completion"])
        for one in chosen
    ]


def html(pack: Pack, root: Path, side: int, agreement: str | None) -> str:
    """The page. No request leaves it, no script but its own runs in it, and neither path nor patient is in it."""
    from chexreason.data.images import jpeg, read_image
    from chexreason.data.paths import image_file

    cases = [
        {
            "id": case.id,
            "labels": case.labels,
            "thoughts": parse_strict(case.completion, pack.grammar).thoughts,
            "image": pages.data_uri("image/jpeg", jpeg(read_image(image_file(root, case.path)), side, quality=88)),
        }
        for case in pack.cases
    ]
    data = {
        "schema": SCHEMA,
        "pack": pack.digest,
        "prompt": pack.prompt,
        "findings": FINDINGS,
        "editable": grammar_named(pack.grammar).markers is not None,
        "cases": cases,
    }
    return pages.html(PAGE, pack=pack, agreement=agreement, data=data)
