"""Tables in the shape of the paper's, filled from the runs at hand with the paper's numbers beside ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chexreason.answers import metrics
from chexreason.answers.intervals import interval
from chexreason.answers.metrics import FEW_POSITIVES
from chexreason.report import published
from chexreason.report.published import PROMPTS
from chexreason.report.study import BENCHMARKS, Arm, Result, Study

F1 = metrics.RATES.index("f1")


@dataclass(frozen=True)
class Value:
    """A number of ours with its 95 % interval, and the paper's where it exists. `signed` writes a plus before gains.

    `comparable`: whether the paper's is a standard for ours; to drawn films it is not, and no difference is written.
    `positives`: how many records carry the label, where they are too few for the interval to promise much.
    """

    ours: float | None
    low: float | None = None
    high: float | None = None
    paper: float | None = None
    signed: bool = False
    percent: bool = False
    positives: int | None = None
    comparable: bool = True

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, where they can be compared."""
        return None if self.ours is None or self.paper is None or not self.comparable else self.ours - self.paper


Cell = Value | str | None


@dataclass(frozen=True)
class Table:
    """A table: `columns` names the row header first; `best` holds the (row, column) positions to set in bold."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    best: frozenset[tuple[int, int]] = frozenset()


# Columns of Tables 2-4: heading, name in published.csv, a function of scores, whether more is better.
Take = Callable[[metrics.Scores], Any]
COLUMNS: tuple[tuple[str, str, Take, bool], ...] = (
    ("Micro P", "micro_precision", lambda s: s.micro[..., 0], True),
    ("Micro R", "micro_recall", lambda s: s.micro[..., 1], True),
    ("Micro F1", "micro_f1", lambda s: s.micro[..., 2], True),
    ("Macro P", "macro_precision", lambda s: s.macro[..., 0], True),
    ("Macro R", "macro_recall", lambda s: s.macro[..., 1], True),
    ("Macro F1", "macro_f1", lambda s: s.macro[..., 2], True),
    ("Fail rate", "failure_rate", lambda s: s.failure_rate, False),
)
TAKE = {name: take for _, name, take, _ in COLUMNS}


def f1_of(place: int) -> Take:
    """A function that takes the F1 of the label at `place` from scores."""
    return lambda scores: scores.per_label[..., place, F1]


def value(study: Study, result: Result, take: Take, paper: float | None = None, labels: Sequence[str] = ()) -> Value:
    """One metric of one result with its interval."""
    point, cloud = study.scores(result, labels)
    low, high = interval(take(cloud), take(point))
    return Value(float(take(point)), float(low), float(high), paper, comparable=not result.is_drawn)


def headline(study: Study) -> Table:
    """Macro-F1 by model and test set, each over the test set's own labels."""
    rows = []
    for arm in study.arms:
        cells: list[Cell] = [study.title(arm)]
        for dataset in study.datasets:
            result = study.result(arm, dataset)
            cells.append(value(study, result, TAKE["macro_f1"], _paper_macro(result)) if result else None)
        rows.append(tuple(cells))
    firsts = _first_of(study)
    tests = Counter(one.benchmark for one in firsts)
    names = [BENCHMARKS.get(one.benchmark, one.dataset) if tests[one.benchmark] == 1 else one.dataset for one in firsts]
    columns = ("Model", *(f"{name}, {len(one.labels)} labels" for name, one in zip(names, firsts, strict=True)))
    note = "Macro-F1 with its 95 % bootstrap interval over patients; failures count as empty predictions."
    return Table("headline", "Macro-F1 by model and test set", columns, tuple(rows), note, _best_of_columns(rows))


def paper_tables(study: Study) -> list[Table]:
    """Those of the paper's Tables 1-6 for which there are runs."""
    validation = study.on("validation")
    base = [one for one in validation if one.arm.checkpoint == "base" and one.arm.paper_model == "MedGemma"]
    tuned = [one for one in validation if one.arm.checkpoint == "sft"]
    reinforced = [one for one in validation if one.arm.checkpoint in ("grpo", "grpo_best")]
    short = tuple(column for column in COLUMNS if column[1] in ("micro_f1", "macro_f1", "failure_rate"))
    made = [
        _variants(study, "1", "Prompt ablation on the base model", base, short),
        _variants(study, "2", "Supervised fine-tuning variants, medically pre-trained model", _of("MedGemma", tuned)),
        _variants(study, "3", "Supervised fine-tuning variants, general-purpose model", _of("Qwen2.5", tuned)),
        _variants(study, "4", "GRPO by reward function", reinforced),
        _per_label(study, "chexpert", "Per-label F1 on the CheXpert test set"),
        _per_label(study, "nih", "Per-label F1 on the NIH test set"),
    ]
    return [table for table in made if table.rows]


