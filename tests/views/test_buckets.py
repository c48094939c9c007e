"""The buckets that views ask for are recorded, also where the provider has none of our SDK Views."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bridges import families_of, running
from exported import PROTOBUF, Application, selecting
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_messages import decode
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import (
    DefaultAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from prometheus_client import Metric
from properties import examples

from otel_prom_bridge import ExportView
from otel_prom_bridge.autoconfigure import AutoPrometheusMetricReader

# What the SDK records where nobody asks for anything else.
# https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/metrics/sdk.md#explicit-bucket-histogram-aggregation
DEFAULT = {0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000}


def bounds(application: Application, family: str) -> set[float]:
    """The bounds of a family's buckets in text, without +Inf."""
    return {float(le) for le in application.values(f"{family}_bucket", "le") if le != "+Inf"}


def is_native(body: bytes, family: str) -> bool:
    """The family is a native histogram in this body of protobuf."""
    (found,) = (item for item in decode(body) if item.name == family)
    return all(metric.histogram.positive_span for metric in found.metric)


# ---------------------------------------------------------------- without SDK Views


def test_an_exponential_histogram_needs_no_sdk_views() -> None:
    """The reader asks for it; another reader of the provider has what it always had."""
    application = Application(selecting("h", buckets="exponential"))
    application.meter.create_histogram("h").record(3)
    application.meter.create_histogram("other").record(3)
    body = application.reader.expose(PROTOBUF).body
    assert is_native(body, "h")
    assert not is_native(body, "other")
    ((_, point),) = application.recorded("h")
    assert set(point.explicit_bounds) == DEFAULT


def test_bounds_need_no_sdk_views() -> None:
    """Bounds of a view are recorded, and nothing changes for what no view selects."""
    application = Application(selecting("h", buckets=[0.5, 2]), selecting("c", name="calls_total"))
    histogram = application.meter.create_histogram("h")
    for value in (0.1, 1, 3):
        histogram.record(value)
    application.meter.create_histogram("other").record(1)
    application.meter.create_counter("c").add(1)
    assert application.values("h_bucket", "le") == {"0.5": 1, "2.0": 2, "+Inf": 3}
    assert bounds(application, "other") == DEFAULT
    assert application.values("calls_total") == {None: 1}


def test_bounds_in_another_unit() -> None:
    """They are converted into the unit that is recorded."""
    application = Application(ExportView(instrument_name="h", unit="s", buckets=[0.05, 0.25]))
    application.meter.create_histogram("h", unit="ms").record(180)
    assert application.values("h_seconds_bucket", "le") == {"0.05": 0, "0.25": 1, "+Inf": 1}


kinds = st.sampled_from(
    [
        {},
        {"buckets": [2.0]},
        {"buckets": [0.5, 8]},
        {"buckets": "exponential"},
        {"take": "count"},
        {"name": None},
    ]
)


@settings(max_examples=examples(60))
@given(st.lists(kinds, max_size=4), st.lists(st.floats(0.01, 100), min_size=1, max_size=5))
def test_sdk_views_change_no_bucket(given_views: list[dict[str, Any]], values: list[float]) -> None:
    """Whichever views select a histogram, its buckets are the same with our SDK Views and without them."""
    views = [selecting("h*", **{"name": f"f{number}", **kind}) for number, kind in enumerate(given_views)]
    with_views, without = Application(*views, sdk=True), Application(*views)
    for application in (with_views, without):
        histogram = application.meter.create_histogram("h", explicit_bucket_boundaries_advisory=[1.0, 4.0])
        for value in values:
            histogram.record(value)
    assert with_views.samples() == without.samples()
    assert with_views.types() == without.types()


# ---------------------------------------------------------------- where it cannot be had


@pytest.mark.parametrize("sdk", [False, True])
def test_a_view_of_the_sdk_comes_first(sdk: bool, caplog: pytest.LogCaptureFixture) -> None:
    """What the application's own View records is what there is. The log says so, once."""
    own = View(instrument_name="h*", aggregation=ExplicitBucketHistogramAggregation([1.0]))
    application = Application(selecting("h*", buckets="exponential"), beside=[own], sdk=sdk)
    for _ in range(3):
        application.meter.create_histogram("h").record(3, {"k": "a"})
        application.text()
    assert bounds(application, "h") == {1}
    (text,) = caplog.messages
    assert text == (
        "ExportView('h*', name=''): the histogram 'h' has explicit buckets, because a View of the SDK records"
        " it so; take that View away, or let it record an exponential one"
    )


