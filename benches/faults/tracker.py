"""A server that answers as W&B's does until a run is under way, and then accepts every request and answers none."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PROJECT = {"id": "p", "name": "faults", "entity": {"id": "e", "name": "nobody"}}
RUN = {"id": "r", "name": "run", "displayName": "run", "config": "{}", "project": PROJECT, "historyLineCount": 0}
BEGUN = {"upsertBucket": {"bucket": RUN, "inserted": True}}


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.under_way.is_set():
            self.server.closed.wait()
            return
        begins = b"mutation UpsertBucket" in asked  # what comes before asks whether there is such a run
        if begins:
            self.server.under_way.set()
        content = json.dumps({"data": BEGUN if begins else {"model": None}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.under_way, self.closed = threading.Event(), threading.Event()


@contextmanager
def unfaithful_tracker() -> Iterator[int]:
    """The port of such a server."""
    with _Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.closed.set()
            server.shutdown()
