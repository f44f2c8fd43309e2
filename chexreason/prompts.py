"""Prompts: an instruction and the grammar of its output, made into chat messages."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from chexreason.answers.grammars import grammar_named
from chexreason.labels import FINDINGS
from chexreason.runs.identity import CIRCUMSTANCE


@dataclass(frozen=True)
class Prompt:
    """One of the study's instruction formats (sections 4.1 and 4.2)."""

    name: str
    grammar: str  # tags | braces | labels | answer: see chexreason/answers/grammars.py
    cue: str | None = field(metadata=CIRCUMSTANCE)  # the design cue in Table 1's words; null: none of the paper's
    section: str | None = field(metadata=CIRCUMSTANCE)  # where the paper describes it; null: nowhere
    instruction: str

    def __post_init__(self) -> None:
        grammar_named(self.grammar)
        if not self.instruction.strip():
            raise ValueError("instruction=: what is asked of the model is wanted")

    @property
    def version(self) -> str:
        """A digest of the text that a model or a teacher reads; reviews are counted per version."""
        return hashlib.sha256(f"{self.grammar}\n{self.instruction}".encode()).hexdigest()[:8]

    @property
    def unsaid(self) -> list[str]:
        """What answers are read by and the instruction does not say: the grammar's markers, the findings' names.

        A model that was trained on such answers writes them all the same; another has no way to know.
        """
        instruction = "".join(self.instruction.split()).casefold()
        wanted = (*(grammar_named(self.grammar).markers or ()), *FINDINGS)
        return [one for one in dict.fromkeys(wanted) if "".join(one.split()).casefold() not in instruction]


def messages(instruction: str) -> list[dict[str, Any]]:
    """A chat of one image and one instruction."""
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": instruction}]}]


def write_answer(grammar: str, thoughts: str, labels: list[str]) -> str:
    """A completion in `grammar`: the reasoning where the grammar has any, then the labels."""
    return grammar_named(grammar).write(thoughts, labels)
