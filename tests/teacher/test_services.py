"""The hosted teachers, by their real clients, against a server that speaks both protocols."""

from __future__ import annotations

import base64
import io
import json
import shutil
import ssl
import sys
import time
import traceback
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from chexreason.errors import ChexReasonError
from chexreason.phantom.server import READ, WRITTEN
from chexreason.runs.config import as_dict, compose, group
from chexreason.teacher.reply import MOST_SHOWN, Declined, Reply, StudyRecord, Unanswered
from chexreason.teacher.service import retry_after, transport
from tests.teacher.conftest import prompt, settings, teacher
from tests.teacher.server import Server, Turn, image_of

BACKENDS = ("gemini", "openai")
STUDY = StudyRecord("0.png", ("Enlarged Cardiomediastinum", "Edema"))


def ask(backend: str, server: Server, curated: Path, attempt: int = 1, study: StudyRecord = STUDY, **changed: Any) -> Reply:
    return teacher(backend, server.url, **changed).write(study, prompt(), curated.parent / "images", 0, attempt)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_reply_comes_with_its_tokens_and_price(backend: str, curated: Path, key: str) -> None:
    with Server() as server:
        reply = ask(backend, server, curated)
    assert reply.text and reply.text.endswith("<solution>Enlarged Cardiomediastinum, Edema</solution>")
    assert (reply.input_tokens, reply.output_tokens) == (READ, WRITTEN), "tokens thought with are paid as written"
    assert reply.cost == pytest.approx((READ * 1.0 + WRITTEN * 10.0) / 1e6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_sent_is_the_image_the_labels_and_the_form_and_nothing_that_names_the_patient(
    backend: str, curated: Path, key: str
) -> None:
    images = curated.parent / "images"
    (images / "patient0").mkdir()
    shutil.copy(images / "0.png", images / "patient0")
    study = replace(STUDY, path="patient0/0.png")  # as the published layouts name them
    with Server() as server:
        ask(backend, server, curated, study=study, image_side=8)
        ask(backend, server, curated, study=study, attempt=2)
        first, second = server.asked
    assert prompt().instruction.strip() in first.text and "Enlarged Cardiomediastinum, Edema" in first.text
    assert "Reason as if independently" in first.raw
    assert "patient0" not in first.raw and "0.png" not in first.raw
    picture = Image.open(io.BytesIO(base64.b64decode(image_of(first))))
    assert picture.format == "JPEG" and picture.size == (8, 8)
    seeds = [asked.body.get("seed", asked.body.get("generationConfig", {}).get("seed")) for asked in (first, second)]
    assert None not in seeds and seeds[0] != seeds[1], "another attempt is another draw"


@pytest.mark.parametrize("name", ["phantom", *BACKENDS])
def test_no_teacher_can_be_asked_by_nobody(name: str) -> None:
    with pytest.raises(ChexReasonError, match=r"teacher.concurrency=0: 1 at least is wanted"):
        group("teacher", as_dict(compose((f"teacher={name}", "teacher.concurrency=0")))["teacher"])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("status", [429, 500, 503, 520, 521, 522, 530])
def test_a_busy_server_is_asked_again_after_the_time_that_it_says(backend: str, status: int, curated: Path, key: str) -> None:
    with Server(Turn(status, {"Retry-After": "7"})) as server, pytest.raises(Unanswered, match=f"HTTP {status}") as caught:
        ask(backend, server, curated)
    assert caught.value.wait == 7.0 and not caught.value.billed
    assert len(server.asked) == 1, "the client must not ask again by itself: no budget would see it"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("status", [499, 504, 524, 598])
def test_a_proxy_that_waited_no_longer_is_asked_again_and_what_it_waited_for_may_be_billed(
    backend: str, status: int, curated: Path, key: str
) -> None:
    with Server(Turn(status, body="<html>timeout</html>")) as server, pytest.raises(Unanswered, match=f"HTTP {status}") as told:
        ask(backend, server, curated)
    assert told.value.billed


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("status", [402, 501])
def test_what_does_not_pass_is_not_asked_again(backend: str, status: int, curated: Path, key: str) -> None:
    with Server(Turn(status)) as server, pytest.raises(ChexReasonError, match=f"HTTP {status}"):
        ask(backend, server, curated)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("code", [429, "503"])
@pytest.mark.parametrize("whole", [False, True])
def test_an_error_inside_a_reply_counts_as_its_code_and_costs_nothing(
    backend: str, code: Any, whole: bool, curated: Path, key: str
) -> None:
    body = {"error": {"code": code, "message": f"busy, {key}"}}
    turn = Turn(headers={"Retry-After": "7"}, body=[body] if whole else body)
    with Server(turn) as server, pytest.raises(Unanswered, match=f"HTTP {code}") as told:
        ask(backend, server, curated)
    assert told.value.wait == 7.0 and not told.value.billed
    with (
        Server(Turn(body={"error": {"code": 401, "message": "no"}})) as server,
        pytest.raises(ChexReasonError, match="HTTP 401"),
    ):
        ask(backend, server, curated)


BROKEN = {"choices": [{"finish_reason": "error", "message": {"content": "<think>I s"}}]}


@pytest.mark.parametrize(
    ("backend", "turn"),
    [(backend, turn) for backend in BACKENDS
     for turn in (Turn(202, body={"status": "queued"}), Turn(204, body=""), Turn(body='{"choices": [{"mess'))]
    + [("openai", Turn(body=BROKEN))],
)  # fmt: skip
def test_what_is_no_reply_yet_or_broke_off_may_be_asked_for_again(backend: str, turn: Turn, curated: Path, key: str) -> None:
    with Server(turn) as server, pytest.raises(Unanswered) as told:
        ask(backend, server, curated)
    assert told.value.billed and (told.value.said or turn.status == 204)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_a_service_says_of_one_request_is_not_said_of_all(backend: str, status: int, curated: Path, key: str) -> None:
    def refused(message: str) -> Turn:
        return Turn(status, body={"error": {"code": status, "message": message}})

    with Server(refused("filtered")) as server, pytest.raises(Declined, match=f"HTTP {status}") as told:
        ask(backend, server, curated)
    assert told.value.reason == f"HTTP {status}" and "filtered" in told.value.said
    assert (status == 413) == ("teacher.image_side" in str(told.value))
    for account in ("API key not valid", "code: API_KEY_INVALID", "Your credit balance is too low"):
        with Server(refused(account)) as server, pytest.raises(ChexReasonError, match=account) as caught:
            ask(backend, server, curated)
        assert not isinstance(caught.value, Declined)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("address", "why"),
    [("http://127.0.0.1:1", "refused, no server listens"), ("http://no-such-host.invalid", "no such host"),
     ("https", "does not speak TLS")],
)  # fmt: skip
def test_why_there_is_no_connection_is_told(backend: str, address: str, why: str, curated: Path, key: str) -> None:
    with Server() as server, pytest.raises(Unanswered, match=f"connection: .*{why}.*teacher.base_url") as told:
        base = server.url.replace("http", "https") if address == "https" else address
        ask(backend, server, curated, base_url=base)
    assert not told.value.billed


