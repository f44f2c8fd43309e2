"""Writes the report of a study: report.html, report.md, tables/, figures/ and claims.json."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chexreason import pages
from chexreason.report import claims, figures, gallery, render, tables, transfer
from chexreason.report.figures import Figure
from chexreason.report.study import Study
from chexreason.report.tables import Table
from chexreason.runs.files import write_json, write_text

PAGE = Path(__file__).with_name("page")
TITLE = "Reasoning-trained chest X-ray models: results"
VERDICTS = {claims.HOLDS: "holds", claims.FAILS: "fails", claims.UNDECIDED: "open", "no runs": "open"}
VERDICTS[claims.UNDECIDED + claims.FEW] = "open"
VERDICTS |= {verdict + claims.DRAWN: style for verdict, style in VERDICTS.items()}
WORDS: dict[str, Any] = {"parts": render.parts, "verdicts": VERDICTS}  # functions that templates call for cells


@dataclass(frozen=True)
class Contents:
    """All that the report shows."""

    headline: Table
    tables: list[Table]
    transfer: list[Table]
    claims: list[claims.Checked]
    figures: list[Figure]
    resources: Table
    said: str  # the disclaimer about stand-ins and drawn films

    def every_table(self) -> list[Table]:
        """All tables, including that of the claims, in the page's order."""
        return [self.headline, *self.tables, *self.transfer, self.claims_table, self.resources]

    @property
    def claims_table(self) -> Table:
        """The claims as a table."""
        return marked(claims.table(self.claims), self.said)


def contents(study: Study) -> Contents:
    """Tables, claims and figures of a study."""
    moved, said = transfer.table(study), study.marks
    ours = [*([moved] if moved.rows else []), tables.prevalence(study)]
    return Contents(
        headline=marked(tables.headline(study), said),
        tables=[marked(one, said) for one in tables.paper_tables(study)],
        transfer=[*(marked(one, said) for one in ours), transfer.published_table()],
        claims=claims.check(study),
        figures=[replace(one, title=with_marks(one.title, said), said=said) for one in figures.figures(study)],
        resources=marked(tables.resources(study), said),
        said=said,
    )


def marked(table: Table, said: str) -> Table:
    """The table with the disclaimer about stand-ins and drawn films in its title."""
    return replace(table, title=with_marks(table.title, said))


def with_marks(title: str, said: str) -> str:
    """`title` followed by the disclaimer `said`, if any."""
    return f"{title}, {said}" if said else title


def write(study: Study, folder: Path, count: int, seed: int, embed_credentialed: bool) -> Contents:
    """Write every file of the report into `folder`; `count` cases of each test set go into the gallery."""
    made = contents(study)
    for table in made.every_table():
        for suffix, form in FORMS.items():
            write_text(folder / "tables" / f"{table.name}.{suffix}", form(table))
    for figure in made.figures:
        figure.save(folder / "figures")
    write_json(folder / "claims.json", [one.as_json() for one in made.claims])
    write_text(folder / "report.md", markdown(study, made))
    cases = gallery.cases(study, count, seed, folder, embed_credentialed)
    write_text(folder / "report.html", html(study, made, cases))
    return made


def summary(study: Study, made: Contents) -> list[str]:
    """What the report is about, in a few sentences."""
    runs = Counter(manifest["stage"] for manifest in study.manifests)
    counted = ", ".join(f"{number} {stage}" for stage, number in sorted(runs.items()))
    sentences = [f"Made from {len(study.manifests)} runs ({counted}): {len(study.arms)} arms, {len(study.datasets)} test sets."]
    if made.said:
        sentences.append(
            f"{made.said[0].upper()}{made.said[1:]}: the paper's numbers stand beside these to show the shape of each table, "
            "not as a standard to reach."
        )
    verdicts = Counter(one.here.verdict for one in made.claims if one.here)
    silent = sum(one.here is None for one in made.claims)
    said = ", ".join(f"{verdicts[verdict]} {words}" for verdict, words in SAID.items() if verdicts[verdict])
    drawn = ", on drawn films" if any(one.here and one.here.drawn for one in made.claims) else ""
    sentences.append(
        f"Of the paper's {len(made.claims)} claims {said or 'none can be checked'} here{drawn}; not run yet: {silent}."
    )
    read = Counter(one.how for result in study.results for one in result.predictions if one.how)
    if read:
        ways = ", ".join(f"{'prose' if how == 'prose' else f'a {how}'} ({count:,})" for how, count in read.most_common())
        sentences.append(
            f"Answers were read from {ways}" + ("; what prose says is the weaker claim." if "prose" in read else ".")
        )
    alike = [*dict.fromkeys(line for one in study.manifests for line in one.get("metrics", {}).get("look_alikes", ()))]
    if alike:
        sentences.append(f"Test images that may be copies of training images: {len(alike)}, the first: {alike[0]}.")
    if study.unmoved:
        sentences.append(
            f"Checkpoints that answered every image in their base model's very words, as if their adapters had not been there: "
            f"{'; '.join(study.unmoved)}."
        )
    if study.problems:
        sentences.append(f"Run folders left out: {len(study.problems)} (see Runs).")
    return sentences


