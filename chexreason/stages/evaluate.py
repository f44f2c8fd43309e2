"""Evaluation by generation (section 4): answers every image and stores each completion verbatim.

Answers, metrics and intervals are computed from the completions on demand. A completion that cannot be parsed is a failure and
counts as an empty prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason import marks
from chexreason.answers import metrics, predictions
from chexreason.answers.predictions import PREDICTIONS
from chexreason.errors import above, at_least, share
from chexreason.runs.files import as_lines, read_json, read_lines, write_text
from chexreason.runs.folders import MANIFEST, Run
from chexreason.runs.identity import DRAWN

if TYPE_CHECKING:
    from PIL import Image

    from chexreason.runs.groups import Model


@dataclass
class Repeats:
    """The number of answers per image and the sampling parameters; temperature 0 is greedy."""

    repeats: int
    temperature: float
    top_p: float = field(metadata=DRAWN)


@dataclass(frozen=True)
class Settings:
    """Length and number of completions per study; `limit`: evaluate only the first `limit` studies."""

    name: str
    max_completion_tokens: int
    batch_size: int = field(metadata=DRAWN)  # samples depend on the other prompts of their batch
    sampling: Repeats
    limit: int | None

    def __post_init__(self) -> None:
        at_least(1, max_completion_tokens=self.max_completion_tokens, batch_size=self.batch_size, limit=self.limit)
        at_least(1, sampling__repeats=self.sampling.repeats)
        at_least(0, sampling__temperature=self.sampling.temperature)
        above(0, sampling__top_p=self.sampling.top_p)
        share(sampling__top_p=self.sampling.top_p)
        if self.sampling.repeats > 1 and self.sampling.temperature == 0:
            raise ValueError(
                f"sampling.repeats={self.sampling.repeats}: greedy answers are all alike; "
                "set stage.sampling.temperature, say to 0.8"
            )


USES = ("model", "prompt", "dataset", "checkpoint", "engine")
TORCH = True
MODEL = True


def lacks(_: Settings, used: dict[str, Any], parents: Any) -> list[str]:
    """Messages about images of the dataset that are missing."""
    return used["dataset"].lacks_images()


def draws(settings: Settings) -> bool:
    """Whether the result depends on the seed; greedy answers do not."""
    return settings.sampling.temperature > 0


def execute(run: Run) -> dict[str, Any]:
    """Generate completions for every study of the dataset; writes predictions.jsonl."""
    from chexreason.data import integrity, records
    from chexreason.data.cache import image_reader
    from chexreason.runs.tracking import tracked

    read = image_reader(run.folder.parent, run.model.image_size)
    table = records.readable(run.dataset.load(), run.dataset.missing, read)
    if run.dataset.split == "test":
        integrity.register(table, run.dataset.name, run.folder.parent)
    alike: list[str] = []
    if run.dataset.split not in records.TRAINING:
        trained = integrity.learnt_from(run)
        integrity.refuse_what_was_trained_on(table, run.dataset.name, trained, run.folder.parent)
        alike = integrity.look_alikes(table, trained, read)
        if alike:
            run.note(f"{len(alike)} images may be copies of training data (look_alikes in the manifest), the first: {alike[0]}")
    # Labels are stored with the completions, so that metrics need no dataset; so its findings and policy define the run.
    truth, ignored = (sets(table, run.dataset.uncertain) for sets in (records.label_sets, records.ignored_sets))
    studies = [
        {"id": record.path, "path": record.path, "patient": record.patient, "labels": labels, "ignored": unscored}
        for record, labels, unscored in zip(table.records.itertuples(), truth, ignored, strict=True)
    ][: run.settings.limit]
    if table.images:
        integrity.note_films(run.folder, table.root, [study["path"] for study in studies])
    run.note(f"{len(studies)} studies of {table.site}, {len(table.findings)} findings scored")
    if run.dataset.split in records.TRAINING:
        run.note(f"dataset={run.dataset.name} dataset.split={run.dataset.split}: images to train on, and no test set")

    rows = _answered(run, studies, table.root, read)
    given = predictions.as_answers(predictions.read(run.folder / PREDICTIONS), table.findings)
    found = metrics.mean([metrics.scores(one) for one in given])  # intervals are computed when they are shown
    with tracked(run) as log:
        (_, _, macro), (_, _, micro) = found.macro, found.micro
        log({"macro_f1": float(macro), "micro_f1": float(micro), "failure_rate": float(found.failure_rate)}, 0)
    written = [one for row in rows for one in row["completions"]]
    return {
        "records": len(studies),
        "num_tokens": sum(one["num_tokens"] for one in written),
        "unfinished": sum(not one["finished"] for one in written),
        "excluded": table.excluded,
        "look_alikes": alike,
        "marks": marks.of_run(run, table.root),
    }


def outdated(folder: Path) -> str | None:
    """A message about an image whose content has changed since the run; None if there is none."""
    from chexreason.data import integrity

    film = integrity.changed_film(folder)
    return f"{film} is not what its run read there" if film else None


def headline(metrics: dict[str, Any]) -> str:
    """The result in one line; `show` prints the metrics."""
    return f"{metrics['records']} studies, {metrics['unfinished']} completions cut at the token limit"


def show(folder: Path) -> None:
    """Print the main metrics, computed with today's parser."""
    labels = read_json(folder / MANIFEST)["config"]["dataset"]["findings"]
    found = predictions.summary(predictions.read(folder / PREDICTIONS), labels)
    print(f"{folder.name}: {predictions.main_numbers(found)}", flush=True)


