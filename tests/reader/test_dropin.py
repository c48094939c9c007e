"""What users of `opentelemetry-exporter-prometheus` rely on, asked of both classes, and where they differ.

The differences are the rows of docs/migration.md: each is recorded here and shown by both classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader as PeerReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import Counter, MeterProvider
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from oracles import OPENMETRICS
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Gauge,
    generate_latest,
    make_wsgi_app,
    start_http_server,
)
from prometheus_client.core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from registries import collectors
from servers import get

import otel_prom_bridge
from otel_prom_bridge import PrometheusMetricReader

PAGE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text()
Reader = type[PeerReader] | type[PrometheusMetricReader]
Record = Callable[[MeterProvider], object]
SHORT: dict[str, Any] = {"scope_info_enabled": False, "disable_target_info": True}


@pytest.fixture(params=[PeerReader, PrometheusMetricReader], ids=["peer", "ours"])
def reader_class(request: pytest.FixtureRequest) -> Reader:
    """The class that is replaced, and the one that replaces it."""
    found: Reader = request.param
    return found


def registry_of(
    reader_class: Reader,
    record: Record,
    *,
    views: Sequence[View] = (),
    resource: Resource | None = None,
    **options: Any,
) -> CollectorRegistry:
    """A registry with a reader that saw these recordings."""
    registry = CollectorRegistry()
    reader = reader_class(registry=registry, **options)
    provider = MeterProvider([reader], views=views, resource=resource or Resource({}), shutdown_on_exit=False)
    record(provider)
    return registry


def text(reader_class: Reader, record: Record, **options: Any) -> str:
    """What `generate_latest` makes of these recordings, without scope labels and target info."""
    return generate_latest(registry_of(reader_class, record, **{**SHORT, **options})).decode()


def families(registry: CollectorRegistry) -> list[tuple[object, ...]]:
    """Everything that a collector says of its metrics."""
    return [(m.name, m.type, m.documentation, m.unit, m.samples) for m in registry.collect()]


def everything(provider: MeterProvider) -> None:
    """One ordinary metric of each kind."""
    meter = provider.get_meter("shop", "1.2", "http://schema", {"tier": "gold"})

    def totals(_: CallbackOptions) -> list[Observation]:
        return [Observation(3, {"k": "v"}), Observation(4, {"k": "w"})]

    meter.create_counter("http.requests", unit="1", description="Requests").add(1, {"k": "v", "n": 2})
    meter.create_up_down_counter("queue.length", unit="{job}").add(-2, {"k": "v"})
    meter.create_histogram("latency", unit="s", explicit_bucket_boundaries_advisory=[0.5, 1.5]).record(1)
    meter.create_histogram("size", unit="By").record(70, {"k": "v"})
    meter.create_gauge("temperature", unit="Cel").set(3.5, {"indoors": True})
    meter.create_observable_counter("seen", [totals], unit="ms")
    meter.create_observable_up_down_counter("level", [totals], unit="m/s")
    meter.create_observable_gauge("share", [totals], unit="%")


@pytest.mark.parametrize("options", [{}, {"prefix": "app"}, SHORT, {"disable_target_info": True}], ids=str)
def test_ordinary_metrics_have_the_same_families(options: dict[str, Any]) -> None:
    """Names, types, comments, units, labels, values and their order are the peer's."""
    resource = Resource({"service.name": "shop", "rank": 3, "list": (1, 2)})
    theirs, ours = (
        families(registry_of(reader_class, everything, resource=resource, **options))
        for reader_class in (PeerReader, PrometheusMetricReader)
    )
    assert [name for name, *_ in ours] == [name for name, *_ in theirs]
    for our_family, their_family in zip(ours, theirs, strict=True):
        assert our_family == their_family


def test_kinds(reader_class: Reader) -> None:
    """Counters get `_total`, non-monotonic sums are gauges, histograms have cumulated buckets."""

    def record(provider: MeterProvider) -> None:
        meter = provider.get_meter("m")
        meter.create_counter("a.b", unit="s", description="A").add(2, {"k": "v"})
        meter.create_up_down_counter("u", unit="By").add(-2)
        meter.create_histogram("h", explicit_bucket_boundaries_advisory=[0.5, 1.5]).record(1)

    assert text(reader_class, record) == (
        '# HELP a_b_seconds_total A\n# TYPE a_b_seconds_total counter\na_b_seconds_total{k="v"} 2.0\n'
        "# HELP u_bytes \n# TYPE u_bytes gauge\nu_bytes -2.0\n"
        '# HELP h \n# TYPE h histogram\nh_bucket{le="0.5"} 0.0\nh_bucket{le="1.5"} 1.0\n'
        'h_bucket{le="+Inf"} 1.0\nh_count 1.0\nh_sum 1.0\n'
    )


