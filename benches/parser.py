"""How fast the parser is: completions a second for each grammar, and a megabyte of the worst text that we know.

python -m benches.parser
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from chexreason.answers.grammars import GRAMMARS
from chexreason.answers.parser import parse, parse_strict
from chexreason.labels import FINDINGS, in_order

COUNT, WORDS, SEED = 20_000, 60, 0
WANTED = 50_000  # typical completions a second on one core
HARD = [
    "<think>", "<solution>", "</think><solution>", "< ", "<  think", "no ", "no edema, ", "Edema or ", "(", "(a",
    "{analysis:,", ",", "Edema\n", "Edema;", "Edema: 0 ", "[x] ", "1. ", "\\boxed{",
    "| Edema | yes |\n", '{"Edema": 1}\n', "The heart is enlarged. ",
]  # fmt: skip


def typical(grammar: str, loosely: bool) -> list[str]:
    """Completions as models write them: about 60 words of reasoning and one to four labels."""
    rng = random.Random(SEED)
    words = "the left base is dense with a meniscus and heart size normal no pneumothorax mild haze upper zone".split()
    texts = []
    for _ in range(COUNT):
        labels = in_order(rng.sample(FINDINGS, rng.randint(1, 4)))
        text = GRAMMARS[grammar].write(" ".join(rng.choices(words, k=WORDS)), labels)
        texts.append(text.replace(", ", "\n- ").replace("Cardiomegaly", "cardiac enlargement") if loosely else text)
    return texts


def rate(texts: list[str], grammar: str, read: Callable[[str, str], object]) -> float:
    """Completions a second."""
    started = time.process_time()
    for text in texts:
        read(text, grammar)
    return len(texts) / (time.process_time() - started)


def main() -> None:
    print(f"{'grammar':8} {'text':8} {'parse':9} completions/s")
    for grammar in GRAMMARS:
        for loosely in (False, True):
            texts = typical(grammar, loosely)
            for read in (parse_strict, parse):
                found = rate(texts, grammar, read)
                verdict = "" if loosely or found >= WANTED else f"  below {WANTED}"
                kind, how = "loose" if loosely else "typical", "strict" if read is parse_strict else "tolerant"
                print(f"{grammar:8} {kind:8} {how:9} {found:9.0f}{verdict}")
    print("\n1 MB of      slowest parse (ms)")
    for piece in HARD:
        text = f"<think>t</think><solution>{piece * (1_000_000 // len(piece))}"
        slowest = 0.0
        for grammar in GRAMMARS:
            for read in (parse_strict, parse):
                started = time.process_time()
                read(text, grammar)
                slowest = max(slowest, time.process_time() - started)
        print(f"{piece!r:20} {1000 * slowest:8.0f}")


if __name__ == "__main__":
    main()
