"""W&B has a copy of what a run logs, or none; a server that does not answer costs a note and no result."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from benches.faults.tracker import unfaithful_tracker
from chexreason.runs import tracking
from chexreason.runs.folders import Run
from chexreason.runs.groups import Tracker
from chexreason.runs.tracking import tracked
from chexreason.stages.report import Settings


@pytest.fixture(autouse=True)
def each_in_a_session_of_its_own() -> Iterator[None]:
    """W&B remembers a process's first server, and a run is a process."""
    yield
    import wandb

    wandb.teardown()


class Refusing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_error(403)

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        pass


def run(folder: Path, **tracker: str) -> Run:
    chosen = {"name": "wandb", "mode": "offline", "project": "p", "group": "g"} | tracker
    return Run(settings=Settings("report"), folder=folder, tracker=Tracker(**chosen))


def test_a_run_keeps_its_id_and_w_and_b_may_be_switched_off_by_config_or_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for name, chosen, mode in (("on-1", {}, None), ("off-1", {"mode": "disabled"}, None), ("off-2", {}, "disabled")):
        if mode:
            monkeypatch.setenv("WANDB_MODE", mode)
        folder = tmp_path / name
        folder.mkdir()
        with tracked(run(folder, **chosen)) as log:
            log({"loss": 1.0}, 1)
        assert json.loads((folder / "log.jsonl").read_text()) == {"step": 1, "loss": 1.0}
    (kept,) = tmp_path.rglob("offline-run-*/")
    assert kept.parents[1].name == "on-1" and kept.name.endswith("-on-1"), "so that a resumed run goes on under it"


def test_a_mode_that_there_is_none_of_costs_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "OFFLINE")
    with tracked(run(tmp_path)) as log:
        log({"loss": 1.0}, 1)
    assert "WANDB_MODE=OFFLINE is none of offline" in capsys.readouterr().err and list(tmp_path.rglob("offline-run-*"))


def test_a_server_that_refuses_costs_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    with tracked(run(tmp_path, mode="online")) as log:
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


def test_the_end_of_wandbs_own_process_costs_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    tracker = Tracker(name="wandb", mode="offline", project="p", group="g")
    with tracked(Run(settings=Settings("report"), folder=tmp_path, tracker=tracker)) as log:
        for one in psutil.Process().children(recursive=True):
            if "wandb-core" in one.name():
                one.kill()
                one.wait()
        for step in range(200):
            log({"loss": 1.0}, step)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 200
    assert "W&B" in capsys.readouterr().err
