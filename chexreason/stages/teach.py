"""Reasoning traces for the SFT set (section 3.1): the teacher is given the labels and reasons as if independently.

A trace is kept when it passes every gate (chexreason/teacher/gates.py); otherwise it is written again, and after the last
attempt set aside with the reason. Replies are written to journal.jsonl before they are processed, so that an interrupted
run resumes from there and no reply is paid for twice. A prompt that asks for labels alone needs no teacher: its traces
are written here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason.data.agreements import UNRESTRICTED
from chexreason.errors import ChexReasonError, at_least
from chexreason.runs.costs import Bill
from chexreason.runs.files import as_lines, read_json, write_json, write_text
from chexreason.runs.folders import JOURNAL, MANIFEST, Run
from chexreason.runs.identity import CIRCUMSTANCE
from chexreason.teacher.gates import Gates

if TYPE_CHECKING:
    from chexreason.runs.config import Config
    from chexreason.runs.plan import Plan
    from chexreason.teacher.ledger import Ledger
    from chexreason.teacher.lessons import Lesson


@dataclass(frozen=True)
class Settings:
    """Attempts per study, the gates that a trace must pass, and the budget."""

    name: str
    parents: dict[str, str | None] = field(metadata=CIRCUMSTANCE)
    attempts: int
    gates: Gates
    budget: float | None = field(metadata=CIRCUMSTANCE)

    def __post_init__(self) -> None:
        at_least(1, attempts=self.attempts)
        at_least(0, budget=self.budget)


USES = ("prompt", "teacher")
PARENTS = {"curated": ("curate",)}
WRITTEN_HERE = "here, from the labels: the prompt asks for no reasoning, nobody was asked"


def uses(config: Config) -> tuple[str, ...]:
    """The teacher is not used if a prompt asks for labels alone."""
    return USES if _reasons(config.prompt) else ("prompt",)


def bill(settings: Settings, used: dict[str, Any], parents: dict[str, Plan]) -> Bill | None:
    """The maximum use of the paid service; None if no service is used."""
    teacher = used.get("teacher")
    if teacher is None or teacher.address is None or "curated" not in parents:
        return None
    studies = parents["curated"].manifest["config"]["stage"]["sizes"]["sft"]
    money = min(studies * settings.attempts * teacher.at_most, inf if settings.budget is None else settings.budget)
    read, write, written = teacher.input_tokens, teacher.max_tokens, teacher.written_for(money / max(1, studies))
    return Bill(teacher.name, studies, settings.attempts, read, write, money, written)


def lacks(settings: Settings, used: dict[str, Any], parents: dict[str, Plan]) -> list[str]:
    """What prevents requests: a missing client, key, or acknowledgement that the films may be sent to the service."""
    from chexreason.teacher.guard import refuse_address

    teacher, found = used.get("teacher"), []
    if teacher is None or teacher.address is None:
        return []
    curated = parents["curated"].manifest if "curated" in parents else {"config": {}, "parents": {}}
    checks = [teacher.require_client, teacher.key]
    if "dataset" in curated["config"] and "dataset" not in curated["parents"]:  # otherwise the run that made the films has it
        stated = curated["config"]["dataset"].get("agreement")
        if stated is None:
            name = curated["config"]["dataset"]["name"]
            found.append(
                f"dataset={name} names no data-use agreement, and nothing is sent under one that is not known: set "
                f"dataset.agreement, to {UNRESTRICTED} where anyone may have the films"
            )
        checks.append(lambda: refuse_address(teacher, None if stated in (None, UNRESTRICTED) else stated))
    for check in checks:
        try:
            check()
        except ChexReasonError as error:
            found.append(str(error))
    return found


def lost(folder: Path) -> list[str]:
    """Images of the taught studies that are missing now."""
    from chexreason.data import curated

    return curated.lacking(folder.parent / read_json(folder / MANIFEST)["parents"]["curated"])


def _reasons(prompt: Any) -> bool:
    """Whether a prompt asks for reasoning; labels alone are known without a teacher."""
    from chexreason.answers.grammars import grammar_named

    return grammar_named(prompt.grammar).markers is not None


def execute(run: Run) -> dict[str, Any]:
    """Have the teacher write a trace for every study; writes traces.jsonl, set_aside.jsonl and card.json."""
    from tqdm import tqdm

    from chexreason.data.curated import curated_studies
    from chexreason.data.paths import write_root
    from chexreason.teacher.guard import refuse_to_send
    from chexreason.teacher.ledger import Ledger
    from chexreason.teacher.lessons import Classroom, shown
    from chexreason.teacher.local import FromLabels
    from chexreason.teacher.reply import StudyRecord
    from chexreason.teacher.traces import write_traces

    settings, curated = run.settings, run.parents["curated"]
    teacher = run.teacher or FromLabels()
    studies, root = curated_studies(curated, "sft")
    refuse_to_send(teacher, curated, studies, root)
    asked = [StudyRecord(study["path"], tuple(study["labels"])) for study in studies]
    ledger = Ledger(run.folder / JOURNAL, settings.budget)
    if ledger.requests and teacher.at_most:
        run.note(f"{ledger.requests} requests were made before, {ledger.spent:.4f} spent")

    with tqdm(total=len(asked), desc="teach", unit="study") as bar:

        def done() -> None:
            if teacher.at_most:
                bar.set_postfix_str(f"spent {ledger.spent:.2f}", refresh=False)
            bar.update()

        room = Classroom(teacher, run.prompt, root, run.seed, settings.attempts, settings.gates, ledger)
        lessons = room.teach(asked, done)

    declined = [trace for trace in lessons if trace.refusals and trace.refusals[-1].gate == "declined"]
    if declined:
        run.note(
            f"{len(declined)} studies are set aside because the service did not take them: set_aside.jsonl says which and why"
        )
    kept, aside = sorted_traces(studies, lessons, {"prompt": run.prompt.name, "teacher": teacher.name})
    write_text(run.folder / "set_aside.jsonl", as_lines(aside))
    if not kept:
        raise ChexReasonError(
            f"no trace of teacher={teacher.name} passed, and {ledger.spent:.4f} is spent: "
            f"{dict(Counter(trace['reason'] for trace in aside))}. One of them:{shown(lessons[0].came)}\n"
            f"  All are in {run.folder / 'set_aside.jsonl'}. Mend the teacher, then begin anew: force=true"
        )
    write_traces(run.folder, kept)
    card = {
        "prompt": run.prompt.name,
        "prompt_version": run.prompt.version,
        "teacher": teacher.name,
        "written": "by the teacher" if run.teacher else WRITTEN_HERE,
        "traces": len(kept),
        "set_aside": dict(Counter(lesson.refusals[-1].gate for lesson in lessons if not lesson.passed)),
        "mean_words": sum(len(trace["completion"].split()) for trace in kept) / len(kept),
        **rates(lessons, ledger),
    }
    write_root(run.folder, root)
    write_json(run.folder / "card.json", card)
    return card


def sorted_traces(
    studies: Sequence[dict[str, Any]], lessons: Sequence[Lesson], about: dict[str, str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The traces that passed, and those set aside with the reason, each with its study and what is said `about` all."""
    from chexreason.teacher.traces import SCHEMA

    kept, aside = [], []
    for study, lesson in zip(studies, lessons, strict=True):
        trace = {"schema": SCHEMA, **study, **about, "completion": lesson.text or "", "num_attempts": lesson.attempts}
        if lesson.passed:
            kept.append(trace)
        else:
            aside.append(trace | {"reason": str(lesson.refusals[-1])})
    return kept, aside


def headline(metrics: dict[str, Any]) -> str:
    """The result in one line."""
    said = f"{metrics['traces']} traces kept, {sum(metrics['set_aside'].values())} set aside"
    return f"{said}, {metrics['cost']:.4f} spent" if metrics["cost"] else said


def rates(lessons: Sequence[Lesson], ledger: Ledger) -> dict[str, Any]:
    """How many attempts it took, the share of them that each gate refused, and what was paid."""
    attempts = sum(lesson.attempts for lesson in lessons)
    refused = Counter(refusal.gate for lesson in lessons for refusal in lesson.refusals)
    return {
        "attempts": attempts,
        "passed_at_first": sum(lesson.passed and lesson.attempts == 1 for lesson in lessons) / len(lessons),
        "refused": {gate: {"attempts": count, "share": count / attempts} for gate, count in refused.most_common()},
        "requests": ledger.requests,
        "input_tokens": ledger.input_tokens,
        "output_tokens": ledger.output_tokens,
        "cost": round(ledger.spent, 6),
    }
