"""A plugin for pytest that points the published tests of OpenTelemetry at the provider of direct recording.

The tests are those of the API and the SDK, as their source distributions have them. What they import of the
SDK (``MeterProvider``, ``Meter``, ``InMemoryMetricReader``, the instruments) is replaced in their modules by
what records directly. What a test asks for beyond that and cannot be had here (Views of the SDK, other
readers, deltas) makes it a skipped one, with the reason. Every outcome goes into a file as JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from time import time_ns
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import NonCallableMock

import pytest
from opentelemetry import metrics as api
from opentelemetry.context import get_current
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import _internal as internal
from opentelemetry.sdk.metrics import export, view
from opentelemetry.sdk.metrics._internal import exemplar
from opentelemetry.sdk.metrics._internal import instrument as sdk_instruments
from opentelemetry.sdk.metrics._internal.measurement import Measurement

from otel_prom_bridge import ExportView
from otel_prom_bridge.direct import DirectMeterProvider, DirectReader
from otel_prom_bridge.direct import observed as observed_instruments
from otel_prom_bridge.direct import synchronous as ours
from otel_prom_bridge.direct.meter import Meter
from otel_prom_bridge.direct.observed import Observed
from otel_prom_bridge.points import Stream
from otel_prom_bridge.store.keys import items_key

OUTCOMES = "CONFORMANCE_OUTCOMES"  # the variable with the path of the file
FILTERS = {
    exemplar.AlwaysOnExemplarFilter: "always_on",
    exemplar.AlwaysOffExemplarFilter: "always_off",
    exemplar.TraceBasedExemplarFilter: "trace_based",
}


def beyond(what: str) -> Any:
    """The test asks for something that direct recording does not offer."""
    pytest.skip(f"beyond direct recording: {what}")


class InMemoryReader(DirectReader):
    """Hands over as the SDK's data what the instruments said, added up since the beginning."""

    def __init__(self, **options: Any) -> None:
        temporality = options.pop("preferred_temporality", None) or {}
        if set(temporality.values()) - {export.AggregationTemporality.CUMULATIVE}:
            beyond("delta temporality")
        aggregations = options.pop("preferred_aggregation", None) or {}
        if options:
            beyond(f"what a reader of the SDK may prefer: {sorted(options)}")
        views = [*map(as_view, aggregations.items())]
        super().__init__(
            registry=None, self_metrics=False, collect_interval=0, seconds_buckets=False, views=views
        )
        self._points: dict[Stream, dict[Any, Any]] = {}
        self._metrics_data: Any = None
        self._pipeline.take = self._keep  # type: ignore[method-assign]

    def _set_meter_provider(self, provider: Any) -> None:
        """What the SDK's reader does with the provider for its own metrics, of which there are none here."""

    def _keep(self, source: object, batch: Iterable[tuple[Stream, Any]], **about: object) -> None:
        for stream, points in batch:
            known = self._points.setdefault(stream, {})
            if not stream.meaning.accumulates:
                known.clear()
            for point in points:
                attributes = dict(sorted(point.attributes.items()))
                key = items_key(attributes)
                key = (id(point),) if key is None else key
                before = known.get(key)
                if before is not None and stream.meaning.additive:
                    point = added(before, point)
                known[key] = point._replace(attributes=dict(point.attributes))

    def collect(self, timeout_millis: float = 10_000) -> None:
        """Ask for everything."""
        if self._provider is None:
            return
        self._collections.run(10)
        by_scope: dict[Any, list[Any]] = {}
        now = time_ns()
        for stream, points in self._points.items():
            if points:
                by_scope.setdefault(stream.scope, []).append(metric(stream, [*points.values()], now))
        scopes = [export.ScopeMetrics(scope, each, scope.schema_url) for scope, each in by_scope.items()]
        found = export.ResourceMetrics(self._provider.resource, scopes, self._provider.resource.schema_url)
        self._metrics_data = export.MetricsData([found]) if scopes else None

    def get_metrics_data(self) -> Any:
        """The same, which is then forgotten."""
        self.collect()
        data, self._metrics_data = self._metrics_data, None
        return data


def as_view(preferred: tuple[type, Any]) -> ExportView:
    """What a reader of the SDK prefers for a kind of instruments, as a view of ours."""
    kind, aggregation = preferred
    if isinstance(aggregation, view.ExplicitBucketHistogramAggregation):
        bounds = aggregation._boundaries
        return ExportView(
            instrument_type="histogram", instrument_name="*", buckets=None if bounds is None else [*bounds]
        )
    if not isinstance(aggregation, view.SumAggregation) or "Counter" not in kind.__name__:
        beyond(f"{type(aggregation).__name__} for {kind.__name__}")
    return ExportView(instrument_name="*")


