"""The paper's Figures 1-3 and the per-label transfer plot, redrawn from logged data, as vector and as PNG.

Colours are Okabe and Ito's (2008), which stay apart under every common form of colour blindness; lines differ in dash
and dots in shape as well, so that the figures survive a grey printer.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chexreason.labels import in_order
from chexreason.report import transfer
from chexreason.report.published import PROMPTS
from chexreason.report.study import Study, Training
from chexreason.runs.files import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# Colours in order of use on white, and on black, where dark ones would be hard to see.
COLOURS = {
    "light": ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    "dark": ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00"),
}
DASHES = ("-", "--", "-.", ":")
NUMBERS = {"nuanced": 2, "hard": 3}  # the paper's figure for each reward
SMOOTHING = 0.95  # Figures 2 and 3
THEMES = {"light": ("#ffffff", "#222222", "#dddddd"), "dark": ("#16191d", "#e6e6e6", "#3a4048")}


@dataclass(frozen=True)
class Figure:
    """A drawn figure: its caption, how to draw it in a theme (light or dark), and what is `said` above it, for every copy."""

    name: str
    title: str
    caption: str
    draw: Callable[[], Canvas]
    said: str = ""
    _drawn: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)  # by theme

    def svg(self, theme: str = "light") -> str:
        """The figure as SVG text, the same text for the same data; drawn once."""
        if theme not in self._drawn:
            stream = io.StringIO()
            with _theme(theme, self.name):
                self._canvas().savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
            self._drawn[theme] = stream.getvalue()
        return self._drawn[theme]

    def save(self, folder: Path) -> None:
        """Write <name>.svg and <name>.png."""
        write_text(folder / f"{self.name}.svg", self.svg())
        with _theme("light", self.name):
            self._canvas().savefig(folder / f"{self.name}.png", dpi=160, metadata={"Software": None})

    def _canvas(self) -> Canvas:
        canvas = self.draw()
        if self.said:
            canvas.suptitle(self.said, fontsize=9)
        return canvas


def figures(study: Study) -> list[Figure]:
    """Every figure that the runs at hand have data for."""
    made = []
    tuned = [run for run in study.trainings if run.stage == "sft" and len(run.series("loss")[0])]
    for model, runs in _by(tuned, lambda run: run.arm.model):
        several = len({run.arm.model for run in tuned}) > 1
        name, title = ("figure1" + f"_{model}" * several, "Figure 1. Supervised fine-tuning" + f" of {model}" * several)
        made.append(Figure(name, title, FIGURE_1, partial(_sft, runs)))
    optimised = [run for run in study.trainings if run.stage == "grpo" and len(run.series("reward")[0])]
    for reward, runs in _by(optimised, lambda run: run.arm.reward):
        number = NUMBERS.get(reward)
        name, start = (f"figure{number}", f"Figure {number}. ") if number else (f"figure_grpo_{reward}", "")
        made.append(Figure(name, f"{start}GRPO with the {reward} reward", FIGURES_2_3, partial(_grpo, runs)))
    made.sort(key=lambda figure: figure.name)
    pairs = transfer.transfers(study)
    if pairs:
        made.append(Figure("transfer", "Transfer by label", TRANSFER, partial(_transfer, study, pairs)))
    return made


def _by(runs: Sequence[Training], key: Callable[[Training], str]) -> list[tuple[str, list[Training]]]:
    """Runs grouped by a key, in the key's order."""
    return [(name, [run for run in runs if key(run) == name]) for name in sorted({key(run) for run in runs})]


FIGURE_1 = "Token accuracy (left) and loss (right) on the training traces, by output format."
FIGURES_2_3 = (
    "Total reward, mean of the reward function and completion length in tokens. Faint: as logged at each step; "
    f"bold: exponential moving average with factor {SMOOTHING}."
)
TRANSFER = (
    "F1 per label on CheXpert (circle) and another site (diamond), on the labels that both have, with 95 % intervals. "
    "A diamond left of its circle is a loss in transfer."
)


