"""Reasoning and labels for the user's own images, as text, JSON and pictures. For research, not for diagnosis."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from chexreason import marks
from chexreason.errors import ChexReasonError, above, at_least, printable, share
from chexreason.runs import folders
from chexreason.runs.files import require_output_folder, write_json, write_text
from chexreason.runs.folders import Run
from chexreason.runs.identity import CIRCUMSTANCE, CONTENT, DRAWN, contents, files_in, sha256_if_readable

if TYPE_CHECKING:
    from PIL import Image

WARNING = "Research use only: not a medical device, no output is a diagnosis."
PICTURE = 1024  # pixels of the drawn image's longer side
NAMED = {".jpg", ".jpeg", ".png", ".dcm", ".dicom"}  # files with these suffixes are read, or reported as unreadable
NAME = 50  # characters of an image's name that its picture's name takes over: file systems allow 255 bytes


@dataclass(frozen=True)
class Settings:
    """Which images, which checkpoint, and how often each image is answered."""

    CODE: ClassVar = ("answers",)  # answers depend on the parser's version

    name: str
    input: str | None = field(metadata=CONTENT)
    output: str | None = field(metadata=CIRCUMSTANCE)
    samples: int
    temperature: float = field(metadata=DRAWN)
    top_p: float = field(metadata=DRAWN)
    max_completion_tokens: int
    batch_size: int = field(metadata=DRAWN)

    def __post_init__(self) -> None:
        at_least(1, samples=self.samples, max_completion_tokens=self.max_completion_tokens, batch_size=self.batch_size)
        at_least(0, temperature=self.temperature)
        above(0, top_p=self.top_p)
        share(top_p=self.top_p)
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(f"samples={self.samples}: greedy answers are all alike; set stage.temperature, say to 0.8")

    def inputs(self, store: Path | None) -> dict[str, Any]:
        """Digests and names of the images; images that cannot be read are excluded later, with a message."""
        return contents(self, "stage", store, read=sha256_if_readable) | {"named": Path(str(self.input)).name}

    def require(self) -> None:
        """Raises ChexReasonError if `input` is not set or has no image, or if `output` is unusable."""
        if not self.input:
            raise ChexReasonError("stage.input is not set: name an image (JPEG, PNG, DICOM) or a folder of them")
        image_files(self.input)
        require_output_folder(self.output, self.input)


USES = ("model", "prompt", "checkpoint", "engine")
TORCH = True
MODEL = True
deliver = folders.deliver


def draws(settings: Settings) -> bool:
    """Whether the result depends on the seed; a single answer is greedy."""
    return settings.samples > 1


def execute(run: Run) -> dict[str, Any]:
    """Answer every image that can be read; leaves answers.json, answers.txt and a picture per image.

    Raises:
        ChexReasonError: there is no input, or it has no readable image.
    """
    from chexreason.data.cache import image_reader
    from chexreason.data.images import ImageError, doubts, fit, read_image

    settings: Settings = run.settings
    read = image_reader(run.folder.parent, run.model.image_size)
    readable: dict[Path, list[str]] = {}
    refused: dict[str, str] = {}
    files, passed_over = image_files(str(settings.input))
    if passed_over:
        run.note(f"passed over, by their content neither JPEG, PNG nor DICOM: {counted(passed_over)}")
    for file in files:
        try:
            read(file)
            readable[file] = doubts(file)
        except ImageError as error:
            refused[storable(file)] = storable(error)
            run.note(f"left out: {error}")
    if not readable:
        raise ChexReasonError(
            f"stage.input={printable(str(settings.input))}: not one of {len(refused)} files is a readable image; the first: "
            f"{printable(next(iter(refused.values())))}"
        )
    answers = answer(run, list(readable), read)
    results = [describe(file, answered, readable[file]) for file, answered in zip(readable, answers, strict=True)]
    found = marks.of_run(run)
    page = {
        "notice": notice(run.model.name, found),
        "model": run.model.name,
        "checkpoint": run.checkpoint.name,
        "prompt": run.prompt.name,
        "images": results,
        "left_out": refused,
        "passed_over": {storable(kind): count for kind, count in passed_over.items()},
    }
    write_json(run.folder / "answers.json", page)
    write_text(run.folder / "answers.txt", as_text(page))
    for number, (file, result) in enumerate(zip(readable, results, strict=True), start=1):
        title = f"{printable(file.name)}: {run.model.name}, {run.checkpoint.name}"
        draw(
            run.folder / f"{number:04d}-{printable(file.stem)[:NAME]}.png",
            fit(read_image(file), PICTURE),
            result,
            title,
            stamp(found),
        )
    return {"images": len(results), "left_out": len(refused), "failures": sum(bool(one["failure"]) for one in results)}


def notice(model: str, found: Collection[str]) -> str:
    """The notice above every answer of a model with these marks."""
    known = {marks.STAND_IN: "is a stand-in", marks.DRAWN_FILMS: "was trained on drawn films"}
    what = " and ".join(words for mark, words in known.items() if mark in found)
    return f"{WARNING} {model} {what}: its answers to real films mean nothing." if what else WARNING


def stamp(found: Collection[str]) -> str:
    """The stamp across every picture of such a model."""
    return "STAND-IN" if marks.STAND_IN in found else "DRAWN FILMS" if marks.DRAWN_FILMS in found else ""


def show(folder: Path) -> None:
    """Print the answers and where the pictures are."""
    print((folder / "answers.txt").read_text(encoding="utf-8"))
    print(f"pictures and answers.json: {folder}", flush=True)


def image_files(given: str) -> tuple[list[Path], dict[str, int]]:
    """The given image, or all images below a folder, sorted by name; and the number of other files by suffix.

    Images are recognised by content, since DICOM files are often named by their UID. A file that only has the suffix of an
    image is listed too, so that its error is reported.

    Raises:
        ChexReasonError: the path does not exist, or the folder has no image.
    """
    from chexreason.data.images import looks_like_image

    path = Path(given)
    if not os.path.exists(given):
        raise ChexReasonError(f"stage.input={printable(given)}: there is no such file or folder")
    if not path.is_dir():
        return [path], {}
    inside, shut = _inside(path)
    found = [file for file in inside if file.suffix.lower() in NAMED or looks_like_image(file)]
    others = sorted(set(inside) - set(found))
    passed_over = dict(Counter(file.suffix.lower() or "without suffix" for file in others) + shut)
    if not found:
        rest = f"; passed over: {counted(passed_over)}" if passed_over else ""
        raise ChexReasonError(f"stage.input={printable(given)}: no JPEG, PNG or DICOM file in this folder{rest}")
    return found, passed_over


def _inside(folder: Path) -> tuple[list[Path], Counter[str]]:
    """All files below a folder, following links but listing each folder once, and counts of the folders that cannot be opened.

    Hidden files, such as those that desktops create, are ignored.
    """
    errors: list[OSError] = []
    files = sorted(files_in(folder, errors.append))
    return files, Counter(f"folder that cannot be opened ({error.strerror})" for error in errors)


def counted(kinds: dict[str, int]) -> str:
    return printable(", ".join(f"{count} {kind}" for kind, count in kinds.items()))


def storable(name: object) -> str:
    """A file name, or a message with one, for JSON: bytes that are not valid UTF-8 are escaped."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def answer(run: Run, files: Sequence[Path], read: Any) -> list[list[tuple[Any, Any]]]:
    """`samples` pairs of completion and answer for each file."""
    from tqdm import tqdm

    from chexreason.answers.parser import parse
    from chexreason.models.generation import Sampling, completions, load_generator

    settings: Settings = run.settings
    generator = load_generator(run.engine, run.model, run.prompt, run.checkpoint.adapter, settings.max_completion_tokens)
    warm = settings.temperature if draws(settings) else 0.0
    drawn = []
    for sample in tqdm(range(settings.samples), desc="predict", unit="answer"):
        sampling = Sampling(warm, settings.top_p, 1000 * run.seed + sample)
        written = completions(generator(sampling), files, read, settings.batch_size)
        drawn.append([(one, parse(one.text, run.prompt.grammar, one.finished)) for one in written])
    return [list(samples) for samples in zip(*drawn, strict=True)]


