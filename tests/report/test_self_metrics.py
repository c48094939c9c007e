"""The bridge's metrics about itself: values, identity, bounds, names that are taken; failing callbacks."""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
from collections.abc import ItemsView, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from oracles import OPENMETRICS, samples
from promtool import promtool

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.exposition import Exposer, WriterOptions
from otel_prom_bridge.families import (
    CounterPoint,
    GaugePoint,
    HistogramPoint,
    Kind,
    Labels,
    MetricFamily,
    Point,
    claimed_names,
)
from otel_prom_bridge.report.self_metrics import COMPONENT_TYPE, SelfMetrics, State
from otel_prom_bridge.report.self_metrics.tables import BOUNDS, MAX_SERIES, Gauges
from otel_prom_bridge.sdk.failures import CallbackFailures

STATE = State(
    series={"jobs_total": 3, "queue": 2},
    overflowed={"jobs_total": 7},
    folded={("jobs_total", "path", "route"): 5},
    dropped=1,
    conflicting=2,
    exemplars=4,
    prices={("2026-11", "2026-11-29"): 1},
)
COMPONENT = (("otel_component_name", f"{COMPONENT_TYPE}/7"), ("otel_component_type", COMPONENT_TYPE))
COLLECTION = "otel_sdk_metric_reader_collection_duration_seconds"
OPERATION = "otel_sdk_exporter_operation_duration_seconds"
PHASES = "otel_prom_bridge_scrape_phase_duration_seconds"
REST = (("otel_metric_overflow", "true"),)
SDK_LOGGER = logging.getLogger("opentelemetry.sdk.metrics._internal.instrument")


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> SelfMetrics:
    """Self-metrics of the component number 7."""
    monkeypatch.setattr("otel_prom_bridge.report.self_metrics._instances", count(7))
    return SelfMetrics(findings=Findings())


def by_name(families: Iterable[MetricFamily]) -> dict[str, MetricFamily]:
    """Families by name, each once."""
    families = list(families)
    result = {family.name: family for family in families}
    assert len(result) == len(families)
    return result


def values(families: Iterable[MetricFamily], name: str) -> dict[Labels, float]:
    """The values of a family without exemplars, by labels."""
    points: Sequence[Point] = by_name(families)[name].points
    assert all(isinstance(point, CounterPoint | GaugePoint) for point in points)
    return {point.labels: point.value for point in points}  # type: ignore[union-attr]


def histograms(families: Iterable[MetricFamily], name: str) -> dict[Labels, tuple[int, float | None]]:
    """Number and sum of a histogram's observations, by labels."""
    points = by_name(families)[name].points
    return {p.labels: (sum(p.counts), p.sum) for p in points if isinstance(p, HistogramPoint)}


def busy(metrics: SelfMetrics) -> None:
    """Something in every family."""
    metrics.observe("collect", 0.25)
    metrics.observe("collect", 0.5, error="TimeoutError")
    for phase in ("apply", "encode", "compress"):
        metrics.observe(phase, 0.125)  # type: ignore[arg-type]
    metrics.scrape(200, 0.5)
    metrics.scrape(503, 0.25)
    metrics.size(OPENMETRICS, 1000)
    metrics.size(OPENMETRICS, 100, encoding="gzip")
    metrics.callback_failed("queue.size")
    metrics.collector_failed("GCCollector")


def test_what_the_store_knows(metrics: SelfMetrics) -> None:
    """Each number of the state is a family, and series are counted per metric and in all."""
    families = metrics.families(STATE)
    assert values(families, "otel_prom_bridge_series") == {(): 5}
    assert values(families, "otel_prom_bridge_metric_series") == {
        (("metric", "jobs_total"),): 3,
        (("metric", "queue"),): 2,
    }
    assert values(families, "otel_prom_bridge_overflowed_points_total") == {(("metric", "jobs_total"),): 7}
    folded = (("label", "path"), ("metric", "jobs_total"), ("rule", "route"))
    assert values(families, "otel_prom_bridge_folded_points_total") == {folded: 5}
    assert values(families, "otel_prom_bridge_dropped_metrics") == {(): 1}
    assert values(families, "otel_prom_bridge_conflicting_metrics") == {(): 2}
    assert values(families, "otel_prom_bridge_exemplars") == {(): 4}


