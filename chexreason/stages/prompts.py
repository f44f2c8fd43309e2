"""The study's prompts, laid out so that a clinician can review them and a researcher can see what a model will read.

Leaves prompts.md: every prompt with its design cue, its output form, its tokens for each model and the text that each model
sees. A model whose files are not available is listed as such.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason.errors import ChexReasonError, suggestion
from chexreason.pages import markdown_table
from chexreason.prompts import Prompt, write_answer
from chexreason.runs.files import write_text
from chexreason.runs.folders import Run
from chexreason.runs.identity import CIRCUMSTANCE

if TYPE_CHECKING:
    from chexreason.models.rendering import RenderedPrompt

PAGE, SCREEN = "prompts.md", "screen.txt"
EXAMPLE = ["Cardiomegaly", "Pleural Effusion"]
QUESTIONS = (
    "Would you read a film in this order, with these words?",
    "Is anything in it wrong, missing or misleading?",
    "Would an answer that follows it be one that you could sign?",
)


@dataclass(frozen=True)
class Settings:
    """What is printed, and for which film the visual tokens are counted (width, height)."""

    name: str
    shown: str
    model: str
    all: bool
    weights: dict[str, str] = field(metadata=CIRCUMSTANCE, default_factory=dict)
    image_size: list[int] = field(default_factory=lambda: [2544, 3056])

    def __post_init__(self) -> None:
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            raise ValueError(f"image_size={self.image_size}: width and height are wanted, in pixels")


USES = ("prompt",)
TORCH = True


def reusable(_: Settings) -> bool:
    """No: the available models may have changed since."""
    return False


def lacks(settings: Settings, used: dict[str, Any], _: Any) -> list[str]:
    """Messages about settings that name a model or prompt that does not exist."""
    from chexreason.runs.config import choice_names

    models, prompts = ({*choice_names(group)} for group in ("model", "prompt"))
    asked = {f"stage.weights.{name}": (name, models) for name in settings.weights}
    asked |= {"stage.model": (settings.model, models), "stage.shown": (settings.shown, prompts | {used["prompt"].name})}
    return [
        f"{key}={name}: there is no such choice.{suggestion(name, there)}"
        for key, (name, there) in asked.items()
        if name not in there
    ]


def execute(run: Run) -> dict[str, Any]:
    """Write the page; `show` prints the table and what was asked for in full."""
    from chexreason.runs.config import every

    settings: Settings = run.settings
    prompts = {prompt.name: prompt for prompt in every("prompt")} | {run.prompt.name: run.prompt}
    models = {model.name: model for model in every("model")}
    views: dict[str, dict[str, RenderedPrompt]] = {}
    absent: dict[str, str] = {}
    for name, model in models.items():
        try:
            views[name] = _views(model, prompts, run)
        except ChexReasonError as error:
            absent[name] = str(error).splitlines()[0]
            run.note(f"{name} is not at hand: {absent[name]}")
    if unsaid := ", ".join(run.prompt.unsaid):
        run.note(f"{run.prompt.name}: its instruction does not say {unsaid}; only a model that was trained to will write so")
    write_text(run.folder / PAGE, page(prompts, views, absent, settings.image_size))
    chosen = list(prompts) if settings.all else [settings.shown]
    full = [_full(prompts[name], settings.model, views.get(settings.model, {}).get(name)) for name in chosen]
    write_text(run.folder / SCREEN, "\n\n".join([*full, "\n".join(table(prompts, views, absent))]))
    return {"prompts": len(prompts), "tokens": {n: {p: one.tokens for p, one in v.items()} for n, v in views.items()}}


def show(folder: Path) -> None:
    """Print the table and where the page is."""
    print((folder / SCREEN).read_text(encoding="utf-8"))
    print(f"\nfor review: {folder / PAGE}", flush=True)


def _views(model: Any, prompts: dict[str, Prompt], run: Run) -> dict[str, RenderedPrompt]:
    from chexreason.models.rendering import processor_at_hand, render

    processor = processor_at_hand(model, run.folder.parent, run.settings.weights.get(model.name))
    size = (run.settings.image_size[0], run.settings.image_size[1])
    return {name: render(processor, prompt.instruction, size) for name, prompt in prompts.items()}


def _full(prompt: Prompt, model: str, seen: RenderedPrompt | None) -> str:
    what = f"as {model} sees it ({_count(seen)})" if seen else f"its instruction ({model} is not at hand)"
    return f"=== {prompt.name}: {what}\n\n{(seen.text if seen else prompt.instruction).strip()}"


def _count(seen: RenderedPrompt) -> str:
    return f"{seen.tokens} tokens, of which {seen.visual_tokens} for the image"


def table(prompts: dict[str, Prompt], views: dict[str, dict[str, RenderedPrompt]], absent: dict[str, str]) -> list[str]:
    """All prompts with the tokens that they take, as a table that reads well on a screen and as Markdown."""
    head = ["prompt", "cue (Table 1)", "section", "grammar", "version", *(f"{model}, tokens" for model in views)]
    rows = []
    for name, prompt in prompts.items():
        counts = [str(views[model][name].tokens) for model in views]
        rows.append([name, prompt.cue or "-", prompt.section or "-", prompt.grammar, prompt.version, *counts])
    lines = markdown_table(head, rows, align="left").splitlines()
    return lines + ([""] if absent else []) + [f"{name} is not at hand: {reason}" for name, reason in absent.items()]


def page(
    prompts: dict[str, Prompt], views: dict[str, dict[str, RenderedPrompt]], absent: dict[str, str], size: list[int]
) -> str:
    """The page for reviewers, in Markdown."""
    from chexreason.teacher.request import ROLE

    visual = [f"{name} {next(iter(seen.values())).visual_tokens}" for name, seen in views.items()]
    spent = f"Tokens include those of a film of {size[0]} x {size[1]} pixels: {', '.join(visual)}." if visual else ""
    parts = ["# The prompts", "\n".join(table(prompts, views, absent)), spent]
    for name, prompt in prompts.items():
        described = f"*{prompt.cue}*. " if prompt.cue else ""
        described += f"Section {prompt.section}. " if prompt.section else ""
        parts += [f"## {name}", f"{described}Version {prompt.version}."]
        untold = f" (its instruction does not say {', '.join(prompt.unsaid)})" if prompt.unsaid else ""
        parts += [_fenced(prompt.instruction), f"An answer has this form{untold}:"]
        parts += [_fenced(write_answer(prompt.grammar, "the reasoning", EXAMPLE))]
        parts.append("\n".join(f"- [ ] {question}" for question in QUESTIONS) + "\n\nReviewer, date, remarks:")
        for model, seen in views.items():
            text = f"<summary>As {model} sees it: {_count(seen[name])}</summary>"
            parts.append(f"<details>{text}\n\n{_fenced(seen[name].text)}\n\n</details>")
    parts += ["## What a hosted teacher is told besides", "It gets the film, the instruction above, the labels, and this:"]
    return "\n\n".join(filter(None, [*parts, _fenced(ROLE)])) + "\n"


def _fenced(text: str) -> str:
    return f"```text\n{text.strip()}\n```"
