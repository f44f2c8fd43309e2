"""Radiologists' review of the traces (section 3.1): a pack to fill, and the filled packs read back.

`stage=review` makes review.html, which saves a file without any server; `stage=review stage.filled=[FILE, ...]` reads such
files, of one pack or several, reports on them, and writes verdicts.jsonl, which `stage=sft stage.reviewed=...` applies. If
several files have a case by the same reader, the file saved last counts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason.errors import ChexReasonError, at_least
from chexreason.runs import config
from chexreason.runs.files import as_lines, read_json, write_json, write_text
from chexreason.runs.folders import Run, complete_runs, read_manifest
from chexreason.runs.identity import CIRCUMSTANCE, CONTENT

if TYPE_CHECKING:
    from chexreason.review.pack import Pack

PACK, PAGE, VERDICTS, REPORT = "pack.json", "review.html", "verdicts.jsonl", "review.md"


@dataclass(frozen=True)
class Settings:
    """The size of a new pack, or the filled packs to read."""

    name: str
    parents: dict[str, str | None] = field(metadata=CIRCUMSTANCE)
    sample: int
    image_side: int
    data_use_agreement: str | None = field(metadata=CIRCUMSTANCE)
    filled: list[str] = field(metadata=CONTENT, default_factory=list)

    def __post_init__(self) -> None:
        at_least(1, sample=self.sample, image_side=self.image_side)


USES = ("prompt",)
PARENTS, OPTIONAL = {"traces": ("teach",)}, ("traces",)  # not needed to read filled packs


def execute(run: Run) -> dict[str, Any]:
    """Make a pack, or read filled ones."""
    return read_back(run) if run.settings.filled else make(run)


def show(folder: Path) -> None:
    """Say what to do next, of a review made now or before."""
    if (folder / VERDICTS).is_file():
        print((folder / REPORT).read_text(encoding="utf-8"))
        if not (folder / VERDICTS).stat().st_size:
            print("no case has a verdict yet: there is nothing to honour", flush=True)
            return
        print(f"honour it: python -m chexreason.run stage=sft stage.reviewed={folder / VERDICTS}", flush=True)
    else:
        print(f"to fill: {folder / PAGE}\nthen: python -m chexreason.run stage=review 'stage.filled=[FILE]'", flush=True)


def make(run: Run) -> dict[str, Any]:
    """Sample the traces and lay them out."""
    from chexreason.data.agreements import agreement_of, refuse_unacknowledged
    from chexreason.data.paths import existing_root
    from chexreason.review import pack
    from chexreason.teacher.local import FromLabels
    from chexreason.teacher.traces import read_traces

    settings = run.settings
    if "traces" not in run.parents:
        raise ChexReasonError(
            "stage.parents.traces: the line of the run whose traces are reviewed is wanted, such as stage=teach"
        )
    folder = run.parents["traces"]
    taught = read_manifest(folder) or {}
    agreement = agreement_of(folder.parent / taught["parents"]["curated"])
    refuse_unacknowledged(
        agreement,
        settings.data_use_agreement,
        "stage.data_use_agreement",
        "a review pack is a file that holds some of them and may be passed on, to people who have signed it",
    )
    prompt = config.group("prompt", taught["config"]["prompt"])
    cases = pack.sample(read_traces(folder), settings.sample, run.seed)
    teacher, gates = taught["config"].get("teacher", {"name": FromLabels.name})["name"], taught["config"]["stage"]["gates"]
    made = pack.Pack(prompt.name, prompt.version, prompt.grammar, teacher, folder.name, gates, cases)
    write_json(run.folder / PACK, made.as_json())
    write_text(run.folder / PAGE, pack.html(made, existing_root(folder), settings.image_side, agreement))
    return {"cases": len(cases), "pack": made.digest, "labels": {name: n for name, n in _counts(made).items() if n}}


def read_back(run: Run) -> dict[str, Any]:
    """Read the filled pages, report, and leave the verdicts."""
    from chexreason.review import summary, verdicts

    packs = _packs(run.folder.parent)
    read = [one for path in run.settings.filled for one in verdicts.read_filled(Path(path), packs)]
    judgements = verdicts.last_words(read)
    if not judgements:
        raise ChexReasonError(f"{', '.join(run.settings.filled)}: nothing is filled in: no case has a verdict or a mark yet")
    found = summary.summary(judgements) | {"superseded": len(read) - len(judgements)}
    refused = [f"{one.reader}, case {one.case.id}: {one.reason}" for one in judgements if one.reason]
    for line in refused:
        run.note(line)
    write_text(run.folder / VERDICTS, as_lines(map(asdict, verdicts.together(judgements))))
    write_json(run.folder / "review.json", found)
    write_text(run.folder / REPORT, summary.markdown(found, refused))
    return found


def _packs(runs: Path) -> dict[str, Pack]:
    """Every pack that a complete run here made, by its digest."""
    from chexreason.review.pack import from_json

    files = [folder / PACK for folder, manifest in complete_runs(runs) if manifest["stage"] == "review"]
    packs = [from_json(read_json(file)) for file in files if file.is_file()]
    return {pack.digest: pack for pack in packs}


def _counts(pack: Pack) -> dict[str, int]:
    from chexreason.labels import FINDINGS

    return {finding: sum(finding in case.labels for case in pack.cases) for finding in FINDINGS}