def test_nothing_yet(metrics: SelfMetrics) -> None:
    """Without a scrape there are the totals, at zero, and no family without a point."""
    families = metrics.families(State())
    assert [family.name for family in families] == [
        "otel_prom_bridge_series",
        "otel_prom_bridge_dropped_metrics",
        "otel_prom_bridge_conflicting_metrics",
        "otel_prom_bridge_exemplars",
    ]
    assert [point.value for family in families for point in family.points] == [0, 0, 0, 0]  # type: ignore[union-attr]


def test_scrapes_and_their_parts(metrics: SelfMetrics) -> None:
    """Durations and scrapes are counted by phase, status and error, sizes are the last ones."""
    busy(metrics)
    metrics.size(OPENMETRICS, 1001)
    families = metrics.families(State())
    failed = (("error_type", "TimeoutError"), *COMPONENT)
    assert histograms(families, COLLECTION) == {COMPONENT: (1, 0.25), failed: (1, 0.5)}
    unavailable = (("error_type", "503"), *COMPONENT)
    assert histograms(families, OPERATION) == {COMPONENT: (1, 0.5), unavailable: (1, 0.25)}
    phases = {(("phase", phase),): (1, 0.125) for phase in ("apply", "encode", "compress")}
    assert histograms(families, PHASES) == phases
    scrapes = {(("status", "200"),): 1, (("status", "503"),): 1}
    assert values(families, "otel_prom_bridge_scrapes_total") == scrapes
    assert values(families, "otel_prom_bridge_body_size_bytes") == {
        (("encoding", "identity"), ("format", "openmetrics")): 1001,
        (("encoding", "gzip"), ("format", "openmetrics")): 100,
    }
    failures = "otel_prom_bridge_callback_failures_total"
    assert values(families, failures) == {(("instrument", "queue.size"),): 1}
    failures = "otel_prom_bridge_collector_failures_total"
    assert values(families, failures) == {(("collector", "GCCollector"),): 1}


@pytest.mark.parametrize(("seconds", "bucket"), [(0.0, 0), (0.001, 0), (0.0011, 1), (10.0, 8), (11.0, 9)])
def test_buckets(metrics: SelfMetrics, seconds: float, bucket: int) -> None:
    """A duration counts in the first bucket whose bound is not below it."""
    metrics.observe("encode", seconds)
    point = by_name(metrics.families(State()))[PHASES].points[0]
    assert isinstance(point, HistogramPoint)
    assert point.bounds == BOUNDS
    assert point.counts == tuple(int(index == bucket) for index in range(10))


def test_phase_times_what_raises(metrics: SelfMetrics) -> None:
    """A collection that raises is timed with the error's name, and the error goes on."""
    with pytest.raises(TimeoutError), metrics.phase("collect"):
        raise TimeoutError
    with metrics.phase("encode"):
        pass
    families = metrics.families(State())
    ((labels, (observed, seconds)),) = histograms(families, COLLECTION).items()
    assert labels == (("error_type", "TimeoutError"), *COMPONENT)
    assert observed == 1
    assert seconds is not None
    assert 0 < seconds < 1
    assert histograms(families, PHASES)[(("phase", "encode"),)][0] == 1


@pytest.mark.parametrize(
    ("content_type", "label"),
    [
        ("text/plain; version=0.0.4; charset=utf-8", "text"),
        ("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily", "protobuf"),
        ("application/x-new", "application/x-new"),
    ],
)
def test_formats(metrics: SelfMetrics, content_type: str, label: str) -> None:
    """A format is called by one word, or by its media type."""
    metrics.size(content_type, 1)
    labels = (("encoding", "identity"), ("format", label))
    assert values(metrics.families(State()), "otel_prom_bridge_body_size_bytes") == {labels: 1}


