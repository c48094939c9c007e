"""What the endpoint says while it runs: seldom, by few threads, and not on a stderr that nobody gave it."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable

import programs
import pytest
from servers import wait_for

from otel_prom_bridge import native
from otel_prom_bridge.diagnostics import endpoint_logger
from otel_prom_bridge.endpoint.server import log as rate_limited_log
from otel_prom_bridge.endpoint.server.log import RateLimitedLog, log_without_waiting

NAME = "otel-prom-bridge-log"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was said before, and what earlier tests said may still be being written."""
    new = RateLimitedLog(
        rate_limited_log._in_a_thread, a_minute=5, most_writing=rate_limited_log._MOST_WRITING
    )
    monkeypatch.setattr(rate_limited_log, "_log", new)


def at_once(job: Callable[[], None]) -> bool:
    """Run a job in this thread."""
    job()
    return True


def test_log_handlers_that_hang_cost_two_workers(caplog: pytest.LogCaptureFixture) -> None:
    """While two lines are being written others are counted, and said later."""
    waiting: list[Callable[[], None]] = []

    def later(job: Callable[[], None]) -> bool:
        waiting.append(job)
        return True

    log = RateLimitedLog(later)
    for kind in ("a", "b", "c", "c"):
        log.warn(kind, "kind %s", kind)
    log.debug("never")
    assert len(waiting) == 2
    for job in waiting[:]:
        job()
    log.warn("c", "kind %s", "c")
    waiting[-1]()
    assert caplog.messages == ["kind a", "kind b", "kind c (and 2 more times since the last such line)"]


@pytest.mark.parametrize("a_minute", [1, 3])
def test_lines_of_a_kind_are_seldom(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, a_minute: int
) -> None:
    """So many in a minute, whatever is said in between, and the next one says how many there were."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    log = RateLimitedLog(at_once, a_minute=a_minute)
    for _ in range(100):
        log.warn("a", "first %s", "kind")
        log.warn("b", "second kind")
    now[0] += 61
    log.warn("a", "first %s", "kind")
    assert caplog.messages == [
        *["first kind", "second kind"] * a_minute,
        f"first kind (and {100 - a_minute} more times since the last such line)",
    ]


def test_kinds_without_end_are_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    """What is remembered is bounded: of a thousand kinds the first is new again, and the last is not."""
    log = RateLimitedLog(at_once, a_minute=1)
    for number in range(1000):
        log.warn(str(number), str(number))
    assert len(caplog.messages) == 1000
    for kind in ("999", "0", "999"):
        log.warn(kind, kind)
    assert caplog.messages[1000:] == ["0"]


def test_everyday_life_is_logged_for_who_wants_it(caplog: pytest.LogCaptureFixture) -> None:
    """At level DEBUG, and not at all without it."""
    log = RateLimitedLog(at_once)
    with caplog.at_level(logging.INFO, "otel_prom_bridge"):
        log.debug("gone: %s", 1)
    with caplog.at_level(logging.DEBUG, "otel_prom_bridge"):
        log.debug("gone: %s", 2)
    assert caplog.messages == ["gone: 2"]


def test_two_lines_in_turn_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A file that goes bad and good and bad again is heard of, but not for ever."""
    for number in range(100):
        log_without_waiting(logging.WARNING, "it is %s", ("good", "bad")[number % 2])
        for thread in [each for each in threading.enumerate() if each.name == NAME]:
            thread.join(10)
    assert sorted(caplog.messages) == ["it is bad"] * 5 + ["it is good"] * 5


def test_a_handler_that_hangs_costs_a_few_threads() -> None:
    """What comes meanwhile is lost; afterwards lines are written again."""
    release = threading.Event()
    seen: list[str] = []

    class Hanging(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            assert release.wait(20)
            seen.append(record.getMessage())
            return True

    handler = Hanging()
    earlier = threading.enumerate()
    endpoint_logger.addHandler(handler)
    try:
        for number in range(50):
            log_without_waiting(logging.WARNING, "line %d", number)
        threads = [each for each in threading.enumerate() if each.name == NAME and each not in earlier]
        assert len(threads) == rate_limited_log._MOST_WRITING
        release.set()
        for thread in threads:
            thread.join(10)
        log_without_waiting(logging.WARNING, "later")
        wait_for(lambda: "later" in seen, seconds=10, what="a line after the others")
        assert len(seen) == rate_limited_log._MOST_WRITING + 1
    finally:
        release.set()
        endpoint_logger.removeHandler(handler)


def test_at_the_end_of_the_interpreter_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no thread can be started, nothing is raised and nothing counts as being written."""

    def refuse(_: native.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(native.Thread, "start", refuse)
        for number in range(50):
            log_without_waiting(logging.WARNING, "lost %d", number)
    assert not any(message.startswith("lost") for message in caplog.messages)
    log_without_waiting(logging.WARNING, "again")
    wait_for(lambda: "again" in caplog.messages, seconds=10, what="a line, where threads can be started")


# What clients do wrong, and a callback that hangs, in a process that says nothing of logging.
PROVOKED = """
import socket, threading, urllib.error, urllib.request
from opentelemetry.metrics import Observation
from otel_prom_bridge import start

hanging = threading.Event()
with start(port=0, allow=["10.0.0.0/8"], set_global=False) as refusing:
    try:
        urllib.request.urlopen(refusing.server.url)
    except OSError:
        pass
with start(port=0, scrape_timeout=0.2, cache_ttl=0, set_global=False) as bridge:
    meter = bridge.meter_provider.get_meter("test")
    meter.create_observable_gauge("g", [lambda _: [Observation(hanging.wait(30))]])
    with socket.create_connection(("127.0.0.1", bridge.server.port)) as client:
        client.sendall(b"\\x16\\x03\\x01 no HTTP")
        client.recv(1000)
    for _ in range(2):
        assert urllib.request.urlopen(bridge.server.url).status == 200
    hanging.set()
print("done")
"""
# What whoever starts it does wrong.
A_TAKEN_PORT = """
import socket
from otel_prom_bridge import start

with socket.create_server(("127.0.0.1", 0)) as other:
    start(port=other.getsockname()[1], addr="127.0.0.1", strict=False, set_global=False).shutdown()
print("done")
"""


def run(code: str) -> str:
    """What a process that runs this writes to stderr."""
    environment = {
        name: text for name, text in os.environ.items() if not name.startswith(("OTEL_", "METRICS_"))
    }
    done = programs.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.stdout == "done\n", done.stderr
    return done.stderr


def test_stderr_is_not_for_what_clients_do() -> None:
    """Logging's last resort would write it there; handlers that the host configured get it."""
    assert run(PROVOKED) == ""
    logged = run(f"import logging; logging.basicConfig()\n{PROVOKED}")
    assert "a connection from 127.0.0.1 was refused" in logged
    assert "a collection has not ended" in logged
    assert all(line.startswith("WARNING:otel_prom_bridge.endpoint:") for line in logged.splitlines())


def test_stderr_says_what_is_wrong_with_the_start() -> None:
    """Whoever started the process has to hear of it, with logging or without."""
    line = run(A_TAKEN_PORT)
    assert line.startswith("metrics are recorded but not served: ")
    assert "cannot serve metrics on address '127.0.0.1'" in line
