"""Watching a policy for mode collapse (section 3.2.2): drops in entropy, repetition, one answer for every image.

Everything is judged from a trainer's history alone, so that a resumed run judges as an uninterrupted one does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from chexreason.answers.parser import Answer

NGRAM = 4


@dataclass
class Limits:
    """Thresholds of the signs of collapse; null: not watched."""

    entropy: float | None  # below this share of the first window's
    length: float | None  # completions shorter than this share of the first window's, or longer by as much
    distinct: float | None  # share of a rollout's completions that differ from each other, at least
    dominant_label: float | None  # share of a rollout's answers that carry its commonest label, at most
    repetition: float | None  # share of a completion's 4-grams that it repeats, at most
    no_spread: float | None  # share of studies whose completions all earn the same, at most
    failure_rate: float | None  # completions without a readable answer, at most


@dataclass
class Collapse:
    """Means over the last `window` rollouts beyond `warn` are noted; beyond `stop` they end the run."""

    window: int
    warn: Limits
    stop: Limits


LOGGED = {  # what a trainer's history calls each sign
    "entropy": "entropy",
    "length": "completions/mean_length",
    "distinct": "collapse/distinct",
    "dominant_label": "collapse/dominant_label",
    "repetition": "collapse/repetition",
    "no_spread": "frac_reward_zero_std",
    "failure_rate": "failure_rate",
}


def signs(completions: Sequence[str], answers: Sequence[Answer]) -> dict[str, float]:
    """Signs of collapse in one rollout's completions and what the parser read from them."""
    counts = Counter(label for answer in answers for label in answer.labels)
    return {
        LOGGED["distinct"]: len(set(completions)) / len(completions),
        LOGGED["dominant_label"]: max(counts.values(), default=0) / len(answers),
        LOGGED["repetition"]: sum(map(repeated_share, completions)) / len(completions),
        LOGGED["failure_rate"]: sum(answer.failure is not None for answer in answers) / len(answers),
    }


def repeated_share(text: str) -> float:
    """Share of a text's 4-grams of words that occurred before in it (seq-rep-4 of Welleck et al., arXiv:1908.04319)."""
    words = text.split()
    grams = [tuple(words[start : start + NGRAM]) for start in range(len(words) - NGRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def beyond(history: Sequence[dict[str, Any]], limits: Limits, window: int) -> list[str]:
    """What the last `window` rollouts of a history show beyond `limits`, in words; [] before there are two windows."""
    rollouts = [entry for entry in history if "reward" in entry]
    if len(rollouts) < 2 * window:
        return []
    found = []
    for field in fields(Limits):
        limit = getattr(limits, field.name)
        if limit is None:
            continue
        first, last = (_mean(part, LOGGED[field.name]) for part in (rollouts[:window], rollouts[-window:]))
        if _is_beyond(field.name, limit, first, last):
            found.append(f"{field.name} {last:.3g} (limit {limit:g}, at first {first:.3g})")
    return found


def _is_beyond(sign: str, limit: float, first: float, last: float) -> bool:
    if sign == "entropy":
        return last < limit * first
    if sign == "length":
        return not limit * first <= last <= first / limit
    return last < limit if sign == "distinct" else last > limit


def _mean(entries: Sequence[dict[str, Any]], key: str) -> float:
    return sum(entry[key] for entry in entries) / len(entries)