def test_identity_means_unchanged(metrics: SelfMetrics) -> None:
    """Families and points are the same objects until a value changes; then only that one is another."""
    busy(metrics)
    before = by_name(metrics.families(STATE))
    same = by_name(metrics.families(State(**{name: getattr(STATE, name) for name in State._fields})))
    assert all(same[name] is family for name, family in before.items())
    metrics.scrape(200, 0.5)
    after = by_name(metrics.families(State(**{**fields(), "series": {"jobs_total": 3, "queue": 4}})))
    changed = {name for name, family in before.items() if after[name] is not family}
    series = "otel_prom_bridge_metric_series"
    assert changed == {series, "otel_prom_bridge_series", "otel_prom_bridge_scrapes_total", OPERATION}
    assert after[series].points[0] is before[series].points[0]
    assert after[series].points[1].labels is before[series].points[1].labels
    assert after[OPERATION].points[1] is before[OPERATION].points[1]


def fields() -> dict[str, object]:
    """The fields of STATE."""
    return {name: getattr(STATE, name) for name in State._fields}


def test_a_metric_that_is_gone(metrics: SelfMetrics) -> None:
    """Its series are no longer shown; what it overflowed is, since counters do not go away."""
    metrics.families(STATE)
    families = metrics.families(State(series={"new": 1, "queue": 2}, overflowed={"new": 1}))
    series = values(families, "otel_prom_bridge_metric_series")
    assert list(series.items()) == [((("metric", "queue"),), 2), ((("metric", "new"),), 1)]
    overflowed = {(("metric", "jobs_total"),): 7, (("metric", "new"),): 1}
    assert values(families, "otel_prom_bridge_overflowed_points_total") == overflowed


def test_counters_never_go_down(metrics: SelfMetrics) -> None:
    """A state that is older than the last one does not turn a total back."""
    metrics.families(State(overflowed={"a": 5}))
    families = metrics.families(State(overflowed={"a": 4}))
    assert values(families, "otel_prom_bridge_overflowed_points_total") == {(("metric", "a"),): 5}


def test_created(metrics: SelfMetrics) -> None:
    """Every counter and histogram began when the self-metrics did."""
    busy(metrics)
    points = [point for family in metrics.families(STATE) for point in family.points]
    created = {point.created for point in points if isinstance(point, CounterPoint | HistogramPoint)}
    assert len(created) == 1
    assert None not in created


def test_metrics_without_end(metrics: SelfMetrics) -> None:
    """Past a thousand metrics there is one series for the rest, and totals stay exact."""
    series = {f"m{index}": 2 for index in range(MAX_SERIES + 5)}
    state = State(series=series, overflowed=series)
    for family_name in ("otel_prom_bridge_metric_series", "otel_prom_bridge_overflowed_points_total"):
        families = metrics.families(state)
        found = values(families, family_name)
        assert len(found) == MAX_SERIES + 1
        assert found[REST] == 10
        assert sum(found.values()) == 2 * (MAX_SERIES + 5)
        assert all(map(lambda a, b: a is b, families, metrics.families(state)))  # type: ignore[arg-type]
    fewer = State(series=dict(list(series.items())[3:]), overflowed=series)
    found = values(metrics.families(fewer), "otel_prom_bridge_metric_series")
    assert found[REST] == 4
    assert len(found) == MAX_SERIES + 1


def test_a_scrape_in_the_middle_of_another_one(metrics: SelfMetrics) -> None:
    """As in a signal handler, and of other metrics: afterwards all those of the outer one are shown."""

    class Interrupted(dict[str, int]):
        def items(self) -> ItemsView[str, int]:
            metrics.families(State(series=dict(list(series.items())[3:])))
            return super().items()

    series = {f"m{index}": 2 for index in range(MAX_SERIES + 5)}
    shown = values(metrics.families(State(series=series)), "otel_prom_bridge_metric_series")
    for state in (State(series=Interrupted(series)), State(series=series)):
        found = values(metrics.families(state), "otel_prom_bridge_metric_series")
        assert found == shown