def added(before: Any, point: Any) -> Any:
    """Two points in one."""
    if hasattr(point, "scale"):
        beyond("sums of exponential histograms, which the store makes")
    if not hasattr(point, "bucket_counts"):
        return point._replace(
            value=before.value + point.value, start_time_unix_nano=before.start_time_unix_nano
        )
    counts = [one + other for one, other in zip(before.bucket_counts, point.bucket_counts, strict=True)]
    return point._replace(count=before.count + point.count, sum=before.sum + point.sum, bucket_counts=counts)


def metric(stream: Stream, points: list[Any], now: int) -> Any:
    """A stream in the words of the SDK."""
    meaning = stream.meaning
    cumulative = export.AggregationTemporality.CUMULATIVE
    if hasattr(points[0], "bucket_counts"):
        data: Any = export.Histogram([histogram_point(each, now) for each in points], cumulative)
    elif meaning.additive:
        numbers = [number_point(each, now) for each in points]
        data = export.Sum(numbers, cumulative, meaning.kind.name == "COUNTER")
    else:
        data = export.Gauge([number_point(each, now) for each in points])
    return export.Metric(stream.name, stream.description, stream.unit, data)


def number_point(point: Any, now: int) -> Any:
    """A number, as the SDK has it."""
    return export.NumberDataPoint(
        point.attributes, point.start_time_unix_nano, now, point.value, [*map(sdk_exemplar, point.exemplars)]
    )


def histogram_point(point: Any, now: int) -> Any:
    """A histogram, as the SDK has it; the least and the largest value are no part of Prometheus' data."""
    return export.HistogramDataPoint(
        point.attributes,
        point.start_time_unix_nano,
        now,
        point.count,
        point.sum,
        tuple(point.bucket_counts),
        tuple(point.explicit_bounds),
        min=0,
        max=0,
        exemplars=[*map(sdk_exemplar, point.exemplars)],
    )


def sdk_exemplar(taken: Any) -> Any:
    """An exemplar, as the SDK has it."""
    return sdk.Exemplar(
        dict(taken.filtered_attributes or {}),
        taken.value,
        taken.time_unix_nano,
        taken.span_id,
        taken.trace_id,
    )


class Provider(DirectMeterProvider):
    """Takes what the SDK's provider takes, as far as that can be had."""

    def __init__(
        self,
        metric_readers: Iterable[Any] = (),
        resource: Any = None,
        exemplar_filter: Any = None,
        shutdown_on_exit: bool = True,
        views: Iterable[Any] = (),
        **options: Any,
    ) -> None:
        readers = list(metric_readers)
        if list(views):
            beyond("Views of the SDK")
        if options:
            beyond(f"the SDK's private options {sorted(options)}")
        if len(readers) > 1 or not all(isinstance(each, InMemoryReader) for each in readers):
            beyond("readers of the SDK, or of the test's own")
        super().__init__(
            readers[0] if readers else InMemoryReader(),
            resource=resource,
            exemplar_filter=FILTERS.get(type(exemplar_filter)),  # type: ignore[arg-type]
            shutdown_on_exit=shutdown_on_exit,
        )
        self._sdk_config = SimpleNamespace(resource=self.resource)
        consumer = internal.SynchronousMeasurementConsumer
        self._measurement_consumer: Any = consumer() if isinstance(consumer, NonCallableMock) else None

    def get_meter(self, *arguments: Any, **options: Any) -> Any:
        """A meter whose instruments tell the consumer that a test put in the place of the SDK's."""
        meter = super().get_meter(*arguments, **options)
        if self._measurement_consumer is not None and isinstance(meter, Meter):
            watch(meter, self._measurement_consumer)
        return meter

    def __getattr__(self, name: str) -> Any:
        if name in (
            "add_metric_reader",
            "remove_metric_reader",
            "_set_meter_configurator",
            "_update_resource",
        ):
            beyond(f"MeterProvider.{name}")
        raise AttributeError(name)


def watch(meter: Any, consumer: Any) -> None:
    """Tell ``consumer`` of each instrument that observes, and of each measurement that was kept."""
    for name in [name for name in dir(api.Meter) if name.startswith("create_")]:
        create = getattr(type(meter), name).__get__(meter)

        def created(*arguments: Any, create: Any = create, **options: Any) -> Any:
            instrument = create(*arguments, **options)
            if isinstance(instrument, Observed):
                consumer.register_asynchronous_instrument(instrument)
            else:
                tell(instrument, consumer)
            return instrument

        setattr(meter, name, created)


def tell(instrument: Any, consumer: Any) -> None:
    """Tell ``consumer`` whenever the instrument has something for a collection."""
    own = getattr(type(instrument), instrument.METHOD).__get__(instrument)

    def method(*arguments: Any, **options: Any) -> None:
        own(*arguments, **options)
        for point in instrument.drain(time_ns()):
            consumer.consume_measurement(point)

    setattr(instrument, instrument.METHOD, method)


