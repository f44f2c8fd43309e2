"""What passes between the teach stage and a teacher."""

from __future__ import annotations

from abc import abstractmethod
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chexreason.errors import ChexReasonError
from chexreason.prompts import Prompt

MOST_SHOWN = 600  # characters that a message shows of what came
CAME: ContextVar[str] = ContextVar("CAME", default="")  # the last HTTP body of this thread: clients keep a part of it


@dataclass(frozen=True)
class StudyRecord:
    """What a teacher is given besides the prompt: the image's path under the site's root, and its positive labels."""

    path: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Reply:
    """What a teacher wrote and what it took. `text` is None where a request that may have been billed gave no text."""

    text: str | None
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0  # in the currency of the teacher's prices
    thoughts: str | None = None  # reasoning that came apart from the text
    said: str = ""  # the beginning of what came where there is no text


class Unanswered(Exception):
    """A request that got no reply and may be made again; the message says why."""

    def __init__(self, reason: str, wait: float = 0.0, billed: bool = False, said: str = ""):
        super().__init__(reason)
        self.wait = wait  # seconds that the server asked to be left alone
        self.billed = billed  # the server may have worked on it all the same
        self.said = said  # what came in a reply's place


class Declined(ChexReasonError):
    """A request that the service refuses for what is in it: it may take those of other studies."""

    def __init__(self, message: str, reason: str, said: str):
        super().__init__(message)
        self.reason, self.said = reason, said  # HTTP status; what the service says


class Teacher(Protocol):
    """Anything that can write a trace. The defaults are those of a teacher on this machine, whom nothing has to be sent to."""

    name: str
    address: str | None = None  # URL of the service; None: it writes here, and sends nothing
    data_use_agreement: str | None = None  # the one under which the user says that images and labels may be sent there
    concurrency: int = 1  # studies that may be asked about at once
    requests_per_minute: float | None = None
    retries: int = 0  # of a request that got no reply

    @property
    def at_most(self) -> float:
        """What one request can cost."""
        return 0.0

    @abstractmethod
    def write(self, study: StudyRecord, prompt: Prompt, root: Path, seed: int, attempt: int) -> Reply:
        """One request.

        Raises:
            Unanswered: no reply; it may be made again.
            Declined: this study's is refused, and nothing was paid.
            ChexReasonError: it must not be made again as it is.
        """