@pytest.mark.parametrize("inner", [State(stuck=1, collected=False), STATE, State(stuck=0, collected=True)])
@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
@pytest.mark.parametrize("number", range(6))
def test_a_signal_handler_that_scrapes(
    metrics: SelfMetrics,
    monkeypatch: pytest.MonkeyPatch,
    inner: State,
    error: type[BaseException] | None,
    number: int,
) -> None:
    """Wherever it comes in between, also if it raises then: the next scrape shows what the store says."""
    outer = STATE._replace(collected=True, stuck=0, dropped=5, series={"jobs_total": 4})
    expected = all_values(SelfMetrics(findings=Findings()).families(outer))
    set_value, calls = Gauges.set, count()

    def interrupted(table: Gauges, *arguments: Any) -> None:
        if next(calls) == number:
            metrics.families(inner)
            if error is not None:
                raise error
        set_value(table, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Gauges, "set", interrupted)
        with contextlib.suppress(KeyboardInterrupt):
            metrics.families(outer)
    assert next(calls) > number
    shown = all_values(metrics.families(outer))
    assert {name: shown[name] for name in expected} == expected


def all_values(families: Iterable[MetricFamily]) -> dict[str, list[object]]:
    """The values of all gauges and counters, by the names of their families."""
    return {
        family.name: [getattr(point, "value", None) for point in family.points]
        for family in families
        if "overflow" not in family.name
    }


def test_names_without_end(metrics: SelfMetrics) -> None:
    """Instruments, collectors, statuses and formats that are made up share a series, too."""
    for index in range(MAX_SERIES + 3):
        metrics.callback_failed(f"i{index}")
        metrics.scrape(index, 0.1)
        metrics.size(f"x/{index}", index)
        metrics.observe("collect", 0.1, error=f"E{index}")
    families = metrics.families(State())
    assert values(families, "otel_prom_bridge_callback_failures_total")[REST] == 3
    assert sum(values(families, "otel_prom_bridge_scrapes_total").values()) == MAX_SERIES + 3
    assert values(families, "otel_prom_bridge_body_size_bytes")[REST] == MAX_SERIES + 2
    assert len(histograms(families, COLLECTION)) == len(histograms(families, OPERATION)) == 21


def test_switched_off() -> None:
    """Nothing is counted and there are no families."""
    metrics = SelfMetrics(findings=Findings(), enabled=False)
    busy(metrics)
    with metrics.phase("encode"):
        pass
    other = MetricFamily("x", Kind.GAUGE, "", "", (GaugePoint((), 1),))
    assert metrics.families(STATE) == ()
    assert metrics.beside([other], STATE) == (other,)


def test_instances_have_names_of_their_own() -> None:
    """Components of one type are told apart by a number."""
    names = set()
    for _ in range(2):
        metrics = SelfMetrics(findings=Findings())
        metrics.observe("collect", 1)
        (labels,) = histograms(metrics.families(State()), COLLECTION)
        names.add(dict(labels)["otel_component_name"])
    assert len(names) == 2
    assert all(name.startswith(f"{COMPONENT_TYPE}/") for name in names)


@pytest.mark.parametrize(
    "accept",
    [
        None,
        OPENMETRICS,
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
    ],
)
@pytest.mark.parametrize("created", [False, True])
def test_in_every_format(metrics: SelfMetrics, accept: str | None, created: bool) -> None:
    """Strict parsers take what the families become, before and after a change."""
    exposer = Exposer(findings=Findings(), options=WriterOptions(created=created))
    exposer.expose(metrics.families(State()), accept=accept)
    busy(metrics)
    exposer.expose(metrics.families(STATE), accept=accept)
    exposition = exposer.expose(metrics.families(STATE), accept=accept)
    if accept == OPENMETRICS:
        found = samples(exposition.content_type, exposition.body)
        assert found["otel_prom_bridge_scrapes_total", frozenset({("status", "200")})] == 1
        assert found[f"{PHASES}_bucket", frozenset({("phase", "encode"), ("le", "0.3")})] == 1


