"""Every figure of docs/performance.md: python -m benches.speed [--only PIECE ...] [--family FAMILY ...] [--repeats N]

Writes bench.json as it goes: name -> {ratio, low, high, floor}, or {rate, unit}; what is there and not measured anew stays.
At its end the tables of docs/performance.md that it holds all of.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from benches.evaluation import evaluation
from benches.memory import memory
from benches.rates import rates
from benches.tables import written
from benches.training import PROPORTIONED, growth, training

DOCUMENT = Path("docs/performance.md")
COMPARED = {"training": training, "evaluation": evaluation, "memory": memory, "growth": growth}


def measured(pieces: list[str], families: list[str], repeats: int) -> Iterator[tuple[str, dict[str, float | str]]]:
    """Names and their values, as they come."""
    if "rates" in pieces:
        for name, rate, unit in rates():
            yield name, {"rate": round(rate, 3), "unit": unit}
    for piece, compare in COMPARED.items():
        if piece in pieces:
            for name, values in compare(families, repeats):
                yield name, {key: round(value, 3) for key, value in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=("rates", *COMPARED), default=["rates", *COMPARED])
    parser.add_argument("--family", nargs="+", choices=sorted(PROPORTIONED), default=sorted(PROPORTIONED))
    parser.add_argument("--repeats", type=int, default=3, help="turns of each comparison")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    chosen = parser.parse_args()
    for name, values in measured(chosen.only, chosen.family, chosen.repeats):
        print(f"{name:50}", "  ".join(f"{key} {value}" for key, value in values.items()), flush=True)
        found = json.loads(chosen.out.read_text()) if chosen.out.is_file() else {}
        chosen.out.write_text(json.dumps(found | {name: values}, indent=1, sort_keys=True) + "\n")
    DOCUMENT.write_text(written(DOCUMENT.read_text(), json.loads(chosen.out.read_text())))


if __name__ == "__main__":
    main()
