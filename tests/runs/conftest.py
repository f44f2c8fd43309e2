"""The command in this process: what it starts with, from sys.argv to its exit code, is held by the tests that start it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from chexreason.run import main
from chexreason.runs import sweep

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`python -m chexreason.run WORDS`, without a process of its own."""

    def run(*words: str) -> CompletedProcess[str]:
        for name in ("HYDRA_FULL_ERROR", "TQDM_DISABLE", sweep.JOBS):  # which it sets
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        monkeypatch.setattr(sweep, "FAILED", [])
        monkeypatch.setattr(sys, "argv", ["chexreason.run", *words])
        capsys.readouterr()
        code, message = 0, ""
        try:
            main()
        except SystemExit as exit:
            code = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
            message = exit.code if isinstance(exit.code, str) else ""
        said = capsys.readouterr()
        return CompletedProcess(words, code, said.out, said.err + message)

    return run
