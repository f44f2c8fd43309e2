"""The HTTP client of both hosted teachers: it reaches one address and no other, and limits a reply's size and time.

The official clients would follow a redirect (and send films and key there), use any proxy that the environment names, and
read replies of any length. Both accept a custom HTTP client: this one, which refuses before a byte is sent.
"""

from __future__ import annotations

import json
import time

import httpx2

from chexreason.errors import ChexReasonError
from chexreason.teacher.address import place, proxy_on_the_way
from chexreason.teacher.reply import CAME, Unanswered

LARGEST = 4 * 2**20  # bytes of one reply, unpacked: some hundred times the longest trace


def client(address: str, timeout: float) -> httpx2.Client:
    """A client for the teacher at `address`; `timeout` in seconds, for each step and for the reply's body as a whole.

    Raises:
        ChexReasonError: the environment names a proxy of a kind that cannot be used.
    """
    certificates = httpx2.create_ssl_context(trust_env=True)  # SSL_CERT_FILE and SSL_CERT_DIR still count
    proxy = proxy_on_the_way(address)
    try:
        inner = httpx2.HTTPTransport(verify=certificates, proxy=proxy, trust_env=False)
    except (ImportError, ValueError, httpx2.InvalidURL):
        raise ChexReasonError(
            f"the environment puts a proxy before {place(address)} that cannot be used: {place(proxy or '')}.\n"
            f"  Go there without it:  export NO_PROXY={place(address).rpartition('/')[2]}"
        ) from None
    return httpx2.Client(transport=_OneAddress(inner, address, timeout), timeout=timeout, trust_env=False)


class _OneAddress(httpx2.BaseTransport):
    """Sends to `address` alone, refuses redirects, and reads replies up to a size and a time."""

    def __init__(self, inner: httpx2.BaseTransport, address: str, timeout: float):
        self.inner, self.address, self.timeout = inner, httpx2.URL(address), timeout
        self._here = place(address)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """One request and its whole reply.

        Raises:
            ChexReasonError: the request would go to another address, or the server redirects to one.
            Unanswered: the reply is a web page, is truncated, is not final, or is too long.
        """
        here = (self.address.scheme, self.address.host, self.address.port)
        if (request.url.scheme, request.url.host, request.url.port) != here:
            raise ChexReasonError(f"a request for the teacher at {self._here} was to go to {place(str(request.url))}")
        reply = self.inner.handle_request(request)
        try:
            if 300 <= reply.status_code < 400:
                raise ChexReasonError(self._redirected(reply))
            content = self._read(reply)
        finally:
            reply.close()
        CAME.set(content.decode("utf-8", "replace"))
        page = reply.headers.get("content-type", "").startswith("text/html") or content.lstrip()[:1] == b"<"
        if reply.status_code == 200 and page:
            raise Unanswered("a web page came instead of a reply", billed=True, said=CAME.get())
        if 200 < reply.status_code < 300:
            raise Unanswered(f"HTTP {reply.status_code} in the place of a reply", billed=True, said=CAME.get())
        status = _meant(CAME.get()) if reply.status_code == 200 else reply.status_code
        # The content is unpacked by now.
        packed = ("content-encoding", "content-length", "transfer-encoding")
        headers = [(name, value) for name, value in reply.headers.multi_items() if name not in packed]
        return httpx2.Response(status, headers=headers, content=content, extensions=reply.extensions)

    def close(self) -> None:
        self.inner.close()

    def _read(self, reply: httpx2.Response) -> bytes:
        content, until = bytearray(), time.monotonic() + self.timeout
        for chunk in reply.iter_bytes():
            content += chunk
            if len(content) > LARGEST:
                said = content.decode("utf-8", "replace")
                raise Unanswered(f"a reply of more than {LARGEST >> 20} MiB", billed=True, said=said)
            if time.monotonic() > until:
                raise httpx2.ReadTimeout(f"a reply that is not over after {self.timeout:g} s")
        return bytes(content)

    def _redirected(self, reply: httpx2.Response) -> str:
        try:
            to = place(str(self.address.join(reply.headers.get("location", ""))))
        except (ValueError, httpx2.InvalidURL):
            to = "an address that cannot be read"
        return (
            f"the teacher at {self._here} answered HTTP {reply.status_code}, a redirect to {to}: neither films nor key were "
            "sent there.\n  If that is where it lives and you may send them there: teacher.base_url=ADDRESS"
        )


def _meant(body: str) -> int:
    """The actual status of a reply with HTTP 200: gateways wrap an upstream error, with its code, in such a reply.

    Raises:
        Unanswered: the reply is truncated.
    """
    try:
        said = json.loads(body)
    except RecursionError:
        return 200
    except ValueError:
        if body.lstrip().startswith("{"):
            raise Unanswered("a reply that breaks off", billed=True, said=body) from None
        return 200
    said = said[0] if isinstance(said, list) and said else said
    error = said.get("error") if isinstance(said, dict) else None
    code = str(error.get("code")) if isinstance(error, dict) else ""
    return int(code) if code.isdecimal() and 400 <= int(code) < 600 else 200
