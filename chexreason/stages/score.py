"""Rewards of a file of completions, part by part (section 3.2.2, equations 3 and 4).

Lines are scored in their order: the nuanced reward's window runs through them. The output has both the answer of
the strict parser, which the reward uses, and that of the evaluation parser, and how it was read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from chexreason.answers import predictions
from chexreason.answers.parser import parse
from chexreason.errors import ChexReasonError, nearest, printable
from chexreason.labels import FINDINGS
from chexreason.rewards.scored import Scorer
from chexreason.runs.files import as_lines, each_line, require_output, text_of, without_doubles, write_text
from chexreason.runs.folders import Run
from chexreason.runs.identity import CIRCUMSTANCE, CONTENT
from chexreason.runs.lines import refuse_no_line

KEYS = frozenset(("id", "completion", "labels", "num_tokens", "uncertain", "finished"))
OTHERS = {"ignored": "uncertain", "tokens": "num_tokens"}  # what predictions call them
SCORES = "scores.jsonl"
SHOWN, LINES = "shown.txt", 20  # the table that is printed, and how many completions it holds


@dataclass
class Tokenizer:
    """The tokenizer for counting tokens."""

    model: str
    made_by: str | None
    weights: str

    def __post_init__(self) -> None:
        if self.made_by is not None:
            refuse_no_line("stage.tokenizer.made_by", self.made_by)


@dataclass(frozen=True)
class Settings:
    """What is scored, and with which label frequencies."""

    name: str
    input: str | None = field(metadata=CONTENT)
    output: str | None = field(metadata=CIRCUMSTANCE)
    frequencies: str | None = field(metadata=CONTENT)
    tokenizer: Tokenizer

    def require(self) -> None:
        """Raises ChexReasonError where no file is named."""
        if not self.input:
            raise ChexReasonError('stage.input is not set: name a JSON Lines file of {"id", "completion", "labels"}')
        require_output(self.output, self.input, self.frequencies)


USES = ("prompt", "reward")


def reusable(_: Settings) -> bool:
    """No: the tokenizer at the same path may have changed since."""
    return False


@dataclass(frozen=True)
class Given:
    """A completion to be scored."""

    id: Any
    text: str
    labels: list[str]
    num_tokens: int | None
    uncertain: list[str]
    finished: bool


def execute(run: Run) -> dict[str, Any]:
    """Score `stage.input`; leaves scores.jsonl, prints a table, returns the means."""
    from chexreason.data.frequencies import finding_frequencies
    from chexreason.models.tokens import token_counter, weights_folder

    settings: Settings = run.settings
    completions = read_completions(Path(str(settings.input)))
    frequencies = read_frequencies(Path(settings.frequencies)) if settings.frequencies else finding_frequencies()
    score = Scorer(run.reward, run.prompt.grammar, frequencies)
    counts = getattr(run.reward, "COUNTS_TOKENS", True)

    @cache
    def counter() -> Any:  # load the tokenizer only if a line lacks num_tokens
        wanted = settings.tokenizer
        return token_counter(weights_folder(wanted.model, wanted.made_by, wanted.weights, run.folder.parent))

    rows = []
    for one in completions:
        num_tokens = one.num_tokens
        if num_tokens is None:
            num_tokens = counter()(one.text) if counts else 0
        read = parse(one.text, run.prompt.grammar, one.finished)
        scored = score(one.text, one.labels, num_tokens, one.uncertain)
        rows.append(
            {
                "id": one.id,
                "valid": scored.answer.well_formed,
                "predicted": list(scored.answer.labels),
                "failure": scored.answer.failure,
                "reward": scored.reward,
                "parts": scored.parts,
                "tolerant": {"labels": list(read.labels), "failure": read.failure, "how": read.how},
            }
        )
    write_text(run.folder / SCORES, as_lines(rows))
    write_text(run.folder / SHOWN, as_table(rows) + "\n")
    return {
        "completions": len(rows),
        "valid": sum(row["valid"] for row in rows) / len(rows),
        "reward": sum(row["reward"] for row in rows) / len(rows),
        "parts": {part: sum(row["parts"][part] for row in rows) / len(rows) for part in rows[0]["parts"]},
    }


def deliver(folder: Path, output: Path) -> None:
    """Leave the scores in the file that the user named."""
    write_text(output, (folder / SCORES).read_text(encoding="utf-8"))


def show(folder: Path) -> None:
    """Print the table, of scores made now or before."""
    print((folder / SHOWN).read_text(encoding="utf-8"), end="")


def read_completions(path: Path) -> list[Given]:
    """The completions in `path`, one a line, in their order.

    Raises:
        ChexReasonError: naming the file, the line and what is wrong with it.
    """
    if not path.is_file():
        raise ChexReasonError(f"stage.input={path}: there is no such file")
    completions = [_completion(values, where) for where, values in each_line(path)]
    if not completions:
        raise ChexReasonError(f"{path} holds no completion")
    return completions


def _completion(values: dict[str, Any], where: str) -> Given:
    missing = [key for key in ("id", "completion", "labels") if key not in values]
    if missing:
        raise ChexReasonError(f'{where}: no {", ".join(missing)}; an object with "id", "completion" and "labels" is wanted')
    predictions.refuse_misspelt(values, KEYS, where)
    if other := next((key for key in OTHERS if key in values), None):
        raise ChexReasonError(f"{where}: the key {other!r} is not read. Did you mean {OTHERS[other]!r}?")
    finished = values.get("finished", True)
    if not isinstance(finished, bool):
        raise ChexReasonError(f'{where}: "finished" is {finished!r}; true or false is wanted')
    text, labels, num_tokens = values["completion"], values["labels"], values.get("num_tokens")
    uncertain = values.get("uncertain", [])
    if not isinstance(text, str):
        raise ChexReasonError(f'{where}: "completion" is no text')
    for key, found in (("labels", labels), ("uncertain", uncertain)):
        predictions.names(found, where, key)
    if num_tokens is not None and (not isinstance(num_tokens, int) or isinstance(num_tokens, bool) or num_tokens < 0):
        raise ChexReasonError(f'{where}: "num_tokens" is no count: {num_tokens!r}')
    return Given(values["id"], text, labels, num_tokens, uncertain, finished)


def read_frequencies(path: Path) -> dict[str, float]:
    """Share of studies with each finding, as a GRPO run writes it to frequencies.json.

    Raises:
        ChexReasonError: there is no such object in `path`.
    """
    try:
        given = json.loads(text_of(path), object_pairs_hook=without_doubles)
        why = ""
    except (OSError, ValueError) as error:
        given, why = None, f" ({error})"
    if not isinstance(given, dict):
        raise ChexReasonError(f"stage.frequencies={path}: a JSON object of findings and shares is wanted{why}")
    for finding in (*FINDINGS, *given):
        share = given.get(finding)
        if finding not in FINDINGS:
            raise ChexReasonError(f"stage.frequencies={path}: {finding!r} is no finding.{nearest(finding, FINDINGS)}")
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ChexReasonError(f"stage.frequencies={path}: {finding} is {share}; a share of studies is wanted, 0 to 1")
    return given


def as_table(rows: list[dict[str, Any]]) -> str:
    """A table of the first completions: reward, its parts, and the parsed answer."""
    from tabulate import tabulate

    head = ["id", "reward", *rows[0]["parts"], "answer"]
    shown = []
    for row in rows[:LINES]:
        reason = f" ({row['failure']})" if row["failure"] else ""
        answer = (", ".join(row["predicted"]) or "-") + reason
        shown.append([printable(str(row["id"]))[-12:], row["reward"], *row["parts"].values(), answer])
    table = tabulate(shown, head, floatfmt=".3f", disable_numparse=[0])
    return f"{table}\n... and {len(rows) - LINES} more" if len(rows) > LINES else table