SAID = {claims.HOLDS: "hold", claims.FAILS: "do not hold", claims.UNDECIDED: "are undecided"}


def markdown(study: Study, made: Contents) -> str:
    """The report without its gallery."""
    parts = [f"# {with_marks(TITLE, made.said)}", *summary(study, made)]
    if made.headline.rows:
        parts.append(render.markdown(made.headline))
    for heading, found in (("Tables", made.tables), ("Transfer", made.transfer)):
        if found:
            parts += [f"## {heading}", *map(render.markdown, found)]
    if made.figures:
        parts.append("## Figures")
        parts += [f"![{one.title}](figures/{one.name}.svg)\n\n**{one.title}.** {one.caption}" for one in made.figures]
    parts += ["## Claims", render.markdown(made.claims_table), "## Runs"]
    parts += [render.markdown(made.resources)] if made.resources.rows else []
    parts += [f"- {problem}" for problem in study.problems]
    parts += [f"- `{manifest['name']}`: `{manifest['command']}`" for manifest in study.manifests]
    parts.append("Research use only: not a medical device, not for diagnosis.")
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def html(study: Study, made: Contents, cases: list[dict[str, Any]]) -> str:
    """The self-contained page: no request leaves it, and no script but its own can run in it."""
    drawn = [
        {"name": one.name, "title": one.title, "caption": one.caption}
        | {theme: pages.data_uri("image/svg+xml", one.svg(theme).encode()) for theme in ("light", "dark")}
        for one in made.figures
    ]
    linked = any(case["link"] for case in cases)
    return pages.html(
        PAGE / "page.html.j2",
        **WORDS,
        title=with_marks(TITLE, made.said),
        summary=summary(study, made),
        headline=made.headline,
        tables=made.tables,
        transfer=made.transfer,
        figures=drawn,
        claims=made.claims_table,
        cases=cases,
        gallery_note="A sample of each test set. \u2713 found, + not in the truth, \u2212 missed; grey: not labelled there."
        + (" Images of credentialed data are linked where they lie, not embedded." if linked else ""),
        resources=made.resources,
        runs=[_run(manifest) for manifest in study.manifests],
        problems=study.problems,
    )


def table_html(table: Table) -> str:
    """One table as a page of its own."""
    return pages.html(PAGE / "alone.html.j2", **WORDS, table=table)


# How a table is written, by the ending of its file's name.
FORMS: dict[str, Callable[[Table], str]] = {
    "md": render.markdown,
    "tex": render.latex,
    "csv": render.tidy_csv,
    "html": table_html,
}


def _run(manifest: dict[str, Any]) -> dict[str, str]:
    facts = [f"{manifest.get('wall_seconds', 0):.0f} s"]
    memory = manifest.get("peak_memory_bytes") or {}
    facts += [f"{name} memory {amount / 2**30:.1f} GiB" for name, amount in memory.items()]
    git = manifest.get("git")
    facts += [f"commit {git['commit'][:10]}{' (changed)' if git['dirty'] else ''}"] if git else []
    return {
        "name": manifest["name"],
        "command": manifest["command"],
        "facts": ", ".join([*facts, f"finished {manifest['finished']}"]),
        "manifest": json.dumps(manifest, indent=2, ensure_ascii=False),
    }
