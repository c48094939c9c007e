"""What is recorded through the SDK and what is recorded directly are shown alike."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytest
from hubs import push
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.metrics import MeterProvider as AnyProvider
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from oracles import OPENMETRICS, samples
from properties import examples

from otel_prom_bridge import ExportView, PrometheusMetricReader, PushReader
from otel_prom_bridge.direct import DirectMeterProvider, DirectPushReader, DirectReader
from otel_prom_bridge.hub.hub import Hub
from otel_prom_bridge.pipeline.options import PipelineOptions
from otel_prom_bridge.push.hub_connection import HubAnswer
from otel_prom_bridge.rules import Allow
from otel_prom_bridge.testing import Clock
from otel_prom_bridge.testing.probe import ALONE

Attributes = Mapping[str, Any]

VALUES = st.one_of(
    st.sampled_from(["a", "b", "", "1", "é", "\udc80"]),
    st.sampled_from([0, 1, True, False, 0.0, -0.0, 1.0, 200, 1e300]),
    st.sampled_from([None, b"x", ["a", "b"], ("a", "b"), [1, True], [0.0], {"x": "y"}]),
)
SETS = st.one_of(st.none(), st.dictionaries(st.sampled_from(["k", "l", "other.key", "user.id"]), VALUES))
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([0.5, 1.5, -2.25, 7, 12.0, 1e-9, 300.0, 1e6, 10**30, 10**308, 1.7e308]),
    st.sampled_from([float("nan"), float("inf"), -float("inf")]),
)
INSTRUMENTS = (
    ("counter", "add"),
    ("up_down_counter", "add"),
    ("gauge", "set"),
    ("histogram", "record"),
)
STEP = st.one_of(
    st.tuples(st.sampled_from(range(8)), NUMBERS, SETS, st.booleans()),
    st.just("scrape"),
    st.just("wait"),
    st.tuples(st.just("observe"), st.integers(0, 2), st.lists(st.tuples(NUMBERS, SETS), max_size=3)),
)
VIEWS = st.sampled_from(
    [
        [],
        [ExportView(instrument_name="*", keep=["k"])],
        [ExportView(instrument_name="histogram*", name="derived_total", take="count", keep=["l"])],
        [ExportView(instrument_name="histogram*", buckets=[1, 10, 100])],
        [ExportView(instrument_name="histogram*", buckets="exponential")],
        [ExportView(instrument_name="counter*", where={"k": ["a"]}), ExportView(instrument_type="gauge")],
        [ExportView(instrument_name="*", rules={"k": Allow(["a", "b"], other="other")})],
        [
            ExportView(instrument_name="up_down*", name=None),
            ExportView(instrument_name="counter1", unit="ms"),
        ],
    ]
)
OPTIONS = st.sampled_from(
    [{}, {"max_series_per_metric": 2}, {"max_series": 3}, {"id_labels": True}, {"expire_after": 15}]
)
GAUGES = (2, 6)  # by their number among those that record


class Door:
    """An application whose instruments record through one door."""

    def __init__(self, reader: Any, provider: AnyProvider, hub: Hub | None = None) -> None:
        self.reader = reader
        self.hub = hub
        self.said: list[Sequence[tuple[float, Attributes | None]]] = [(), (), ()]
        meters = [provider.get_meter("one", "1"), provider.get_meter("two", attributes={"x": "y"})]
        self.record: list[Callable[..., None]] = [
            getattr(getattr(meter, f"create_{kind}")(f"{kind}{number}", "s"), method)
            for number, meter in enumerate(meters)
            for kind, method in INSTRUMENTS
        ]
        for number, kind in enumerate(("counter", "up_down_counter", "gauge")):
            create = getattr(meters[0], f"create_observable_{kind}")
            create(f"observed_{kind}", [lambda options, number=number: self._observed(number)])

    def shutdown(self) -> None:
        """End it, and its hub."""
        self.reader.shutdown()
        if self.hub is not None:
            self.hub.shutdown()

    def _observed(self, number: int) -> list[Observation]:
        return [Observation(value, attributes) for value, attributes in self.said[number]]

    def does(self, step: Any) -> None:
        """Record, or say something else from now on."""
        if step[0] == "observe":
            self.said[step[1]] = step[2]
            return
        number, value, attributes, in_span = step
        span = trace.NonRecordingSpan(SPAN) if in_span else trace.INVALID_SPAN
        with trace.use_span(span):
            self.record[number](value, attributes)

    def shown(self) -> dict[Any, float]:
        """The samples of a scrape, also of the hub to which it pushes."""
        if self.hub is not None:
            assert self.reader.force_flush()
        exposition = (self.hub or self.reader).expose()
        assert exposition.complete
        return samples(exposition.content_type, exposition.body)


def doors(views: Sequence[ExportView], options: Mapping[str, Any]) -> tuple[Door, Door]:
    """An application twice: with the SDK's provider, and with ours."""
    given = {**ALONE, "views": views, **options}
    reader, direct = PrometheusMetricReader(**given), DirectReader(**given)
    resource = Resource({})
    sdk = MeterProvider([reader], resource=resource, views=reader.policy.sdk_views(), shutdown_on_exit=False)
    return (
        Door(reader, sdk),
        Door(direct, DirectMeterProvider(direct, resource=resource, shutdown_on_exit=False)),
    )


