"""Section 3.1: from one site's study records, a balanced SFT and RL set and a random validation set, with their card.

Writes curated.csv (every image with its set, content digest and label states), sft.csv, rl.csv and validation.csv (path,
patient, view, the 14 labels as 0/1), card.json, card.md and prevalence.png. The sets are chosen from the site's tables: images
that are not there yet are listed in images.txt; once they have been fetched, run the same command again.
"""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chexreason import marks
from chexreason.errors import ChexReasonError, at_least, share
from chexreason.runs import files, folders
from chexreason.runs.folders import Run
from chexreason.runs.identity import CIRCUMSTANCE
from chexreason.runs.lines import on_the_same
from chexreason.runs.overrides import quoted

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from chexreason.data.curation import Balance
    from chexreason.data.records import StudyTable
    from chexreason.runs.plan import Plan


@dataclass
class Sizes:
    """Images wanted in each set."""

    sft: int
    rl: int
    validation: int


@dataclass(frozen=True)
class Settings:
    """See conf/stage/curate.yaml."""

    name: str
    sizes: Sizes
    floor: float
    ceiling: float
    penalty: float
    strict: bool
    output: str | None = field(metadata=CIRCUMSTANCE)

    def __post_init__(self) -> None:
        at_least(0, sizes__sft=self.sizes.sft, sizes__rl=self.sizes.rl, sizes__validation=self.sizes.validation)
        share(floor=self.floor, ceiling=self.ceiling)
        at_least(self.floor, ceiling=self.ceiling)
        at_least(0, penalty=self.penalty)

    def require(self) -> None:
        """Raises ChexReasonError if the sets could not be written to `output`."""
        files.require_output_folder(self.output)


USES = ("dataset",)
CARD = "card.md"
WANTED = "images.txt"  # image files to fetch


def lacks(_: Settings, used: dict[str, Any], parents: dict[str, Plan]) -> list[str]:
    """A message if the dataset's split is a test or validation split, which must not be used for training."""
    dataset = used["dataset"]
    if dataset.table is not None or dataset.split not in ("test", "validation"):
        return []
    return [
        f"dataset={dataset.name}: its {dataset.split} split is for testing; models are taught from another.\n"
        f"  another split:    dataset={dataset.name} dataset.split=train (NIH: train_val; a curated set: sft, rl)\n"
        f"  to train on that: source={dataset.name} as well\n"
        f"  ... and test here: source=MINE, a file beside {dataset.name}.yaml with another `name` and `split`"
    ]


def execute(run: Run) -> dict[str, Any]:
    """Load the records, exclude unusable ones, choose the sets, check them against the test sets, write them."""
    import numpy as np

    from chexreason.data import card, curated, integrity, records
    from chexreason.data.curated import Origin
    from chexreason.data.curation import Balance

    wanted: Settings = run.settings
    balance = Balance(wanted.floor, wanted.ceiling, wanted.penalty)
    run.note(f"reading {run.dataset.name}")
    missing = "later" if run.dataset.missing == "fail" else run.dataset.missing
    table = records.with_policy(replace(run.dataset, missing=missing).load(), run.dataset.uncertain)
    refuse_test_split(table)
    pool = candidates(table, run.seed)
    if pool.records.empty:
        raise ChexReasonError(f"{table.site}: no study has a positive label to teach: {records.nothing_left(pool)}")

    clock = time.perf_counter()
    rows = choose(pool.records, wanted.sizes, balance, run.seed)
    refuse_empty(rows, wanted.sizes, pool)
    seconds = time.perf_counter() - clock
    run.note(f"chose {sum(map(len, rows.values()))} of {len(pool.records)} candidates in {seconds:.2f} s")
    _require_images(pool, np.concatenate(list(rows.values())), run)
    sets = {name: _decoded(pool, chosen, run.dataset.missing) for name, chosen in rows.items()}
    unread = sum(len(rows[name]) - len(part) for name, part in sets.items())
    missed = not_reached(sets, wanted.sizes, balance, pool.records)
    for line in missed:
        run.note(f"not reached: {line}")
    if missed and wanted.strict:
        raise ChexReasonError("stage.strict=true and not everything was reached:\n  " + "\n  ".join(missed))

    for name, part in sets.items():
        vouched = integrity.listing(replace(pool, records=part), run.folder.parent)
        integrity.refuse_test_data(vouched, run.folder.parent)
        sets[name] = part.assign(sha256=vouched["sha256"])
    origin = Origin(table.site, run.dataset.agreement, table.findings, table.root if table.images else None)
    page = {
        "dataset": run.dataset.name,
        "table": Path(run.dataset.table).name if run.dataset.table else None,
        "seed": run.seed,
        "sizes": {name: len(part) for name, part in sets.items()},
        "balance": asdict(balance),
        "candidates": card.describe(pool.records),
        "sets": {name: card.describe(part) for name, part in sets.items()},
        "excluded": pool.excluded | ({"chosen, but the image cannot be read": unread} if unread else {}),
        "noted": pool.noted,
        "shortfalls": missed,
    }
    curated.write(run.folder, sets, origin, page)
    files.write_text(run.folder / CARD, card.markdown({"site": origin.site, **page}))
    card.write_picture(run.folder / "prevalence.png", {"candidates": page["candidates"], **page["sets"]}, balance.floor)
    return {
        "sizes": page["sizes"],
        "candidates": len(pool.records),
        "rarest_label_share": {name: min(page["sets"][name]["prevalence"].values()) for name in ("sft", "rl")},
        "shortfalls": len(missed),
        "selection_seconds": round(seconds, 3),
        "marks": marks.of_run(run, table.root),
    }


