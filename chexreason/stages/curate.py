"""Section 3.1: from one site's study records, a balanced SFT and RL set and a random validation set, with their card.

Writes sft.csv, rl.csv and validation.csv (path, patient, view, the 14 labels as 0/1), uncertain.json (findings that their
labels neither affirm nor deny), card.json, card.md, prevalence.png and, where there are images, digests.csv: the content
digest of every image chosen.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason import runs
from chexreason.errors import ChexReasonError
from chexreason.runs import Run

if TYPE_CHECKING:
    from chexreason.data.records import StudyTable


@dataclass(frozen=True)
class Sizes:
    """Images wanted in each set."""

    sft: int
    rl: int
    validation: int


@dataclass(frozen=True)
class Settings:
    """See conf/stage/curate.yaml."""

    name: str
    parents: dict[str, str]
    sizes: Sizes
    floor: float
    ceiling: float
    penalty: float
    no_finding: str
    strict: bool
    output: str | None


USES = ("dataset",)
TORCH = False
CARD = "card.md"


def execute(run: Run) -> dict[str, Any]:
    """Load, leave out what cannot be taught from, choose, check against the test sets, write."""
    import numpy as np
    import pandas as pd

    from chexreason.data import card, curated, curation, integrity, records
    from chexreason.data.images import read_image
    from chexreason.labels import FINDINGS

    wanted = run.settings
    balance = curation.Balance(wanted.floor, wanted.ceiling, wanted.penalty)
    run.note(f"reading {run.dataset.name}")
    table = records.with_policy(run.dataset.load(), run.dataset.uncertain)
    pool = candidates(table, wanted.no_finding, run.seed)
    if pool.records.empty:
        raise ChexReasonError(f"{table.site}: no study has a positive label among {len(table.records)} records read")
    labels, patients = card.positives(pool.records), pd.factorize(pool.records["patient"])[0]

    clock = time.perf_counter()
    sizes = [wanted.sizes.sft, wanted.sizes.rl]
    # Drawn before the sampler has taken its pick, or validation would hold what was left over. Where there is too
    # little for all three sets, it is validation that gives way.
    spare = max(0, min(wanted.sizes.validation, len(labels) - sum(sizes)))
    draw = np.random.default_rng([run.seed, 1]).permutation(len(labels))[:spare]
    free = np.flatnonzero(~np.isin(patients, patients[draw]))
    chosen = [free[rows] for rows in curation.select(labels[free], patients[free], sizes, balance, run.seed)]
    seconds = time.perf_counter() - clock
    run.note(f"chose {sum(map(len, chosen)) + len(draw)} of {len(labels)} candidates in {seconds:.2f} s")

    positions = {"sft": chosen[0], "rl": chosen[1], "validation": draw}
    tables = {name: replace(pool, records=pool.records.iloc[rows].reset_index(drop=True)) for name, rows in positions.items()}
    tables = {name: records.readable(part, run.dataset.missing, read_image) for name, part in tables.items()}
    unread = sum(len(rows) for rows in positions.values()) - sum(len(part.records) for part in tables.values())
    sets = {name: part.records for name, part in tables.items()}
    missed = [
        line
        for name, asked in (("sft", sizes[0]), ("rl", sizes[1]))
        for line in card.shortfalls(name, sets[name], asked, balance, pool.records.iloc[free])
    ]
    if len(draw) < wanted.sizes.validation:
        missed.append(f"validation: {len(draw)} of {wanted.sizes.validation} images: the other sets take the rest")
    for line in missed:
        run.note(f"not reached: {line}")
    if missed and wanted.strict:
        raise ChexReasonError("stage.strict=true and not everything was reached:\n  " + "\n  ".join(missed))

    whole = pd.concat(sets, ignore_index=True)
    vouched = integrity.manifest(replace(pool, records=whole), run.folder.parent)
    integrity.refuse_test_data(vouched, run.folder.parent)
    for name, rows in sets.items():
        binary = (rows[list(FINDINGS)] == 1.0).astype(int)
        records.write_csv(run.folder / f"{name}.csv", pd.concat([rows[["path", "patient", "view"]], binary], axis=1))
    doubted = (whole[list(FINDINGS)] == records.UNCERTAIN).to_numpy()
    names = [[finding for finding, doubt in zip(FINDINGS, row, strict=True) if doubt] for row in doubted]
    uncertain = {path: some for path, some in zip(whole["path"], names, strict=True) if some}
    runs.write_json(run.folder / curated.UNCERTAIN, uncertain)
    if table.images:
        records.write_csv(run.folder / "digests.csv", vouched[["path", "sha256"]])

    described = {name: card.describe(rows) for name, rows in sets.items()}
    page = {
        "schema": 1,
        "site": table.site,
        "dataset": run.dataset.name,
        "agreement": run.dataset.agreement,
        "findings": list(table.findings),
        "root": str(table.root) if table.images else None,
        "table": getattr(run.dataset, "table", None),
        "seed": run.seed,
        "sizes": {name: len(rows) for name, rows in sets.items()},
        "balance": asdict(balance),
        "candidates": card.describe(pool.records),
        "sets": described,
        "excluded": pool.excluded | ({"chosen, but the image cannot be read": unread} if unread else {}),
        "noted": pool.noted,
        "shortfalls": missed,
        "digests": {file.name: runs.file_digest(file) for file in sorted(run.folder.glob("*.csv"))},
    }
    runs.write_json(run.folder / "card.json", page)
    runs.write_text(run.folder / CARD, card.markdown(page))
    parts = {"candidates": page["candidates"], **described}
    card.write_picture(run.folder / "prevalence.png", parts, balance.floor)
    if wanted.output:
        records.deliver(run.folder, Path(wanted.output))
    return {
        "sizes": page["sizes"],
        "candidates": len(labels),
        "rarest_label_share": {name: min(described[name]["prevalence"].values()) for name in ("sft", "rl")},
        "shortfalls": len(missed),
        "selection_seconds": round(seconds, 3),
    }


def show(folder: Path) -> None:
    """Print the card, of sets drawn now or before."""
    print((folder / CARD).read_text(encoding="utf-8"))


def candidates(table: StudyTable, no_finding: str, seed: int) -> StudyTable:
    """The records that a model can be taught from: something positive, no contradiction, one image per study."""
    from chexreason.data import card
    from chexreason.data.records import SUPPORT
    from chexreason.labels import FINDINGS, NO_FINDING

    if no_finding not in ("alone", "with_devices"):
        raise ChexReasonError(f"stage.no_finding={no_finding!r}: one of alone, with_devices is wanted")
    table = table.without(~card.positives(table.records).any(axis=1), "no positive label")
    others = [f for f in FINDINGS if f != NO_FINDING and (f != SUPPORT or no_finding == "alone")]
    normal = table.records[NO_FINDING] == 1.0
    table = table.without(normal & (table.records[others] == 1.0).any(axis=1), "No Finding beside another finding")
    # Which image stands for a study of several is a seeded draw, not the order of the table.
    shuffled = table.records["study"].sample(frac=1.0, random_state=seed)
    further = (shuffled.duplicated() & shuffled.notna()).sort_index()
    return table.without(further, "further image of the same study")
