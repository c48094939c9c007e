"""Log lines from places that must not wait: said seldom, and by few threads."""

from __future__ import annotations

import logging
import threading

import pytest
from servers import wait_for

from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.endpoint import remarks
from otel_prom_bridge.endpoint.remarks import remark

NAME = "otel-prom-bridge-log"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was said before, and what earlier tests said may still be being written."""
    monkeypatch.setattr(remarks, "_last", ("", 0.0))
    monkeypatch.setattr(remarks, "_writing", set())


def written(caplog: pytest.LogCaptureFixture, count: int) -> list[str]:
    """The lines, when there are so many."""
    wait_for(lambda: len(caplog.messages) >= count, seconds=10, what="lines in the log")
    return caplog.messages


def test_a_line_is_said_again_when_there_was_another(caplog: pytest.LogCaptureFixture) -> None:
    """Not twice in a row, however often it is said."""
    for text in ("a", "a", "b", "b", "a"):
        remark(logging.WARNING, "it is %s", text)
    assert sorted(written(caplog, 3)) == ["it is a", "it is a", "it is b"]


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
    logger.addHandler(handler)
    try:
        for number in range(50):
            remark(logging.WARNING, "line %d", number)
        threads = [each for each in threading.enumerate() if each.name == NAME and each not in earlier]
        assert len(threads) == remarks._MOST_WRITING
        release.set()
        for thread in threads:
            thread.join(10)
        remark(logging.WARNING, "later")
        wait_for(lambda: "later" in seen, seconds=10, what="a line after the others")
        assert len(seen) == remarks._MOST_WRITING + 1
    finally:
        release.set()
        logger.removeHandler(handler)


def test_at_the_end_of_the_interpreter_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started, nothing is raised and nothing counts as being written."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    for number in range(50):
        remark(logging.WARNING, "line %d", number)
    assert not remarks._writing
