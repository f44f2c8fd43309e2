"""Evaluation by generation (section 4): every image read, every completion kept with its parse, the answers scored.

A completion from which no answer can be read is a failure and counts as an empty prediction.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chexreason.runs import Run, write_json, write_text

PREDICTIONS = "predictions.jsonl"


@dataclass(frozen=True)
class Settings:
    """Which checkpoint answers, and how long it may write; `limit` scores the first so many studies only."""

    name: str
    checkpoint: str
    trained: dict[str, str | None]
    parents: dict[str, str | None]
    max_completion_tokens: int
    batch_size: int
    limit: int | None


USES = ("model", "prompt", "dataset")
TORCH = True


def execute(run: Run) -> dict[str, Any]:
    """Answer every study of the dataset; leaves predictions.jsonl and metrics.json."""
    from chexreason.data import integrity
    from chexreason.data.records import ignored_sets, label_sets
    from chexreason.metrics import summary
    from chexreason.tracking import tracked

    table = run.dataset.load()
    if run.dataset.split == "test":
        integrity.register(table, run.dataset.name, run.folder.parent)
    truth, ignored = (sets(table, run.dataset.uncertain) for sets in (label_sets, ignored_sets))
    studies = [
        {"id": record.path, "path": record.path, "patient": record.patient, "labels": labels, "ignored": unscored}
        for record, labels, unscored in zip(table.records.itertuples(), truth, ignored, strict=True)
    ][: run.settings.limit]
    run.note(f"{len(studies)} studies of {table.site}, {len(table.findings)} findings scored")

    partial = run.folder / (PREDICTIONS + ".part")
    answered = {row["id"]: row for row in _read_lines(partial)}
    waiting = [study for study in studies if study["id"] not in answered]
    if answered and waiting:
        run.note(f"{len(answered)} studies were answered before; {len(waiting)} to go")
    with partial.open("a", encoding="utf-8") as stream:
        for row in _answers(run, waiting, table.root):
            answered[row["id"]] = row
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            stream.flush()

    rows = [answered[study["id"]] for study in studies]
    scored = set(table.findings)
    metrics = summary(
        [sorted(scored & set(row["labels"])) for row in rows],
        [None if row["predicted"] is None else sorted(scored & set(row["predicted"])) for row in rows],
        labels=list(table.findings),
        patients=[row["patient"] for row in rows],
        ignored=[row["ignored"] for row in rows],
    )
    write_text(run.folder / PREDICTIONS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    write_json(run.folder / "metrics.json", metrics)
    partial.unlink()
    with tracked(run) as log:
        log({"macro_f1": metrics["macro"]["f1"], "micro_f1": metrics["micro"]["f1"]}, 0)
    run.note(f"macro-F1 {metrics['macro']['f1']:.3f}, micro-F1 {metrics['micro']['f1']:.3f}")
    return metrics | {"excluded": table.excluded}


def _answers(run: Run, studies: list[dict[str, Any]], root: Path) -> Any:
    """Studies with what the model wrote and what was read from it."""
    if not studies:
        return
    import torch
    from tqdm import tqdm

    from chexreason.completion import parse
    from chexreason.data.images import read_image
    from chexreason.models.generation import generate, halving_batches
    from chexreason.models.loading import load_adapter, load_model
    from chexreason.models.processors import load_processor
    from chexreason.models.training import adapter_folder

    processor = load_processor(run.model, padding_side="left")
    model = load_model(run.model).eval()
    if "adapter" in run.parents:
        model = load_adapter(model, adapter_folder(run.parents["adapter"], run.settings.checkpoint))
    with tqdm(total=len(studies), desc="evaluate", unit="image") as bar:
        for batch in halving_batches(len(studies), run.settings.batch_size):
            chosen = [studies[index] for index in batch.indices]
            images = [read_image(root / study["path"]) for study in chosen]
            try:
                completions = generate(model, processor, run.prompt.instruction, images, run.settings.max_completion_tokens)
            except torch.OutOfMemoryError:
                batch.too_large = True
                continue
            for study, completion in zip(chosen, completions, strict=True):
                answer = parse(completion.text, run.prompt.grammar, completion.finished)
                yield study | {
                    "predicted": list(answer.labels) if answer.failure is None else None,
                    "failure": answer.failure,
                    "completion": completion.text,
                    "num_tokens": completion.num_tokens,
                }
            bar.update(len(chosen))


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole JSON lines of a file that a kill may have cut short."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return [json.loads(line) for line in lines if line]
