"""The parser against 100,000 random strings: nothing crashes it, or makes it say what no text can mean.

python -m benches.fuzz_parser [COUNT]
"""

from __future__ import annotations

import argparse
import time
from functools import partial

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chexreason.answers.grammars import GRAMMARS
from chexreason.answers.parser import parse, parse_strict
from chexreason.labels import FINDINGS, in_order

PIECES = [
    *FINDINGS, "<think>", "</think>", "<solution>", "</solution>", "< think >", "</SOLUTION>", "{analysis:", "conclusion:", "}",
    "{", "no ", "without ", " absent", "?", ", ", "\n", "- ", "1. ", "; ", " or ", " and ", "/", "(", ")", "[x] ", "[ ] ", ": ",
    "0.9", "%", "**", "|", "cardiac enlargement", "effusion", "PTX", "left ", "possible ", "ruled out", "```", "\x00", "\u2028",
    "\u202e", "\u0130", "\ud800", "<", ">",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=12), max_size=30).map("".join)
_seen = 0


def check(text: str, grammar: str, finished: bool) -> None:
    """What must hold for any text at all."""
    for read in (partial(parse, finished=finished), parse_strict):
        answer = read(text, grammar)
        assert set(answer.labels) <= set(FINDINGS) and list(answer.labels) == in_order(answer.labels)
        assert (answer.failure is None) == bool(answer.labels)
        assert set(answer.duplicates) <= set(answer.labels) and set(answer.negated) <= set(FINDINGS)
        assert read(text, grammar) == answer


def main(count: int) -> None:
    @settings(
        max_examples=count, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None
    )
    @given(text=TEXTS, finished=st.booleans())
    def fuzz(text: str, finished: bool) -> None:
        global _seen
        _seen += 1
        for grammar in GRAMMARS:
            check(text, grammar, finished)

    started = time.perf_counter()
    fuzz()
    seconds = time.perf_counter() - started
    print(f"{_seen} strings, {len(GRAMMARS)} grammars, strict and tolerant: nothing found in {seconds:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=100_000)
    main(parser.parse_args().count)
