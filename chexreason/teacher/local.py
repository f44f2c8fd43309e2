"""The teacher of a prompt that asks for labels alone: they are known, so there is nobody to ask."""

from __future__ import annotations

from pathlib import Path

from chexreason.prompts import Prompt, write_answer
from chexreason.teacher.reply import Reply, Study


class FromLabels:
    """Writes a study's labels down in the prompt's grammar, here; see `Teacher`."""

    name: str = "labels"
    address: str | None = None
    data_use_agreement: str | None = None
    concurrency: int = 1
    requests_per_minute: float | None = None
    retries: int = 0
    at_most: float = 0.0

    def write(self, study: Study, prompt: Prompt, root: Path, seed: int, attempt: int) -> Reply:
        """The labels."""
        return Reply(write_answer(prompt.grammar, "", list(study.labels)))
