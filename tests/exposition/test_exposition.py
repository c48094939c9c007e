"""Families → bytes: both formats, what is rendered again, and what a name filter keeps."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from oracles import OPENMETRICS, parse
from setups import Setup

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.exposition import Exposer, samples
from otel_prom_bridge.exposition.encoder import Encoder
from otel_prom_bridge.exposition.text import TextWriter
from otel_prom_bridge.exposition.unchanged import Memory
from otel_prom_bridge.families import (
    CounterPoint,
    Exemplar,
    GaugePoint,
    HistogramPoint,
    InfoPoint,
    Kind,
    MetricFamily,
    SummaryPoint,
    UnknownPoint,
)

Make = Callable[..., Setup]

EXEMPLAR = Exemplar((("trace_id", "ab"), ("q", "a\\b")), 0.5, 1700000000.25)
FAMILIES = (
    MetricFamily("target_info", Kind.INFO, "Target metadata", "", (InfoPoint((("service", "s"),)),)),
    MetricFamily(
        "jobs_total",
        Kind.COUNTER,
        'with "quotes" and \\ and\na line',
        "jobs",
        (CounterPoint((("k", 'a\\b\n"c"'),), 3, EXEMPLAR), CounterPoint((), 2.5)),
    ),
    MetricFamily("plain", Kind.COUNTER, "", "", (CounterPoint((), 1),)),
    MetricFamily("temperature_celsius", Kind.GAUGE, "", "celsius", (GaugePoint((), float("nan")),)),
    MetricFamily("odd", Kind.UNKNOWN, "odd", "", (UnknownPoint((), float("-inf")),)),
    MetricFamily(
        "latency_seconds",
        Kind.HISTOGRAM,
        "",
        "seconds",
        (
            HistogramPoint((("k", "v"),), (0.5, 1000000.0), (1, 0, 2), 4.5, (EXEMPLAR, None, None)),
            HistogramPoint((), (), (2,), None),
        ),
    ),
    MetricFamily("delta", Kind.HISTOGRAM, "", "", (HistogramPoint((), (-1.0, 1.0), (1, 1, 0), -0.5),)),
    MetricFamily("rpc", Kind.SUMMARY, "", "", (SummaryPoint((), ((0.5, 1.0), (0.99, 2.0)), 3.0, 4),)),
)

TEXT_BODY = r"""# HELP target_info Target metadata
# TYPE target_info gauge
target_info{service="s"} 1
# HELP jobs_total with "quotes" and \\ and\na line
# TYPE jobs_total counter
jobs_total{k="a\\b\n\"c\""} 3
jobs_total 2.5
# TYPE plain counter
plain 1
# TYPE temperature_celsius gauge
temperature_celsius NaN
# HELP odd odd
# TYPE odd untyped
odd -Inf
# TYPE latency_seconds histogram
latency_seconds_bucket{k="v",le="0.5"} 1
latency_seconds_bucket{k="v",le="1e+06"} 1
latency_seconds_bucket{k="v",le="+Inf"} 3
latency_seconds_count{k="v"} 3
latency_seconds_sum{k="v"} 4.5
latency_seconds_bucket{le="+Inf"} 2
latency_seconds_count 2
# TYPE delta histogram
delta_bucket{le="-1.0"} 1
delta_bucket{le="1.0"} 2
delta_bucket{le="+Inf"} 2
delta_count 2
delta_sum -0.5
# TYPE rpc summary
rpc{quantile="0.5"} 1.0
rpc{quantile="0.99"} 2.0
rpc_count 4
rpc_sum 3.0
"""

OPENMETRICS_BODY = r"""# TYPE target info
# HELP target Target metadata
target_info{service="s"} 1
# TYPE jobs counter
# HELP jobs with \"quotes\" and \\ and\na line
jobs_total{k="a\\b\n\"c\""} 3 # {trace_id="ab",q="a\\b"} 0.5 1700000000.250
jobs_total 2.5
# TYPE plain unknown
plain 1
# TYPE temperature_celsius gauge
# UNIT temperature_celsius celsius
temperature_celsius NaN
# TYPE odd unknown
# HELP odd odd
odd -Inf
# TYPE latency_seconds histogram
# UNIT latency_seconds seconds
latency_seconds_bucket{k="v",le="0.5"} 1 # {trace_id="ab",q="a\\b"} 0.5 1700000000.250
latency_seconds_bucket{k="v",le="1e+06"} 1
latency_seconds_bucket{k="v",le="+Inf"} 3
latency_seconds_count{k="v"} 3
latency_seconds_sum{k="v"} 4.5
latency_seconds_bucket{le="+Inf"} 2
# TYPE delta histogram
delta_bucket{le="-1.0"} 1
delta_bucket{le="1.0"} 2
delta_bucket{le="+Inf"} 2
# TYPE rpc summary
rpc{quantile="0.5"} 1.0
rpc{quantile="0.99"} 2.0
rpc_count 4
rpc_sum 3.0
# EOF
"""


@pytest.fixture
def exposer() -> Exposer:
    """An exposer of its own."""
    return Exposer(findings=Findings())


@pytest.mark.parametrize(
    ("accept", "content_type", "body"),
    [
        (None, "text/plain; version=0.0.4; charset=utf-8", TEXT_BODY),
        (
            "text/plain;version=1.0.0",
            "text/plain; version=1.0.0; charset=utf-8; escaping=underscores",
            TEXT_BODY,
        ),
        (
            OPENMETRICS,
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
            OPENMETRICS_BODY,
        ),
        (
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text; version=0.0.1; charset=utf-8",
            OPENMETRICS_BODY,
        ),
    ],
)
def test_every_kind_in_every_format(
    exposer: Exposer, accept: str | None, content_type: str, body: str
) -> None:
    """Each format writes suffixes, types, units, exemplars and escapes its own way."""
    exposition = exposer.expose(FAMILIES, accept=accept)
    assert exposition.content_type == content_type
    assert exposition.body.decode() == body


@pytest.mark.parametrize("name", ["100%d", "%", "a\0b", "ÿ", "%s{\\}"])
@pytest.mark.parametrize("value", ["v", "%d %s", "\0", "ÿ"])
def test_names_and_values_that_look_like_patterns(name: str, value: str) -> None:
    """The lines of a histogram are written at once, and nothing in a name or a label stands for a number."""
    labels = (("k", value),) if value != "v" else ()
    for total, shown in (
        (4.5, "4.5"),
        (3, "3"),
        (float("inf"), "+Inf"),
        (float("nan"), "NaN"),
        (2**62, str(2**62)),
    ):
        point = HistogramPoint(labels, (0.5,), (1, 2), total)
        written = TextWriter().renderer(MetricFamily(name, Kind.HISTOGRAM, "", "", ()))(
            point, TextWriter().labels(labels)
        )
        quoted, rest = name.replace("\\", "\\\\"), f',k="{value}"' if labels else ""
        assert written.decode().splitlines() == [
            f'{{"{quoted}_bucket"{rest},le="0.5"}} 1',
            f'{{"{quoted}_bucket"{rest},le="+Inf"}} 3',
            f'{{"{quoted}_count"{rest}}} 3',
            f'{{"{quoted}_sum"{rest}}} {shown}',
        ]


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["jobs_total"], ["jobs_total"]),
        (["jobs"], ["jobs_total"]),
        (["latency_seconds_bucket", "odd"], ["odd", "latency_seconds"]),
        (["target_info", "nothing"], ["target_info"]),
        (["nothing"], []),
    ],
)
def test_names_keep_the_families_they_mention(exposer: Exposer, names: list[str], kept: list[str]) -> None:
    """A name mentions a family by its own name or by one of its samples'; the full page is not disturbed."""
    full = exposer.expose(FAMILIES, accept=None).body
    body = exposer.expose(FAMILIES, accept=None, names=names).body.decode()
    assert [line.split()[2] for line in body.splitlines() if line.startswith("# TYPE")] == kept
    assert exposer.expose(FAMILIES, accept=None).body == full


