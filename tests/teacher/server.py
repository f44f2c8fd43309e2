"""A server on this machine that speaks the Gemini API's and OpenAI's protocols, and misbehaves as it is told to.

It answers as a good teacher would, unless the next of its `turns` says otherwise: a status with headers, a body, a delay.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

READ, WRITTEN = 1000, 200  # tokens that every good reply is billed for


@dataclass(frozen=True)
class Turn:
    """One reply: after `delay` seconds `status` and `headers` with `body` (text as it is, or JSON); None: a good answer.

    With `endless`, a reply whose body is these bytes again and again, `pause` seconds between them, for as long as one listens.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    delay: float = 0.0
    endless: bytes = b""
    pause: float = 0.0


@dataclass(frozen=True)
class Asked:
    """One request as the server got it."""

    at: float
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
    def image(self) -> str:
        """The image, in base64: studies are told apart by it."""
        if "contents" in self.body:
            data = next(part["inlineData"]["data"] for part in self.body["contents"][0]["parts"] if "inlineData" in part)
            return data.replace("-", "+").replace("_", "/")
        url = next(part["image_url"]["url"] for part in self.body["messages"][1]["content"] if "image_url" in part)
        return url.removeprefix("data:image/jpeg;base64,")


def answer(asked: Asked) -> str:
    """What a good teacher writes in the tag grammar."""
    labels = re.search(r"Established for this film: (.*)\.", asked.text)
    assert labels
    seen = ", ".join(f"a sign of {label.lower()} on the left" for label in labels[1].split(", "))
    return f"<think>I see {seen}; the rest is clear.</think>\n<solution>{labels[1]}</solution>"


class Server:
    """Runs in a thread of its own while it is used as a context; `asked` is what came in, in its order."""

    def __init__(self, *turns: Turn, write: Callable[[Asked], str] = answer, delay: float = 0.0):
        self.turns, self.write, self.delay = list(turns), write, delay
        self.asked: list[Asked] = []
        self.sent = 0  # bytes of endless replies
        self.lock, self.at_once, self.most_at_once = threading.Lock(), 0, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer.serve(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}"

    @property
    def elsewhere(self) -> str:
        """The same server at an address that is not a loopback one, as a hosted teacher would be."""
        return f"http://0.0.0.0:{self.http.server_address[1]}"

    def __enter__(self) -> Server:
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.http.shutdown()
        self.http.server_close()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        raw = handler.rfile.read(int(handler.headers["Content-Length"])).decode()
        asked = Asked(time.monotonic(), handler.path, dict(handler.headers), json.loads(raw), raw)
        with self.lock:
            self.asked.append(asked)
            turn = self.turns.pop(0) if self.turns else Turn(delay=self.delay)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(turn.delay)
        if turn.endless:
            self.never_end(handler, turn)
            return
        body = turn.body
        if body is None:
            body = self.good(asked) if turn.status == 200 else error(turn.status, asked)
        with self.lock:
            self.at_once -= 1
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        try:
            handler.send_response(turn.status)
            headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **turn.headers}
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client did not want to wait

    def never_end(self, handler: BaseHTTPRequestHandler, turn: Turn) -> None:
        handler.close_connection = True
        try:
            handler.send_response(turn.status)
            for name, value in turn.headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            while True:
                handler.wfile.write(turn.endless)
                self.sent += len(turn.endless)
                time.sleep(turn.pause)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def good(self, asked: Asked) -> dict[str, Any]:
        text = self.write(asked)
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
