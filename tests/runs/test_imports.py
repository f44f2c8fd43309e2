"""A config of somebody else's imports nothing, and calls nothing, that the user has not named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chexreason.errors import ChexReasonError
from chexreason.runs.config import CONF
from chexreason.runs.files import write_text
from chexreason.runs.imports import NAMED, refuse_files
from tests.runs.conftest import Command, planned

REWARD = "name: own\nunit: 1\nmin_tokens: 1\nlength_penalty: 0\n"
PACKAGED = "# @package _global_\ndefaults: [override /model: phantom_gemma]\n"


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that can be imported, as one is that lies in the folder where a command is typed."""
    write_text(
        tmp_path / "brought" / "theirs.py", "from chexreason.rewards.hard import HardReward\nclass Reward(HardReward): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "brought.theirs", raising=False)
    return "brought.theirs"


def test_a_module_is_imported_where_the_user_names_it_and_nowhere_else(
    imported: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("stage=grpo", f"reward._target_={imported}.Reward")
    for named in ("", "brought.their", "brought.theirs.Reward", f"{imported}s"):
        monkeypatch.setenv(NAMED, named)
        with pytest.raises(ChexReasonError, match=rf"reward._target_: {imported}.Reward .*export {NAMED}=.*{imported}$"):
            planned(tmp_path, *words)
        assert imported not in sys.modules
    for named in ("brought", f"lab, {imported}"):
        monkeypatch.setenv(NAMED, named)
        planned(tmp_path, *words)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("reward/own", f"_target_: brought.theirs.Reward\n{REWARD}", "brought.theirs.Reward is none of this product's"),
        ("arm/own", f"{PACKAGED}hydra: {{callbacks: {{own: {{_target_: brought.theirs.Reward}}}}}}\n", "brought.theirs.Reward"),
        ("arm/own", f"{PACKAGED}hydra: {{callbacks: {{own: {{_target_: hydra.utils.get_method}}}}}}\n", "hydra.utils.get_met"),
        (
            "arm/own",
            f"{PACKAGED}hydra: {{callbacks: {{own: {{_target_: chexreason.runs.files.write_text}}}}}}\n",
            "chexreason.runs.files.write_text",
        ),
        ("hydra/job_logging/own", "handlers: {own: {'()': brought.theirs.Reward}}\n", "brought.theirs.Reward"),
        ("hydra/job_logging/own", "handlers: {own: {stream: 'ext://brought.theirs.Reward'}}\n", "brought.theirs.Reward"),
        ("arm/own", f"{PACKAGED}hydra: {{job: {{env_set: {{PYTHONPATH: /theirs}}}}}}\n", "env_set: this is said beside"),
        ("arm/own", f"{PACKAGED}hydra: {{searchpath: [/theirs]}}\n", "searchpath: this is said beside the command"),
        (
            "arm/own",
            f"{PACKAGED}hydra: {{sweeper: {{params: {{+hydra.job.env_set.PYTHONPATH: /theirs}}}}}}\n",
            "this is said beside",
        ),
        ("arm/own", f"{PACKAGED}stage: {{trainer: {{own: '${{oc.create:{{a: 1}}}}'}}}}\n", "own=${oc.create:{a: 1}}"),
    ],
)
def test_files_of_somebody_else_are_refused_before_hydra_reads_them(
    file: str, text: str, said: str, imported: str, tmp_path: Path, command: Command
) -> None:
    write_text(tmp_path / "their choices" / f"{file}.yaml", text)
    done = command(
        "--config-dir", str(tmp_path / "their choices"), "stage=evaluate", "dry_run=true", f"runs={tmp_path / 'runs'}"
    )
    assert done.returncode == 1 and f"{tmp_path}/their choices/{file}.yaml: " in done.stderr, done.stderr[-500:]
    assert said in done.stderr
    assert imported not in sys.modules


@pytest.mark.parametrize("flag", ["--config-d={}", "-cd={}", "--config-path={}", "-cp={}", "+hydra.searchpath=['file://{}']"])
def test_however_their_folder_is_named(flag: str, tmp_path: Path, command: Command) -> None:
    write_text(tmp_path / "their choices" / "reward" / "own.yaml", "_target_: brought.theirs.Reward\n")
    done = command(flag.format(tmp_path / "their choices"), "stage=evaluate", "dry_run=true", f"runs={tmp_path / 'runs'}")
    assert done.returncode == 1 and "brought.theirs.Reward is none of this product's" in done.stderr, done.stderr[-500:]


def test_what_our_own_choices_say_is_taken() -> None:
    refuse_files([place for place in CONF.iterdir() if place.is_dir()])
