"""Data exchanged between the teach stage and a teacher."""

from __future__ import annotations

from abc import abstractmethod
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chexreason.errors import ChexReasonError
from chexreason.prompts import Prompt

MOST_SHOWN = 600  # characters of a reply that a message shows
CAME: ContextVar[str] = ContextVar("CAME", default="")  # the last HTTP body of this thread, of which clients keep only a part


@dataclass(frozen=True)
class StudyRecord:
    """What a teacher is given besides the prompt: the image's path under the site's root, and its positive labels."""

    path: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Reply:
    """A teacher's text and its cost. `text` is None if a request that may have been billed returned no text."""

    text: str | None
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0  # in the currency of the teacher's prices
    thoughts: str | None = None  # reasoning returned separately from the text
    said: str = ""  # the beginning of the body if there is no text


class Unanswered(Exception):
    """A request that got no reply and may be made again; the message says why."""

    def __init__(self, reason: str, wait: float = 0.0, billed: bool = False, said: str = ""):
        super().__init__(reason)
        self.wait = wait  # seconds that the server asked to be left alone
        self.billed = billed  # the server may have processed and billed it
        self.said = said  # the body that came instead of a reply


class Declined(ChexReasonError):
    """A request that the service refuses because of its content; it may accept requests for other studies."""

    def __init__(self, message: str, reason: str, said: str):
        super().__init__(message)
        self.reason, self.said = reason, said  # HTTP status; what the service says


class Teacher(Protocol):
    """Anything that can write a trace. The defaults are those of a teacher on this machine, to which nothing is sent."""

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
            Declined: the request for this study is refused, and nothing was paid.
            ChexReasonError: the same request must not be made again.
        """