def test_arguments_by_position(reader_class: Reader) -> None:
    """The first three arguments may be given by position."""

    registry = CollectorRegistry()
    count_one(MeterProvider([reader_class(True, "app", False, registry=registry)], shutdown_on_exit=False))
    body = generate_latest(registry).decode()
    assert body == "# HELP app_c_total \n# TYPE app_c_total counter\napp_c_total 1.0\n"


def count_one(provider: MeterProvider) -> None:
    """Count one."""
    provider.get_meter("m", "1").create_counter("c").add(1)


def test_target_info(reader_class: Reader) -> None:
    """The resource is one info metric, first of all; without it if so wanted."""
    resource = Resource({"service.name": "shop"})
    line = 'target_info{service_name="shop"} 1.0\n'
    head = "# HELP target_info Target metadata\n# TYPE target_info gauge\n"
    found = text(reader_class, count_one, resource=resource, disable_target_info=False)
    assert found.startswith(head + line)
    assert "target_info" not in text(reader_class, count_one, resource=resource)


def test_scope_labels(reader_class: Reader) -> None:
    """A scope's name, version, schema URL and attributes are labels; its three own fields win."""

    def record(provider: MeterProvider) -> None:
        scope = provider.get_meter("m", "1", "http://schema", {"a": "b", "name": "other"})
        scope.create_counter("c").add(1)

    assert text(reader_class, record, scope_info_enabled=True).splitlines()[-1] == (
        'c_total{otel_scope_a="b",otel_scope_name="m",otel_scope_schema_url="http://schema",'
        'otel_scope_version="1"} 1.0'
    )


def test_resource_labels(reader_class: Reader) -> None:
    """The filter is asked with the original keys, and what it wants is a label of every series."""
    asked: list[str] = []
    resource = Resource({"service.name": "shop", "rank": 3})

    def chosen(key: str) -> bool:
        asked.append(key)
        return key == "service.name"

    found = text(reader_class, count_one, resource=resource, resource_attribute_filter=chosen)
    assert found.splitlines()[-1] == 'c_total{service_name="shop"} 1.0'
    assert set(asked) == {"service.name", "rank"}


def test_cardinality_limits(reader_class: Reader) -> None:
    """By instrument class; what is more is one series, and the sum is exact."""

    def record(provider: MeterProvider) -> None:
        counter = provider.get_meter("m").create_counter("c")
        for number in range(10):
            counter.add(1, {"k": str(number)})

    (family,) = registry_of(reader_class, record, cardinality_limits={Counter: 3}, **SHORT).collect()
    assert [sample.value for sample in family.samples] == [1, 1, 1, 7]
    assert family.samples[-1].labels["otel_metric_overflow"] == "true"


def test_values_are_cumulative(reader_class: Reader) -> None:
    """Scrapes take nothing away: totals go on, and what was not recorded again stays."""
    registry = CollectorRegistry()
    provider = MeterProvider([reader_class(registry=registry, **SHORT)], shutdown_on_exit=False)
    counter = provider.get_meter("m").create_counter("c")
    counter.add(1, {"k": "a"})
    for expected in (1.0, 3.0, 5.0):
        assert registry.get_sample_value("c_total", {"k": "a"}) == expected
        counter.add(2, {"k": "a"})


def test_the_registry(reader_class: Reader) -> None:
    """By default it is REGISTRY; a shutdown takes the collector out, and the rest stays."""
    provider = MeterProvider([reader_class(prefix="dropin")], shutdown_on_exit=False)
    count_one(provider)
    assert b"dropin_c_total{" in generate_latest(REGISTRY)
    provider.shutdown()
    body = generate_latest(REGISTRY)
    assert b"dropin_c_total" not in body
    assert b"python_info" in body


def test_metrics_of_the_application_are_beside_it(reader_class: Reader) -> None:
    """What the application registers with prometheus_client itself is in the same exposition."""
    registry = registry_of(reader_class, count_one, **SHORT)
    Gauge("own", "of the application", registry=registry).set(1)
    assert {"c_total 1.0", "own 1.0"} <= set(generate_latest(registry).decode().splitlines())


def test_a_collector_without_provider_is_empty(reader_class: Reader) -> None:
    """Before a provider uses the reader, and before something was recorded, there is nothing to see."""
    registry = CollectorRegistry()
    reader = reader_class(registry=registry)
    assert list(registry.collect()) == []
    MeterProvider([reader], resource=Resource({"service.name": "s"}), shutdown_on_exit=False)
    assert list(registry.collect()) == []


