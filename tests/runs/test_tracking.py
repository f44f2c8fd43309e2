"""A tracker that does not answer costs a note and no result."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from benches.faults.tracker import unfaithful_tracker
from chexreason.runs import tracking
from chexreason.runs.config import Tracker
from chexreason.runs.folders import Run
from chexreason.runs.tracking import tracked
from chexreason.stages.report import Settings


class Refusing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_error(403)

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_refuses_costs_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    tracker = Tracker(name="wandb", mode="online", project="p", group="g")
    with tracked(Run(settings=Settings("report"), folder=tmp_path, tracker=tracker)) as log:
        log({"loss": 1.0}, 1)
    server.shutdown()
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"step": 1, "loss": 1.0}
    assert "kept offline" in capsys.readouterr().err
    assert list(tmp_path.glob("wandb/offline-run-*"))


def test_a_server_that_falls_silent_during_the_run_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "PATIENCE", 1.0)
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    tracker = Tracker(name="wandb", mode="online", project="p", group="g")
    with unfaithful_tracker() as port:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
        with tracked(Run(settings=Settings("report"), folder=tmp_path, tracker=tracker)) as log:
            log({"loss": 1.0}, 1)
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"step": 1, "loss": 1.0}
    assert "wandb sync" in capsys.readouterr().err
    assert list(tmp_path.glob("wandb/run-*/*.wandb")), "what sync sends"
