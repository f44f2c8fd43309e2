"""A small curated set and the settings of the hosted teachers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexreason.data.curated import Origin, write
from chexreason.labels import FINDINGS
from chexreason.runs.config import as_dict, compose, group
from chexreason.runs.files import write_json
from chexreason.runs.folders import Run
from chexreason.runs.identity import path_digest
from chexreason.stages import teach
from chexreason.teacher import lessons
from chexreason.teacher.traces import read_traces
from tests.manifests import complete

KEY = "sk-SECRET-0123456789abcdef"
STUDIES = 12
PRICE = 0.003  # of one good reply: 1000 tokens read at 1, 200 written at 10 a million
AT_MOST = 0.005  # of any
CURRENT: dict[str, dict[str, Any]] = {
    "gemini": {"model": "gemini-2.5-pro", "base_url": ""},
    "openai": {"model": "m", "base_url": "/v1"},
}


PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the proxy settings of this machine's environment."""
    for name in (*PROXIES, "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the first of the authorities that sign certificates."""
    first, end, _ = Path(certifi.where()).read_text(encoding="ascii").partition("-----END CERTIFICATE-----")
    file = tmp_path_factory.mktemp("authorities") / "first.pem"
    file.write_text(first + end + "\n", encoding="ascii")
    return file


@pytest.fixture(autouse=True)
def clients_are_quick(one_authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each of hundreds of clients load one authority instead of 150; the servers here have no certificates."""
    monkeypatch.setenv("SSL_CERT_FILE", str(one_authority))


@pytest.fixture
def curated(tmp_path: Path) -> Path:
    """The folder of a curate run with twelve studies of one or two findings, each with an image of its own."""
    folder, images = tmp_path / "curate-1", tmp_path / "images"
    images.mkdir()
    folder.mkdir()
    rows = []
    for number in range(STUDIES):
        picture = np.random.default_rng(number).integers(0, 255, (16, 16), dtype=np.uint8)
        Image.fromarray(picture).save(images / f"{number}.png")
        states = {name: float(name in (FINDINGS[1 + number], FINDINGS[1 + (number * 5) % 13])) for name in FINDINGS}
        facts = {"path": f"{number}.png", "patient": f"patient{number}", "study": None, "view": "AP", "sex": None, "age": None}
        rows.append({**facts, "sha256": path_digest(images / f"{number}.png"), **states})
    write(folder, {"sft": pd.DataFrame(rows)}, Origin("test", None, FINDINGS, images), {})
    state_agreement(folder, "unrestricted")
    return folder


def state_agreement(curated: Path, *agreement: str | None, parent: str | None = None, **dataset: Any) -> None:
    """Write that run's manifest, with this value of its dataset's `agreement` key, or without the key."""
    config = {"name": "test", "root": str(curated.parent / "images"), **dict(zip(("agreement",), agreement, strict=False))}
    parents = {"dataset": parent} if parent else {}
    write_json(curated / "manifest.json", complete("curate", config={"dataset": config | dataset}, parents=parents))


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """The teachers' key, in the environment."""
    monkeypatch.setenv("TEACHERS_KEY", KEY)
    return KEY


def settings(backend: str, url: str, **changed: Any) -> dict[str, Any]:
    """The composed config group of a hosted teacher that is the server at `url`."""
    values = as_dict(compose((f"teacher={backend}",)))["teacher"]
    address = {"base_url": url + CURRENT[backend]["base_url"], "model": CURRENT[backend]["model"]}
    paid = {"input_price": 1.0, "output_price": 10.0, "input_tokens": 1000, "max_tokens": 400, "requests_per_minute": None}
    return values | address | {"key_from": "TEACHERS_KEY", "timeout": 5.0, "retries": 2, "concurrency": 2} | paid | changed


def teacher(backend: str, url: str, **changed: Any) -> Any:
    """That teacher."""
    return group("teacher", settings(backend, url, **changed))


def prompt(name: str = "free_reasoning") -> Any:
    return group("prompt", as_dict(compose((f"prompt={name}",)))["prompt"])


def stage(**changed: Any) -> Any:
    """The teach stage's settings."""
    values = as_dict(compose(("stage=teach",)))["stage"] | changed
    return group("stage", values)


Make = Callable[..., Any]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts last no time."""
    monkeypatch.setattr(lessons, "LONGEST_PAUSE", 0.01)


class Clock:
    """Replaces both the `time` module and the stop event of a Pace. It stands still; `turns` has the time of each turn."""

    def __init__(self) -> None:
        self.now, self.turns = 0.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.turns.append(self.now + seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Requests to a teacher are paced by this clock."""
    clock, pace = Clock(), lessons.Pace
    monkeypatch.setattr(lessons, "time", clock)
    monkeypatch.setattr(lessons, "Pace", lambda per_minute, _: pace(per_minute, clock))
    return clock


def run(
    curated: Path, url: str, name: str = "run", backend: str = "openai", stage_: Any = None, **changed: Any
) -> dict[str, Any]:
    folder = curated.parent / name
    settled = stage_ or stage(budget=None)
    hired = teacher(backend, url, **changed)
    return teach.execute(Run(settled, folder, prompt=prompt(), teacher=hired, parents={"curated": curated}))


def traces(curated: Path, name: str = "run") -> list[dict[str, Any]]:
    return read_traces(curated.parent / name)