def test_collecting_after_shutdown(reader_class: Reader) -> None:
    """Who kept the collector sees the last state after a shutdown, and no error."""
    registry = CollectorRegistry()
    provider = MeterProvider([reader_class(registry=registry, **SHORT)], shutdown_on_exit=False)
    count_one(provider)
    (collector,) = collectors(registry)
    before: list[Metric] = list(collector.collect())
    provider.shutdown()
    assert list(registry.collect()) == []
    assert [family.samples for family in collector.collect()] == [family.samples for family in before]


def test_prometheus_clients_own_endpoints(reader_class: Reader) -> None:
    """`prometheus_client.start_http_server` and `make_wsgi_app` serve it as before."""
    registry = registry_of(reader_class, count_one, **SHORT)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        content_type, body = get(f"http://127.0.0.1:{server.server_port}/metrics")
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
    assert (content_type.split(";")[0], body) == ("text/plain", generate_latest(registry))
    environ = {"PATH_INFO": "/", "REQUEST_METHOD": "GET", "QUERY_STRING": ""}
    assert b"".join(make_wsgi_app(registry)(environ, lambda *_: None)) == body


# What the two classes do differently, by the first cell of the table's row in docs/migration.md.


@dataclass(frozen=True)
class Case:
    """Recordings and the options of reader and provider."""

    record: Record
    views: Sequence[View] = ()
    resource: Resource | None = None
    options: dict[str, Any] | None = None

    def shown_by(self, reader_class: Reader) -> list[str]:
        """The lines of the exposition, or the name of the exception that it ends in."""
        options = self.options or {}
        try:
            found = text(reader_class, self.record, views=self.views, resource=self.resource, **options)
        except (AttributeError, UnicodeEncodeError) as error:
            return [type(error).__name__]
        return found.splitlines()


def counts(*attributes: dict[str, Any]) -> Record:
    """Count one for each of these."""

    def record(provider: MeterProvider) -> None:
        counter = provider.get_meter("m").create_counter("c")
        for item in attributes:
            counter.add(1, item)

    return record


def gauges(**units: str) -> Record:
    """A gauge per unit."""
    return lambda provider: [
        provider.get_meter("m").create_gauge(name, unit=unit).set(1) for name, unit in units.items()
    ]


def observes(bound: float, **attributes: str) -> Record:
    """A histogram with one bound."""

    def record(provider: MeterProvider) -> None:
        histogram = provider.get_meter("m").create_histogram("h", explicit_bucket_boundaries_advisory=[bound])
        histogram.record(1, attributes)

    return record


def two_scopes(provider: MeterProvider) -> None:
    """One counter in two scopes, with attributes of their own."""
    provider.get_meter("x").create_counter("c").add(1, {"a": "1"})
    provider.get_meter("y").create_counter("c").add(2, {"b": "2", "z": "3"})


def two_descriptions(provider: MeterProvider) -> None:
    """One counter in two scopes that describe it differently."""
    provider.get_meter("x").create_counter("c", description="one").add(1, {"x": "1"})
    provider.get_meter("y").create_counter("c", description="two").add(1, {"x": "2"})


def two_types(provider: MeterProvider) -> None:
    """A histogram and a gauge of one name."""
    provider.get_meter("x").create_gauge("c").set(1)
    provider.get_meter("y").create_histogram("c", explicit_bucket_boundaries_advisory=[0.5]).record(1)


def counter_and_gauge(provider: MeterProvider) -> None:
    """A gauge that has the name of a counter's samples."""
    provider.get_meter("m").create_counter("foo").add(1)
    provider.get_meter("m").create_gauge("foo.total").set(2)


def flushed_twice(provider: MeterProvider) -> None:
    """Two flushes before the scrape."""
    count_one(provider)
    provider.force_flush()
    provider.force_flush()