def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exponential moving average, divided by the weight seen so far so that it does not start from zero."""
    import pandas as pd

    return pd.Series(values).ewm(alpha=1 - SMOOTHING).mean().to_numpy()


def _sft(runs: Sequence[Training]) -> Canvas:
    canvas, (accuracy, loss) = _panels(2)
    titles = _titles(runs)
    for place, (run, title) in enumerate(zip(runs, titles, strict=True)):
        for axes, name in ((accuracy, "mean_token_accuracy"), (loss, "loss")):
            axes.plot(*run.series(name), label=title, **_style(place))
    _label(accuracy, "Mean token accuracy")
    _label(loss, "Training loss")
    _legend(canvas, accuracy, len(runs), columns=2)
    return canvas


def _grpo(runs: Sequence[Training]) -> Canvas:
    canvas, panels = _panels(3)
    names = ("reward", f"rewards/{runs[0].arm.reward}/mean", "completions/mean_length")
    titles = _titles(runs)
    for axes, name in zip(panels, names, strict=True):
        for place, (run, title) in enumerate(zip(runs, titles, strict=True)):
            steps, values = run.series(name)
            style = _style(place)
            axes.plot(steps, values, color=style["color"], linewidth=0.8, alpha=0.35)
            axes.plot(steps, smooth(values), label=title, **style | {"linewidth": 2.2})
    for axes, title in zip(panels, ("Reward", "Reward function, mean", "Completion length (tokens)"), strict=True):
        _label(axes, title)
    _legend(canvas, panels[0], len(runs), columns=3)
    return canvas


def _transfer(study: Study, pairs: Sequence[transfer.Transfer]) -> Canvas:
    from matplotlib.figure import Figure as Canvas

    sites = {pair.far.dataset for pair in pairs}
    columns = min(5, len({pair.arm for pair in pairs})) if len(sites) > 1 else min(3, len(pairs))  # a row for each site
    rows = -(-len(pairs) // columns)
    labels = in_order({label for pair in pairs for label in pair.labels})  # the panels share their rows
    height = 1.1 + len(labels) * 0.32
    canvas = Canvas(figsize=(2.2 + 2.9 * columns, rows * height), layout="constrained")
    grid = canvas.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    other = "another site" if len(sites) > 1 else pairs[0].far.site
    marks = ((pairs[0].near.site, "C0", "o", -0.14), (other, "C1", "D", 0.14))
    for axes, pair in zip(grid.flat, pairs, strict=False):
        for label, *both in transfer.per_label(study, pair):
            for one, (site, colour, shape, shift) in zip(both, marks, strict=True):
                y = labels.index(label) + shift
                axes.plot([one.low, one.high], [y] * 2, color=colour, alpha=0.45, linewidth=2)
                name = site if label == pair.labels[0] else None
                axes.plot([one.ours], [y], shape, color=colour, markersize=5.5, label=name)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_xlim(-0.02, 1.02)
        title = study.title(pair.arm) + (f", {pair.far.dataset}" if len(sites) > 1 else "")
        axes.set_title(textwrap.fill(title, 30), fontsize=9.5)
        axes.grid(axis="x")
    grid.flat[0].invert_yaxis()
    for axes in list(grid.flat)[len(pairs) :]:
        axes.set_visible(False)
    for axes in list(grid.flat)[max(0, len(pairs) - columns) : len(pairs)]:
        axes.set_xlabel("F1")
        axes.tick_params(labelbottom=True)
    _legend(canvas, grid.flat[0], 2, columns=2)
    return canvas


def _panels(count: int) -> tuple[Canvas, Sequence[Axes]]:
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(3.6 * count, 3.2), layout="constrained")
    return canvas, list(canvas.subplots(1, count))


def _label(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("Step")
    axes.grid()


def _legend(canvas: Canvas, axes: Axes, entries: int, columns: int) -> None:
    """One legend under all panels; none if there is only one series."""
    if entries > 1:
        entry = axes.get_legend_handles_labels()
        canvas.legend(*entry, loc="outside lower center", ncols=min(entries, columns), frameon=False)


def _style(place: int) -> dict[str, Any]:
    return {"color": f"C{place}", "linestyle": DASHES[place % len(DASHES)], "linewidth": 1.6}


def _titles(runs: Sequence[Training]) -> list[str]:
    """Labels for these runs: the format, and whatever else differs between them (model, seed, or the run's name)."""
    models, seeds = {run.arm.model for run in runs}, {run.manifest["config"].get("seed") for run in runs}
    titles = []
    for run in runs:
        parts = [PROMPTS.get(run.arm.prompt, run.arm.prompt)]
        parts += [run.arm.model] if len(models) > 1 else []
        parts += [f"seed {run.manifest['config'].get('seed')}"] if len(seeds) > 1 else []
        titles.append(", ".join(parts))
    repeated = {title for title in titles if titles.count(title) > 1}
    return [
        f"{title}, {run.folder.name.rpartition('-')[2]}" if title in repeated else title
        for run, title in zip(runs, titles, strict=True)
    ]


@contextmanager
def _theme(theme: str, salt: str) -> Iterator[None]:
    from cycler import cycler
    from matplotlib import rc_context

    back, ink, grid = THEMES[theme]
    ink_keys = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "axes.titlecolor")
    settings: dict[Any, Any] = dict.fromkeys(ink_keys, ink)
    settings |= dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), back)
    settings["axes.prop_cycle"] = cycler(color=COLOURS[theme])
    settings |= {"grid.color": grid, "grid.linewidth": 0.6, "axes.axisbelow": True, "font.size": 9}
    settings |= {"axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": salt}
    with rc_context(settings):
        yield
