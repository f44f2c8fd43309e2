"""Plans, and the command in this process: what it starts with, from sys.argv to its exit code, tests that start it hold."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from safetensors.numpy import save_file

from chexreason.run import main
from chexreason.runs import files, folders, processes, sweep
from chexreason.runs.config import compose
from chexreason.runs.plan import Plan, plan
from tests.manifests import complete

Command = Callable[..., CompletedProcess[str]]
EVALUATE = ["stage=evaluate", "dataset=phantom_chexpert"]


def planned(runs: Path, *words: str) -> Plan:
    """The plan of these words. `runs`, which differs between tests, is set later, so that equal words are composed once."""
    cfg = compose(words)
    cfg.runs = str(runs)
    return plan(cfg, [*words, f"runs={runs}"])


def made_alone(one: Plan) -> None:
    """Mark one run as complete; its parents are complete already."""
    made_from = {role: folders.outputs_digest(parent.folder) for role, parent in one.parents.items()}
    files.write_json(
        one.folder / folders.MANIFEST, complete(one.stage) | one.manifest | {"status": "complete", "made_from": made_from}
    )


def name(runs: Path, *words: str) -> str:
    return planned(runs, *words).folder.name


def weights(folder: Path, text: str) -> str:
    """A folder that looks like a model's, with dummy weights; `text` distinguishes them from others."""
    for name in ("config.json", "tokenizer.json", "preprocessor_config.json"):
        files.write_text(folder / name, "{}")
    save_file({text: np.zeros(1, np.float32)}, folder / "model.safetensors")
    return f"model.weights={folder}"


def alone(*words: str) -> CompletedProcess[str]:
    """Run the command in a separate process."""
    return subprocess.run([sys.executable, "-m", "chexreason.run", *words], capture_output=True, text=True, timeout=120)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`python -m chexreason.run WORDS`, in this process."""

    def run(*words: str) -> CompletedProcess[str]:
        for name in ("HYDRA_FULL_ERROR", "TQDM_DISABLE", sweep.JOBS, processes.STARTER):  # which it sets
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
