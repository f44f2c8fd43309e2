"""What a review found: accept rates and agreement, by label, by prompt version and between readers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from chexreason.labels import FINDINGS
from chexreason.pages import markdown_table, markdown_text
from chexreason.review.verdicts import VERDICTS, Judgement


def summary(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Rates over judgements (one per reader and case: see `last_words`); of those without a verdict, the marks count.

    "agreement" is the share of a case's findings that readers saw among those that they marked seen or not seen; "accepted"
    comes with its 95 % Wilson interval.
    """
    versions = sorted({(one.pack.prompt, one.pack.prompt_version) for one in judgements})
    return {
        "judgements": sum(bool(one.verdict) for one in judgements),
        "undecided": sum(not one.verdict for one in judgements),
        "cases": len({one.subject for one in judgements if one.verdict}),
        "readers": sorted({one.reader for one in judgements}),
        "all": _rates(judgements),
        "by_label": {
            finding: _rates([one for one in judgements if finding in one.case.labels], finding)
            | {"missed": sum(finding in one.missed for one in judgements)}
            for finding in FINDINGS
        },
        "by_prompt_version": {
            f"{prompt} {version}": _rates(
                [one for one in judgements if (one.pack.prompt, one.pack.prompt_version) == (prompt, version)]
            )
            for prompt, version in versions
        },
        "between_readers": _between(judgements),
    }


def _rates(judgements: Sequence[Judgement], finding: str | None = None) -> dict[str, Any]:
    """Verdicts and marks; with `finding`, the marks of that finding only."""
    from scipy.stats import binomtest

    number = sum(bool(one.verdict) for one in judgements)
    verdicts = {verdict: sum(one.verdict == verdict for one in judgements) for verdict in VERDICTS}
    marks = [mark for one in judgements for label, mark in one.marks.items() if finding in (None, label)]
    decided = marks.count("seen") + marks.count("not_seen")
    interval = binomtest(verdicts["accept"], number).proportion_ci(method="wilson") if number else None
    return {
        "judgements": number,
        **verdicts,
        "accepted": verdicts["accept"] / number if number else None,
        "interval": [float(interval.low), float(interval.high)] if interval else None,
        "marked": len(marks),
        "agreement": marks.count("seen") / decided if decided else None,
    }


def _between(judgements: Sequence[Judgement]) -> list[dict[str, Any]]:
    """For each two readers, the share of their common cases on which they said the same, and Cohen's kappa."""
    from sklearn.metrics import cohen_kappa_score

    said: dict[str, dict[tuple[str, str, str], str]] = {}
    for one in filter(lambda one: one.verdict, judgements):
        said.setdefault(one.reader, {})[one.subject] = one.verdict
    pairs = []
    for first, second in combinations(sorted(said), 2):
        common = sorted(said[first].keys() & said[second].keys())
        if not common:
            continue
        left, right = ([said[reader][case] for case in common] for reader in (first, second))
        kappa = float(cohen_kappa_score(left, right)) if len({*left, *right}) > 1 else None
        same = sum(a == b for a, b in zip(left, right, strict=True)) / len(common)
        pairs.append({"readers": [first, second], "cases": len(common), "same": same, "kappa": kappa})
    return pairs


def markdown(found: dict[str, Any], refused: Sequence[str]) -> str:
    """The summary for people."""
    readers = ", ".join(markdown_text(name) for name in found["readers"])
    undecided = f" In {found['undecided']} more there is no verdict yet: their marks count." if found["undecided"] else ""
    superseded = f" {found['superseded']} more are not counted: the same reader's last word on the case is."
    parts = [
        "# What the reviewers found",
        f"{found['judgements']} judgements of {found['cases']} cases by {readers}.{undecided}"
        f"{superseded if found['superseded'] else ''}",
    ]
    parts.append(_table("all", {"all": found["all"]}))
    parts += ["## By prompt version", _table("prompt, version", found["by_prompt_version"])]
    parts += [
        "## By label",
        _table("label", {k: v for k, v in found["by_label"].items() if v["judgements"] or v["marked"] or v["missed"]}),
    ]
    if found["between_readers"]:
        pairs = [
            [" and ".join(pair["readers"]), pair["cases"], _share(pair["same"]), _share(pair["kappa"])]
            for pair in found["between_readers"]
        ]
        parts += ["## Between readers", markdown_table(("readers", "cases", "same verdict", "kappa"), pairs)]
    if refused:
        listed = "\n".join(f"- {markdown_text(line)}" for line in refused)
        parts += ["## Edits that a gate refused (counted as rejected)", listed]
    parts.append(
        "Agreement: findings that readers saw, of those that they marked seen or not seen. Missed: cases where a reader saw "
        "the finding and the labels do not have it."
    )
    return "\n\n".join(parts) + "\n"


def _table(first: str, rows: dict[str, dict[str, Any]]) -> str:
    lines = []
    for name, row in rows.items():
        interval = "[{:.2f}, {:.2f}]".format(*row["interval"]) if row["interval"] else "-"
        cells = [name, row["judgements"], _share(row["accepted"]), interval, row["edit"], row["reject"]]
        lines.append([*cells, _share(row["agreement"]), row.get("missed", "-")])
    return markdown_table((first, "judged", "accepted", "95 % interval", "edited", "rejected", "agreement", "missed"), lines)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
