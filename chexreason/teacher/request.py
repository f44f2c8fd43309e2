"""What a hosted teacher is asked (section 3.1): given the labels, reason as if independently.

All backends use the same text, so that two teachers differ only in the model.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from chexreason.prompts import Prompt, write_answer
from chexreason.teacher.reply import StudyRecord

ROLE = """\
You are a thoracic radiologist who writes worked examples for a student. You are shown one frontal chest radiograph, the
instruction that the student will get, and the findings that are established for this film. You write the answer that an
expert would give to that instruction who sees the film and nothing else.

- Reason as if independently: from what the film shows to the findings, never from the findings back to the film. The reader
  must not be able to tell that you knew them: do not speak of labels, of findings that were given, provided or known, of a
  ground truth, of a list, of this request or of the student.
- Reach exactly the established findings, every one of them and no other. Do not claim another finding in your reasoning.
- For each finding say what is seen, on which side of the patient and in which zone, and how marked it is. Where a sign is
  faint on this film, say that it is faint. Invent nothing that one film cannot show: no history, no earlier film, no lateral
  view, no exact measurement.
- Say which of the other regions are clear, in the form that the instruction asks for. Say nothing twice.
- Use the form that the instruction asks for, to the letter, and write nothing before or after it."""


@dataclass(frozen=True)
class Request:
    """One request as a backend sends it."""

    role: str
    text: str
    image: bytes  # JPEG
    seed: int


def compose(study: StudyRecord, prompt: Prompt, root: Path, image_side: int, seed: int, attempt: int) -> Request:
    """The request for one study. Neither its path nor its patient's id is in it, nor any metadata of its image file."""
    from chexreason.data.images import jpeg, read_image
    from chexreason.data.paths import image_file

    form = write_answer(prompt.grammar, "your reasoning", list(study.labels))
    text = (
        f"The student's instruction:\n\n{prompt.instruction.strip()}\n\n"
        f"Established for this film: {', '.join(study.labels)}.\n\n"
        f"Answer with this and nothing else, your own text in the place of `your reasoning`:\n\n{form}"
    )
    drawn = hashlib.sha256(f"{seed}/{attempt}/{prompt.name}/{study.path}".encode()).digest()
    image = jpeg(read_image(image_file(root, study.path)), image_side, quality=95)
    return Request(ROLE, text, image, int.from_bytes(drawn[:4]) >> 1)