def deliver(folder: Path, output: Path) -> None:
    """Copy the sets, and the location of their images, to the folder that the user named."""
    from chexreason.data import curated, paths

    folders.deliver(folder, output)
    if root := curated.origin(folder).root:
        paths.write_root(output, root)


def lost(folder: Path) -> list[str]:
    """Images of the sets that are missing now."""
    from chexreason.data import curated

    return curated.lacking(folder)


def show(folder: Path) -> None:
    """Print the card of the sets."""
    print((folder / CARD).read_text(encoding="utf-8"))


def refuse_test_split(table: StudyTable) -> None:
    """Raises ChexReasonError if any record belongs to its site's official test split."""
    count = int((table.records["split"] == "test").sum())
    if count:
        raise ChexReasonError(
            f"{count:,} of {len(table.records):,} images are of the test split of {table.site}, which no model may train on: "
            "curate from another, such as dataset.split=train (NIH: train_val)"
        )


def candidates(table: StudyTable, seed: int) -> StudyTable:
    """The records usable for training: those with an answer that the prompts allow, one image per study."""
    from chexreason.data.integrity import patient_keys

    table = teachable(table)
    # Study numbers may start again for each patient.
    studies = table.records[["study"]].assign(patient=patient_keys(table.records["patient"]))
    # The image that represents a study is drawn with the seed, independent of the order of the table.
    shuffled = studies.sample(frac=1.0, random_state=seed)
    further = (shuffled.duplicated() & shuffled["study"].notna()).sort_index()
    return table.without(further, "further image of the same study")


def teachable(table: StudyTable) -> StudyTable:
    """The records whose positive labels satisfy the No Finding policy; the excluded ones are counted.

    Loaders have already removed No Finding beside a pathology (records.under_policy); here, records without a usable answer go.
    """
    from chexreason.labels import FINDINGS, NO_FINDING, PATHOLOGIES, POSITIVE

    positive = table.records[list(FINDINGS)] == POSITIVE
    table = table.without(~positive.any(axis=1), "no positive label")
    positive = table.records[[NO_FINDING, *PATHOLOGIES]] == POSITIVE
    return table.without(~positive.any(axis=1), "Support Devices alone: what else there is, is uncertain or none of the 14")


def choose(records: pd.DataFrame, sizes: Sizes, balance: Balance, seed: int) -> dict[str, NDArray[np.intp]]:
    """Rows of the sft, rl and validation sets among the candidates, disjoint in patients.

    Validation is drawn first, so that it is no leftover of the balanced sets. If studies or patients do not suffice for all
    three sets, validation shrinks patient by patient until the other two are full; if even that fails, the first draw is kept.
    """
    import numpy as np
    import pandas as pd

    from chexreason.data.card import positives
    from chexreason.data.curation import select
    from chexreason.data.integrity import patient_keys

    labels, patients = positives(records), pd.factorize(patient_keys(records["patient"]))[0]
    order = np.random.default_rng([seed, 1]).permutation(len(labels))
    others = [size for size in (sizes.sft, sizes.rl) if size]
    kept, first = sum(others), None
    while True:
        draw = _draw(order, patients, sizes.validation, kept, len(others))
        free = np.flatnonzero(~np.isin(patients, patients[draw]))
        sft, rl = (free[rows] for rows in select(labels[free], patients[free], [sizes.sft, sizes.rl], balance, seed))
        sets = {"sft": sft, "rl": rl, "validation": draw}
        first = first or sets
        short = sum(others) - len(sft) - len(rl)
        if not len(draw):
            return first
        if not short:
            return sets
        kept = len(free) + short


