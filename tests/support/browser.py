"""A real browser: Debian's chromium, driven over the WebDriver protocol by chromedriver, without a package.

The protocol is JSON over HTTP: https://www.w3.org/TR/webdriver2/
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_KEYS = {"Enter": "\ue007", "Tab": "\ue004", "Escape": "\ue00c", "End": "\ue010"}
_ARGUMENTS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-extensions", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--metrics-recording-only", "--no-default-browser-check", "--lang=en-US"),
    *("--force-device-scale-factor=1", "--hide-scrollbars", "--mute-audio"),
]


class BrowserError(Exception):
    """What the driver says is wrong."""


class Browser:
    """One window. Elements are found by CSS, and waited for."""

    def __init__(self, driver: str, *, arguments: list[str], folder: str) -> None:
        self._driver = driver
        options = {"args": [*_ARGUMENTS, f"--user-data-dir={folder}", *arguments]}
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        body = {"capabilities": {"alwaysMatch": {"browserName": "chrome", **wanted}}}
        self._session = self._call("POST", "/session", body, root=True)["sessionId"]

    def _call(self, method: str, path: str, body: Any = None, *, root: bool = False) -> Any:
        url = f"{self._driver}{path}" if root else f"{self._driver}/session/{self._session}{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.loads(response.read())["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise BrowserError(json.loads(error.read())["value"]["message"]) from None

    def open(self, url: str) -> None:
        """Open a page, and wait until it is loaded."""
        self._call("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function body in JavaScript returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script: str) -> Any:
        """What a function body gives to the callback that is its last argument."""
        return self._call("POST", "/execute/async", {"script": script, "args": []})

    def devtools(self, command: str, **parameters: Any) -> Any:
        """What a command of the DevTools protocol answers."""
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def log(self, kind: str) -> list[dict[str, Any]]:
        """What is new in a log of the browser: ``browser`` or ``performance``."""
        found: list[dict[str, Any]] = self._call("POST", "/se/log", {"type": kind})
        return found

    def until(self, condition: Callable[[], Any], what: str, *, seconds: float = 15.0) -> Any:
        """The first result of the condition that is true."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(f"no {what} within {seconds:g} s; the page says:\n{self.text()[:3000]}")
            time.sleep(0.03)
        return found

    def text(self, css: str = "body") -> str:
        """The text that is seen of the first element."""
        script = "const e = document.querySelector(arguments[0]); return e ? e.innerText : '';"
        return str(self.run(script, css))

    def wait_for(self, text: str, css: str = "body", *, seconds: float = 15.0) -> str:
        """The text of an element, once it has this text in it."""
        found: str = self.until(
            lambda: shown if text in (shown := self.text(css)) else "", repr(text), seconds=seconds
        )
        return found

    def texts(self, css: str) -> list[str]:
        """The texts of all elements."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)", css
        )
        return found

    def element(self, css: str) -> str:
        """An element, once it is there."""

        def find() -> str | None:
            found = self._call("POST", "/elements", {"using": "css selector", "value": css})
            return found[0][_ELEMENT] if found else None

        result: str = self.until(find, css)
        return result

    def click(self, css: str) -> None:
        """Click on an element, as a person does: it has to be visible, and not covered."""
        self._retried(lambda: self._call("POST", f"/element/{self.element(css)}/click", {}))

    def click_text(self, text: str, css: str = "a, button, summary") -> None:
        """Click on what has exactly this text."""
        mark = (
            "for (const e of document.querySelectorAll('[data-test]')) delete e.dataset.test;"
            "const all = [...document.querySelectorAll(arguments[0])];"
            "const e = all.find(e => e.innerText.trim() === arguments[1]);"
            "if (e) e.dataset.test = '1'; return Boolean(e);"
        )

        def click() -> None:
            self.until(lambda: self.run(mark, css, text), repr(text))
            self._call("POST", f"/element/{self.element('[data-test]')}/click", {})

        self._retried(click)

    def _retried(self, act: Callable[[], None]) -> None:
        """The page makes elements anew now and then, also just before a click."""
        for _ in range(5):
            try:
                return act()
            except BrowserError as error:
                if "stale" not in str(error) and "no such element" not in str(error):
                    raise
        return act()

    def type(self, css: str, text: str) -> None:
        """Type into a field, in the place of what is there."""
        element = self.element(css)
        self._call("POST", f"/element/{element}/clear", {})
        self._call("POST", f"/element/{element}/value", {"text": _KEYS.get(text, text)})

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        actions = [
            {"type": kind, "value": _KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")
        ]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def choose(self, css: str, value: str) -> None:
        """Choose an option of a list."""
        script = (
            "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('change', {bubbles: true}));"
        )
        self.element(css)
        self.run(script, css, value)

    def size(self, width: int, height: int, *, scale: float = 1.0) -> None:
        """Make the window look as large as this."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )

    def theme(self, name: str) -> None:
        """Prefer a light or a dark page."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, path: Path, *, form: str = "png", quality: int | None = None) -> None:
        """Write what is seen to a file."""
        options = {"format": form} if quality is None else {"format": form, "quality": quality}
        path.write_bytes(base64.b64decode(self.devtools("Page.captureScreenshot", **options)["data"]))

    def close(self) -> None:
        """Close the window."""
        self._call("DELETE", "")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def programs() -> tuple[str, str] | None:
    """The paths of chromium and its driver, if they are installed."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return None if browser is None or driver is None else (browser, driver)


@contextmanager
def driven(*arguments: str) -> Iterator[Browser]:
    """A browser."""
    found = programs()
    assert found is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        driver = subprocess.Popen(
            [found[1], "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            assert driver.stdout is not None
            port = next(
                match[1]
                for line in driver.stdout
                if (match := re.search(r"successfully on port (\d+)", line))
            )
            with Browser(f"http://127.0.0.1:{port}", arguments=list(arguments), folder=folder) as browser:
                yield browser
        finally:
            driver.terminate()
            driver.wait(10)
            if driver.stdout is not None:
                driver.stdout.close()
