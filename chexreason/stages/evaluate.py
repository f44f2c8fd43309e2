"""Evaluation by generation (section 4): every image read, every completion kept with its parse, the answers scored.

A completion from which no answer can be read is a failure and counts as an empty prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason.answers.predictions import PREDICTIONS
from chexreason.errors import ChexReasonError
from chexreason.models.engines import require_engine
from chexreason.runs.files import as_lines, read_lines, write_json, write_text
from chexreason.runs.folders import Run

if TYPE_CHECKING:
    from PIL import Image

    from chexreason.runs.config import Model


@dataclass(frozen=True)
class Repeats:
    """How often each image is answered, and how the answers are drawn; temperature 0 is greedy."""

    repeats: int
    temperature: float
    top_p: float


@dataclass(frozen=True)
class Settings:
    """Which checkpoint answers, by which engine, and how long it may write; `limit`: the first so many studies only."""

    name: str
    checkpoint: str
    trained: dict[str, str | None]
    parents: dict[str, str | None]
    engine: str
    max_completion_tokens: int
    batch_size: int
    sampling: Repeats
    limit: int | None


USES = ("model", "prompt", "dataset")
TORCH = True


def execute(run: Run) -> dict[str, Any]:
    """Answer every study of the dataset; leaves predictions.jsonl and metrics.json."""
    from chexreason.answers.metrics import summary
    from chexreason.data import integrity, records
    from chexreason.data.cache import image_reader
    from chexreason.report.study import TRAINING
    from chexreason.runs.tracking import tracked

    require_engine("stage.engine", run.settings.engine)
    repeats = run.settings.sampling.repeats
    if repeats > 1 and run.settings.sampling.temperature == 0:
        raise ChexReasonError(
            "stage.sampling.repeats: greedy answers are all alike; set stage.sampling.temperature, say to 0.8"
        )
    read = image_reader(run.folder.parent, run.model.image_size)
    table = records.readable(run.dataset.load(), run.dataset.missing, read)
    if run.dataset.split == "test":
        integrity.register(table, run.dataset.name, run.folder.parent)
    truth, ignored = (sets(table, run.dataset.uncertain) for sets in (records.label_sets, records.ignored_sets))
    studies = [
        {"id": record.path, "path": record.path, "patient": record.patient, "labels": labels, "ignored": unscored}
        for record, labels, unscored in zip(table.records.itertuples(), truth, ignored, strict=True)
    ][: run.settings.limit]
    run.note(f"{len(studies)} studies of {table.site}, {len(table.findings)} findings scored")
    if run.dataset.split in TRAINING:
        run.note(f"dataset={run.dataset.name} dataset.split={run.dataset.split}: images to train on, and no test set")

    partial = run.folder / (PREDICTIONS + ".part")
    rows = read_lines(partial) if partial.exists() else []
    write_text(partial, as_lines(rows))  # without the half line that a kill may have left
    answered = {row["id"]: row for row in rows}
    # Whole batches only, so that a batch is the same, and samples alike, whether or not the run was interrupted.
    done = len(answered) // run.settings.batch_size * run.settings.batch_size if len(answered) < len(studies) else len(studies)
    waiting = longest_first(run.model, studies, lambda study: read(table.root / study["path"]).size)[done:]
    if answered and waiting:
        run.note(f"{done} studies were answered before; {len(waiting)} to go")
    with partial.open("a", encoding="utf-8") as stream:
        for row in _answers(run, waiting, table.root, read, done):
            answered[row["id"]] = row
            stream.write(as_lines([row]))
            stream.flush()

    rows = [answered[study["id"]] for study in studies]
    scored = set(table.findings)
    metrics = summary(
        [sorted(scored & set(row["labels"])) for row in rows],
        [[row["samples"][repeat]["predicted"] if repeat else row["predicted"] for row in rows] for repeat in range(repeats)],
        labels=list(table.findings),
        patients=[row["patient"] for row in rows],
        ignored=[row["ignored"] for row in rows],
    )
    write_text(run.folder / PREDICTIONS, as_lines(rows))
    write_json(run.folder / "metrics.json", metrics)
    partial.unlink()
    with tracked(run) as log:
        log({"macro_f1": metrics["macro"]["f1"], "micro_f1": metrics["micro"]["f1"]}, 0)
    run.note(f"macro-F1 {metrics['macro']['f1']:.3f}, micro-F1 {metrics['micro']['f1']:.3f}")
    return metrics | {"excluded": table.excluded}


def longest_first(
    model: Model, studies: list[dict[str, Any]], size: Callable[[dict[str, Any]], tuple[int, int]]
) -> list[dict[str, Any]]:
    """Studies by the length of their prompts, which varies with the image: the batch then pads little, and one that does not
    fit into memory comes first. Where every image takes the same number of tokens, they stay in their order.
    """
    if model.min_visual_tokens == model.max_visual_tokens:
        return studies
    from chexreason.models.processors import load_processor, visual_tokens

    processor = load_processor(model)
    return sorted(studies, key=lambda study: -visual_tokens(processor, *size(study)))


def _answers(run: Run, studies: list[dict[str, Any]], root: Path, read: Callable[[Path], Image.Image], before: int) -> Any:
    """Studies with what the model wrote and what was read from it, once for each repeat."""
    if not studies:
        return
    from tqdm import tqdm

    from chexreason.models.generation import Sampling, answers, load_generator
    from chexreason.training.trainer import adapter_folder

    settings: Settings = run.settings
    adapter = adapter_folder(run.parents["adapter"], settings.checkpoint) if "adapter" in run.parents else None
    generator = load_generator(settings.engine, run.model, run.prompt, adapter, settings.max_completion_tokens)
    files = [root / study["path"] for study in studies]
    repeats = []
    for repeat in range(settings.sampling.repeats):
        sampling = Sampling(settings.sampling.temperature, settings.sampling.top_p, 1000 * run.seed + repeat)
        repeats.append(answers(generator(sampling), run.prompt.grammar, files, read, settings.batch_size, before))
    for study, *written in zip(tqdm(studies, desc="evaluate", unit="image"), *repeats, strict=True):
        samples = [
            {
                "predicted": list(answer.labels) if answer.failure is None else None,
                "failure": answer.failure,
                "completion": completion.text,
                "num_tokens": completion.num_tokens,
            }
            for completion, answer in written
        ]
        yield study | samples[0] | ({"samples": samples} if len(samples) > 1 else {})
