"""Reasoning traces for the SFT set (section 3.1): the teacher is given the labels and reasons as if independently.

A trace is kept when it parses strictly in its prompt's grammar and claims exactly the study's labels; otherwise it is
written again, and after the last attempt set aside with the reason.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from chexreason.errors import ChexReasonError
from chexreason.runs import Run, write_json, write_text


@dataclass(frozen=True)
class Settings:
    """How often a study may be tried."""

    name: str
    parents: dict[str, str]
    attempts: int


USES = ("dataset", "prompt", "teacher")
TORCH = False


def execute(run: Run) -> dict[str, Any]:
    """Have every study taught; leaves traces.jsonl, set_aside.jsonl and card.json."""
    from tqdm import tqdm

    from chexreason.data.curated import curated_studies
    from chexreason.teacher.reply import Study
    from chexreason.teacher.traces import SCHEMA

    studies, root = curated_studies(run.parents["curated"], "sft")
    kept, aside = [], []
    for study in tqdm(studies, desc="teach", unit="study"):
        asked = Study(study["path"], study["patient"], tuple(study["labels"]))
        trace = {"schema": SCHEMA, **study, "prompt": run.prompt.name, "teacher": run.teacher.name}
        for attempt in range(1, run.settings.attempts + 1):
            reply = run.teacher.write(asked, run.prompt, root, run.seed, attempt)
            reason = refuse(reply.text, study["labels"], run.prompt.grammar)
            if reason is None:
                break
        trace |= {"completion": reply.text or "", "num_attempts": attempt}
        if reason is None:
            kept.append(trace)
        else:
            aside.append(trace | {"reason": reason})
    if not kept:
        raise ChexReasonError(f"no trace passed: {dict(Counter(trace['reason'] for trace in aside))}")
    for name, traces in (("traces.jsonl", kept), ("set_aside.jsonl", aside)):
        write_text(run.folder / name, "".join(json.dumps(trace, ensure_ascii=False) + "\n" for trace in traces))
    card = {
        "root": str(root),
        "prompt": run.prompt.name,
        "teacher": run.teacher.name,
        "traces": len(kept),
        "set_aside": dict(Counter(trace["reason"] for trace in aside)),
        "mean_words": sum(len(trace["completion"].split()) for trace in kept) / len(kept),
    }
    write_json(run.folder / "card.json", card)
    run.note(f"{len(kept)} traces kept, {len(aside)} set aside")
    return card


def refuse(completion: str | None, labels: list[str], grammar: str) -> str | None:
    """Why a trace cannot be learnt from, or None."""
    from chexreason.completion import parse_strict

    if completion is None:
        return "nothing was written"
    answer = parse_strict(completion, grammar)
    if answer.failure is not None:
        return answer.failure
    if list(answer.labels) != labels or answer.unknown or answer.duplicates:
        return "labels differ from the ground truth"
    return None
