"""The teach stage against a server: budget, pace, order, and a kill after which nothing is paid for twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from zlib import crc32

import pytest

from chexreason.errors import ChexReasonError
from chexreason.runs.config import as_dict, check, compose
from chexreason.runs.files import read_json, read_lines, write_json
from chexreason.runs.folders import MANIFEST, SCHEMA, Run
from chexreason.runs.plan import plan
from chexreason.stages import teach
from chexreason.teacher import lessons
from tests.teacher.conftest import AT_MOST, PRICE, STUDIES, Clock, prompt, run, settings, stage, traces
from tests.teacher.server import Asked, Server, Turn, answer, image_of

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.mark.parametrize("backend", ["gemini", "openai"])
def test_the_traces_come_in_the_sets_order_whatever_the_concurrency(backend: str, curated: Path, key: str) -> None:
    def write(asked: Asked) -> str:
        time.sleep((1 + crc32(image_of(asked).encode()) % 4) / 50)  # later ones overtake
        return answer(asked)

    with Server(write=write) as server:
        card = run(curated, server.url, "several", backend, concurrency=6)
        assert 2 <= server.most_at_once <= 6
        run(curated, server.url, "one", backend, concurrency=1)
    files = [(curated.parent / name / "traces.jsonl").read_text() for name in ("several", "one")]
    assert files[0] == files[1]
    assert [trace["path"] for trace in traces(curated, "one")] == [f"{number}.png" for number in range(STUDIES)]
    assert card["requests"] == card["attempts"] == card["traces"] == STUDIES
    assert card["input_tokens"] == 1000 * STUDIES and card["output_tokens"] == 200 * STUDIES
    assert card["cost"] == pytest.approx(PRICE * STUDIES)


def test_what_a_gate_refuses_is_asked_again_and_then_set_aside(curated: Path, key: str) -> None:
    tries: Counter[str] = Counter()

    def write(asked: Asked) -> str:
        tries[image_of(asked)] += 1
        first = next(iter(tries)) == image_of(asked)
        if first:  # never gets it right
            return answer(asked).replace("I see", "The given labels say that I see")
        return answer(asked) if tries[image_of(asked)] > 1 else answer(asked).replace("</think>", "")

    with Server(write=write) as server:
        card = run(curated, server.url, concurrency=1)
    assert card["traces"] == STUDIES - 1 and card["set_aside"] == {"leak": 1} and card["passed_at_first"] == 0.0
    assert card["refused"]["grammar"]["attempts"] == STUDIES - 1
    assert card["refused"]["leak"] == {"attempts": 3, "share": 3 / (2 * (STUDIES - 1) + 3)}
    (aside,) = read_lines(curated.parent / "run" / "set_aside.jsonl")
    assert aside["reason"] == "leak: given labels" and aside["num_attempts"] == 3
    assert all(trace["num_attempts"] == 2 for trace in traces(curated))


def test_busy_broken_and_silent_moments_cost_a_retry_and_no_study(curated: Path, key: str, clock: Clock) -> None:
    turns = [Turn(429, {"Retry-After": "30"}), Turn(500), Turn(503), Turn(delay=1.0), Turn(body="not JSON")]
    with Server(*turns) as server:
        card = run(curated, server.url, concurrency=1, timeout=0.5, retries=4)
    assert card["traces"] == STUDIES and card["requests"] == STUDIES + len(turns)
    assert clock.turns[:2] == [0.0, 30.0], "the server asked for half a minute"
    # The request that timed out and the reply that could not be read are reckoned at the most that they can cost.
    assert card["cost"] == pytest.approx(PRICE * STUDIES + 2 * AT_MOST)
    assert card["attempts"] == STUDIES + 1, "only what was paid and came to nothing is an attempt"


def test_a_service_that_is_down_stops_the_run_and_what_came_is_kept(curated: Path, key: str) -> None:
    with Server(Turn(), Turn(), *[Turn(500)] * 500) as server, pytest.raises(ChexReasonError, match="does not answer"):
        run(curated, server.url, concurrency=1)
    with Server() as server:
        card = run(curated, server.url)
        assert len(server.asked) == STUDIES - 2
    assert card["traces"] == STUDIES


def test_a_quota_that_is_used_up_is_not_waited_for(curated: Path, key: str) -> None:
    with Server(Turn(429, {"Retry-After": "86400"})) as server, pytest.raises(ChexReasonError, match="86400 s: a quota"):
        run(curated, server.url, concurrency=1)


def test_a_refusal_stops_the_run_at_once(curated: Path, key: str) -> None:
    with Server(*[Turn(401)] * 50) as server, pytest.raises(ChexReasonError, match="HTTP 401"):
        run(curated, server.url)
    assert len(server.asked) <= 2, "no more than were under way"


@pytest.mark.parametrize("concurrency", [1, 5])
def test_the_budget_is_never_exceeded_and_a_larger_one_goes_on(concurrency: int, curated: Path, key: str) -> None:
    budget = 5 * PRICE + AT_MOST - 1e-9  # five replies, and not quite room for a request that could cost the most
    with Server(delay=0.02) as server:
        with pytest.raises(ChexReasonError, match="larger stage.budget") as caught:
            run(curated, server.url, stage_=stage(budget=budget), concurrency=concurrency)
        assert len(server.asked) == 5 and "0.0150 is spent, on 5 requests for 5 studies" in str(caught.value)
        assert not (curated.parent / "run" / "traces.jsonl").exists()
        card = run(curated, server.url, stage_=stage(budget=1.0), concurrency=concurrency)
        assert len(server.asked) == STUDIES, "nothing was paid for twice"
    assert card["cost"] == pytest.approx(PRICE * STUDIES) and card["traces"] == STUDIES


def test_the_pace_is_kept(curated: Path, key: str, clock: Clock) -> None:
    early = []

    def write(asked: Asked) -> str:
        early.append(len(server.asked) > len(clock.turns))
        return answer(asked)

    with Server(write=write) as server:
        run(curated, server.url, concurrency=6, requests_per_minute=600)
    assert sorted(clock.turns) == pytest.approx([0.1 * place for place in range(STUDIES)]), "one each 100 ms"
    assert len(early) == STUDIES and not any(early), "nobody is asked before its turn"


def test_what_was_not_asked_for_a_while_is_not_made_up_for(clock: Clock) -> None:
    pace = lessons.Pace(60, threading.Event())
    for now in (0.0, 0.0, 100.0, 100.0):
        clock.now = now
        pace.wait()
    pace.hold(5.0)
    pace.wait()
    assert clock.turns == [0.0, 1.0, 100.0, 101.0, 105.0]


def order(folder: Path, curated: Path, url: str) -> None:
    values = {"_target_": "chexreason.teacher.openai.OpenAI"} | settings("openai", url)
    plain = {"_target_": "chexreason.stages.teach.Settings", "name": "teach", "parents": {}, "attempts": 3, "budget": 1.0}
    plain["gates"] = {"least_words": 4, "most_words": 500, "repeated_words": 20}
    manifest = {
        "schema": SCHEMA,
        "name": folder.name,
        "stage": "teach",
        "status": "planned",
        "config": {"stage": plain, "prompt": vars(prompt()), "teacher": values, "seed": 0},
        "tracker": {"name": "none", "mode": "disabled", "project": "", "group": ""},
        "experiment": "study",
    }
    write_json(folder / MANIFEST, manifest | {"parents": {"curated": str(curated)}, "inputs": {}, "command": ""})


def test_after_a_kill_nothing_that_came_is_paid_for_again_and_the_key_is_nowhere(curated: Path, key: str) -> None:
    folder = curated.parent / "killed"
    command = [sys.executable, "-m", "chexreason.stages", str(folder)]
    with Server(delay=0.15) as server:
        order(folder, curated, server.url)
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        journal = folder / "journal.jsonl"
        give_up = time.monotonic() + 60
        while not (journal.exists() and journal.read_text().count('"text"') >= 4) and time.monotonic() < give_up:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        rows = [json.loads(line) for line in journal.read_text().splitlines()]
        came = sum("text" in row for row in rows)
        under_way = sum("at_most" in row for row in rows) - came
        assert 4 <= came < STUDIES and under_way <= 2
        with journal.open("a") as stream:
            stream.write('{"schema": 1, "request": 99, "pa')  # as if cut off while it was written
        before = Counter(image_of(asked) for asked in server.asked)
        again = subprocess.run(command, capture_output=True, text=True, timeout=60)
        after = Counter(image_of(asked) for asked in server.asked)
    assert again.returncode == 0, again.stderr
    assert len(traces(curated, "killed")) == STUDIES
    twice = [image for image, times in after.items() if times > 1]
    assert len(after) == STUDIES and len(twice) <= under_way, "only what was under way at the kill was asked again"
    assert sum(after.values()) == STUDIES + len(twice) and sum(before.values()) == came + len(twice)
    card = read_json(folder / "card.json")
    assert card["cost"] == pytest.approx(PRICE * STUDIES + AT_MOST * under_way), "what was under way counts as spent"
    assert read_json(folder / MANIFEST)["status"] == "complete"
    assert "journal.jsonl" not in read_json(folder / MANIFEST)["outputs"], "whose order chance decides"
    written = "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    assert key not in written and key not in again.stderr and key not in again.stdout


def test_a_refusal_leaves_no_key_in_the_run_folder(curated: Path, key: str) -> None:
    folder = curated.parent / "refused"
    with Server(*[Turn(403)] * 9) as server:
        order(folder, curated, server.url)
        done = subprocess.run(
            [sys.executable, "-m", "chexreason.stages", str(folder)], capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 1 and "HTTP 403" in (folder / "error.txt").read_text()
    written = "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    assert key not in written + done.stderr + done.stdout


def test_what_a_reply_costs_and_how_fast_it_comes_does_not_make_another_run(tmp_path: Path) -> None:
    def folder(*words: str) -> str:
        line = [
            "stage=teach",
            "teacher=gemini",
            "mixed_worlds=true",
            f"runs={tmp_path}",
            *words,
        ]
        return plan(compose(line), line).folder.name

    same = folder()
    assert same == folder("stage.budget=99", "teacher.concurrency=2", "teacher.requests_per_minute=5", "teacher.output_price=7")
    assert same != folder("teacher.model=gemini-2.5-flash") and same != folder("stage.attempts=2") != folder(
        "teacher.temperature=0"
    )


def test_what_was_kept_is_what_was_read_and_what_came_is_in_the_journal(curated: Path, key: str) -> None:
    with Server(write=lambda asked: f"```xml\n{answer(asked).replace('</solution>', '.</solution>')}\n```") as server:
        card = run(curated, server.url)
    assert card["traces"] == card["requests"] == STUDIES
    for trace in traces(curated):
        assert trace["completion"].startswith("<think>I see") and trace["completion"].endswith("</solution>")
        assert "." not in trace["completion"].partition("<solution>")[2]
    assert (curated.parent / "run" / "journal.jsonl").read_text().count("```xml") == STUDIES


def test_nobody_is_asked_for_labels_alone(curated: Path) -> None:
    said = check(as_dict(compose(["stage=teach", "model=medgemma", "prompt=only_label"])))
    assert teach.uses(said) == ("prompt",)  # a key is not set, and need not be
    (curated / "manifest.json").unlink()  # nor an agreement
    asked = Run(stage(budget=0.0), curated.parent / "labels", prompt=said.prompt, parents={"curated": curated})
    card = teach.execute(asked)
    assert card["traces"] == STUDIES and card["cost"] == 0.0 and card["teacher"] == "labels" and "here" in card["written"]
    for trace in traces(curated, "labels"):
        assert trace["completion"] == ", ".join(trace["labels"]) and trace["teacher"] == "labels"


def test_after_a_key_has_expired_a_new_one_goes_on_and_nothing_is_asked_twice(
    curated: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired = Turn(400, body={"error": {"code": 400, "message": "API key expired. Please renew the API key."}})
    with Server(*[Turn()] * 4, *[expired] * 50) as server:
        with pytest.raises(ChexReasonError, match="export TEACHERS_KEY="):
            run(curated, server.url, backend="gemini")
        assert len(server.asked) <= 4 + 2, "no more than were under way"
        answered = {image_of(asked) for asked in server.asked[:4]}
    monkeypatch.setenv("TEACHERS_KEY", "another")
    with Server() as server:
        card = run(curated, server.url, backend="gemini")
        assert not answered & {image_of(asked) for asked in server.asked}
    assert card["traces"] == STUDIES and card["cost"] == pytest.approx(PRICE * STUDIES)