def test_a_line_is_rendered_once_until_its_series_changes(
    bridge: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrape renders the changed series only, and hands the whole body out again if nothing changed."""
    rendered: list[str] = []
    original = samples.single

    def counting(name: str, **options: Any) -> Any:
        render = original(name, **options)
        return lambda point, labels: rendered.append(labels) or render(point, labels)

    monkeypatch.setattr(samples, "single", counting)
    setup = bridge()
    counter = setup.meter.create_counter("c")
    for number in range(20):
        counter.add(1, {"k": str(number)})
    first = setup.reader.expose().body
    assert len(rendered) == 20
    assert setup.reader.expose().body is first
    rendered.clear()
    counter.add(1, {"k": "7"})
    counter.add(1, {"k": "new"})
    second = setup.reader.expose().body.decode()
    assert rendered == ['k="7"', 'k="new"']
    assert 'c_total{k="7"} 2\n' in second


def test_series_that_go_do_not_confuse_what_was_rendered(bridge: Make) -> None:
    """When series vanish and others move up, every line still belongs to its series."""
    setup = bridge()
    reported = {str(number): number for number in range(6)}
    setup.meter.create_observable_gauge(
        "g", [lambda _: [Observation(value, {"k": key}) for key, value in reported.items()]]
    )
    for gone in ("0", "3", "5", "4"):
        setup.text()
        del reported[gone]
        body = setup.text()
        assert sorted(body.splitlines()[1:]) == [f'g{{k="{k}"}} {v}' for k, v in sorted(reported.items())]


def test_concurrent_rendering_gives_equal_bodies(exposer: Exposer) -> None:
    """Threads that render the same families at once all get the right body."""
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda _: exposer.expose(FAMILIES, accept=None).body, range(100)))
    assert set(bodies) == {TEXT_BODY.encode()}


def counted(value: int, *, size: int = 500) -> MetricFamily:
    """A family of so many counters that all have this value."""
    points = tuple(CounterPoint((("k", f"{number:0100}"),), value) for number in range(size))
    return MetricFamily("c_total", Kind.COUNTER, "", "", points)


def test_old_lines_go_while_new_ones_come() -> None:
    """Where everything changed, a scrape needs room for a body, and not for all lines once more."""
    encoder = Encoder(TextWriter(), findings=Findings())
    families = [counted(value, size=5000) for value in (1, 2, 3)]
    tracemalloc.start()
    try:
        size = [len(encoder.encode((family,)).body) for family in families[:2]][1]
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        assert encoder.encode((families[2],)).body
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 2.2 * size  # with the places of 5,000 points; with their old lines it was 2.8


def test_a_scrape_within_another_one_is_right_and_so_is_the_other(
    exposer: Exposer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes while a family is rendered, as a signal handler does, disturbs nobody."""
    original, within = samples.single, []

    def interrupted(name: str, **options: Any) -> Any:
        render = original(name, **options)

        def interrupting(point: Any, labels: str) -> bytes:
            if point.value == 2 and labels == f'k="{200:0100}"':
                within.append(exposer.expose((counted(3),), accept=None).body)
            return render(point, labels)

        return interrupting

    monkeypatch.setattr(samples, "single", interrupted)
    outside = [exposer.expose((counted(value),), accept=None).body for value in (1, 2, 4)]
    monkeypatch.undo()
    expected = [Exposer(findings=Findings()).expose((counted(n),), accept=None).body for n in (1, 2, 4, 3)]
    assert [*outside, *within] == expected


def test_threads_that_see_different_states_get_each_its_own(exposer: Exposer) -> None:
    """Threads that render a family in several states at once get what they asked for."""
    families = [counted(value) for value in range(8)]
    wanted = [exposer.expose((family,), accept=None).body for family in families]
    numbers = [*range(8)] * 20
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda n: exposer.expose((families[n],), accept=None).body, numbers))
    assert bodies == [wanted[number] for number in numbers]


