"""The report: the paper's tables, figures and claims for the runs at hand, and a page to look at them.

It only reads run folders, so that it can be reproduced wherever they are copied to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from chexreason.answers.intervals import MOST_RESAMPLES, RESAMPLES
from chexreason.errors import ChexReasonError, at_least, at_most
from chexreason.parts import refuse_unknown
from chexreason.runs.files import write_text
from chexreason.runs.folders import MANIFEST, Run, ancestors, complete_runs, is_of_another_version
from chexreason.runs.identity import CIRCUMSTANCE, CONTENT, digest

if TYPE_CHECKING:
    from chexreason.report.build import Contents

SHOWN = "shown.txt"


@dataclass(frozen=True)
class Settings:
    """Which runs to report on, which tables and figures to print, and which images the page may contain."""

    CODE: ClassVar = ("answers", "report")  # results depend on the version of parser and report

    name: str
    parents: dict[str, str] = field(metadata=CIRCUMSTANCE, default_factory=dict)
    runs: list[str] = field(metadata=CONTENT, default_factory=list)
    show: list[str] = field(default_factory=lambda: ["headline"])
    gallery: int = 60
    embed_credentialed: bool = False
    resamples: int = RESAMPLES

    def __post_init__(self) -> None:
        at_least(0, gallery=self.gallery)
        at_least(1, resamples=self.resamples)
        at_most(MOST_RESAMPLES, resamples=self.resamples)
        refuse_unknown(self.show)

    def require(self) -> None:
        """Raises ChexReasonError if a named run does not exist."""
        _named(self.runs)

    def inputs(self, store: Path | None) -> dict[str, Any]:
        """Named runs are identified by content, so that a change of them leads to a new report."""
        return {"runs": sorted((Path(one).name, _digest(Path(one))) for one in self.runs)}


USES = ()


def reusable(settings: Settings) -> bool:
    """Whether runs are named; a report on all runs cannot be reused, since there may be new ones."""
    return bool(settings.runs or settings.parents)


def execute(run: Run) -> dict[str, Any]:
    """Write the report into the run's folder; `show` prints what `stage.show` names."""
    from chexreason.report import build, study

    settings: Settings = run.settings
    folders = [*run.parents.values(), *_named(settings.runs)]
    if not folders:
        folders = [folder for folder, _ in complete_runs(run.folder.parent) if folder != run.folder]
        older = [path.parent.name for path in run.folder.parent.glob(f"*/{MANIFEST}") if is_of_another_version(path.parent)]
        if older:
            run.note(f"left out: {len(older)} runs that another version of chexreason made, such as {older[0]}")
    found = study.read(ancestors(*folders), settings.resamples)
    for problem in found.problems:
        run.note(problem)
    if not found.results and not found.trainings and settings.show != ["claims"]:  # the paper's numbers are always there
        raise ChexReasonError(
            f"no complete evaluate, sft or grpo run in {', '.join(settings.runs) or run.folder.parent}: "
            "there is nothing to report.\n"
            "  make one: python -m chexreason.run stage=evaluate dataset=phantom_chexpert make_missing=true"
        )
    for unmoved in found.unmoved:
        run.note(f"{unmoved}: every completion is the base model's, as if there were no adapter")
    run.note(f"{len(found.results)} results and {len(found.trainings)} training runs")
    made = build.write(found, run.folder, settings.gallery, run.seed, settings.embed_credentialed)
    write_text(run.folder / SHOWN, "\n\n".join(_shown(made, name, run.folder) for name in settings.show))
    return {
        "results": len(found.results),
        "tables": [table.name for table in made.tables],
        "figures": [figure.name for figure in made.figures],
        "claims": {one.claim.id: one.here.verdict for one in made.claims if one.here},
    }


def show(folder: Path) -> None:
    """Print what was asked for and where the page is, of a report made now or reused."""
    print((folder / SHOWN).read_text(encoding="utf-8"))
    print(f"report: {folder / 'report.html'}", flush=True)


def _shown(made: Contents, name: str, folder: Path) -> str:
    """A table as text and where a figure is, one for each model where there are several (figure1 is figure1_MODEL then)."""
    from chexreason.report import build, render

    tables = [table for table in made.every_table() if table.rows]
    forms = f"{{{','.join(build.FORMS)}}}"
    found = [f"{render.text(table)}\n{folder / 'tables' / name}.{forms}" for table in tables if table.name == name]
    found += [
        f"{figure.title}: {folder / 'figures' / figure.name}.{{svg,png}}"
        for figure in made.figures
        if figure.name == name or figure.name.startswith(f"{name}_")
    ]
    filled = ", ".join(dict.fromkeys([*(one.name for one in tables), *(one.name for one in made.figures)]))
    return "\n".join(found) or f"{name}: these runs do not fill it; they fill {filled or 'nothing'}"


def _digest(folder: Path) -> str:
    """One digest of the outputs and configs of a run and its ancestors."""
    return digest({one.name: [found.get("outputs"), found.get("config")] for one, found in ancestors(folder).items()})


def _named(paths: list[str]) -> list[Path]:
    missing = [path for path in paths if not Path(path).is_dir()]
    if missing:
        raise ChexReasonError(f"stage.runs: there is no run folder {missing[0]}")
    return [Path(path) for path in paths]
