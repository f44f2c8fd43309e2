"""The tables of docs/performance.md, written from what `python -m benches.speed` measured.

Each stands between `<!-- NAME -->` and `<!-- /NAME -->`. One of which something was not measured stays as it is.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

Found = dict[str, dict[str, float]]

FAMILIES = {"gemma3": "Gemma 3", "qwen2_5_vl": "Qwen2.5-VL"}
# By table: what a row says, and the name that the bench gives it, behind the family's. {prompt}: both families' tokens.
COMPARED = {
    "training": (
        ("GRPO, whole: one rollout of 4 completions, two updates, no checkpointing", "G=4/grpo"),
        ("- rollout", "G=4/rollout"),
        ("- scoring (TRL: reference and old log-probabilities; here: reference)", "G=4/scoring"),
        ("- updates", "G=4/update"),
        ("SFT, three epochs of batches of one, gradient checkpointing as TRL's defaults and the paper have it", "epochs=3/sft"),
        ("the phantom world's stand-in: GRPO, 8 x 4 completions of 100 tokens", "stand-in/grpo"),
        ("- rollout", "stand-in/rollout"),
        ("- scoring", "stand-in/scoring"),
        ("- updates", "stand-in/update"),
        ("the phantom world's stand-in: SFT", "stand-in/sft"),
    ),
    "growth": (
        ("GRPO, 2 completions to a prompt", "G=2/grpo"),
        ("GRPO, 8 completions to a prompt", "G=8/grpo"),
        ("GRPO, 16 completions to a prompt", "G=16/grpo"),
        ("GRPO, prompts of {prompt} tokens", "short prompt/grpo"),
        ("GRPO, prompts of {prompt} tokens", "long prompt/grpo"),
        ("SFT, one epoch", "epochs=1/sft"),
        ("SFT, six epochs", "epochs=6/sft"),
    ),
    "memory": (("GRPO", "peak memory/grpo"), ("SFT", "peak memory/sft")),
    "evaluation": (
        ("`generate`, batches of 16", "evaluation against batches of 16"),
        ("`generate`, one image at a time", "evaluation against batches of 1"),
        ("the same, where another run has seen the images", "evaluation against batches of 1, known images"),
        (
            "`generate`, batches of 16, completions equally long: none leaves early",
            "evaluation against batches of 16, equally long",
        ),
        ("`generate`, batches of 16, ours of 32 images", "evaluation against batches of 16, ours of 32"),
        ("ours with transformers' cache, images known", "evaluation against transformers' cache, known images"),
    ),
}
RATES = {
    "curation: 3,000 of 227,835 studies": ("{:.1f} s", "curation of 227,835 studies"),
    **{
        f"parser, completions a second: {grammar}": (
            "{:,.0f} strict, {:,.0f} tolerant",
            f"parser, {grammar}, typical, strict",
            f"parser, {grammar}, typical, tolerant",
        )
        for grammar in ("tags", "braces", "labels", "answer")
    },
    "rewards, parsing included: hard, balanced, nuanced": (
        "{:,.0f}, {:,.0f}, {:,.0f} completions a second",
        "reward, hard",
        "reward, balanced",
        "reward, nuanced",
    ),
    "bootstrap of 518 films": ("{:,.0f} resamples a second", "bootstrap of 518 films"),
    "start-up, CPU time: `--help`, `--cfg job`, a run that is reused": (
        "{:.1f} s, {:.1f} s, {:.1f} s",
        "start-up, --help",
        "start-up, --cfg job",
        "start-up, a reused run",
    ),
    "SFT in batches of 8 traces: tokens computed for each that counts, as they are drawn and grouped by length": (
        "{:.2f}, {:.2f}",
        "SFT, batches of 8 traces as they are drawn",
        "SFT, batches of 8 traces grouped by length",
    ),
}


def table(name: str, found: Found) -> list[str] | None:
    """One table's lines in Markdown; None where something of it was not measured."""
    try:
        rows = list(_rates(found) if name == "rates" else _compared(name, found))
    except KeyError:
        return None
    columns = ["", ""] if name == "rates" else ["", *FAMILIES.values()]
    return [_line(columns), _line(["---"] * len(columns)), *map(_line, rows), "", f"On: {machine()}."]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _compared(name: str, found: Found) -> Iterator[list[str]]:
    for label, measured in COMPARED[name]:
        values = [found[f"{family}/{measured}"] for family in FAMILIES]
        prompts = " and ".join(f"{one.get('prompt', 0):.0f}" for one in values)
        yield [label.format(prompt=prompts), *map(cell, values)]


def _rates(found: Found) -> Iterator[list[str]]:
    for label, (form, *names) in RATES.items():
        values = [found[name]["rate"] for name in names]
        yield [label, form.format(*(round(value, -3) if value > 1000 else value for value in values))]


def cell(values: dict[str, float]) -> str:
    """A comparison: the ratio, its range, what either side took, and the ratio of operations where these were counted."""
    counted = f"; counted: {values['floor']:.1f}" if "floor" in values else ""
    ratio, low, high = (f"{values[key]:.2f}" for key in ("ratio", "low", "high"))
    if "plain_MiB" in values:
        return f"{ratio}x ({low} to {high}; {values['plain_MiB']:,.0f} MiB, {values['ours_MiB']:,.0f} MiB)"
    return f"{ratio}x ({low} to {high}; {values['plain_s']:.1f} s, {values['ours_s']:.1f} s{counted})"


def machine() -> str:
    """What measured: the processor, and the versions that matter."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
    return ", ".join([f"one core of an {processor}", *(f"{name} {version(name)}" for name in ("torch", "transformers", "trl"))])


def written(text: str, found: Found) -> str:
    """`text` with the tables of all that was measured anew."""
    for name in (*COMPARED, "rates"):
        begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
        if lines := table(name, found):
            before, _, rest = text.partition(begin)
            _, _, after = rest.partition(end)
            text = before + begin + "\n".join(lines) + end + after
    return text