class Wire:
    """Takes pushes straight to a hub in this process."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def post(self, body: bytes, headers: Mapping[str, str], seconds: float) -> HubAnswer:
        """Push it."""
        return HubAnswer(push(self._hub, body, **headers).status)

    def close(self) -> None:
        """There is nothing to close."""


def pushing_doors(views: Sequence[ExportView], options: Mapping[str, Any]) -> tuple[Door, Door]:
    """The same application with a hub, whose options are also those of the process."""
    given = {**ALONE, "views": views, **options}
    policy, found = PipelineOptions(**given).policy(), list[Door]()
    for kind in (PushReader, DirectPushReader):
        hub = Hub({**given, "gauges": "newest"})
        reader: Any = kind("unix:/nowhere", policy=policy, interval=3600, flush_on_sigterm=False)
        reader._connection = Wire(hub)
        resource, provider = Resource({}), None
        if kind is PushReader:
            provider = MeterProvider(
                [reader], resource=resource, views=policy.sdk_views(), shutdown_on_exit=False
            )
        found.append(
            Door(
                reader,
                provider or DirectMeterProvider(reader, resource=resource, shutdown_on_exit=False),
                hub,
            )
        )
    return found[0], found[1]


def instrument(step: Any) -> Any:
    """Which one a step records with, or which observable one it is that says something."""
    return step[:2] if step[0] == "observe" else step[0]


def first_observed(steps: Sequence[Any], number: int) -> Any:
    """What an observable instrument says first."""
    return next(step for step in steps if step[:2] == ("observe", number))


@settings(max_examples=examples(80))
@given(steps=st.lists(STEP, max_size=25), views=VIEWS, options=OPTIONS)
@example([("observe", 2, [(0, {"user.id": "a"}), (0, None), (1, {"user.id": "a"})])], [], {})
def test_equal_recordings_give_equal_expositions(
    steps: list[Any], views: list[ExportView], options: dict[str, Any]
) -> None:
    """Whatever is recorded and observed, with whichever views and limits, and scrapes in between."""
    recorded_alike(in_one_order(steps, options), partial(doors, views, options))


@settings(max_examples=examples(60))
@given(steps=st.lists(STEP, max_size=25), views=VIEWS, options=OPTIONS)
def test_equal_recordings_are_equal_at_a_hub(
    steps: list[Any], views: list[ExportView], options: dict[str, Any]
) -> None:
    """The same through a push, whichever door has recorded it."""
    steps = [step for step in steps if is_told_alike(step)]
    recorded_alike(in_one_order(steps, options), partial(pushing_doors, views, options))


def is_told_alike(step: Any) -> bool:
    """Whether a push says the same of it in both ways: not of counters below zero, nor of levels without end.

    The hub refuses a total below zero, which the SDK has added to others before. Levels of the SDK become
    infinite where they are added up, before there is a hub.
    """
    if step[:2] == ("observe", 0):
        return all(value >= 0 for value, _ in step[2])
    if step[0] == "observe":
        return all(not math.isfinite(value) or abs(value) < 1e300 for value, _ in step[2])
    return isinstance(step, str) or step[0] % 4 != 1 or not abs(step[1]) >= 1e300


def in_one_order(steps: list[Any], options: Mapping[str, Any]) -> list[Any]:
    """The steps, without those that the doors take in different orders where that matters."""
    if "max_series" in options:  # The last place is his who comes first; each door has an order of its own.
        recorded = [step for step in steps if not isinstance(step, str)]
        steps = [
            step for step in steps if isinstance(step, str) or instrument(step) == instrument(recorded[0])
        ]
    if "max_series_per_metric" in options:  # The same: the SDK's order is that in which sets were first seen.
        steps = [step for step in steps if step[0] != "observe" or step == first_observed(steps, step[1])]
    if "expire_after" in options:  # With the SDK's door a gauge that was set stays.
        steps = [step for step in steps if step[0] not in GAUGES]
    return steps


def recorded_alike(steps: Sequence[Any], made: Callable[[], tuple[Door, Door]]) -> None:
    """Do these steps in both, and compare each scrape."""
    clock = Clock()
    with clock.standing():
        both = made()
        try:
            for step in (*steps, "scrape"):
                if step == "wait":
                    clock.advance(10)
                elif step == "scrape":
                    one, other = (door.shown() for door in both)
                    assert one == other
                else:
                    for door in both:
                        door.does(step)
        finally:
            for door in both:
                door.shutdown()


@settings(max_examples=examples(20))
@given(
    recorded=st.lists(st.tuples(st.sampled_from([0, 1, 3, 4, 5, 7]), st.integers(-3, 3), SETS), max_size=30),
    views=VIEWS,
)
def test_equal_recordings_of_threads_give_equal_expositions(
    recorded: list[Any], views: list[ExportView]
) -> None:
    """Three threads share the work, in whichever order they come, and somebody scrapes meanwhile.

    Whether a series has an empty label or none depends on which of them comes first, and is the same series.
    """
    both = doors(views, {})
    for door in both:

        def work(first: int, door: Door = door) -> None:
            for number, value, attributes in recorded[first::3] * 3:
                door.record[number](value, attributes)

        threads = [threading.Thread(target=work, args=(first,)) for first in range(3)]
        for thread in threads:
            thread.start()
        door.shown()
        for thread in threads:
            thread.join()
        door.reader.force_flush()
    one, other = (without_empty_labels(door.shown()) for door in both)
    for door in both:
        door.reader.shutdown()
    assert one == other


def without_empty_labels(shown: Mapping[Any, float]) -> dict[Any, float]:
    """The samples as Prometheus has them, for which an empty label is none. No two are one series there."""
    found = {
        (name, frozenset(label for label in labels if label[1])): value
        for (name, labels), value in shown.items()
    }
    assert len(found) == len(shown)
    return found


SPAN = trace.SpanContext(1, 2, is_remote=False, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED))


@pytest.mark.parametrize(
    "views",
    [
        [],
        [ExportView(instrument_name="*", keep=["k"])],
        [ExportView(instrument_name="histogram*", buckets="exponential")],
        [ExportView(instrument_name="histogram*", name="derived_total", take="count", keep=["l"])],
    ],
    ids=["as it is", "without labels", "exponential", "derived"],
)
def test_equal_recordings_give_equal_exemplars(views: list[ExportView]) -> None:
    """With the attributes that are no labels, whichever format is asked for."""
    both, found = doors(views, {}), []
    for door in both:
        with trace.use_span(trace.NonRecordingSpan(SPAN)):
            door.record[0](3, {"k": "a", "user.id": "u"})
            door.record[3](7, {"k": "a", "l": "b"})
            door.record[3](70, {"k": "a", "l": "c", "user.id": "z"})
            door.record[4](1, None)
            door.record[2](5, {"k": "b"})  # a gauge has none
        body = door.reader.expose(OPENMETRICS).body.decode()
        found.append(sorted(re.sub(r"(# \{.*\} \S+) \S+$", r"\1", line) for line in body.splitlines()))
        door.reader.shutdown()
    assert found[0] == found[1]
    assert sum(" # {" in line for line in found[0]) >= 3
