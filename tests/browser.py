"""A headless Chromium driven over its own DevTools protocol: what a person does on a page, done by a test."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = "--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run --remote-debugging-port=0"


NAMED = {"Backspace": 8, "Tab": 9, "Enter": 13, "Escape": 27}  # keys that write nothing, and their Windows codes


class Browser:
    """One page; `folder` holds the profile and what is downloaded. Use it as a context."""

    def __init__(self, folder: Path):
        self.folder, self.downloads = folder, folder / "downloads"
        self.downloads.mkdir(parents=True)
        command = [str(CHROMIUM), *FLAGS.split(), f"--user-data-dir={folder / 'profile'}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.numbers = itertools.count(1)
        port = self._wait_for(folder / "profile" / "DevToolsActivePort").splitlines()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=20) as answer:
            page = next(target for target in json.load(answer) if target["type"] == "page")
        self.socket = connect(page["webSocketDebuggerUrl"], max_size=None, open_timeout=20, close_timeout=2)
        self.call("Page.enable")
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: Any) -> None:
        self.socket.close()
        self.process.terminate()
        self.process.wait(20)

    def _wait_for(self, path: Path, seconds: float = 30.0) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if path.exists() and path.read_text(encoding="utf-8").strip():
                return path.read_text(encoding="utf-8")
            time.sleep(0.05)
        raise TimeoutError(f"{path} did not appear")

    def call(self, method: str, until: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and the event that it must bring about; other events are let go by."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        result = None
        while result is None or until:
            message = json.loads(self.socket.recv(timeout=60))
            if message.get("id") == number:
                assert "error" not in message, message
                result = message["result"]
            elif message.get("method") == until:
                until = None
        return result

    def open(self, url: str) -> None:
        """Go to a page and wait until it has loaded."""
        self.call("Page.navigate", "Page.loadEventFired", url=url)

    def reload(self) -> None:
        self.call("Page.reload", "Page.loadEventFired")

    def run(self, script: str) -> Any:
        """The value of an expression, a promise's once it is there."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, *keys: str) -> None:
        """Keys as a keyboard sends them, to whatever has the focus."""
        for key in keys:
            text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
            code = {"windowsVirtualKeyCode": NAMED[key]} if key in NAMED else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **code)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key, **code)

    def type(self, text: str) -> None:
        """Text key by key, as a person types it: where no field has the focus, each key is a command of the page."""
        self.press(*text)

    def click(self, selector: str) -> None:
        """The mouse's button on the first element that `selector` finds."""
        box = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{ block: 'center' }});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for event in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=event, x=box[0], y=box[1], button="left", clickCount=1)

    def write(self, text: str) -> None:
        """Text into the field that has the focus."""
        self.call("Input.insertText", text=text)

    def view(self, width: int, height: int, *, dark: bool = False, phone: bool = False, paper: bool = False) -> None:
        """The window's size, the colour scheme and the medium."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", media="print" if paper else "screen", features=scheme)

    def picture(self, path: Path) -> Path:
        """A screenshot of what is in the window."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
        return path

    def downloaded(self, name: str) -> Path:
        """A file that the page has saved."""
        self._wait_for(self.downloads / name)
        return self.downloads / name