def test_a_certificate_of_an_unknown_authority_is_told_from_other_failures() -> None:
    unknown = ssl.SSLCertVerificationError("certificate verify failed")
    unknown.verify_message = "self-signed certificate"
    error = httpx2.ConnectError("no")
    error.__cause__ = unknown
    assert "SSL_CERT_FILE" in str(transport(error)) and "self-signed certificate" in str(transport(error))
    assert not isinstance(transport(error), Unanswered), "it does not pass"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_timeout_may_have_been_billed_and_a_closed_door_was_not(backend: str, curated: Path, key: str) -> None:
    with Server(Turn(delay=1.5)) as server, pytest.raises(Unanswered, match="timeout") as caught:
        ask(backend, server, curated, timeout=0.3)
    assert caught.value.billed and len(server.asked) == 1
    with pytest.raises(Unanswered, match="connection") as caught:
        ask(backend, server, curated)  # which is closed by now
    assert not caught.value.billed


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "body",
    ["{}", "", "[]", '"text"', "null", '{"choices": [], "candidates": []}', '{"choices": [null]}',
     '{"choices": [{"message": {"content": null}}]}', '{"candidates": [{"content": {"parts": []}}]}', '{"candidates": 3}'],
)  # fmt: skip
def test_a_malformed_reply_is_no_text_and_reckoned_at_the_highest_price(
    backend: str, body: str, curated: Path, key: str
) -> None:
    with Server(Turn(body=body)) as server:
        reply = ask(backend, server, curated)
    assert reply == Reply(None, cost=pytest.approx((1000 * 1.0 + 400 * 10.0) / 1e6), said=body)


@pytest.mark.parametrize(
    ("backend", "body"),
    [
        ("openai", '{{"error": {{"message": "no credit on {key}"}}}}'),
        ("openai", '{{"choices": [{{"message": {{"content": null, "refusal": "no credit on {key}"}}}}]}}'),
        ("openai", "no credit on {key}"),
        ("openai", '"no credit\\u0020on {escaped}"'),
        ("openai", '"no credit on {key} \\ud800"'),
        ("openai", "[" * 100_000 + "no credit on {key}"),
        ("gemini", '{{"promptFeedback": {{"blockReason": "OTHER", "blockReasonMessage": "no credit on {key}"}}}}'),
        ("gemini", '{{"candidates": [{{"finishReason": "OTHER", "finishMessage": "no credit on {key}"}}]}}'),
        ("gemini", "no credit on {key}"),
    ],
)
def test_where_there_is_no_text_it_is_told_what_came_but_never_the_key(
    backend: str, body: str, curated: Path, key: str
) -> None:
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in key)
    with Server(Turn(body=body.format(key=key, escaped=escaped))) as server:
        reply = ask(backend, server, curated)
    assert reply.text is None and len(reply.said) <= MOST_SHOWN and key not in reply.said and escaped not in reply.said
    assert "no credit on [key]" in reply.said or body.startswith("[[")
    reply.said.encode()


