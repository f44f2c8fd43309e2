"""The teacher for a prompt that asks for labels only: they are known, so no service is needed."""

from __future__ import annotations

from pathlib import Path

from chexreason.prompts import Prompt, write_answer
from chexreason.teacher.reply import Reply, StudyRecord, Teacher


class FromLabels(Teacher):
    """Writes a study's labels down in the prompt's grammar."""

    name = "labels"

    def write(self, study: StudyRecord, prompt: Prompt, root: Path, seed: int, attempt: int) -> Reply:
        """The labels."""
        return Reply(write_answer(prompt.grammar, "", list(study.labels)))