def test_promtool_finds_no_fault_in_the_style(metrics: SelfMetrics) -> None:
    """`promtool check metrics` has nothing to say about names, units and help texts."""
    busy(metrics)
    body = Exposer(findings=Findings()).expose(metrics.families(STATE), accept=None).body
    result = promtool("check", "metrics", text=body.decode())
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def histogram(name: str, *components: str) -> MetricFamily:
    """A family as the SDK's instrumentation of itself becomes one."""
    points = tuple(
        HistogramPoint((("otel_component_type", item),), (1.0,), (1, 0), 0.5) for item in components
    )
    return MetricFamily(name, Kind.HISTOGRAM, "theirs", "seconds", points)


@pytest.mark.parametrize(
    "name",
    [
        COLLECTION,
        "otel_sdk_metric_reader_collection_duration",
        "otel.sdk.metric_reader.collection.duration",
        "otel.sdk.metric_reader.collection.duration_seconds",
    ],
)
def test_the_sdk_times_collections_itself(metrics: SelfMetrics, name: str) -> None:
    """Its family is kept as it is, under every translation strategy, and ours is left out silently."""
    metrics.observe("collect", 1)
    theirs = histogram(name, "PrometheusMetricReader")
    families = metrics.beside((theirs,), State())
    assert families[0] is theirs
    assert COLLECTION not in by_name(families[1:])
    assert len(families) == 5


def test_exporters_time_their_operations_too(metrics: SelfMetrics) -> None:
    """Our series join the family that an OTLP exporter's self-metrics made, and identity holds."""
    metrics.scrape(200, 0.5)
    first = histogram("first", "x")
    theirs = histogram(OPERATION, "otlp_http_span_exporter")
    families = metrics.beside((first, theirs), State())
    assert [family.name for family in families[:2]] == ["first", OPERATION]
    labels = [(("otel_component_type", "otlp_http_span_exporter"),), COMPONENT]
    assert [point.labels for point in families[1].points] == labels
    assert families[1].help == "theirs"
    assert by_name(families)
    again = metrics.beside((first, theirs), State())
    assert all(a is b for a, b in zip(families, again, strict=True))
    metrics.scrape(200, 0.5)
    later = metrics.beside((first, theirs), State())
    assert later[1].points[0] is theirs.points[0]
    assert later[1].points[1] is not families[1].points[1]


def test_names_of_ours_that_are_taken() -> None:
    """The application's family is kept, ours is left out and reported as a conflict, once."""
    findings = Findings()
    metrics = SelfMetrics(findings=findings)
    theirs = MetricFamily("otel_prom_bridge_series", Kind.COUNTER, "", "", (CounterPoint((), 1),))
    near = MetricFamily("otel_prom_bridge_other", Kind.GAUGE, "", "", (GaugePoint((), 1),))
    same = MetricFamily("otel_prom_bridge_exemplars", Kind.GAUGE, "", "", (GaugePoint((), 1),))
    for _ in range(2):
        families = metrics.beside((theirs, near, same), STATE)
        assert families[:3] == (theirs, near, same)
        assert {"otel_prom_bridge_series", "otel_prom_bridge_exemplars"}.isdisjoint(by_name(families[3:]))
    taken = [conflict.metric for conflict in findings.conflicts]
    assert taken == ["otel_prom_bridge_series", "otel_prom_bridge_exemplars"]


def test_threads(metrics: SelfMetrics) -> None:
    """Nothing is lost when scrapes run at once, and what each of them sees is whole."""

    def scrape(_: int) -> None:
        for _ in range(200):
            busy(metrics)
            seen = histograms(metrics.families(STATE), OPERATION)
            assert all(
                number * 0.5 == total for labels, (number, total) in seen.items() if labels == COMPONENT
            )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(scrape, range(8)))
    families = metrics.families(STATE)
    assert histograms(families, PHASES)[(("phase", "apply"),)] == (1600, 200.0)
    assert histograms(families, OPERATION)[COMPONENT] == (1600, 800.0)
    assert values(families, "otel_prom_bridge_scrapes_total") == {
        (("status", "200"),): 1600,
        (("status", "503"),): 1600,
    }
    failures = values(families, "otel_prom_bridge_callback_failures_total")
    assert failures == {(("instrument", "queue.size"),): 1600}


