"""Prompts: an instruction and the grammar of its output, made into chat messages."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chexreason.completion import grammar_named
from chexreason.errors import ChexReasonError


@dataclass(frozen=True)
class Prompt:
    """One of the study's instruction formats (sections 4.1 and 4.2)."""

    name: str
    grammar: str  # tags | braces | labels: see chexreason/completion.py
    cue: str  # the design cue in Table 1's words
    section: str  # where the paper describes it
    instruction: str

    @property
    def version(self) -> str:
        """Changes whenever a model or a teacher would read something else; reviews are counted by it."""
        return hashlib.sha256(f"{self.grammar}\n{self.instruction}".encode()).hexdigest()[:8]


def messages(instruction: str, completion: str | None = None) -> list[dict[str, Any]]:
    """A chat of one image and one instruction, with the assistant's turn when there is one."""
    user = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": instruction}]}
    if completion is None:
        return [user]
    return [user, {"role": "assistant", "content": [{"type": "text", "text": completion}]}]


def write_answer(grammar: str, thoughts: str, labels: list[str]) -> str:
    """A completion in `grammar`: the reasoning where the grammar has any, then the labels."""
    return grammar_named(grammar).write(thoughts, labels)


def all_prompts() -> list[Prompt]:
    """Every prompt under conf/prompt, in the order of their names."""
    from chexreason.config import every

    return every("prompt")


def read_prompts(names: Sequence[str]) -> list[Prompt]:
    """The prompts of these names, in their order.

    Raises:
        ChexReasonError: there is no such file under conf/prompt.
    """
    known = {prompt.name: prompt for prompt in all_prompts()}
    for name in names:
        if name not in known:
            raise ChexReasonError(f"stage.prompts: there is no prompt {name!r} under conf/prompt; there are {', '.join(known)}")
    return [known[name] for name in names]