def longest_first(
    model: Model, studies: list[dict[str, Any]], size: Callable[[dict[str, Any]], tuple[int, int]]
) -> list[dict[str, Any]]:
    """Sort studies by prompt length, which varies with the image size, longest first: batches then need little padding, and
    running out of memory shows at the start. If every image takes the same number of tokens, the order is kept.
    """
    if model.min_visual_tokens == model.max_visual_tokens:
        return studies
    from chexreason.models.processors import load_processor

    processor = load_processor(model)
    return sorted(studies, key=lambda study: -processor.visual_tokens(*size(study)))


def _answered(run: Run, studies: list[dict[str, Any]], root: Path, read: Callable[[Path], Image.Image]) -> list[dict[str, Any]]:
    """Write predictions.jsonl, continuing where an interrupted run stopped; returns its rows."""
    partial, batch = run.folder / (PREDICTIONS + ".part"), run.settings.batch_size
    rows = read_lines(partial) if partial.exists() else []
    write_text(partial, as_lines(rows))  # drops an incomplete last line, which a killed run may have left
    answered = {row["id"]: row for row in rows}
    # Resume at whole batches, so that batches, and thus samples, are the same as in an uninterrupted run.
    done = len(answered) // batch * batch if len(answered) < len(studies) else len(studies)
    waiting = longest_first(run.model, studies, lambda study: read(root / study["path"]).size)[done:]
    if answered and waiting:
        run.note(f"{done} studies were answered before; {len(waiting)} to go")
    with partial.open("a", encoding="utf-8") as stream:
        for row in _answers(run, waiting, root, read, done):
            answered[row["id"]] = row
            stream.write(as_lines([row]))
            stream.flush()
    rows = [answered[study["id"]] for study in studies]
    write_text(run.folder / PREDICTIONS, as_lines(rows))
    partial.unlink()
    return rows


def _answers(run: Run, studies: list[dict[str, Any]], root: Path, read: Callable[[Path], Image.Image], before: int) -> Any:
    """Studies with what the model wrote about them, once for each repeat."""
    if not studies:
        return
    from tqdm import tqdm

    from chexreason.data.cache import feature_entries
    from chexreason.models.generation import Sampling, completions, load_generator

    settings: Settings = run.settings
    longest, entries = settings.max_completion_tokens, feature_entries(run.folder.parent)
    generator = load_generator(run.engine, run.model, run.prompt, run.checkpoint.adapter, longest, entries)
    files = [root / study["path"] for study in studies]
    repeats = []
    for repeat in range(settings.sampling.repeats):
        sampling = Sampling(settings.sampling.temperature, settings.sampling.top_p, 1000 * run.seed + repeat)
        repeats.append(completions(generator(sampling), files, read, settings.batch_size, before))
    for study, *written in zip(tqdm(studies, desc="evaluate", unit="image"), *repeats, strict=True):
        yield predictions.row(study, run.prompt.grammar, written)