def failing(_: CallbackOptions) -> Iterable[Observation]:
    """A callback that raises."""
    raise RuntimeError("the queue is gone")


@pytest.fixture
def reader() -> Iterator[InMemoryMetricReader]:
    """A reader of the SDK whose provider has a callback that works and one that fails."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    meter = provider.get_meter("test")
    meter.create_observable_gauge("queue.size.", [failing, lambda _: [Observation(1)]])
    yield reader
    provider.shutdown()


def test_failing_callbacks(reader: InMemoryMetricReader, caplog: pytest.LogCaptureFixture) -> None:
    """Each failure in a collection of ours counts by instrument, and the SDK's log is as it was."""
    failed: list[str] = []
    failures = CallbackFailures(failed.append)
    with failures:
        reader.collect()
    reader.collect()  # somebody else's
    failures.close()
    failures.close()
    with failures:
        reader.collect()
    assert failed == ["queue.size."]
    assert [record.getMessage() for record in caplog.records] == [
        "Callback failed for instrument queue.size.."
    ] * 3


def test_failures_of_another_thread(reader: InMemoryMetricReader) -> None:
    """A collection that runs at the same time in another thread is not ours."""
    failed: list[str] = []
    failures = CallbackFailures(failed.append)
    with failures:
        thread = threading.Thread(target=reader.collect)
        thread.start()
        thread.join()
    assert failed == []
    failures.close()


def test_other_records_of_the_logger(caplog: pytest.LogCaptureFixture) -> None:
    """What else the SDK logs there passes and does not count; odd records do no harm."""
    failed: list[str] = []
    failures = CallbackFailures(failed.append)
    with failures:
        SDK_LOGGER.warning("Callback returned a non-finite value %s for instrument %s", 1, "x")
        SDK_LOGGER.warning("Callback failed for instrument x.")
        SDK_LOGGER.warning(None)
    failures.close()
    assert failed == []
    assert len(caplog.records) == 3


def test_counting_fails(reader: InMemoryMetricReader) -> None:
    """If whoever counts raises, the collection goes on."""

    def failed(_: str) -> None:
        raise RuntimeError

    failures = CallbackFailures(failed)
    with failures:
        reader.collect()
    failures.close()
    assert reader.get_metrics_data() is not None


def test_disabled_logger(reader: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the logger makes no record nothing is counted, as the docstring says."""
    monkeypatch.setattr(SDK_LOGGER, "disabled", True)
    failed: list[str] = []
    failures = CallbackFailures(failed.append)
    with failures:
        reader.collect()
    failures.close()
    assert failed == []


def test_forgotten_readers_leave_nothing() -> None:
    """The SDK's logger does not keep what nobody closed."""
    gc.collect()
    before = list(SDK_LOGGER.filters)
    CallbackFailures(print)
    gc.collect()
    assert SDK_LOGGER.filters == before


def test_names_that_nothing_has_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """Another name for a metric that does not exist is a mistake that the log names, with what was meant."""
    SelfMetrics(
        findings=Findings(), names={"otel_prom_bridge_serie": "x", "otel_prom_bridge_exemplars": "shown"}
    )
    (message,) = caplog.messages
    assert message.startswith("self_metric_names: 'otel_prom_bridge_serie' is not allowed")
    assert "did you mean 'otel_prom_bridge_series'?" in message


@pytest.mark.parametrize(
    "names",
    [
        {"otel_prom_bridge_series": "otel_prom_bridge_series_limit"},
        {"otel_prom_bridge_series": "otel_sdk_metric_reader_collection_duration_seconds_count"},
        {"otel_prom_bridge_series": "same", "otel_prom_bridge_series_limit": "same"},
    ],
)
def test_a_name_of_another_is_not_taken(names: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """Two families of one name are no exposition, so the second keeps its own."""
    found = SelfMetrics(findings=Findings(), names=names)
    families = [table.family() for table in found._tables]
    claimed = [name for family in families for name in claimed_names(family.name, family.kind)]
    assert len(claimed) == len(set(claimed))
    (message,) = caplog.messages
    assert "expected a name that no other metric of the bridge itself has" in message
