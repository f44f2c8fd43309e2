"""Placeholder of the owner's file."""
from __future__ import annotations
from dataclasses import dataclass
@dataclass(frozen=True)
class Prompt:
    name: str
    grammar: str
    instruction: str
