"""Gemini as the teacher, the paper's own (section 3.1), through Google's official client."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from chexreason.teacher.reply import Reply
from chexreason.teacher.request import Request
from chexreason.teacher.service import Service


@dataclass(frozen=True)
class Gemini(Service):
    """`model` is one of the Gemini API's; its thinking tokens are counted and billed as output tokens."""

    HOME: ClassVar[str] = "https://generativelanguage.googleapis.com"
    LIBRARY: ClassVar[str] = "google.genai"
    EXTRA: ClassVar[str] = "gemini"

    def client(self) -> Any:
        """Google's client."""
        return _client(self.key(), self.address, self.timeout)

    def ask(self, client: Any, asked: Request) -> Reply:
        """One request to generateContent."""
        from google.genai import types as kinds

        answer = client.models.generate_content(
            model=self.model,
            contents=[kinds.Part.from_bytes(data=asked.image, mime_type="image/jpeg"), asked.text],
            config=kinds.GenerateContentConfig(
                system_instruction=asked.role, temperature=self.temperature, max_output_tokens=self.max_tokens, seed=asked.seed
            ),
        )
        usage = answer.usage_metadata
        content = answer.candidates[0].content if answer.candidates else None  # none if it refused
        parts = (content.parts if content else None) or []
        text, thoughts = ("".join(part.text or "" for part in parts if bool(part.thought) is kind) for kind in (False, True))
        if usage is None or usage.prompt_token_count is None:
            return self.reply(text, None, None, thoughts)
        written = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
        return self.reply(text, usage.prompt_token_count, written, thoughts)

    def meaning(self, error: Exception) -> Exception | None:
        """What to raise for an exception of Google's client."""
        from google.genai import errors

        if isinstance(error, errors.APIError) and error.code:
            headers = getattr(error.response, "headers", None) or {}
            return self.refusal(int(error.code), str(error.message), headers)
        return super().meaning(error)


@lru_cache(maxsize=4)
def _client(key: str | None, address: str, timeout: float) -> Any:
    from google import genai
    from google.genai import types

    from chexreason.teacher.connection import client

    options = types.HttpOptions(
        base_url=address,
        timeout=round(1000 * timeout),  # milliseconds
        httpx_client=client(address, timeout),
    )
    return genai.Client(api_key=key or "none", vertexai=False, http_options=options)
