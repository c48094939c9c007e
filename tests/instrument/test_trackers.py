"""Trackers: whatever happens, the work is recorded once."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest
from genai_points import Recorded
from opentelemetry.sdk.trace import TracerProvider

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.instrument import (
    Database,
    IncidentTracker,
    LLMCallTracker,
    NotificationTracker,
    PlaybookTracker,
    Tracker,
    WebSockets,
)
from otel_prom_bridge.instrument.rpc import RpcMetrics

Make = Callable[[Recorded], Any]
# How each is made, its histogram, and the metric that says how many go on.
TRACKERS: list[tuple[Make, str, str | None]] = [
    (lambda r: Tracker("report", meter_provider=r.provider), "report.duration", "report.active"),
    (
        lambda r: IncidentTracker("critical", meter_provider=r.provider),
        "incident.processing.duration",
        "incidents.active",
    ),
    (
        lambda r: PlaybookTracker("restart", meter_provider=r.provider),
        "gen_ai.invoke_workflow.duration",
        "playbook.executions.active",
    ),
    (lambda r: NotificationTracker("mail", meter_provider=r.provider), "notification.duration", None),
    (
        lambda r: LLMCallTracker("openai", "gpt-4o", meter_provider=r.provider),
        "gen_ai.client.operation.duration",
        "gen_ai.client.active_requests",
    ),
]
NAMES = ["Tracker", "IncidentTracker", "PlaybookTracker", "NotificationTracker", "LLMCallTracker"]
each = pytest.mark.parametrize(("make", "duration", "active"), TRACKERS, ids=NAMES)


def active_now(recorded: Recorded, active: str | None, expected: int) -> None:
    """So many go on."""
    if active is not None:
        assert recorded.point(active).value == expected


@each
@pytest.mark.parametrize("ends", [lambda tracker: tracker.success(), lambda tracker: tracker.end()])
def test_success(recorded: Recorded, make: Make, duration: str, active: str | None, ends: Any) -> None:
    """Started and ended by hand."""
    tracker = make(recorded).start()
    active_now(recorded, active, 1)
    ends(tracker)
    active_now(recorded, active, 0)
    assert recorded.errors(duration) == [None]


@each
def test_error(recorded: Recorded, make: Make, duration: str, active: str | None) -> None:
    """With an exception, with a word, and with nothing to say."""
    for failure in (TimeoutError(), "quota", None):
        make(recorded).start().error(failure)
    assert recorded.errors(duration) == ["TimeoutError", "_OTHER", "quota"]
    active_now(recorded, active, 0)


@each
def test_a_block(recorded: Recorded, make: Make, duration: str, active: str | None) -> None:
    """The end of a block ends it; what was said inside is not said again."""
    with make(recorded):
        active_now(recorded, active, 1)
    with make(recorded) as tracker:
        tracker.success()
    with make(recorded) as tracker:
        tracker.error("quota")
    with pytest.raises(KeyError), make(recorded):
        raise KeyError

    async def block() -> None:
        async with make(recorded):
            await asyncio.sleep(0)

    asyncio.run(block())
    assert recorded.errors(duration) == [None, None, None, "KeyError", "quota"]


@each
def test_dropped(recorded: Recorded, make: Make, duration: str, active: str | None) -> None:
    """What nobody ends was cancelled, and is known to be over when metrics are collected."""
    make(recorded).start()
    gc.collect()
    assert recorded.errors(duration) == ["cancelled"]
    active_now(recorded, active, 0)


@each
def test_cancelled(recorded: Recorded, make: Make, duration: str, active: str | None) -> None:
    """A task that is cancelled inside of a block."""

    async def work() -> None:
        async with make(recorded):
            await asyncio.sleep(60)

    async def cancelled() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert recorded.errors(duration) == ["asyncio.exceptions.CancelledError"]


@each
def test_decorators(recorded: Recorded, make: Make, duration: str, active: str | None) -> None:
    """Functions and coroutines; each invocation is one, and may say how it ended."""
    tracker = make(recorded)

    @tracker
    def fine() -> int:
        tracker.success()
        return 7

    @make(recorded)
    async def broken() -> None:
        raise ValueError

    assert fine() == fine() == 7
    with pytest.raises(ValueError):  # noqa: PT011 - it has no message
        asyncio.run(broken())
    assert recorded.errors(duration) == [None, None, "ValueError"]


@each
def test_wrong_use_is_logged(
    recorded: Recorded, make: Make, duration: str, active: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Ended without a start it is recorded; ended twice it counts once. Nothing is raised."""
    tracker = make(recorded)
    tracker.success()
    tracker.error("late")
    tracker.end()
    assert recorded.errors(duration) == [None]
    assert "that was not started" in caplog.text
    assert "ends a second time" in caplog.text