def describe(file: Path, answered: Sequence[tuple[Any, Any]], doubts: Sequence[str] = ()) -> dict[str, Any]:
    """One image's answer: the labels that more than half of its samples name, and the first sample that says just that.

    `doubts`: metadata of the file that indicate that it is not a frontal chest film.
    """
    from chexreason.labels import in_order

    counts = Counter(label for _, one in answered for label in one.labels)
    labels = in_order([label for label, count in counts.items() if 2 * count > len(answered)])
    same = [pair for pair in answered if not pair[1].failure and list(pair[1].labels) == labels]
    readable = [pair for pair in answered if not pair[1].failure]
    completion, shown = (same or readable or list(answered))[0]
    return {
        "file": storable(file),
        "doubts": [storable(one) for one in doubts],
        "labels": labels,
        "failure": shown.failure if not labels else None,
        "agreement": {label: counts[label] / len(answered) for label in in_order(list(counts))},
        "reasoning": completion.text if shown.failure else shown.thoughts,
        "completions": [pair[0].text for pair in answered],
    }


def as_text(page: dict[str, Any]) -> str:
    """The answers for the terminal."""
    lines = [page["notice"], f"{page['model']}, {page['checkpoint']} checkpoint, prompt {page['prompt']}"]
    for one in page["images"]:
        lines += ["", one["file"], *(f"  {part}" for part in (doubt(one), finding(one), minority(one)) if part)]
        lines += [f"  {line}" for line in one["reasoning"].strip().splitlines()]
    if page["left_out"]:
        lines += ["", "left out:", *(f"  {reason}" for reason in page["left_out"].values())]
    if page["passed_over"]:
        lines += ["", f"passed over: {counted(page['passed_over'])}"]
    return "\n".join(map(printable, lines)) + "\n"