def made_by(name: str) -> Any:
    """A function that makes an instrument from what the constructors in the SDK take."""

    def make(named: str, scope: Any, consumer: Any, *arguments: Any, **options: Any) -> Any:
        meter: Any = Provider().get_meter("made")
        callbacks = [options.pop("callbacks")] if "callbacks" in options else []
        instrument = getattr(meter, name)(named, *arguments, *callbacks, **options)
        if not isinstance(instrument, Observed):
            tell(instrument, consumer)
        return instrument

    return make


def observed(instrument: Observed, options: Any) -> Iterator[Measurement]:
    """What callbacks observe, as the SDK's instruments hand it over."""
    for callback in instrument.callbacks:
        asked: Mapping[Any, Any] = {}
        original = instrument.points

        def points(observations: Any, asked: Any = asked, original: Any = original) -> Any:
            for each in observations:
                for point in original([each]):
                    asked[id(point)] = each.context or get_current()
                    yield point

        instrument.points = points  # type: ignore[method-assign]
        try:
            found, _ = callback.observe(options)
        finally:
            del instrument.points
        for point in found:
            now = sdk_instruments.time_ns()
            yield Measurement(point.value, now, instrument, asked[id(point)], dict(point.attributes))


def meter_of(scope: Any, consumer: Any = None) -> Any:
    """A meter, from what the SDK's takes."""
    return Provider().get_meter("meter")


REPLACED: dict[Any, Any] = {
    sdk.MeterProvider: Provider,
    sdk.Meter: meter_of,
    export.InMemoryMetricReader: InMemoryReader,
    sdk_instruments._Counter: made_by("create_counter"),
    sdk_instruments._UpDownCounter: made_by("create_up_down_counter"),
    sdk_instruments._Gauge: made_by("create_gauge"),
    sdk_instruments._Histogram: made_by("create_histogram"),
    sdk_instruments._ObservableCounter: made_by("create_observable_counter"),
    sdk_instruments._ObservableUpDownCounter: made_by("create_observable_up_down_counter"),
    sdk_instruments._ObservableGauge: made_by("create_observable_gauge"),
    sdk.Counter: ours.Counter,
    sdk.UpDownCounter: ours.UpDownCounter,
    sdk._Gauge: ours.Gauge,
    sdk.Histogram: ours.Histogram,
    sdk.ObservableCounter: observed_instruments.ObservableCounter,
    sdk.ObservableUpDownCounter: observed_instruments.ObservableUpDownCounter,
    sdk.ObservableGauge: observed_instruments.ObservableGauge,
}
# The API's own tests, where one without effect stands for any other.
OF_THE_API = {
    "test_meter_provider": {"NoOpMeterProvider": Provider},
    "test_meter": {"NoOpMeter": meter_of},
}
# What the tests of the SDK read of a meter and of instruments, under the SDK's private names.
Meter._instrumentation_scope = property(attrgetter("_scope"))  # type: ignore[attr-defined]
Observed.callback = observed  # type: ignore[attr-defined]
ours.Histogram._advisory = property(  # type: ignore[attr-defined]
    lambda self: SimpleNamespace(explicit_bucket_boundaries=[*self.plan.buckets])
)
for owner, name in (
    (Meter, "_is_enabled"),
    (InMemoryReader, "_set_collect_callback"),
    (InMemoryReader, "_instrument_class_cardinality_limit"),
):
    setattr(owner, name, property(lambda self, name=name: beyond(f"the SDK's private {name}")))
outcomes: dict[str, list[str]] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Replace what the modules of these tests have imported."""
    for module in {
        id(item.module): item.module for item in items if isinstance(item, pytest.Function)
    }.values():
        replace(module)


def replace(module: ModuleType) -> None:
    """Replace what this module has imported."""
    if "metrics" not in vars(module) or vars(module)["metrics"] is not api:
        for name, value in list(vars(module).items()):
            if isinstance(value, type) and value in REPLACED:
                setattr(module, name, REPLACED[value])
    if "opentelemetry.sdk" not in (module.__doc__ or "") and "api" in str(module.__file__):
        for name, value in OF_THE_API.get(module.__name__.rpartition(".")[2], {}).items():
            setattr(module, name, value)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep how it ended; of several, as in tests with parts, the worst."""
    if report.when != "call" and report.passed:
        return
    reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else report.longreprtext[-600:]
    before = outcomes.get(report.nodeid, ["passed"])
    if before[0] != "failed":
        outcomes[report.nodeid] = [report.outcome, reason]


def pytest_sessionfinish() -> None:
    """Write all of it."""
    with open(os.environ[OUTCOMES], "w") as file:
        json.dump(outcomes, file, indent=1)