def test_pages_that_others_take_while_one_scrape_forgets_names() -> None:
    """As a thread or a signal handler may: a page that somebody takes, to change it, does not come back."""

    class Interrupting(str):
        def __hash__(self) -> int:
            while others:
                others.pop()()
            return super().__hash__()

    others: list[Callable[[], object]] = []
    memory = Memory[str, str](nothing="")
    pages = memory.pages
    pages.update(dict.fromkeys(["m", Interrupting("x"), *map(str, range(150))], ""))
    others += [lambda: pages.pop("m"), lambda: pages.pop("1"), lambda: pages.setdefault("n", "")]
    family = MetricFamily("m", Kind.GAUGE, "", "", ())
    assert memory.whole((family,), lambda _: "made") == "made"
    assert others == []
    assert memory.pages == {"n": ""}


def test_quotes_in_exemplar_labels_are_escaped() -> None:
    """An exemplar's label values are escaped like any other.

    Not through the judge: prometheus_client 0.26 refuses escaped quotes in exemplars, against the ABNF of
    OpenMetrics 1.0 (`escaped-string`), which Prometheus follows and so do we.
    """
    point = CounterPoint((), 1, Exemplar((("q", 'a"b'),), 1, None))
    assert samples.counter("c_total", created=False)(point, "") == b'c_total 1 # {q="a\\"b"} 1\n'


