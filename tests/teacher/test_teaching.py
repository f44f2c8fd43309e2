"""The teach stage against a server: budget, pace, order, and a kill after which nothing is paid for twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from chexreason.errors import ChexReasonError
from chexreason.runs.config import as_dict, check, compose
from chexreason.runs.files import read_json, write_json
from chexreason.runs.folders import MANIFEST, SCHEMA, Run
from chexreason.runs.plan import plan
from chexreason.stages import teach
from chexreason.teacher import lessons
from chexreason.teacher.ledger import Ledger
from chexreason.teacher.reply import Reply
from chexreason.teacher.traces import read_traces
from tests.teacher.conftest import STUDIES, prompt, settings, stage, teacher
from tests.teacher.server import Asked, Server, Turn, answer, image_of

PRICE = 0.003  # of one good reply: 1000 tokens read at 1, 200 written at 10 a million
AT_MOST = 0.005  # of any


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons, "LONGEST_PAUSE", 0.01)


def run(
    curated: Path, url: str, name: str = "run", backend: str = "openai", stage_: Any = None, **changed: Any
) -> dict[str, Any]:
    folder = curated.parent / name
    settled = stage_ or stage(budget=None)
    hired = teacher(backend, url, **changed)
    return teach.execute(Run(settled, folder, prompt=prompt(), teacher=hired, parents={"curated": curated}))


def traces(curated: Path, name: str = "run") -> list[dict[str, Any]]:
    return read_traces(curated.parent / name / "traces.jsonl")


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
    (aside,) = read_traces(curated.parent / "run" / "set_aside.jsonl")
    assert aside["reason"] == "leak: given labels" and aside["num_attempts"] == 3
    assert all(trace["num_attempts"] == 2 for trace in traces(curated))


def test_busy_broken_and_silent_moments_cost_a_retry_and_no_study(curated: Path, key: str) -> None:
    turns = [Turn(429, {"Retry-After": "1"}), Turn(500), Turn(503), Turn(delay=1.0), Turn(body="not JSON")]
    with Server(*turns) as server:
        card = run(curated, server.url, concurrency=1, timeout=0.5, retries=4)
        waited = server.at[1] - server.at[0]
    assert card["traces"] == STUDIES and card["requests"] == STUDIES + len(turns)
    assert waited >= 1.0, "the server asked for a second"
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


def test_the_pace_is_kept(curated: Path, key: str) -> None:
    started = time.monotonic()
    with Server() as server:
        run(curated, server.url, concurrency=6, requests_per_minute=600)  # one each 100 ms
    for place, at in enumerate(server.at):
        assert at - started >= 0.1 * place


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


class TestFailingAlike:
    """A teacher whose replies all fail in the same way is stopped after three dozens of them."""

    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lessons, "ALIKE", 7)

    def test_it_is_stopped_shown_and_its_cost_told(self, curated: Path, key: str) -> None:
        def write(asked: Asked) -> str:
            return answer(asked).replace("<think>", f"{key} \x1b[31mI cannot <think>")

        with Server(write=write) as server:
            with pytest.raises(ChexReasonError, match="the last 7 replies all failed alike and cost 0.0210") as caught:
                run(curated, server.url, concurrency=2)
            assert 7 <= len(server.asked) <= 8, "no more than were under way"
        told = str(caught.value)
        assert "grammar: text outside the blocks" in told and "| [key] ?[31mI cannot <think>I see a sign of" in told
        assert "\x1b" not in told and "goes on from there" in told.splitlines()[-1]

    def test_once_it_is_mended_the_run_goes_on_and_nothing_is_paid_twice(self, curated: Path, key: str) -> None:
        with Server(write=lambda asked: "no") as server, pytest.raises(ChexReasonError, match="failed alike"):
            run(curated, server.url, concurrency=1)
        asked = len(server.asked)
        with Server() as server:
            card = run(curated, server.url, concurrency=1)
        assert asked == 7 and card["requests"] == asked + len(server.asked), "three studies' attempts were used up, in part"
        assert card["traces"] == STUDIES - 2 and card["set_aside"] == {"grammar": 2}
        assert card["cost"] == pytest.approx(PRICE * card["requests"])

    def test_a_teacher_that_fails_now_and_then_or_in_many_ways_goes_on(self, curated: Path, key: str) -> None:
        tries: Counter[str] = Counter()

        def write(asked: Asked) -> str:
            tries[image_of(asked)] += 1
            return ["no", answer(asked).replace("I see", "As told, I see"), answer(asked)][tries[image_of(asked)] - 1]

        with Server(write=write) as server:
            assert run(curated, server.url, concurrency=1)["traces"] == STUDIES

    def test_one_that_fails_in_several_ways_by_turns_is_stopped_too_and_the_ways_are_told(
        self, curated: Path, key: str
    ) -> None:
        turns = [Turn(), Turn(body={"error": {"message": f"no credit on {key}"}})] * 99

        def write(asked: Asked) -> str:
            return answer(asked).replace("I see", "As told, I see")

        with Server(*turns, write=write) as server:
            with pytest.raises(
                ChexReasonError, match="14 replies all failed .7 x leak, 7 x no_answer. and cost 0.0560"
            ) as told:
                run(curated, server.url, concurrency=1)
            assert len(server.asked) == 14
        assert "no_answer: nothing was written" in str(told.value) and "no credit on [key]" in str(told.value)
        assert key not in (curated.parent / "run/journal.jsonl").read_text()

    def test_web_pages_instead_of_replies_stop_it_too(self, curated: Path, key: str) -> None:
        pages = [Turn(headers={"Content-Type": "text/html"}, body="<html>502 Bad Gateway</html>")] * 99
        with Server(*pages) as server, pytest.raises(ChexReasonError, match="the last 7 replies all failed alike") as caught:
            run(curated, server.url, concurrency=1, retries=9)
        assert len(server.asked) == 7 and "| <html>502 Bad Gateway</html>" in str(caught.value)
        with Server() as server:
            assert run(curated, server.url)["traces"] == STUDIES, "a page is no attempt: no study was lost"

    def test_one_page_costs_a_retry_and_no_study(self, curated: Path, key: str) -> None:
        with Server(Turn(body="<html>wait</html>")) as server:
            card = run(curated, server.url, concurrency=1)
        assert card["traces"] == card["attempts"] == STUDIES
        assert card["cost"] == pytest.approx(PRICE * STUDIES + AT_MOST), "what it cost is not known"

    def test_too_few_to_be_stopped_are_shown_at_the_end(self, curated: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lessons, "ALIKE", 99)
        with Server(write=lambda asked: "Sorry.") as server, pytest.raises(ChexReasonError, match="no trace of") as caught:
            run(curated, server.url)
        told = str(caught.value)
        refusal = {"choices": [{"message": {"content": None, "refusal": "I will not."}}]}
        with Server(*[Turn(body=refusal)] * 99) as server, pytest.raises(ChexReasonError, match="I will not."):
            run(curated, server.url, "refused")
        with Server() as server, pytest.raises(ChexReasonError, match="I will not."):
            run(curated, server.url, "refused")
        assert not server.asked, "each study's attempts are used up: what came is in the journal"
        assert "| Sorry." in told and f"{3 * STUDIES * PRICE:.4f} is spent" in told and "force=true" in told.splitlines()[-1]


def refused(status: int = 400, message: str = "filtered") -> Turn:
    return Turn(status, body={"error": {"code": status, "message": message}})


class TestNotTaken:
    """A study that a service does not take is set aside; a service that takes none is stopped, and no study is lost."""

    @pytest.mark.parametrize("status", [400, 413, 422])
    def test_one_study_is_set_aside_with_the_reason_and_the_others_are_taught(
        self, status: int, curated: Path, key: str
    ) -> None:
        with Server(Turn(), refused(status)) as server:
            card = run(curated, server.url, concurrency=1)
            assert len(server.asked) == STUDIES, "it is not asked for again"
        assert card["traces"] == STUDIES - 1 and card["set_aside"] == {"declined": 1}
        assert card["cost"] == pytest.approx(PRICE * (STUDIES - 1)), "a refusal is not paid"
        (aside,) = read_traces(curated.parent / "run" / "set_aside.jsonl")
        assert (
            aside["path"] == "1.png" and aside["reason"].startswith(f"declined: HTTP {status}: ") and "filtered" in str(aside)
        )
        journal = (curated.parent / "run" / "journal.jsonl").read_text()
        assert f'"declined": "HTTP {status}"' in journal

    @pytest.mark.parametrize("concurrency", [1, 3])
    def test_where_nothing_is_taken_it_stops_soon_and_the_same_command_goes_on(
        self, concurrency: int, curated: Path, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lessons, "GIVE_UP", 3)
        with Server(*[refused(413)] * 99) as server, pytest.raises(ChexReasonError, match="alike and cost 0.0000") as told:
            run(curated, server.url, concurrency=concurrency)
        assert len(server.asked) <= 3 + 2 * concurrency
        assert "HTTP 413" in str(told.value) and ".png" in str(told.value) and "teacher.image_side" in str(told.value)
        with Server() as server:
            assert run(curated, server.url)["traces"] == STUDIES

    def test_many_in_a_row_stop_a_service_that_took_others_and_none_of_them_is_lost(
        self, curated: Path, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lessons, "ALIKE", 7)
        with Server(Turn(), *[refused()] * 99) as server, pytest.raises(ChexReasonError, match="the last 7 replies all failed"):
            run(curated, server.url, concurrency=1)
        assert len(server.asked) == 8
        with Server() as server:
            card = run(curated, server.url)
            assert len(server.asked) == STUDIES - 1
        assert card["traces"] == STUDIES and card["cost"] == pytest.approx(PRICE * STUDIES)

    def test_the_last_ones_are_not_set_aside_by_a_service_that_took_nothing_but_they_are_when_it_insists(
        self, curated: Path, key: str
    ) -> None:
        with Server(*[Turn()] * 10, Turn(401)) as server, pytest.raises(ChexReasonError, match="HTTP 401"):
            run(curated, server.url, concurrency=1)
        with Server(*[refused(message="no model m")] * 99) as server:
            with pytest.raises(ChexReasonError, match="took nothing else"):
                run(curated, server.url, concurrency=1)
            card = run(curated, server.url, concurrency=1)
            assert len(server.asked) == 4
        assert card["traces"] == 10 and card["set_aside"] == {"declined": 2}

    def test_an_error_inside_200_uses_up_no_attempt(self, curated: Path, key: str) -> None:
        busy = Turn(body={"error": {"code": 429, "message": "slow down"}})
        with Server(*[busy] * 99) as server, pytest.raises(ChexReasonError, match="does not answer"):
            run(curated, server.url, concurrency=1)
        with Server() as server:
            card = run(curated, server.url)
        assert card["traces"] == card["attempts"] == STUDIES and card["cost"] == pytest.approx(PRICE * STUDIES)


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


class TestLedger:
    """The journal on its own."""

    def test_a_price_that_was_met_is_reckoned_with(self, tmp_path: Path) -> None:
        ledger = Ledger(tmp_path / "journal.jsonl", 1.0)
        ledger.close(ledger.open("a", 1, 0.1), "a", Reply("x", 9, 9, cost=0.6))  # six times what was thought possible
        with pytest.raises(ChexReasonError, match="could cost 0.6000"):
            ledger.open("b", 1, 0.1)

    def test_another_schema_is_not_read(self, tmp_path: Path) -> None:
        (tmp_path / "journal.jsonl").write_text('{"schema": 2}\n')
        with pytest.raises(ChexReasonError, match="line 1: schema 2"):
            Ledger(tmp_path / "journal.jsonl", None)

    def test_a_broken_line_in_the_middle_is_an_error_and_at_the_end_it_is_repaired(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.jsonl"
        ledger = Ledger(path, None)
        for name in ("a", "b"):
            ledger.close(ledger.open(name, 1, 0.0), name, Reply("\u00e9t\u00e9", 1, 2, 0.5))
        whole = path.read_bytes()
        for cut in range(len(whole.splitlines()[0]) + 2, len(whole)):
            path.write_bytes(whole[:cut])
            again = Ledger(path, None)
            assert [reply.text for reply in again.replies("a")] == ["\u00e9t\u00e9"]
            assert again.spent == (0.5 if cut < len(whole) - 1 else 1.0), cut
            assert path.read_bytes().endswith(b"\n")
        path.write_bytes(b"{half\n" + whole)
        with pytest.raises(ChexReasonError, match="line 1: no JSON object"):
            Ledger(path, None)
