"""Run folders through a stage that is real and quick: no mock, only small data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from chexreason.errors import ChexReasonError
from chexreason.runs import files
from chexreason.runs import folders as runs
from chexreason.runs.config import compose
from chexreason.runs.execute import execute
from chexreason.runs.identity import path_digest
from chexreason.runs.plan import plan

LINES = [
    {"id": "a", "patient": "1", "labels": ["Edema"], "predicted": ["Edema"]},
    {"id": "b", "patient": "2", "labels": ["Fracture"], "predicted": None},
]


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return path


def overrides(tmp_path: Path, answers: Path, *more: str) -> list[str]:
    return ["stage=metrics", f"stage.input={answers}", f"runs={tmp_path / 'runs'}", "tracker=none", *more]


def execute_planned(words: list[str]) -> Path:
    return execute(compose(tuple(words)), words)


def test_same_command_is_reused_and_a_changed_one_is_another_run(
    tmp_path: Path, answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = overrides(tmp_path, answers)
    first = execute_planned(words)
    stamp = (first / runs.MANIFEST).stat().st_mtime_ns
    assert runs.is_complete(first)
    capsys.readouterr()
    assert execute_planned(words) == first
    assert "reused" in capsys.readouterr().err
    assert (first / runs.MANIFEST).stat().st_mtime_ns == stamp
    assert execute_planned([*words, "stage.resamples=70"]) != first


def test_an_output_that_cannot_be_written_costs_no_complete_run(tmp_path: Path, answers: Path) -> None:
    words = overrides(tmp_path, answers)
    first = execute_planned(words)
    for output in (answers / "inside-a-file.json", Path("/proc/nowhere.json")):
        with pytest.raises(ChexReasonError, match="stage.output=.* cannot be written .*is complete, in"):
            execute_planned([*words, f"stage.output={output}"])
        assert runs.is_complete(first)
    stamp = (first / "metrics.json").stat().st_mtime_ns
    assert execute_planned([*words, f"stage.output={tmp_path / 'made' / 'out.json'}"]) == first
    assert (first / "metrics.json").stat().st_mtime_ns == stamp, "what is there is handed over, not made again"
    assert (tmp_path / "made" / "out.json").read_text() == (first / "metrics.json").read_text()


def test_a_dry_run_says_what_the_command_would_refuse_or_do_again(tmp_path: Path, answers: Path) -> None:
    def said(*more: str) -> str:
        words = overrides(tmp_path, answers, *more)
        return "\n".join(plan(compose(tuple(words)), words).describe())

    first = execute_planned(overrides(tmp_path, answers))
    assert "complete: yes\n" in said() + "\n" and "made again: force=true" in said("force=true")
    files.write_json(first / "metrics.json", {})
    assert f"complete: no: {first / 'metrics.json'} is not what its run left there" in said()


def test_force_starts_anew(tmp_path: Path, answers: Path) -> None:
    words = overrides(tmp_path, answers)
    first = execute_planned(words)
    stamp = (first / runs.MANIFEST).stat().st_mtime_ns
    assert execute_planned([*words, "force=true"]) == first
    assert (first / runs.MANIFEST).stat().st_mtime_ns > stamp


def test_changed_input_is_another_run(tmp_path: Path, answers: Path) -> None:
    words = overrides(tmp_path, answers)
    first = execute_planned(words)
    answers.write_text(answers.read_text().replace("Fracture", "Edema"))
    assert execute_planned(words) != first


def test_manifest_says_what_ran_and_vouches_for_its_outputs(tmp_path: Path, answers: Path) -> None:
    folder = execute_planned(overrides(tmp_path, answers))
    manifest = runs.read_manifest(folder)
    assert manifest is not None
    assert manifest["status"] == "complete" and manifest["stage"] == "metrics"
    assert manifest["config"]["seed"] == 0 and manifest["command"].startswith("python -m chexreason.run stage=metrics")
    assert manifest["inputs"].keys() == {"stage.input", "stage.code"} and manifest["inputs"]["stage.input"] == path_digest(
        answers
    )
    assert manifest["wall_seconds"] >= 0 and manifest["peak_memory_bytes"]["main"] > 0
    assert manifest["outputs"] and manifest["outputs"] == runs.outputs(folder)


def test_an_incomplete_run_is_not_taken_for_a_complete_one(tmp_path: Path, answers: Path) -> None:
    folder = execute_planned(overrides(tmp_path, answers))
    manifest = runs.read_manifest(folder)
    assert manifest is not None
    files.write_json(folder / runs.MANIFEST, manifest | {"status": "running"})
    assert not runs.is_complete(folder)
    assert list(runs.complete_runs(folder.parent)) == []
    (folder / runs.MANIFEST).write_text('{"status": "comp')
    assert not runs.is_complete(folder)


def test_a_missing_parent_names_the_command_that_makes_it(tmp_path: Path) -> None:
    words = ["stage=sft", f"runs={tmp_path}", "seed=3"]
    with pytest.raises(ChexReasonError, match="python -m chexreason.run stage=phantom") as caught:
        execute(compose(tuple(words)), words)
    assert f"runs={tmp_path}" in str(caught.value)


def test_where_a_folder_lies_does_not_define_a_run(tmp_path: Path, answers: Path) -> None:
    one, two = (overrides(tmp_path / name, answers) for name in ("one", "two"))
    assert execute_planned(one).name == execute_planned(two).name


def test_files_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a" / "b.txt", "text")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_folder_digest_follows_content_and_names(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    files.write_text(folder / "a", "1")
    first = path_digest(folder)
    files.write_text(folder / "a", "2 ")
    second = path_digest(folder)
    (folder / "a").rename(folder / "b")
    assert len({first, second, path_digest(folder)}) == 3


def test_a_runs_folder_that_cannot_be_written_is_named(tmp_path: Path, answers: Path) -> None:
    words = [*overrides(tmp_path, answers), f"runs={answers}"]  # a file, where a folder is wanted
    with pytest.raises(ChexReasonError, match="cannot be written.*set runs=FOLDER"):
        execute_planned(words)


def test_what_a_killed_process_had_half_written_is_no_output(tmp_path: Path, answers: Path) -> None:
    words = overrides(tmp_path, answers)
    folder = execute_planned(words)
    whole = files.read_json(folder / runs.MANIFEST)
    files.write_json(folder / runs.MANIFEST, whole | {"status": "running"})
    (folder / "metrics.json.12.34.partial").write_bytes(b"half")
    (folder / "best.partial").mkdir()
    (folder / "best.partial" / "weights").write_bytes(b"half")
    execute_planned(words)
    assert files.read_json(folder / runs.MANIFEST)["outputs"] == whole["outputs"]
    assert not list(folder.rglob("*.partial"))


def test_a_stage_that_outlived_its_starter_is_waited_for(tmp_path: Path, answers: Path) -> None:
    words = overrides(tmp_path, answers)
    folder = execute_planned(words)
    whole = (folder / runs.MANIFEST).read_text()
    with FileLock(folder / runs.WRITER):  # as by a process that is at work yet, and about to finish
        (folder / runs.MANIFEST).write_text(whole.replace('"complete"', '"running"'))
        command = [sys.executable, "-m", "chexreason.run", *words]
        second = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None and "waiting" in second.stderr.readline()
        (folder / runs.MANIFEST).write_text(whole)
    assert "reused" in second.communicate(timeout=60)[1] and second.returncode == 0
    assert (folder / runs.MANIFEST).read_text() == whole


@pytest.mark.skipif(sys.platform == "win32", reason="asks the system for it")
@pytest.mark.parametrize("room", [0, 1200, 3000, 8000])  # bytes of a file, from nothing to all but the last word
def test_a_full_disk_is_told_in_a_line_and_with_room_the_same_command_ends_well(
    tmp_path: Path, answers: Path, room: int
) -> None:
    words = overrides(tmp_path, answers)
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room})); from chexreason.run import main; main()"
    )
    full = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
    last = full.stderr.splitlines()[-1]
    assert full.returncode == 1 and "Traceback" not in full.stderr
    assert last.startswith(f"chexreason: {tmp_path}") and "Make room or set runs=FOLDER" in last
    assert runs.is_complete(execute_planned(words))


@pytest.mark.parametrize(
    "harm", [Path.unlink, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(path.read_bytes()[:-9])]
)
def test_what_changed_in_a_complete_run_is_named_and_neither_reused_nor_stood_on(
    tmp_path: Path, answers: Path, harm: Callable[[Path], object]
) -> None:
    words = overrides(tmp_path, answers)
    folder = execute_planned(words)
    harm(folder / "metrics.json")
    with pytest.raises(ChexReasonError, match="metrics.json is not what its run left there(?s:.*)stage=metrics.*force=true"):
        execute_planned(words)
    assert execute_planned([*words, "force=true"]) == folder and execute_planned(words) == folder


def test_what_a_file_manager_leaves_in_a_folder_changes_no_digest(tmp_path: Path) -> None:
    (tmp_path / "films" / "a").mkdir(parents=True)
    (tmp_path / "films" / "a" / "1.png").write_bytes(b"1")
    before = path_digest(tmp_path / "films")
    (tmp_path / "films" / "a" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "films" / ".cache").mkdir()
    (tmp_path / "films" / ".cache" / "refs").write_bytes(b"x")
    assert path_digest(tmp_path / "films") == before
    (tmp_path / "films" / "a" / "2.png").write_bytes(b"2")
    assert path_digest(tmp_path / "films") != before


def test_what_lies_behind_a_linked_folder_counts(tmp_path: Path) -> None:
    for folder in ("films", "elsewhere"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.png").write_bytes(b"1")
    alone = path_digest(tmp_path / "films")
    (tmp_path / "films" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "films")  # and round it goes
    linked = path_digest(tmp_path / "films")
    (tmp_path / "elsewhere" / "1.png").write_bytes(b"2")
    assert len({alone, linked, path_digest(tmp_path / "films")}) == 3


def test_what_a_run_leaves_takes_the_place_of_what_runs_left_and_of_nothing_else(tmp_path: Path) -> None:
    def left(**contents: str) -> None:
        made = {name: files.write_text(tmp_path / "run" / name, text) for name, text in contents.items()}
        runs.leave(made, tmp_path / "out")

    def there() -> dict[str, str]:
        return {path.name: path.read_text() for path in (tmp_path / "out").iterdir() if path.name != runs.DELIVERED}

    files.write_text(tmp_path / "out" / "notes.txt", "mine")
    left(adapter="a", card="of the adapter")
    left(adapter="a", card="of the adapter")
    left(merged="m", card="of the merged")
    assert there() == {"notes.txt": "mine", "merged": "m", "card": "of the merged"}
    for name in ("notes.txt", "card"):  # somebody's own, and one that was changed since
        files.write_text(tmp_path / "out" / name, "my words")
        before = there()
        with pytest.raises(ChexReasonError, match=f"{name} is there, not as a run left it"):
            left(**{"merged": "other", name: "theirs"})
        assert there() == before, "nothing is written where something would be lost"


@pytest.mark.parametrize("kind", [files.require_output, files.require_output_folder])
def test_nothing_is_left_inside_a_runs_folder_nor_in_what_is_read(
    kind: Callable[..., None], tmp_path: Path, answers: Path
) -> None:
    folder = execute_planned(overrides(tmp_path, answers))
    for place in (folder / "manifest.json", folder / "below" / "deeper"):
        with pytest.raises(ChexReasonError, match="lies in the folder of a run"):
            kind(str(place))
    kind(str(tmp_path / "elsewhere" / "out"))
    films = tmp_path / "films"
    films.mkdir()
    for place in (films, films / "out"):
        with pytest.raises(ChexReasonError, match="lies in what is read"):
            files.require_output_folder(str(place), str(films))
    files.require_output_folder(str(tmp_path / "out"), str(films))


def test_a_complete_runs_files_can_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    file = files.write_text(tmp_path / "adapter" / "adapter_model.safetensors", "x")
    file.chmod(0o600)
    masked = os.umask(0o027)
    try:
        files.make_readable(tmp_path)
    finally:
        os.umask(masked)
    assert file.stat().st_mode & 0o777 == 0o640