# --- exemplars, from a recording within a span --------------------------------------------------------


def exemplars(reader: PrometheusMetricReader) -> dict[tuple[str, str], dict[str, str]]:
    """The labels of every exemplar, by sample name and `le`."""
    exposition = reader.expose(OPENMETRICS)
    return {
        (sample.name, sample.labels.get("le", "")): sample.exemplar.labels
        for family in parse(exposition.content_type, exposition.body)
        for sample in family.samples
        if sample.exemplar
    }


def test_exemplars_lead_to_their_trace_and_stay_for_a_second_scraper(bridge: Make) -> None:
    """The newest exemplar of a counter and of each bucket is kept over scrapes, with the span's ids."""
    setup = bridge()
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    counter = setup.meter.create_counter("c")
    histogram = setup.meter.create_histogram("h", explicit_bucket_boundaries_advisory=[1, 2])
    contexts = []
    for value in (0.5, 1.5):
        with tracer.start_as_current_span("work") as span:
            contexts.append(span.get_span_context())
            counter.add(1)
            histogram.record(value)
        exemplars(setup.reader)
    histogram.record(5)  # outside of a span: no exemplar
    ids = [{"trace_id": f"{c.trace_id:032x}", "span_id": f"{c.span_id:016x}"} for c in contexts]
    expected = {
        ("c_total", ""): ids[1],
        ("h_bucket", "1.0"): ids[0],
        ("h_bucket", "2.0"): ids[1],
    }
    assert exemplars(setup.reader) == expected
    assert exemplars(setup.reader) == expected


def test_exemplars_carry_what_a_view_filtered_out() -> None:
    """Attributes that a view takes off the series are labels of the exemplar, with or without a trace."""
    reader = PrometheusMetricReader(registry=None, scope_info_enabled=False)
    provider = MeterProvider(
        [reader],
        resource=Resource({}),
        views=[View(instrument_name="c", attribute_keys={"kept"})],
        exemplar_filter=AlwaysOnExemplarFilter(),
        shutdown_on_exit=False,
    )
    provider.get_meter("test").create_counter("c").add(1, {"kept": "k", "request.id": 7})
    assert exemplars(reader) == {("c_total", ""): {"request_id": "7"}}


def test_gauges_and_text_have_no_exemplars(bridge: Make) -> None:
    """Exemplars are dropped where the format has no place for them."""
    setup = bridge()
    with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("s"):
        setup.meter.create_gauge("g").set(1)
        setup.meter.create_up_down_counter("u").add(1)
        setup.meter.create_counter("c").add(1)
    assert set(exemplars(setup.reader)) == {("c_total", "")}
    assert "trace_id" not in setup.text()


@pytest.mark.parametrize("count", [1, 3])
def test_a_histogram_with_another_number_of_exemplars_than_buckets_is_an_error(count: int) -> None:
    """None of them ends on a line that is no bucket's."""
    render = samples.buckets(
        "h",
        when=samples.seconds,
        totals=samples.count_and_sum(openmetrics=True),
        exemplars=True,
        native_bounds=None,
    )
    found = Exemplar((), 1.0, None)
    point = HistogramPoint((), (1.0,), (1, 2), 3.0, (found, found))
    assert render(point, "").count(b" # {") == 2
    with pytest.raises(ValueError, match="zip"):
        render(point._replace(exemplars=(found,) * count), "")