def prevalence(study: Study) -> Table:
    """Share of records with each label in each test set: the shift in prevalence between sites."""
    firsts = _first_of(study)
    labels = list(dict.fromkeys(label for one in firsts for label in one.labels))
    truths = {one.dataset: [set(record.labels) for record in one.predictions] for one in firsts}
    rows = []
    for label in labels:
        shares: list[Cell] = []
        for one in firsts:
            share = sum(label in truth for truth in truths[one.dataset]) / len(truths[one.dataset])
            shares.append(Value(share, percent=True) if label in one.labels else None)
        rows.append((label, *shares))
    columns = ("Label", *(f"{one.dataset} (n = {len(one.predictions)})" for one in firsts))
    note = "A change in these shares alone moves precision and F1; compare models on one test set, or on matched labels."
    return Table("prevalence", "Prevalence shift between test sets", columns, tuple(rows), note)


def resources(study: Study) -> Table:
    """The resources of each training run: device, seconds per step, and peak memory."""
    rows = []
    for training in study.trainings:
        memory = training.manifest["peak_memory_bytes"]
        steps = max((entry.get("step", 0) for entry in training.log), default=0)
        _, seconds = training.series("step_time")
        rows.append(
            (
                training.manifest["name"],
                training.manifest.get("device"),
                str(steps),
                f"{seconds.mean():.2f}" if len(seconds) else None,
                f"{memory['main'] / 2**30:.1f}" if "main" in memory else None,
                f"{memory['gpu'] / 2**30:.1f}" if "gpu" in memory else None,
            )
        )
    columns = ("Training run", "Device", "Steps", "Seconds a step", "Main memory, GiB", "GPU memory, GiB")
    note = "A step is an update of the weights, with its share of the rollouts; memory is the most that the process ever held."
    return Table("resources", "What training took", columns, tuple(rows), note)


def _variants(
    study: Study, number: str, title: str, results: list[Result], columns: Sequence[tuple[str, str, Take, bool]] = COLUMNS
) -> Table:
    """Tables 1-4: a row per variant, in the paper's order. Its "CheXpert validation" is the MIMIC split with 14 labels."""
    order = published.rows_of(number)
    several = len({result.arm.model for result in results}) > 1
    prompts = {result.arm.prompt for result in results}
    named = [(_validation_row(number, result.arm), result) for result in results]
    rows: list[tuple[Cell, ...]] = []
    for _, result in sorted(named, key=lambda one: (*order, one[0]).index(one[0])):
        printed = paper_row(number, result.arm)
        cells = [value(study, result, take, published.number(number, printed, column)) for _, column, take, _ in columns]
        name = _validation_title(number, result.arm, several)
        if number == "4" and (len(prompts) > 1 or result.arm.prompt not in PROMPTS):  # else the rows go by their prompts
            name += f", {PROMPTS.get(result.arm.prompt, result.arm.prompt)}"
        rows.append((name, *cells))
    less = [index for index, column in enumerate(columns, start=1) if not column[3]]
    heading = ("Reward, checkpoint" if number == "4" else "Prompt", *(column[0] for column in columns))
    return Table(
        f"table{number}",
        f"Table {number}. {title} (validation)",
        heading,
        tuple(rows),
        BEST_NOTE if number == "4" else "",
        _best_of_columns(rows, less),
    )


BEST_NOTE = (
    "Best F1-Score is the checkpoint that the training run chose by its own validation (grpo_best), of those without a sign of "
    "collapse; by default on the first studies of the set that it is scored on here. Maximum is the last one."
)


