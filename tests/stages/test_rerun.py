"""The command that a manifest is turned back into gives the same folder: typed, planned as a parent, swept or moved."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from chexreason.errors import ChexReasonError
from chexreason.runs import files, folders, sweep
from chexreason.runs.config import compose
from chexreason.runs.plan import Plan, plan
from chexreason.stages.rerun import SHOWN, answer, execute

LINE = {"id": "a", "patient": "1", "labels": ["Edema"], "predicted": ["Edema"]}
CONF = Path(__file__).parents[1] / "conf"


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = line.replace("python", shlex.quote(sys.executable), 1)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120, cwd=folder, env=environment)


def every(planned: Plan) -> dict[str, Plan]:
    found = {planned.recipe: planned}
    for parent in planned.parents.values():
        found |= every(parent)
    return found


@pytest.mark.parametrize(
    "words",
    [
        ["stage=sft", "dataset.missing=skip", "prompt=reasoning_a", "force=true", "make_missing=true"],
        ["stage=grpo", "reward=nuanced", "reward.window=4", "seed=3", "source=phantom_nih", "model=phantom_qwen"],
        [
            "stage=evaluate",
            "arm=two_sites",
            "dataset=phantom_nih",
            "dataset.findings=[Edema, Pneumonia]",
            "model.max_visual_tokens=64",
        ],
        ["stage=evaluate", "arm=nv_reason", "dataset=chexpert", "dataset.root='/a, folder'"],
        ["experiment=demo", "arm=phantom_qwen", "dataset=phantom_validation"],
        ["experiment=table2", "model=medgemma", "dataset=validation", "prompt=only_label", "world=clinical"],
    ],
)
def test_every_run_that_a_command_makes_has_a_command_of_its_own(words: list[str], tmp_path: Path) -> None:
    for one in every(plan(compose(line := [*words, f"runs={tmp_path}"]), line)).values():
        files.write_json(one.folder / folders.MANIFEST, one.manifest)
        line, *said = answer(one.folder)
        assert said == [f"today it gives the same folder, {one.folder}"], line
        assert "force" not in line


def test_the_line_goes_through_a_shell_whatever_is_in_it(tmp_path: Path) -> None:
    home = tmp_path / "it's, a $HOME"
    file = files.write_text(home / "answers (1).jsonl", files.as_lines([LINE]))
    words = ["stage=metrics", f'stage.input="{str(file)}"', "model=tiny_gemma", "tracker=none"]
    made = shell(shlex.join(["python", "-m", "chexreason.run", "--config-dir", str(CONF), *words]), home)
    assert made.returncode == 0, made.stderr
    (folder,) = (home / "runs").glob("metrics-*")
    moved = Path(shutil.copytree(home / "runs", tmp_path / "moved")) / folder.name
    for one in (folder, moved):
        ask = ["--config-dir", str(CONF), "stage=rerun", f'stage.run="{one}"', "tracker=none"]
        said = shell(shlex.join(["python", "-m", "chexreason.run", *ask]), tmp_path).stdout.splitlines()
        assert said[1] == f"# today it gives the same folder, {one}"
        planned = shell(f"{said[0]} dry_run=true", tmp_path).stdout.splitlines()
        assert planned == [f"folder:   {one}", "complete: yes"]
    without = shell(shlex.join(["python", "-m", "chexreason.run", "stage=rerun", f'stage.run="{moved}"']), tmp_path)
    assert "tiny_gemma: there is no such choice" in without.stdout and f"--config-dir {CONF}" in without.stdout


def test_what_somebody_elses_manifest_says_is_no_line_for_a_shell(tmp_path: Path) -> None:
    words = ["stage=evaluate", f"runs={tmp_path}"]
    planned = plan(compose(words), words)
    config = planned.manifest["config"]
    said = planned.manifest | {
        "config": config | {"prompt": config["prompt"] | {"instruction": "Look.\ntouch harm\r\ntouch it"}}
    }
    folder = planned.folder.with_name("their\nrun")
    files.write_json(folder / folders.MANIFEST, said)
    run = folders.Run(SimpleNamespace(run=str(folder)), tmp_path / "rerun")
    execute(run)
    lines = (run.folder / SHOWN).read_bytes().split(b"\n")
    assert len(lines) > 5 and all(line.startswith(b"#") for line in lines[1:] if line), lines
    files.write_json(folder / folders.MANIFEST, said | {"command": "python -m 'chexreason.run"})
    with pytest.raises(ChexReasonError, match="its command is damaged"):
        execute(run)


def test_what_makes_it_another_run_today_is_named(tmp_path: Path) -> None:
    file = files.write_text(tmp_path / "answers.jsonl", files.as_lines([LINE]))
    words = ["stage=metrics", f"stage.input={file}", f"runs={tmp_path}"]
    planned = plan(compose(words), words)
    config = planned.manifest["config"]
    older = planned.manifest | {"config": config | {"stage": config["stage"] | {"resamples": 5}}}
    folder = planned.folder.with_name("metrics-older")
    files.write_json(folder / folders.MANIFEST, older)
    files.write_text(file, files.as_lines([LINE | {"id": "b"}]))
    _, *said = answer(folder)
    assert said[0].startswith("today it gives another folder")
    assert "  config.stage.resamples: 5 then, 10000 today" in said
    files.write_json(folder / folders.MANIFEST, older | {"cwd": "/elsewhere"})
    assert "  it was typed in /elsewhere, where its relative paths begin" in list(answer(folder))
    assert any(line.startswith("  inputs.stage.input: ") for line in said)
    file.unlink()
    assert any("not at hand: stage.input" in line for line in answer(folder))


def test_the_report_that_ends_a_sweep_can_be_made_again(tmp_path: Path) -> None:
    cfg = compose([f"runs='{tmp_path / 'a, b'}'", "seed=4"])
    sweep.report(cfg, [], ["claims"])
    (folder,) = (tmp_path / "a, b").glob("report-*")
    assert list(answer(folder))[1:] == [f"today it gives the same folder, {folder}"]