EXPONENTIAL = View(instrument_name="h", aggregation=ExponentialBucketHistogramAggregation(max_scale=0))
CASES = {
    "bucket bounds given as integers": Case(observes(1)),
    "exponential histogram": Case(observes(1), views=[EXPONENTIAL]),
    "an attribute that some series lack": Case(counts({"a": "1"}, {"b": "2"})),
    "one name in two scopes, other attributes": Case(two_scopes),
    "two attribute keys, one label": Case(counts({"a.b": "1", "a-b": "2"})),
    "two attribute sets, one label set": Case(counts({"a.b": "1"}, {"a-b": "1"})),
    "two descriptions": Case(two_descriptions),
    "two types": Case(two_types),
    "counter `foo` beside gauge `foo.total`": Case(counter_and_gauge),
    "units `kBy`, `TiBy`": Case(gauges(a="kBy", b="TiBy")),
    "name that begins with a digit": Case(
        counts({}), views=[View(instrument_name="c", name="3.14 digits")]
    ),
    "name that ends with `_`": Case(gauges(g_="")),
    "attribute key that begins with a digit": Case(counts({"1x": "a", "2x": "b"})),
    "attribute values None and bytes": Case(counts({"n": None, "b": b"hi"})),
    "attribute value with a lone surrogate": Case(counts({"n": "\ud800"})),
    "attribute `le` on a histogram": Case(observes(1.0, le="x")),
    "attribute with the name of a scope label": Case(
        lambda provider: provider.get_meter("m", "1").create_counter("c").add(1, {"otel.scope.name": "a"}),
        options={"scope_info_enabled": True},
    ),
    "resource without attributes": Case(counts({}), options={"disable_target_info": False}),
    "two resource keys, one label": Case(
        counts({}), resource=Resource({"a.b": "1", "a_b": "2"}), options={"disable_target_info": False}
    ),
    "the overflow series": Case(
        counts({"k": "1"}, {"k": "2"}), options={"cardinality_limits": {Counter: 1}}
    ),
    "the id of a session, request, user, …": Case(counts({"session.id": "1"}, {"session.id": "2"})),
    "the id of a run, known by its values": Case(counts(*({"loop.token": f"run_{n:08d}"} for n in range(5)))),
    "a histogram in seconds whose author advises no buckets": Case(
        lambda provider: provider.get_meter("m").create_histogram("h", unit="s").record(0.2)
    ),
    "`force_flush()` twice before a scrape": Case(flushed_twice),
}  # fmt: skip


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the table below a heading of the page, by their first cell."""
    lines = re.findall(r"^\| (.*) \|$", PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0], re.MULTILINE)
    cells = [line.split(" | ") for line in lines]
    return {first: rest for first, *rest in cells[1:]}


def test_every_difference_is_in_the_table() -> None:
    """The page's rows are the cases here."""
    assert list(rows("Output")) == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_row_is_what_both_classes_show(name: str, reader_class: Reader) -> None:
    """Each class shows the lines of its cell, as often as they stand there, and not the other's."""
    before, after, reason = rows("Output")[name]
    cells = [re.findall(r"`([^`]+)`", cell) for cell in (before, after)]
    own, other = cells if reader_class is PeerReader else reversed(cells)
    found = CASES[name].shown_by(reader_class)
    for line in {*own, *other}:
        assert found.count(line) == own.count(line), (line, found)
    assert reason


def test_no_two_rows_are_one() -> None:
    """Each row shows something else."""
    assert all(a != b for a, b in combinations(rows("Output").values(), 2))


def test_exemplars(reader_class: Reader) -> None:
    """In OpenMetrics, ours lead to the trace."""

    def record(provider: MeterProvider) -> None:
        with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("work"):
            count_one(provider)

    body = generate_openmetrics(registry_of(reader_class, record, **SHORT)).decode()
    assert ('trace_id="' in body) is (reader_class is PrometheusMetricReader)


def test_a_second_shutdown(reader_class: Reader) -> None:
    """It does nothing, where the peer raises."""
    reader = reader_class(registry=CollectorRegistry())
    reader.shutdown()
    if reader_class is PeerReader:
        with pytest.raises(KeyError):
            reader.shutdown()
    else:
        reader.shutdown()


def test_no_registry(reader_class: Reader) -> None:
    """A reader without a registry is a choice, where the peer raises."""
    if reader_class is PeerReader:
        with pytest.raises(AttributeError):
            reader_class(registry=None)  # type: ignore[arg-type]
    else:
        reader_class(registry=None)


def test_a_registry_of_a_wrong_option(reader_class: Reader) -> None:
    """A wrong option is refused by both with a ValueError, and ours says what is allowed."""
    registry = CollectorRegistry()
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        reader_class(registry=registry, cardinality_limits={Counter: 0})
    assert ("expected" in str(caught.value)) is (reader_class is PrometheusMetricReader)
    assert collectors(registry) == []


def test_our_own_endpoint_formats() -> None:
    """What only our endpoint has: negotiation by weight, `name[]`, exemplars, health."""
    reader = PrometheusMetricReader(registry=None, **SHORT)
    count_one(MeterProvider([reader], shutdown_on_exit=False))
    with otel_prom_bridge.start_http_server(reader, port=0, addr="127.0.0.1") as server:
        preferring_text = f"{OPENMETRICS};q=0.1, text/plain;version=0.0.4"
        assert get(server.url, accept=preferring_text)[0].startswith("text/plain")
        assert get(f"{server.url}?name[]=c_total")[1].endswith(b"c_total 1\n")
        assert get(server.url.replace("/metrics", "/health"))[1]


def test_the_behaviour_table_names_its_tests() -> None:
    """Each row of the second table ends with the name of a test in this file."""
    for cells in rows("Behaviour").values():
        assert callable(globals().get(cells[-1].strip("`"))), cells
