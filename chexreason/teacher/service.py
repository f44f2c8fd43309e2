"""A teacher that is a service: how it is reached, what it costs, and what its refusals mean.

The key is read from the environment when a client is made, and taken out of everything that the service says.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, TypeGuard
from urllib.parse import urlsplit

from chexreason.errors import ChexReasonError, above, at_least
from chexreason.prompts import Prompt
from chexreason.runs.identity import CIRCUMSTANCE
from chexreason.teacher.reply import CAME, MOST_SHOWN, Declined, Reply, StudyRecord, Unanswered
from chexreason.teacher.request import Request, compose

# A server's own failures, those of a proxy such as Cloudflare (520 to 530) among them.
AGAIN = frozenset({408, 409, 425, 429, 499, *range(500, 600)} - {501, 505})
LATE = frozenset({499, 504, 524, 598, 599})  # a proxy timed out: the model may have gone on writing, and be billed
STUDYS = frozenset({400, 413, 422})  # may be due to the content of the request: its film or its text
KEYS = re.compile(r"api[ _-]?key", re.IGNORECASE)
ACCOUNTS = re.compile(rf"{KEYS.pattern}|billing|credit|quota|location is not supported", re.IGNORECASE)  # ... or not
BENEATH: dict[type[BaseException], str] = {  # causes of a failed connection
    ssl.SSLError: "what answers does not speak TLS as it should; http:// or https:// in teacher.base_url?",
    socket.gaierror: "there is no such host, or no DNS that knows it; see teacher.base_url",
    ConnectionRefusedError: "refused, no server listens there; see teacher.base_url",
}
MEANT = {
    400: "it does not accept the request",
    404: "there is no such model or address",
    413: "the request is too large; a smaller teacher.image_side makes its image smaller",
}


@dataclass(frozen=True)
class Service(ABC):
    """See conf/teacher/gemini.yaml; prices are per million tokens, `timeout` is in seconds."""

    # Replies depend only on the model and its settings; CIRCUMSTANCE keys may change before a run is resumed.
    name: str
    world: str = field(metadata=CIRCUMSTANCE)
    data_use_agreement: str | None = field(metadata=CIRCUMSTANCE)
    model: str
    base_url: str | None = field(metadata=CIRCUMSTANCE)
    key_from: str | None = field(metadata=CIRCUMSTANCE)
    concurrency: int = field(metadata=CIRCUMSTANCE)
    requests_per_minute: float | None = field(metadata=CIRCUMSTANCE)
    timeout: float = field(metadata=CIRCUMSTANCE)
    retries: int = field(metadata=CIRCUMSTANCE)
    max_tokens: int
    temperature: float | None
    image_side: int
    input_price: float = field(metadata=CIRCUMSTANCE)
    output_price: float = field(metadata=CIRCUMSTANCE)
    input_tokens: int = field(metadata=CIRCUMSTANCE)

    HOME: ClassVar[str]  # the service's own address, where `base_url` is null
    LIBRARY: ClassVar[str]  # its official client
    EXTRA: ClassVar[str]  # ... which comes with chexreason[EXTRA]

    def __post_init__(self) -> None:
        if self.key_from is not None and not re.fullmatch(r"[A-Z][A-Z0-9_]*", self.key_from):
            raise ChexReasonError(  # the value may be a key, so the message does not repeat it
                "teacher.key_from: the NAME of an environment variable is wanted (GEMINI_API_KEY), never the key itself"
            )
        # The value may contain a key, so the message does not repeat it.
        try:
            parts = urlsplit(self.address)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        host = re.fullmatch(r"[\w.:%-]+", parts.hostname or "", re.ASCII)
        if parts.scheme not in ("http", "https") or not host or port == 0 or not self.address.isprintable():
            raise ChexReasonError("teacher.base_url: an address is wanted, such as http://localhost:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ChexReasonError(f"teacher.base_url (of {parts.hostname}): no user, password or query may stand in it")
        at_least(1, concurrency=self.concurrency, max_tokens=self.max_tokens, image_side=self.image_side)
        above(0, requests_per_minute=self.requests_per_minute, timeout=self.timeout)
        at_least(0, retries=self.retries, temperature=self.temperature, input_tokens=self.input_tokens)
        at_least(0, input_price=self.input_price, output_price=self.output_price)

    def write(self, study: StudyRecord, prompt: Prompt, root: Path, seed: int, attempt: int) -> Reply:
        """One request. See `Teacher.write` for what it raises."""
        self.require_client()
        client = self.client()
        asked = compose(study, prompt, root, self.image_side, seed, attempt)
        raised = None
        CAME.set("")
        try:
            reply = self.ask(client, asked)
        except Exception as error:
            raised, reply = self.meaning(error), self.reply(None, None, None)
        if raised is not None:
            raise raised  # outside the handler: a client's exception may hold the key
        return reply if reply.text else replace(reply, said=self.without_key(_unescaped(CAME.get()))[:MOST_SHOWN])

    @abstractmethod
    def client(self) -> Any:
        """The service's official client."""

    @abstractmethod
    def ask(self, client: Any, asked: Request) -> Reply:
        """Send one request and read the answer; whatever the client raises goes through `meaning`."""

    @property
    def address(self) -> str:
        """The address of requests; environment variables of the clients (OPENAI_BASE_URL and the like) are ignored."""
        return self.base_url or self.HOME

    @property
    def at_most(self) -> float:
        """What one request can cost: `input_tokens` read and `max_tokens` written."""
        return self._cost(self.input_tokens, self.max_tokens)

    def written_for(self, money: float) -> float:
        """The tokens that a reply may have for `money`, if its request is as long as possible."""
        left = money - self._cost(self.input_tokens, 0)
        return min(self.max_tokens, max(0.0, 1e6 * left / self.output_price)) if self.output_price else self.max_tokens

    def require_client(self) -> None:
        """Raises ChexReasonError where the service's client is not installed; imports none of it."""
        try:
            found = find_spec(self.LIBRARY)
        except ModuleNotFoundError:  # not even the package that it is a part of
            found = None
        if found is None:
            raise ChexReasonError(
                f"teacher={self.name} needs the service's client, {self.LIBRARY}: pip install 'chexreason[{self.EXTRA}]'"
            )

    def key(self) -> str | None:
        """The key, or None where none is needed.

        Raises:
            ChexReasonError: the environment does not have it.
        """
        if self.key_from is None:
            return None
        key = os.environ.get(self.key_from, "").strip()
        if not key:
            raise ChexReasonError(
                f"teacher={self.name} needs a key in the environment variable {self.key_from}, which is not set.\n"
                f"  set it:          export {self.key_from}=...\n"
                "  or another name: teacher.key_from=NAME (null for a server that wants no key)"
            )
        return key

    def reply(self, text: str | None, input_tokens: object, output_tokens: object, thoughts: str | None = None) -> Reply:
        """A reply and its price; without a valid token count it is assumed to have cost the maximum."""
        whole = (one.encode(errors="replace").decode() if one else "" for one in (text, thoughts))  # half a character is none
        text, thoughts = (self.without_key(one) if one.strip() else None for one in whole)
        if not _is_count(input_tokens) or not _is_count(output_tokens):
            return Reply(text, cost=self.at_most, thoughts=thoughts)
        read, written = int(input_tokens), int(output_tokens)
        return Reply(text, read, written, self._cost(read, written), thoughts)

    def refusal(self, status: int, said: str, headers: Mapping[str, str]) -> Unanswered | ChexReasonError:
        """What an HTTP status other than success means: ask again later, not for this study, or never."""
        if status in AGAIN:
            return Unanswered(f"HTTP {status}", wait=retry_after(headers), billed=status in LATE)
        said = " ".join(self.without_key(said).split())[:300]
        its_key = status in (401, 403) or bool(KEYS.search(said))
        means = "the key is not valid, has expired or may not use this model" if its_key else MEANT.get(status, "refused")
        message = f"teacher={self.name} answered HTTP {status}: {means}.\n  it says: {said}"
        if its_key and self.key_from:
            message += (
                f"\n  set another:      export {self.key_from}=...\n"
                "  then:             the same command goes on; every reply so far is kept, and nothing is paid twice"
            )
        if status in STUDYS and not ACCOUNTS.search(said):
            return Declined(message, f"HTTP {status}", said)
        return ChexReasonError(message)

    def meaning(self, error: Exception) -> Exception | None:
        """What to raise for a client's exception other than an HTTP status; None if the reply could not be parsed."""
        ours = self.own(error)
        if ours:
            return ours
        if isinstance(error, (ValueError, LookupError, TypeError, AttributeError, RecursionError)):
            return None  # not JSON, or not the protocol's form
        said = self.without_key(str(error))[:300]
        return transport(error) or ChexReasonError(f"teacher={self.name}: {type(error).__name__}: {said}")

    def own(self, error: Exception) -> Exception | None:
        """What chexreason/teacher/connection.py raised, which a client may have wrapped, or None."""
        for ours in (error, error.__cause__):
            if isinstance(ours, ChexReasonError):
                return ours
            if isinstance(ours, Unanswered):
                return Unanswered(str(ours), ours.wait, ours.billed, self.without_key(_unescaped(ours.said)))
        return None

    def without_key(self, text: str) -> str:
        """`text` less the key, should the service have repeated it."""
        key = os.environ.get(self.key_from, "").strip() if self.key_from else ""
        return text.replace(key, "[key]") if key else text

    def _cost(self, read: int, written: int) -> float:
        return (read * self.input_price + written * self.output_price) / 1e6