def doubt(one: dict[str, Any]) -> str:
    """Why the answer may be meaningless: the file says that it is not a frontal chest film."""
    return f"NO FRONTAL CHEST FILM? {'; '.join(one['doubts'])}" if one["doubts"] else ""


def finding(one: dict[str, Any]) -> str:
    """The labels with their agreement, or why there are none."""
    if one["failure"]:
        return f"no readable answer ({one['failure']})"
    several = len(one["completions"]) > 1
    return ", ".join(f"{label} ({_named(one, label)})" if several else label for label in one["labels"]) or "none agreed"


def _named(one: dict[str, Any], label: str) -> str:
    """Agreement as a count of samples: a percentage could be mistaken for the probability of the finding."""
    samples = len(one["completions"])
    return f"named in {round(one['agreement'][label] * samples)} of {samples} samples"


def minority(one: dict[str, Any]) -> str:
    """The labels that some samples name, but not enough of them."""
    fewer = [f"{label} ({_named(one, label)})" for label in one["agreement"] if label not in one["labels"]]
    return f"named by fewer: {', '.join(fewer)}" if fewer else ""


def draw(path: Path, image: Image.Image, one: dict[str, Any], title: str, stamp: str) -> None:
    """The image with the answer beside it; a `stamp` across both, so that nobody takes a stand-in's output for a diagnosis."""
    import textwrap

    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(image.convert("L"), cmap="gray")
    left.set_axis_off()
    if stamp:
        for panel in (left, right):
            bold = {"fontsize": 44, "color": "#c0392b", "alpha": 0.45, "rotation": 30, "weight": "bold"}
            panel.text(0.5, 0.5, stamp, ha="center", va="center", transform=panel.transAxes, **bold)
    right.set_axis_off()
    parts = map(printable, one["reasoning"].strip().splitlines())
    body = [line for part in parts for line in textwrap.wrap(part, 62) or [""]]
    if len(body) > 26:
        body = [*body[:26], "... (the rest is in answers.json)"]
    answer = [line for part in (doubt(one), finding(one), minority(one)) for line in textwrap.wrap(part, 62)]
    text = "\n".join([*textwrap.wrap(title, 62), "", *answer, "", *body])
    right.text(0, 1, text, va="top", fontsize=10, parse_math=False, transform=right.transAxes)
    figure.supxlabel(WARNING, fontsize=8, color="#555555")
    figure.savefig(path, dpi=110)