def _draw(order: NDArray[np.intp], patients: NDArray[np.intp], size: int, studies: int, people: int) -> NDArray[np.intp]:
    """The first `size` rows of `order` that leave at least `studies` studies and `people` patients free for the other sets."""
    import numpy as np

    count = np.bincount(patients)
    free, left, taken = len(patients), len(count), set()
    rows: list[int] = []
    for row in order:
        patient = patients[row]
        if len(rows) == size:
            break
        if patient not in taken:
            if free - count[patient] < studies or left - 1 < people:
                continue
            taken.add(patient)
            free, left = free - count[patient], left - 1
        rows.append(row)
    return np.array(rows, dtype=np.intp)


def refuse_empty(rows: dict[str, NDArray[np.intp]], sizes: Sizes, pool: StudyTable) -> None:
    """Raises ChexReasonError if no patient is left for a requested training set, although there are enough studies.

    Other shortfalls, including an empty validation set, are only noted.
    """
    from chexreason.data.integrity import patient_keys

    empty = [name for name in ("sft", "rl") if getattr(sizes, name) and not len(rows[name])]
    count = len(pool.records)
    if not empty or count < sum(asdict(sizes).values()):
        return
    people = patient_keys(pool.records["patient"]).nunique()
    raise ChexReasonError(
        f"{pool.site}: nothing is left for {' and '.join(empty)}: patients ran out, not studies. "
        f"The {count:,} candidates are of {people:,} patient{'s' * (people != 1)}, and no patient may be in two sets.\n"
        f"  without it:    {' '.join(f'stage.sizes.{name}=0' for name in empty)}\n"
        "  more patients: another table, or another dataset.split"
    )


def not_reached(sets: dict[str, pd.DataFrame], sizes: Sizes, balance: Balance, pool: pd.DataFrame) -> list[str]:
    """What the sets drawn from `pool` fell short of, and why; one line each."""
    from chexreason.data.card import shortfalls

    asked = asdict(sizes)
    free = pool[~pool["patient"].isin(sets["validation"]["patient"])]
    missed = [line for name in ("sft", "rl") for line in shortfalls(name, sets[name], asked[name], balance, free)]
    if len(sets["validation"]) < sizes.validation:
        missed.append(
            f"validation: {len(sets['validation'])} of {sizes.validation} images: the other patients are for the other sets"
        )
    return missed


def _require_images(pool: StudyTable, rows: NDArray[np.intp], run: Run) -> None:
    """Check that the image files of these rows exist; if one is missing, write the list of all of them.

    Raises:
        ChexReasonError: some are missing; the message says how to fetch them.
    """
    from chexreason.data.paths import MISSING
    from chexreason.data.records import with_images

    wanted = with_images(replace(pool, records=pool.records.iloc[rows], problems=()))
    missing = sum(problem.kind == MISSING for problem in wanted.problems)
    listed = run.folder / WANTED
    listed.unlink(missing_ok=True)
    if not missing:
        return
    address = getattr(run.dataset, "download", None)
    files.write_text(listed, "".join(f"{address}/{path}\n" if address else f"{path}\n" for path in wanted.records["path"]))
    depth = urlsplit(address or "").path.strip("/").count("/") + 1
    how = ""
    if str(address).startswith("http"):
        places = shlex.join(["-P", str(pool.root), "-i", str(listed)])
        how = f"wget -c -x -nH --cut-dirs={depth} --user=NAME --ask-password {places}"
    elif str(address).startswith("gs:"):  # `gsutil cp -I` would put all images into one folder
        bare, place = shlex.join(["sed", f"s|{address}/||", str(listed)]), shlex.quote(f"{pool.root}/{{}}")
        how = f"{bare} | xargs -P8 -I{{}} gsutil -u PROJECT cp {address}/{{}} {place}"
    command = files.read_json(run.folder / folders.MANIFEST)["command"]
    look = on_the_same(command, "stage=inspect", f"stage.only={quoted(str(listed))}")
    raise ChexReasonError(
        f"{pool.site}: the sets are chosen by the tables; {missing:,} of their {len(rows):,} images are not in {pool.root}.\n"
        f"  all are listed:   {listed} ({'one address' if address else 'one path under the root'} a line)\n"
        + (f"  fetch them:       {how}\n" if how else "")
        + f"  then, if you like: {look}\n"
        "  and at last:      the same command again, which chooses the same images and takes their digests"
    )


def _decoded(pool: StudyTable, rows: NDArray[np.intp], missing: str) -> pd.DataFrame:
    """The records of these rows, every image decoded once."""
    from chexreason.data.images import read_image
    from chexreason.data.records import readable

    chosen = replace(pool, records=pool.records.iloc[rows].reset_index(drop=True))
    return readable(chosen, missing, read_image).records