def _unescaped(body: str) -> str:
    """A body without JSON escapes: JSON can write a letter in several ways, and a key must be found in all of them."""
    with suppress(ValueError, RecursionError):
        body = json.dumps(json.loads(body), ensure_ascii=False)
    return body.encode(errors="replace").decode()


def _is_count(tokens: object) -> TypeGuard[int | float]:
    """Whether a value that a server reports is a valid number of tokens."""
    return isinstance(tokens, int | float) and not isinstance(tokens, bool) and 0 <= tokens < 2**31


def transport(error: BaseException) -> Unanswered | ChexReasonError | None:
    """What a transport's exception means, or None for any other exception; httpx and httpx2 use the same names."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if not kinds & {"TransportError", "TimeoutException", "ConnectionError"}:
        return None
    reached = not kinds & {"ConnectError", "ConnectTimeout", "PoolTimeout", "ConnectionRefusedError"}
    beneath = list(_causes(error))
    for one in beneath:
        if isinstance(one, ssl.SSLCertVerificationError):
            return ChexReasonError(
                f"the teacher's certificate is not trusted: {one.verify_message}.\n"
                "  If it is your own, or your network's: export SSL_CERT_FILE=AUTHORITY.pem; else look at teacher.base_url"
            )
    known = [why for one in beneath for kind, why in BENEATH.items() if isinstance(one, kind) and not reached]
    why = known[0] if known else type(error).__name__
    return Unanswered("timeout" if "TimeoutException" in kinds else f"connection: {why}", billed=reached)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and its causes, the nearest first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a Retry-After header asks for, given as a number or as a date; 0 without one."""
    value = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