def _per_label(study: Study, benchmark: str, title: str) -> Table:
    """Tables 5 and 6: a row per label, a column per model, the best of each row in bold."""
    number, results = published.TEST_TABLES[benchmark], study.on(benchmark)
    labels = list(dict.fromkeys(label for result in results for label in result.labels))
    ordered = [label for label in published.labels_of(number) if label in labels]
    ordered += [label for label in labels if label not in ordered]
    rows: list[tuple[Cell, ...]] = []
    for label in ordered:
        row: list[Cell] = [label]
        for result in results:
            paper = published.number(number, paper_row(number, result.arm), "f1", label)
            place = result.labels.index(label) if label in result.labels else None
            found = None if place is None else value(study, result, f1_of(place), paper)
            positives = sum(label in record.labels for record in result.predictions)
            row.append(replace(found, positives=positives) if found and positives < FEW_POSITIVES else found)
        rows.append(tuple(row))
    if results:
        macro = [value(study, result, TAKE["macro_f1"], _paper_macro(result)) for result in results]
        rows.append(("Macro F1", *macro))
    columns = ("Label", *(_column_title(study, result) for result in results))
    best = frozenset(
        place for index, row in enumerate(rows) for place in _best({(index, column): cell for column, cell in enumerate(row)})
    )
    return Table(f"table{number}", f"Table {number}. {title}", columns, tuple(rows), best=best)


def _of(model: str, results: list[Result]) -> list[Result]:
    return [result for result in results if result.arm.paper_model == model]


def _first_of(study: Study) -> list[Result]:
    """One result per test set, from which to read facts about the test set itself."""
    return [next(one for one in study.results if one.dataset == dataset) for dataset in study.datasets]


def _column_title(study: Study, result: Result) -> str:
    several = len({one.dataset for one in study.on(result.benchmark)}) > 1
    return f"{study.title(result.arm)} ({result.dataset})" if several else study.title(result.arm)


def paper_row(number: str, arm: Arm) -> str | None:
    """The row of the paper's Tables 1-4, or the column of Tables 5 and 6, that an arm corresponds to; None if there is none.

    Model, checkpoint, prompt and reward must be the paper's. Table 4 starts from MedGemma's Free Reasoning checkpoint; in
    Tables 5 and 6, NV-Reason is asked by its own prompt.
    """
    if arm.variant:
        return None
    if number in published.TEST_TABLES.values():
        asked = "nv_reason" if arm.paper_model == "NV-Reason" else "free_reasoning"
        ours = arm.reward in ("", "hard") and arm.prompt == asked
        return published.COLUMNS.get((arm.paper_model, arm.checkpoint)) if ours else None
    if arm.paper_model != ("Qwen2.5" if number == "3" else "MedGemma") or number == "4" and arm.prompt != "free_reasoning":
        return None
    return _validation_row(number, arm)


def _paper_macro(result: Result) -> float | None:
    number = published.TEST_TABLES.get(result.benchmark)
    if result.benchmark == "validation":
        number = {"base": "1", "sft": "3" if result.arm.paper_model == "Qwen2.5" else "2"}.get(result.arm.checkpoint, "4")
    return published.number(number, paper_row(number, result.arm), "macro_f1") if number else None


def _validation_row(number: str, arm: Arm) -> str:
    if number != "4":
        return PROMPTS.get(arm.prompt, arm.prompt)
    return f"{arm.reward.capitalize()}, {'Best F1-Score' if arm.checkpoint == 'grpo_best' else 'Maximum'}"


def _validation_title(number: str, arm: Arm, several: bool) -> str:
    title = _validation_row(number, arm)
    if several or (number == "4" and arm.paper_model != "MedGemma"):
        title = f"{title} ({arm.model})"
    return f"{title}, {arm.variant}" if arm.variant else title


def _best_of_columns(rows: Sequence[tuple[Cell, ...]], less: Collection[int] = ()) -> frozenset[tuple[int, int]]:
    """Positions of the best number of each column but the first; of those in `less`, the least is the best."""
    return frozenset(
        place
        for column in range(1, len(rows[0]) if rows else 0)
        for place in _best({(index, column): row[column] for index, row in enumerate(rows)}, column in less)
    )


def _best(cells: dict[tuple[int, int], Cell], less: bool = False) -> list[tuple[int, int]]:
    """Positions of the best number; empty if there is only one."""
    numbers = {place: cell.ours for place, cell in cells.items() if isinstance(cell, Value) and cell.ours is not None}
    if len(set(numbers.values())) < 2:
        return []
    best = (min if less else max)(numbers.values())
    return [place for place, number in numbers.items() if number == best]
