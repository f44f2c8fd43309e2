"""A server on this machine that speaks the Gemini API's and OpenAI's protocols, and misbehaves as it is told to.

It answers as a good teacher would, unless the next of its `turns` says otherwise: a status with headers, a body, a delay.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from chexreason.phantom.server import Asked, error, read, reply, send


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


def answer(asked: Asked) -> str:
    """What a good teacher writes in the tag grammar."""
    seen = ", ".join(f"a sign of {label.lower()} on the left" for label in asked.labels)
    return f"<think>I see {seen}; the rest is clear.</think>\n<solution>{', '.join(asked.labels)}</solution>"


def image_of(asked: Asked) -> str:
    """The image that was sent, in base64: studies are told apart by it."""
    if "contents" in asked.body:
        data = next(part["inlineData"]["data"] for part in asked.body["contents"][0]["parts"] if "inlineData" in part)
        return data.replace("-", "+").replace("_", "/")
    url = next(part["image_url"]["url"] for part in asked.body["messages"][1]["content"] if "image_url" in part)
    return url.removeprefix("data:image/jpeg;base64,")


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
            disable_nagle_algorithm = True  # else each reply waits 40 ms for its headers to be acknowledged

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
        asked = read(handler)
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
            body = reply(asked, self.write(asked)) if turn.status == 200 else error(turn.status, asked)
        with self.lock:
            self.at_once -= 1
        send(handler, turn.status, body, turn.headers)

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