@pytest.mark.parametrize("shift", range(0, 30, 5))
def test_a_key_at_the_end_of_what_is_told_is_not_told_in_part(shift: int, curated: Path, key: str) -> None:
    with Server(Turn(body="x" * (MOST_SHOWN - shift) + key)) as server:
        said = ask("openai", server, curated).said
    assert key[:4] not in said
    with Server(Turn(body="<html>".ljust(MOST_SHOWN - shift) + key)) as server, pytest.raises(Unanswered) as caught:
        ask("openai", server, curated)
    assert key[:4] not in caught.value.said


@pytest.mark.parametrize("count", ["10", -10, float("nan"), 10**30, True, None, [1], {}])
def test_a_count_that_is_none_loses_no_reply_and_is_reckoned_at_the_highest_price(count: Any, curated: Path, key: str) -> None:
    said = "<think>Haze, \ud800.</think>\n<solution>Edema</solution>"
    for usage in ({"prompt_tokens": count, "completion_tokens": 5}, {"prompt_tokens": 5, "completion_tokens": count}):
        body = json.dumps({"choices": [{"message": {"content": said}}], "usage": usage})
        with Server(Turn(body=body)) as server:
            reply = ask("openai", server, curated)
        assert reply == Reply(said.replace("\ud800", "?"), cost=pytest.approx((1000 * 1.0 + 400 * 10.0) / 1e6))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_ends_it_and_the_key_is_not_repeated(backend: str, status: int, curated: Path, key: str) -> None:
    with Server(Turn(status)) as server, pytest.raises(ChexReasonError, match=f"HTTP {status}") as caught:
        ask(backend, server, curated)
    assert any(key in value for value in server.asked[0].headers.values()), "the server did get the key"
    assert len(server.asked) == 1 and "refused for key" in str(caught.value)
    told = "".join(traceback.format_exception(caught.value))  # its causes too
    assert key not in told


EXPIRED = {  # as Google and OpenAI say it
    "gemini": {
        "code": 400,
        "message": "API key expired. Please renew the API key.",
        "status": "INVALID_ARGUMENT",
        "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
    },
    "openai": {"message": "Incorrect API key provided.", "type": "invalid_request_error", "code": "invalid_api_key"},
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("status", [None, 401, 403])
def test_an_expired_key_is_told_with_its_variable_and_what_to_do_next(
    backend: str, status: int | None, curated: Path, key: str
) -> None:
    turn = Turn(status) if status else Turn({"gemini": 400, "openai": 401}[backend], body={"error": EXPIRED[backend]})
    with Server(turn) as server, pytest.raises(ChexReasonError, match="the key is not valid, has expired") as told:
        ask(backend, server, curated)
    assert not isinstance(told.value, Declined) and len(server.asked) == 1
    assert "export TEACHERS_KEY=" in str(told.value) and "the same command goes on" in str(told.value)
    assert "nothing is paid twice" in str(told.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_reply_that_repeats_the_key_loses_it(backend: str, curated: Path, key: str) -> None:
    with Server(write=lambda asked: f"Your key is {key}.") as server:
        assert ask(backend, server, curated).text == "Your key is [key]."


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_a_key_the_variable_is_named(backend: str, curated: Path) -> None:
    with pytest.raises(ChexReasonError, match="export TEACHERS_KEY"):
        teacher(backend, "http://127.0.0.1:1").write(STUDY, prompt(), curated.parent / "images", 0, 1)


def test_a_server_that_wants_no_key_gets_none_of_ours(curated: Path, key: str) -> None:
    with Server() as server:
        ask("openai", server, curated, key_from=None)
    assert key not in str(server.asked[0].headers)


@pytest.mark.parametrize(
    ("field", "value"), [("key_from", "sk-SECRET"), ("base_url", "https://me:sk-SECRET@host/v1?key=sk-SECRET")]
)
def test_a_key_in_the_config_is_refused_and_not_repeated(field: str, value: str) -> None:
    from chexreason.runs.config import group

    with pytest.raises(ChexReasonError) as caught:
        group("teacher", settings("openai", "http://h") | {field: value})
    assert f"teacher.{field}" in str(caught.value) and "SECRET" not in str(caught.value)


@pytest.mark.parametrize(("backend", "library"), [("gemini", "google"), ("openai", "openai")])
def test_a_missing_client_names_what_to_install(
    backend: str, library: str, curated: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Without:
        def find_spec(self, name: str, *_: Any) -> None:
            if name.split(".")[0] == library:
                raise ModuleNotFoundError(name)

    monkeypatch.setattr(sys, "modules", {name: one for name, one in sys.modules.items() if name.split(".")[0] != library})
    monkeypatch.setattr(sys, "meta_path", [Without(), *sys.meta_path])
    with pytest.raises(ChexReasonError, match=rf"pip install 'chexreason\[{backend}\]'"):
        teacher(backend, "http://elsewhere").write(STUDY, prompt(), curated.parent / "images", 0, 1)


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after({"retry-after": "2.5"}) == 2.5
    assert 25 < retry_after({"Retry-After": formatdate(time.time() + 30, usegmt=True)}) <= 30
    assert retry_after({"Retry-After": "soon"}) == retry_after({}) == retry_after({"Retry-After": "-3"}) == 0.0
