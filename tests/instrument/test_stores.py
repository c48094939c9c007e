"""Caches, queues, storages, WebSockets by hand, and errors by component."""

from __future__ import annotations

import asyncio

import pytest
from genai_points import Recorded

from otel_prom_bridge.instrument import (
    Cache,
    ComponentErrors,
    NotificationQueue,
    Queue,
    Storage,
    WebSockets,
)


def test_a_cache(recorded: Recorded) -> None:
    """Hits, misses and a size, by the name of the cache."""
    cache = Cache("sessions", meter_provider=recorded.provider)
    data = {"a": 1}
    assert cache.looked_up(data.get("a")) == 1
    assert cache.looked_up(data.get("b")) is None
    cache.hit(3)
    cache.size(12)
    cache.size(10)
    assert recorded.point("cache.hits", cache__name="sessions").value == 4
    assert recorded.point("cache.misses", cache__name="sessions").value == 1
    assert recorded.point("cache.size", cache__name="sessions").value == 10


def test_queues(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    """The newest size counts; a size that is none is logged."""
    Queue("jobs", meter_provider=recorded.provider).size(3)
    Queue("jobs", meter_provider=recorded.provider).size(0)
    NotificationQueue("mail", meter_provider=recorded.provider).size(5)
    for odd in (-1, "many", float("nan"), None, 10**400):
        Queue("jobs", meter_provider=recorded.provider).size(odd)  # type: ignore[arg-type]
    assert recorded.point("queue.size", queue__name="jobs").value == 0
    assert recorded.point("notification.queue.size", channel="mail").value == 5
    assert "queue.size: -1 is not recorded" in caplog.text


def test_a_storage(recorded: Recorded) -> None:
    """Durations with errors, bytes where they were said, and a size."""
    storage = Storage("s3", meter_provider=recorded.provider)
    with storage.operation("put") as operation:
        operation.moved(1000)
        operation.moved(24)
    with pytest.raises(FileNotFoundError), storage.operation("get"):
        raise FileNotFoundError

    @storage.operation("list")
    async def listed() -> None:
        pass

    asyncio.run(listed())
    storage.size(10_000)
    found = {
        p.attributes["operation"]: p.attributes.get("error.type")
        for p in recorded.points("storage.operation.duration")
    }
    assert found == {"put": None, "get": "FileNotFoundError", "list": None}
    (size,) = recorded.points("storage.operation.size")
    assert (size.sum, dict(size.attributes)) == (1024, {"backend": "s3", "operation": "put"})
    assert recorded.point("storage.size", backend="s3").value == 10_000


def test_web_sockets(recorded: Recorded) -> None:
    """A connection by hand, with types of messages of the application's own."""
    with WebSockets(meter_provider=recorded.provider).connection() as connection:
        connection.received("subscribe")
        connection.sent("event", 5)
        assert recorded.point("ws.connections.current").value == 1
    assert recorded.point("ws.connections.current").value == 0
    assert recorded.total("ws.connections") == 1
    assert recorded.point("ws.messages.received", message_type="subscribe").value == 1
    assert recorded.point("ws.messages.sent", message_type="event").value == 5


def test_errors_of_components(recorded: Recorded) -> None:
    """Exceptions, words, and nothing to say."""
    errors = ComponentErrors("correlator", meter_provider=recorded.provider)
    for failure in (KeyError("x"), "timeout", None):
        errors.record(failure)
    found = {p.attributes["error.type"] for p in recorded.points("errors")}
    assert found == {"KeyError", "timeout", "_OTHER"}
