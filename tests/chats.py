"""Chats that a model has answered."""

from __future__ import annotations

from typing import Any

from chexreason.prompts import messages


def answered(instruction: str, completion: str) -> list[dict[str, Any]]:
    """A chat of one image and one instruction, with the assistant's turn."""
    return [*messages(instruction), {"role": "assistant", "content": [{"type": "text", "text": completion}]}]
