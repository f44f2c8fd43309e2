"""The way to a teacher: to its address and nowhere else, through no unseen proxy, and no reply without end."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from chexreason.errors import ChexReasonError
from chexreason.runs.config import group
from chexreason.teacher.address import is_loopback, place, proxy_on_the_way
from chexreason.teacher.connection import LARGEST
from chexreason.teacher.reply import Unanswered
from tests.teacher.conftest import PROXIES, settings
from tests.teacher.server import Server, Turn
from tests.teacher.test_services import BACKENDS, ask


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_redirect_is_refused_by_name_and_neither_films_nor_key_follow_it(
    backend: str, status: int, curated: Path, key: str
) -> None:
    with Server() as other, Server(Turn(status, {"Location": f"{other.url}/v1/take?secret=1"}, body="")) as server:
        with pytest.raises(ChexReasonError, match=f"HTTP {status}, a redirect to {other.url}: neither films nor key") as caught:
            ask(backend, server, curated)
        assert not other.asked and len(server.asked) == 1
    assert "secret" not in str(caught.value) and key not in str(caught.value)


@pytest.mark.parametrize("to", ["", "//", "http://[", "http://a b/\x1b[31m", "file:///etc/passwd", "/v2/else"])
def test_a_redirect_to_nowhere_is_refused_too(to: str, curated: Path, key: str) -> None:
    with (
        Server(Turn(307, {"Location": to}, body="")) as server,
        pytest.raises(ChexReasonError, match="a redirect to") as caught,
    ):
        ask("openai", server, curated)
    assert str(caught.value).replace("\n", "").isprintable()


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_proxy_stands_before_this_machine(backend: str, curated: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server() as proxy, Server() as server:
        for name in PROXIES:
            monkeypatch.setenv(name, proxy.url)
        assert ask(backend, server, curated).text
        assert len(server.asked) == 1 and not proxy.asked


def test_data_that_anyone_may_have_goes_through_the_environments_proxy(
    curated: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "")
    with Server() as proxy, Server() as server:
        monkeypatch.setenv("http_proxy", proxy.url.removeprefix("http://"))
        assert ask("openai", server, curated, base_url="http://teacher.invalid/v1").text
        assert [asked.path for asked in proxy.asked] == ["http://teacher.invalid/v1/chat/completions"]


@pytest.mark.parametrize("proxy", ["socks5://user:secret@127.0.0.1:9", "gopher://127.0.0.1:9"])
def test_a_proxy_of_a_kind_that_cannot_be_used_is_named(
    proxy: str, curated: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    with Server() as server, pytest.raises(ChexReasonError, match="127.0.0.1:9") as caught:
        ask("openai", server, curated, base_url="http://another.invalid/v1")
    assert "NO_PROXY=another.invalid" in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_reply_without_end_is_not_held_whole(backend: str, curated: Path, key: str) -> None:
    with (
        Server(Turn(endless=b'{"a": "' + b"x" * 65536)) as server,
        pytest.raises(Unanswered, match="more than 4 MiB") as caught,
    ):
        ask(backend, server, curated)
    assert server.sent < 4 * LARGEST, "the connection was closed"
    assert caught.value.billed and caught.value.said.startswith('{"a": "xxx')


def test_a_packed_reply_is_measured_unpacked_and_read(curated: Path, key: str) -> None:
    bomb = gzip.compress(b" " * (LARGEST + 1))
    with (
        Server(Turn(headers={"Content-Encoding": "gzip", "Content-Length": str(len(bomb))}, endless=bomb, pause=9)) as server,
        pytest.raises(Unanswered, match="more than 4 MiB"),
    ):
        ask("openai", server, curated)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_reply_that_drips_is_timed_out(backend: str, curated: Path, key: str) -> None:
    with Server(Turn(endless=b" ", pause=0.1)) as server, pytest.raises(Unanswered, match="timeout") as caught:
        ask(backend, server, curated, timeout=0.5)
    assert caught.value.billed and server.sent < 40, "it did not listen on and on"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("headers", [{"Content-Type": "text/html; charset=utf-8"}, {}])
def test_a_web_page_is_no_reply(backend: str, headers: dict[str, str], curated: Path, key: str) -> None:
    page = f"\n<html>502 Bad Gateway {key}</html>"
    with Server(Turn(headers=headers, body=page)) as server, pytest.raises(Unanswered, match="a web page") as caught:
        ask(backend, server, curated)
    assert caught.value.billed and "502 Bad Gateway [key]" in caught.value.said


@pytest.mark.parametrize("variable", ["OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_address_is_the_configs_and_not_the_environments(
    backend: str, variable: str, curated: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server() as proxy, Server() as other:
        monkeypatch.setenv(variable, other.url)
        monkeypatch.setenv("https_proxy", proxy.url)  # so that nothing leaves this machine: it does not know CONNECT
        with pytest.raises((Unanswered, ChexReasonError)):
            ask(backend, other, curated, base_url=None)
        assert not other.asked


@pytest.mark.parametrize(
    ("url", "here"),
    [("http://localhost:8000/v1", True), ("http://127.0.0.1", True), ("http://127.8.9.1:1/", True), ("http://[::1]:80", True),
     ("https://api.openai.com/v1", False), ("http://0.0.0.0:8000", False), ("http://10.0.0.7", False), ("http://gpu", False),
     ("http://localhost.example.com", False), ("http://127.0.0.1.nip.io", False), ("http://2130706433", False),
     ("http://localhost@example.com/", False), ("http://[::ffff:10.0.0.1]", False)],
)  # fmt: skip
def test_only_loopback_is_this_machine(url: str, here: bool) -> None:
    assert is_loopback(url) is here


def test_a_place_is_an_address_and_nothing_more() -> None:
    assert place("http://me:secret@[::1]:80/v1?key=secret") == "http://[::1]:80"
    assert place("https://Example.com/path") == "https://example.com"


def test_the_proxy_is_the_one_that_the_variables_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_on_the_way("https://far.example/v1") is None
    monkeypatch.setenv("ALL_PROXY", "proxy:3128")
    assert proxy_on_the_way("https://far.example/v1") == "http://proxy:3128"
    monkeypatch.setenv("NO_PROXY", "other, far.example")
    assert proxy_on_the_way("https://far.example:8443/v1") is None
    assert proxy_on_the_way("http://near.example/v1") == "http://proxy:3128"


@pytest.mark.parametrize(
    "address",
    ["localhost:8000", "ftp://host/", "http://", "/v1", "http://host:port/v1", "http://host:99999", "http://host:0", "http://[::1",
     "http://a\tb/", "http://host/\nHost: other", "http://a b/", "http://localhost\\.example.com", "http://\u24d8ocalhost/",
     "http://me:sk-SECRET@ho\u2100st/", "http://me:sk-SECRET@[::1"],
)  # fmt: skip
def test_what_is_no_address_is_refused_before_any_work(address: str) -> None:
    with pytest.raises(ChexReasonError, match="teacher.base_url: an address is wanted, such as [^ ]*$"):
        group("teacher", settings("openai", "http://h") | {"base_url": address})
