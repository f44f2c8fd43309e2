"""Reads filled review pages, checks them against their pack, combines them, and applies them to the SFT set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chexreason.answers.parser import parse_strict
from chexreason.errors import ChexReasonError, nearest, printable
from chexreason.labels import FINDINGS
from chexreason.prompts import write_answer
from chexreason.review.pack import SCHEMA, Case, Pack, text_digest
from chexreason.runs.files import read_lines, text_of, without_doubles
from chexreason.teacher.gates import Gates

VERDICTS = ("accept", "edit", "reject")
MARKS = ("seen", "not_seen", "unsure")
_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Judgement:
    """One reader's judgement of one case. `verdict` is the effective one: an edit that a gate refuses is a rejection.

    If a reader has marked findings but not yet decided, `verdict` is "" and the marks count. Two judgements are equal if they
    say the same about the same case, whoever made them and whenever.
    """

    pack: Pack = field(compare=False)
    case: Case
    reader: str = field(compare=False)
    verdict: str
    completion: str  # the text to be trained on
    comment: str
    marks: Mapping[str, str]  # finding -> seen | not_seen | unsure
    missed: tuple[str, ...]
    reason: str  # why an edit was refused
    file: Path = field(compare=False)
    saved: datetime | None = field(compare=False)  # None in files that do not state it

    @property
    def subject(self) -> tuple[str, str, str]:
        """The key of the judged trace, the same in all packs of one version of its prompt."""
        return self.pack.prompt, self.pack.prompt_version, self.case.id


@dataclass(frozen=True)
class Trace:
    """One line of verdicts.jsonl: what the readers together decided about one trace."""

    path: str
    trace: str  # digest of the text that was judged
    verdict: str
    completion: str
    readers: list[str]
    comments: list[str]
    schema: int = SCHEMA


def read_filled(path: Path, packs: Mapping[str, Pack]) -> list[Judgement]:
    """The judgements in a saved page; cases of which nothing was said are left out.

    Args:
        packs: the packs at hand, by their digest.

    Raises:
        ChexReasonError: naming the file, the case and what is wrong with it.
    """
    try:
        values = json.loads(text_of(path), object_pairs_hook=without_doubles)
        json.dumps(values, ensure_ascii=False).encode()  # half a character is none
    except FileNotFoundError:
        raise ChexReasonError(f"stage.filled: there is no file {path}") from None
    except (ValueError, OSError, RecursionError) as error:
        raise ChexReasonError(f"{path} is no saved review: {error}") from None
    known = isinstance(values, dict) and values.get("schema") == SCHEMA and values["schema"] is not True
    if not known or not isinstance(values.get("verdicts"), dict):
        raise ChexReasonError(f"{path} is no saved review of schema {SCHEMA}: save it from the page once more")
    pack = packs.get(str(values.get("pack")))
    if pack is None:
        raise ChexReasonError(
            f"{path} was filled for the pack {values.get('pack')!r}, which no review run here made (there are: "
            f"{', '.join(packs) or 'none'}). Read it where its pack was made, or bring that run's folder here."
        )
    cases = {case.id: case for case in pack.cases}
    reader = values.get("reader") or path.stem
    if not isinstance(reader, str):
        raise ChexReasonError(f"{path}: the reader is {reader!r}; a name is wanted")
    reader = printable(" ".join(reader.split())) or path.stem
    saved = _time(values.get("saved"), path)
    judged = []
    for name, said in values["verdicts"].items():
        if name not in cases:
            raise ChexReasonError(f"{path}: case {name!r} is not in its pack")
        judgement = _judgement(pack, cases[name], reader, said, path, saved)
        if judgement:
            judged.append(judgement)
    return judged


def _time(said: Any, path: Path) -> datetime | None:
    """When a page was saved."""
    try:
        saved = None if said is None else datetime.fromisoformat(said)
    except (TypeError, ValueError):
        saved = datetime.min
    if saved and not saved.tzinfo:
        raise ChexReasonError(f"{path}: saved is {said!r}; a time as the page writes it is wanted, 2026-01-31T09:30:00.000Z")
    return saved


def _judgement(pack: Pack, case: Case, reader: str, said: Any, path: Path, saved: datetime | None) -> Judgement | None:
    where = f"{path}, case {case.id}"
    if not isinstance(said, dict):
        raise ChexReasonError(f"{where}: an object is wanted")
    verdict, marks, missed = said.get("verdict", ""), said.get("marks", {}), said.get("missed", [])
    comment, text = said.get("comment", ""), said.get("text", "")
    if verdict not in (*VERDICTS, ""):
        raise ChexReasonError(f"{where}: the verdict is {verdict!r}; one of {', '.join(VERDICTS)} is wanted")
    if not isinstance(marks, dict) or set(marks) - set(case.labels) or any(mark not in MARKS for mark in marks.values()):
        raise ChexReasonError(f"{where}: marks {marks!r} are not of its findings, or none of {', '.join(MARKS)}")
    others = [finding for finding in FINDINGS if finding not in case.labels]
    wrong = [finding for finding in missed if finding not in others] if isinstance(missed, list) else [missed]
    if wrong:
        hint = nearest(str(wrong[0]), others)
        raise ChexReasonError(f"{where}: missed {missed!r} is no list of findings that the case does not have.{hint}")
    if not isinstance(comment, str) or not isinstance(text, str):
        raise ChexReasonError(f"{where}: comment and text must be texts")
    if verdict == "edit" and not text.strip():
        raise ChexReasonError(f"{where}: an edit without text; write it on the page, or choose another verdict, and save again")
    if not (verdict or marks or missed or comment.strip()):
        return None
    completion, reason = case.completion, ""
    if verdict == "edit":
        completion = write_answer(pack.grammar, text.strip(), case.labels)
        refusal = Gates(**pack.gates).refuse(completion, case.labels, pack.grammar)
        if refusal:
            verdict, completion, reason = "reject", case.completion, f"the edited text was refused ({refusal})"
        elif text.strip() == parse_strict(case.completion, pack.grammar).thoughts:
            verdict, completion = "accept", case.completion  # nothing was changed
    return Judgement(pack, case, reader, verdict, completion, comment, marks, tuple(missed), reason, path, saved)


def last_words(judgements: Sequence[Judgement]) -> list[Judgement]:
    """The last saved judgement for each reader and case; readers' names are compared without regard to case.

    Raises:
        ChexReasonError: a reader said different things of a case in files that do not say which of them was saved last.
    """
    names = {one.reader.casefold(): one.reader for one in reversed(judgements)}
    said: dict[tuple[str, tuple[str, str, str]], list[Judgement]] = {}
    for one in judgements:
        key = one.reader.casefold(), one.subject
        said[key] = [*said.pop(key, []), one]  # in the order of the last ones
    return [replace(_last(words), reader=names[reader]) for (reader, _), words in said.items()]


def _last(words: list[Judgement]) -> Judgement:
    last = max(words, key=lambda one: one.saved or _EVER)
    for one in words:
        if one != last and one.saved in (None, last.saved):
            raise ChexReasonError(
                f"{one.file} and {last.file} say different things of case {one.case.id}, both in the name of {one.reader}, and "
                "do not tell which was saved later: name one of the two, or give each reader a name"
            )
    return last


def together(judgements: Sequence[Judgement]) -> list[Trace]:
    """One decision per trace: rejected if any reader rejects it, else edited (the edit saved last), else accepted.

    Traces without a verdict are left out.
    """
    by_trace: dict[tuple[str, str], list[Judgement]] = {}
    for one in filter(lambda one: one.verdict, judgements):
        by_trace.setdefault((one.case.path, one.case.completion), []).append(one)
    decided = []
    for (path, completion), said in by_trace.items():
        verdict = max((one.verdict for one in said), key=VERDICTS.index)
        edits = sorted((one for one in said if one.verdict == "edit"), key=lambda one: one.saved or _EVER)
        text = edits[-1].completion if verdict == "edit" else completion
        comments = [
            " - ".join(filter(None, (one.reader, one.reason, one.comment))) for one in said if one.reason or one.comment
        ]
        comments += [f"{one.reader} - edited it otherwise" for one in edits if one.completion != text]
        decided.append(
            Trace(path, text_digest(completion), verdict, text, list(dict.fromkeys(one.reader for one in said)), comments)
        )
    return decided


def honoured(traces: Sequence[dict[str, Any]], path: str) -> list[dict[str, Any]]:
    """`traces` without the rejected ones and with the reviewers' edits applied; traces that were not judged stay.

    Raises:
        ChexReasonError: the file is missing, or judges none of these traces.
    """
    if not Path(path).is_file():
        raise ChexReasonError(f"stage.reviewed={path}: there is no such file; stage=review stage.filled=[FILE] writes it")
    decided: dict[tuple[str, str], dict[str, Any]] = {}
    for number, one in enumerate(read_lines(Path(path), SCHEMA), start=1):
        where = f"stage.reviewed={path}, verdict {number}"
        if not all(isinstance(one.get(key), str) for key in ("path", "trace", "verdict", "completion")):
            raise ChexReasonError(f"{where}: it is none that stage=review stage.filled=[FILE] writes")
        if one["verdict"] not in VERDICTS:
            raise ChexReasonError(f"{where}: the verdict is {one['verdict']!r}; one of {', '.join(VERDICTS)} is wanted")
        if decided.setdefault((one["path"], one["trace"]), one) != one:
            raise ChexReasonError(
                f"{where}: {one['path']} is judged twice. Read the filled pages together instead: stage=review "
                "'stage.filled=[FILE,FILE]'"
            )
    kept, met = [], 0
    for trace in traces:
        row = decided.get((trace["path"], text_digest(trace["completion"])))
        met += row is not None
        if row is None or row["verdict"] == "accept":
            kept.append(trace)
        elif row["verdict"] == "edit":
            kept.append(trace | {"completion": row["completion"]})
    if not met:
        raise ChexReasonError(f"stage.reviewed={path} judges none of these traces: it belongs to those of another teach run")
    return kept
