"""Any server that speaks OpenAI's chat protocol as the teacher, such as vLLM or a hosted model, by the official client."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from chexreason.pages import data_uri
from chexreason.teacher.reply import CAME, Reply, Unanswered
from chexreason.teacher.request import Request
from chexreason.teacher.service import Service, transport


@dataclass(frozen=True)
class OpenAI(Service):
    """`model` is a name that the server at `base_url` knows; None there is OpenAI's own."""

    HOME: ClassVar[str] = "https://api.openai.com/v1"
    LIBRARY: ClassVar[str] = "openai"
    EXTRA: ClassVar[str] = "openai"

    def client(self) -> Any:
        """OpenAI's client."""
        return _client(self.key(), self.address, self.timeout)

    def ask(self, client: Any, asked: Request) -> Reply:
        """One request to chat/completions."""
        image = data_uri("image/jpeg", asked.image)
        warmth = {} if self.temperature is None else {"temperature": self.temperature}
        answer = client.chat.completions.create(
            model=self.model,
            messages=[
                {"role": "system", "content": asked.role},
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": image}}, {"type": "text", "text": asked.text}],
                },
            ],
            max_completion_tokens=self.max_tokens,
            seed=asked.seed,
            **warmth,
        )
        usage = getattr(answer, "usage", None)
        read, written = (getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens"))
        choices = getattr(answer, "choices", None)
        # OpenRouter reports a failed provider this way.
        if choices and getattr(choices[0], "finish_reason", None) == "error":
            raise Unanswered("a reply that ended in an error", billed=True, said=CAME.get())
        text, thoughts = _said(choices[0].message) if choices else ("", "")
        return self.reply(text, read, written, thoughts)

    def meaning(self, error: Exception) -> Exception | None:
        """What to raise for an exception of OpenAI's client."""
        import openai

        if isinstance(error, openai.APIStatusError):
            return self.refusal(error.status_code, error.message, error.response.headers)
        if isinstance(error, openai.APIConnectionError):  # and APITimeoutError, which is one
            return self.own(error) or transport(error.__cause__ or TimeoutError()) or transport(ConnectionError())
        return super().meaning(error)


def _said(message: Any) -> tuple[str, str]:
    """A message's text and its thinking, which servers return in a separate field or in separate parts."""
    content = message.content
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    text: list[str] = []
    thoughts: list[str] = []
    for part in parts:
        kind = str(part.get("type"))
        (text if kind in ("text", "output_text") else thoughts).append(_plain(part.get("text") or part.get(kind)))
    thoughts += [_plain(getattr(message, name, None)) for name in ("reasoning_content", "reasoning")]
    return "".join(text), next(filter(None, thoughts), "")


def _plain(value: Any) -> str:
    """The text of a part, which may be a list of parts again."""
    if isinstance(value, list):
        return "".join(_plain(one.get("text")) for one in value)
    return value if isinstance(value, str) else ""


@lru_cache(maxsize=4)
def _client(key: str | None, address: str, timeout: float) -> Any:
    import openai

    from chexreason.teacher.connection import client

    return openai.OpenAI(
        api_key=key or "none", base_url=address, timeout=timeout, max_retries=0, http_client=client(address, timeout)
    )
