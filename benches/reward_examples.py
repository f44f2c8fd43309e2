"""Worked examples of every reward, computed by the code: python -m benches.reward_examples > docs/rewards.md"""

from __future__ import annotations

from collections.abc import Sequence

from chexreason.data.frequencies import finding_frequencies
from chexreason.rewards.scored import Scored, Scorer
from chexreason.runs.config import as_dict, compose, group

LONG, SHORT = 300, 40
THOUGHT = "<think>The left base is dense, with a meniscus.</think>"
TRUTH = ["Edema", "Pleural Effusion"]


def wrote(*labels: str) -> str:
    return f"{THOUGHT}<solution>{', '.join(labels)}</solution>"


# What happens, completion, its length in tokens; the truth is TRUTH throughout.
EXAMPLES = [
    ("exactly the truth", wrote("Edema", "Pleural Effusion"), LONG),
    ("the same, but short", wrote("Edema", "Pleural Effusion"), SHORT),
    ("one of two found", wrote("Pleural Effusion"), LONG),
    ("both, and a common label too many", wrote("Edema", "Pleural Effusion", "Support Devices"), LONG),
    ("both, and a rare label too many", wrote("Edema", "Pleural Effusion", "Pleural Other"), LONG),
    ("one found, one wrong", wrote("Pleural Effusion", "Pneumonia"), LONG),
    ("nothing right", wrote("No Finding"), LONG),
    ("nothing right, and short", wrote("No Finding"), SHORT),
    ("a label that is none of the 14", wrote("Edema", "Pleural Effusion", "Flu"), LONG),
    ("a label twice", wrote("Edema", "Pleural Effusion", "Edema"), LONG),
    ("text outside the blocks", "Sure! " + wrote("Edema", "Pleural Effusion"), LONG),
    ("no reasoning block", "<solution>Edema, Pleural Effusion</solution>", LONG),
    ("two solutions", wrote("Edema") + "<solution>Pleural Effusion</solution>", LONG),
    ("an empty solution", wrote(), LONG),
    ("nothing at all", "", 0),
]


def table(name: str) -> list[str]:
    """One reward's examples, part by part."""
    score = scorer(name)
    rows = [(what, tokens, score(text, TRUTH, tokens)) for what, text, tokens in EXAMPLES]
    parts = list(rows[0][2].parts)
    lines = _head(["completion", "tokens", "read", *parts, "reward"])
    for what, tokens, scored in rows:
        lines.append(_row([what, tokens, _read(scored), *map(_number, scored.parts.values()), _number(scored.reward)]))
    return lines


def window() -> list[str]:
    """The nuanced reward's memory: the same right answer, again and again."""
    score = scorer("nuanced")
    lines = _head(["prediction", "answer", "collapse", "reward"])
    answers = ["Edema"] * 71 + ["Fracture"] * 28 + ["Edema", "Fracture", "Edema"]
    for number, answer in enumerate(answers, start=1):
        scored = score(wrote(answer), [answer], LONG)
        if number in (1, 99, 100, 101, 102):
            lines.append(_row([number, answer, _number(scored.parts["collapse"]), _number(scored.reward)]))
    return lines


def scorer(name: str) -> Scorer:
    """A reward at the paper's scale."""
    reward = group("reward", as_dict(compose((f"reward={name}", "model=medgemma")))["reward"])
    return Scorer(reward, "tags", finding_frequencies())


def _head(names: Sequence[object]) -> list[str]:
    return [_row(names), _row(["---"] * len(names))]


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _read(scored: Scored) -> str:
    return scored.answer.failure or ", ".join(scored.answer.labels) or "-"


def _number(value: float) -> str:
    return f"{round(value, 3) + 0.0:g}"  # + 0.0: no -0


def page() -> str:
    """The whole page."""
    return "\n".join(
        [
            "# Rewards, by example",
            "",
            "Computed by the code (`python -m benches.reward_examples > docs/rewards.md`; a test compares). The truth is",
            f"{' and '.join(TRUTH)} in every line; label frequencies, which the nuanced and the balanced reward weigh by, are",
            "those of CheXpert's published train.csv. For completions of your own:",
            "`python -m chexreason.run stage=score reward=hard stage.input=FILE stage.output=FILE`.",
            "",
            "## hard (equation 3)",
            "",
            *table("hard"),
            "",
            "## nuanced (equation 4)",
            "",
            *table("nuanced"),
            "",
            "Its window of the last 100 predictions acts once it is full: 71 times Edema and 28 times something else, and",
            "then whoever answers with a label that more than 70 % of the window carry pays for it, right or wrong:",
            "",
            *window(),
            "",
            "## balanced (not in the paper)",
            "",
            *table("balanced"),
            "",
        ]
    )


if __name__ == "__main__":
    print(page(), end="")