def test_statuses(recorded: Recorded) -> None:
    """What is said is the status; without a word it is how the work ended."""
    for severity, end in [
        ("low", lambda t: t.success("resolved")),
        ("low", lambda t: t.error(status="escalated")),
        ("low", lambda t: t.end()),
        ("low", lambda t: t.end(KeyError())),
        ("low", lambda t: t._end_later("cancelled")),
    ]:
        end(IncidentTracker(severity, meter_provider=recorded.provider).start())
    found = {p.attributes["status"] for p in recorded.points("incident.processing.duration")}
    assert found == {"resolved", "escalated", "success", "error", "cancelled"}


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit()])
def test_what_nobody_waits_for_is_cancelled(recorded: Recorded, error: BaseException) -> None:
    """A cancelled task and a closed generator are no errors of the work."""
    with pytest.raises(type(error)), IncidentTracker("low", meter_provider=recorded.provider):
        raise error
    assert recorded.point("incident.processing.duration").attributes["status"] == "cancelled"


class _Unsayable:
    def __str__(self) -> str:
        raise ValueError


def test_words_that_are_no_texts(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    """They are logged, and raise nothing into the application."""
    word: Any = _Unsayable()
    IncidentTracker("low", meter_provider=recorded.provider).start().success(word)
    Tracker(word, meter_provider=recorded.provider).start().end()
    WebSockets(meter_provider=recorded.provider).connection().received(word)
    Database("x", meter_provider=recorded.provider).connections(used=1, pool=word)
    RpcMetrics(meter_provider=recorded.provider).call(word, word).start().end()
    assert recorded.count("incident.processing.duration") == recorded.count("rpc.server.call.duration") == 1
    assert caplog.text.count("is no text") == 1


def test_incidents(recorded: Recorded) -> None:
    """What can be said of an incident while it is processed, with the span in which it is."""
    span = TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("incident")
    with (
        span as inside,
        IncidentTracker("critical", attributes={"team": "db"}, meter_provider=recorded.provider) as incident,
    ):
        incident.deduplicated()
        incident.correlated()
        incident.escalated("level-2")
        incident.success("resolved")
    metrics = recorded.metrics()
    assert set(metrics) >= {"incidents.deduplicated", "incidents.correlated"}
    (escalated,) = metrics["incidents.escalated"].data.data_points
    assert dict(escalated.attributes) == {"level": "level-2"}
    (point,) = metrics["incident.processing.duration"].data.data_points
    assert dict(point.attributes) == {"severity": "critical", "team": "db", "status": "resolved"}
    trace = inside.get_span_context().trace_id
    assert {e.trace_id for p in (escalated, point) for e in p.exemplars} == {trace}
    (active,) = metrics["incidents.active"].data.data_points
    assert dict(active.attributes) == {"severity": "critical"}


def test_llm_calls(recorded: Recorded) -> None:
    """Tokens and a cost, either as the provider says it or by the prices."""
    for cost in (0.25, None):
        tracker = LLMCallTracker("openai", "gpt-4o", "chat", meter_provider=recorded.provider).start()
        tracker.success(input_tokens=1_000_000, output_tokens=0, cost=cost)
    tokens = {p.attributes["gen_ai.token.type"]: p.sum for p in recorded.points("gen_ai.client.token.usage")}
    assert tokens == {"input": 2_000_000, "output": 0}
    assert recorded.total("gen_ai.usage.cost") == pytest.approx(0.25 + 2.5)
    assert recorded.points("gen_ai.client.unpriced_requests") == []


def test_odd_values(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    """What is no attribute is left out and logged; only a provider that is none is an error."""
    with Tracker("work", {"a": object(), "b": None, "c": 3}, meter_provider=recorded.provider) as tracker:
        tracker.success(17)  # type: ignore[arg-type]
    assert dict(recorded.point("work.duration").attributes) == {"c": 3, "status": "17"}
    with IncidentTracker(None, meter_provider=recorded.provider):  # type: ignore[arg-type]
        pass
    assert dict(recorded.point("incident.processing.duration").attributes) == {"status": "success"}
    with (
        Tracker("", meter_provider=recorded.provider),
        Tracker("not a name!", meter_provider=recorded.provider),
    ):
        pass
    assert "is not recorded" in caplog.text
    with pytest.raises(ConfigurationError):
        Tracker("work", meter_provider=7)  # type: ignore[arg-type]