def test_a_view_of_the_sdk_that_says_nothing_of_buckets() -> None:
    """Then the reader's wish counts."""
    own = View(instrument_name="h", attribute_keys={"k"}, aggregation=DefaultAggregation())
    application = Application(selecting("h", buckets=[0.5]), beside=[own], sdk=True)
    application.meter.create_histogram("h").record(3, {"k": "a", "other": "b"})
    assert bounds(application, "h") == {0.5}
    native = View(instrument_name="h", aggregation=ExponentialBucketHistogramAggregation())
    application = Application(selecting("h", buckets="exponential"), beside=[native])
    application.meter.create_histogram("h").record(3)
    assert is_native(application.reader.expose(PROTOBUF).body, "h")


# ---------------------------------------------------------------- under auto-instrumentation

CONFIG = """
host = "127.0.0.1"
port = 0

[[views]]
instrument_name = "native"
buckets = "exponential"

[[views]]
instrument_name = "few"
buckets = [0.5, 2]
"""


def test_views_of_a_file_under_auto_instrumentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The reader that opentelemetry-instrument makes has the buckets of its file, without a complaint."""
    path = tmp_path / "bridge.toml"
    path.write_text(CONFIG)
    monkeypatch.setenv("OTEL_PROM_BRIDGE_CONFIG_FILE", str(path))
    reader = AutoPrometheusMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    meter = provider.get_meter("test")
    record: Callable[..., None]
    for name in ("native", "few"):
        record = meter.create_histogram(name).record
        record(1)
    body = reader.expose(PROTOBUF).body
    text = reader.expose().body.decode()
    provider.shutdown()
    assert is_native(body, "native")
    assert 'le="0.5"} 0\n' in text
    assert 'le="2.0"} 1\n' in text
    assert "few" not in " ".join(caplog.messages)
    assert "native" not in " ".join(caplog.messages)


def bounds_of(family: Metric) -> list[float]:
    """The limits of its buckets, without +Inf."""
    return sorted({float(s.labels["le"]) for s in family.samples if s.name.endswith("_bucket")})[:-1]


@pytest.mark.parametrize("recording", ["sdk", "direct"])
@pytest.mark.parametrize("unit", ["s", "seconds", "Seconds", "second", "sec"])
def test_seconds_in_every_spelling(recording: str, unit: str) -> None:
    """Whoever writes the unit as a word means the same; milliseconds and none at all are something else."""
    with running(recording=recording) as bridge:
        meter = bridge.meter_provider.get_meter("app")
        meter.create_histogram("cycle", unit=unit).record(0.02)
        meter.create_histogram("other", unit="ms").record(0.02)
        families = families_of(bridge)
    (cycle,) = (family for name, family in families.items() if name.startswith("cycle"))
    assert bounds_of(cycle)[:3] == [0.005, 0.01, 0.025]
    assert bounds_of(families["other_milliseconds"])[:2] == [0, 5]


def test_times_in_seconds_have_buckets_of_seconds() -> None:
    """Of whoever says no buckets, calls of half a second and of half a minute are told apart."""
    with running() as bridge:
        meter = bridge.meter_provider.get_meter("strands.telemetry.metrics")
        meter.create_histogram("cycle", unit="s").record(0.5)
        meter.create_histogram("advised", unit="s", explicit_bucket_boundaries_advisory=[1, 2]).record(0.5)
        meter.create_histogram("size", unit="By").record(5)
        families = families_of(bridge)
    assert bounds_of(families["cycle_seconds"])[:3] == [0.005, 0.01, 0.025]
    assert bounds_of(families["cycle_seconds"])[-1] == 300
    assert bounds_of(families["advised_seconds"]) == [1, 2]
    assert bounds_of(families["size_bytes"])[:3] == [0, 5, 10]


def test_the_sdk_s_buckets_are_an_option() -> None:
    """Who wants what the specification has by default gets it."""
    with running(seconds_buckets=False) as bridge:
        bridge.meter_provider.get_meter("app").create_histogram("cycle", unit="s").record(0.5)
        families = families_of(bridge)
    assert bounds_of(families["cycle_seconds"])[:3] == [0, 5, 10]
