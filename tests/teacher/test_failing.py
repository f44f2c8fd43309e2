"""A service whose replies fail, alike or by turns, or that takes nothing: what it costs is told, and no study is lost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from chexreason.errors import ChexReasonError
from chexreason.runs.files import read_lines
from chexreason.teacher import lessons
from tests.teacher.conftest import AT_MOST, PRICE, STUDIES, run
from tests.teacher.server import Asked, Server, Turn, answer, image_of

pytestmark = pytest.mark.usefixtures("impatient")


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
        assert "\x1b" not in told and "the same command then continues" in told.splitlines()[-1]

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
        (aside,) = read_lines(curated.parent / "run" / "set_aside.jsonl")
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
