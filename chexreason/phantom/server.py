"""A server on this machine that speaks the Gemini API's and OpenAI's chat protocols: the rehearsal's hosted teacher.

    python -m chexreason.phantom.server COMMAND ...

runs COMMAND beside it, with its address in REHEARSAL_TEACHER and a key that it made up in GEMINI_API_KEY, and ends with the
command's exit status. It writes what the offline teacher would write for the labels that it is told, and is as awkward as a
hosted one: now and then it is overloaded, asks for patience, repeats the key in an error, or lets slip that it was told.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from chexreason.phantom.forms import written
from chexreason.prompts import Prompt

READ, WRITTEN = 1000, 200  # tokens that every reply is billed for
KEY = "made-up-for-the-rehearsal"


@dataclass(frozen=True)
class Asked:
    """One request as the server got it; `path` is the URL's."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    raw: str

    @property
    def text(self) -> str:
        """The words of the user's turn."""
        if "contents" in self.body:
            return "".join(part.get("text", "") for part in self.body["contents"][0]["parts"])
        return "".join(part.get("text", "") for part in self.body["messages"][1]["content"])

    @property
    def labels(self) -> list[str]:
        """The findings that the request says are established."""
        told = re.search(r"Established for this film: (.*)\.", self.text)
        return told[1].split(", ") if told else []


def read(handler: BaseHTTPRequestHandler) -> Asked:
    """The request that `handler` was made for."""
    raw = handler.rfile.read(int(handler.headers["Content-Length"])).decode()
    return Asked(handler.path, dict(handler.headers), json.loads(raw), raw)


def send(handler: BaseHTTPRequestHandler, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
    """Reply with `body`, text as it is or JSON; a client that no longer waits is let go."""
    content = (body if isinstance(body, str) else json.dumps(body)).encode()
    try:
        handler.send_response(status)
        standing = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        for name, value in (standing | (headers or {})).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)
    except (BrokenPipeError, ConnectionResetError):
        pass


def reply(asked: Asked, text: str) -> dict[str, Any]:
    """`text` in the form of the protocol that was asked in."""
    if "generateContent" in asked.path:
        usage = {"promptTokenCount": READ, "candidatesTokenCount": WRITTEN - 50, "thoughtsTokenCount": 50}
        candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}
        return {"candidates": [candidate], "usageMetadata": usage}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": READ, "completion_tokens": WRITTEN, "total_tokens": READ + WRITTEN}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def error(status: int, asked: Asked) -> dict[str, Any]:
    """An error that repeats the key, as careless servers do."""
    key = asked.headers.get("x-goog-api-key") or asked.headers.get("X-Goog-Api-Key") or asked.headers.get("Authorization", "")
    return {"error": {"code": status, "message": f"refused for key {key}", "status": "REFUSED"}}


@lru_cache(maxsize=1)
def _prompts() -> list[Prompt]:
    from chexreason.runs.config import every

    return every("prompt")


def write(asked: Asked) -> str:
    """What the offline teacher writes for the labels that the request tells, in the form of the prompt that it quotes."""
    prompt = next(one for one in _prompts() if one.instruction.strip() in asked.text)
    return written(prompt, asked.labels, (), random.Random(asked.raw))


class Handler(BaseHTTPRequestHandler):
    """Answers requests; of every forty, one gets HTTP 429, one gets HTTP 503, and one gets an answer that leaks."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each reply waits 40 ms for its headers to be acknowledged
    count = 0

    def do_POST(self) -> None:
        """One request."""
        asked = read(self)
        Handler.count += 1
        turn = Handler.count % 40
        if turn == 10:
            send(self, 429, error(429, asked), {"Retry-After": "1"})
        elif turn == 20:
            send(self, 503, error(503, asked))
        else:
            text = write(asked)
            send(self, 200, reply(asked, text.replace("<think>", "<think>The given labels decide. ") if turn == 30 else text))

    def log_message(self, *_: Any) -> None:
        """Say nothing: the command beside it has the terminal."""


def main(command: list[str]) -> int:
    """Run `command` beside the server; its exit status."""
    if not command:
        sys.exit("a command is wanted: python -m chexreason.phantom.server COMMAND ...")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://0.0.0.0:{server.server_address[1]}"  # not a loopback address in name, so that the guards act
    return subprocess.run(command, env=os.environ | {"REHEARSAL_TEACHER": address, "GEMINI_API_KEY": KEY}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
