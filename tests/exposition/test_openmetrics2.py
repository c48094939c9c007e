"""OpenMetrics 2.0: the examples of its specification are what we write of the same data.

prometheus/docs@011cfd03938c docs/specs/om/open_metrics_spec_2_0.md (2.0.0-rc0). Its examples and our texts
are read by one grammar, so they may differ in how numbers are written, and in nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from any_families import any_families
from hypothesis import given
from openmetrics2 import parse2
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from prometheus_client import CollectorRegistry, Summary
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from setups import Setup

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.exposition import Exposer, WriterOptions
from otel_prom_bridge.exposition.encoder import Encoder
from otel_prom_bridge.exposition.openmetrics2 import OpenMetrics2Writer
from otel_prom_bridge.families import (
    CounterPoint,
    Exemplar,
    GaugePoint,
    HistogramPoint,
    InfoPoint,
    Kind,
    Labels,
    MetricFamily,
    NativeHistogramPoint,
    Point,
    SummaryPoint,
    UnknownPoint,
)

Make = Callable[..., Setup]
ACCEPT = "application/openmetrics-text;version=2.0.0;escaping=allow-utf-8"
API = (("method", "GET"), ("path", "/api/v1"))
START, TIME = 1520430000.123, 1520879607.789
BOTH_NATIVE = NativeHistogramPoint((), 0, 1e-4, 0, ((0, 5), (1, 12)), (), 324789.3)
CLASSIC = HistogramPoint((), (0.01, 0.1, 1.0, 10.0), (0, 8, 3, 6, 0), 324789.3, created=START)
CLASSIC_EXEMPLARS = (
    None,
    Exemplar((), 0.054, 1520879607.7),
    Exemplar((("trace_id", "KOO5S4vxi0o"),), 1.67, 1520879602.890),
    Exemplar((("trace_id", "oHg5SJYRHA0"),), 9.8, TIME),
    None,
)
ALL_FIELDS = NativeHistogramPoint(
    API,
    7,
    1e-4,
    0,
    positive=((-1, 5), (0, 7), (4, 10), (5, 9), (6, 8), (7, 8)),
    negative=((1, 5), (2, 7)),
    sum=120,
    created=START,
)


def family(name: str, kind: Kind, *points: Point, help: str = "", unit: str = "") -> MetricFamily:
    """A family of these points."""
    return MetricFamily(name, kind, help, unit, points)


def state(value: float, time: float | None = None, **labels: str) -> GaugePoint:
    """A state of a state set."""
    return GaugePoint(tuple(sorted(labels.items())), value, timestamp=time)


def labelled(**labels: str) -> Labels:
    """These labels."""
    return tuple(sorted(labels.items()))


EXAMPLES: dict[str, tuple[str, list[MetricFamily]]] = {
    "complete": (
        r"""# TYPE acme_http_router_request_seconds summary
# UNIT acme_http_router_request_seconds seconds
# HELP acme_http_router_request_seconds Latency though all of ACME's HTTP request router.
acme_http_router_request_seconds{path="/api/v1",method="GET"} {count:807283,sum:9036.32,quantile:[0.95:2,0.99:20]} st@1605281325.0
acme_http_router_request_seconds{path="/api/v2",method="GET"} {count:34,sum:479.3,quantile:[0.95:2.5,0.99:2.9]} st@1605301325.0
# TYPE go_goroutines gauge
# HELP go_goroutines Number of goroutines that currently exist.
go_goroutines 69
# TYPE process_cpu_seconds_total counter
# UNIT process_cpu_seconds_total seconds
# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.
process_cpu_seconds_total 4.20072246e+06
# TYPE acme_http_request_seconds histogram
# UNIT acme_http_request_seconds seconds
# HELP acme_http_request_seconds Latency histogram of all of ACME's HTTP requests.
acme_http_request_seconds{path="/api/v1",method="GET"} {count:2,sum:1.2e2,schema:0,zero_threshold:1e-4,zero_count:0,positive_spans:[1:2],positive_buckets:[1,1],bucket:[0.5:1,1:2,+Inf:2]} st@1605301325.0
# TYPE "foodb.read.errors" counter
# HELP "foodb.read.errors" The number of errors in the read path for fooDb.
{"foodb.read.errors","service.name"="my_service"} 3482
""",  # noqa: E501 - lines of the specification; its gauge histogram of fractions, which we have not, is left out
        [
            family(
                "acme_http_router_request_seconds",
                Kind.SUMMARY,
                SummaryPoint(API, ((0.95, 2), (0.99, 20)), 9036.32, 807283, 1605281325.0),
                SummaryPoint(
                    labelled(method="GET", path="/api/v2"),
                    ((0.95, 2.5), (0.99, 2.9)),
                    479.3,
                    34,
                    1605301325.0,
                ),
                help="Latency though all of ACME's HTTP request router.",
                unit="seconds",
            ),
            family(
                "go_goroutines",
                Kind.GAUGE,
                GaugePoint((), 69),
                help="Number of goroutines that currently exist.",
            ),
            family(
                "process_cpu_seconds_total",
                Kind.COUNTER,
                CounterPoint((), 4.20072246e06),
                help="Total user and system CPU time spent in seconds.",
                unit="seconds",
            ),
            family(
                "acme_http_request_seconds",
                Kind.HISTOGRAM,
                HistogramPoint(
                    API,
                    (0.5, 1.0),
                    (1, 1, 0),
                    120,
                    created=1605301325.0,
                    native=NativeHistogramPoint(API, 0, 1e-4, 0, ((1, 1), (2, 1)), (), 120),
                ),
                help="Latency histogram of all of ACME's HTTP requests.",
                unit="seconds",
            ),
            family(
                "foodb.read.errors",
                Kind.COUNTER,
                CounterPoint((("service.name", "my_service"),), 3482),
                help="The number of errors in the read path for fooDb.",
            ),
        ],
    ),
    "quoting": (
        """# TYPE "process.cpu.seconds" counter
# UNIT "process.cpu.seconds" seconds
# HELP "process.cpu.seconds" Total user and system CPU time spent in seconds.
{"process.cpu.seconds","node.name"="my_node"} 4.20072246e+06
# TYPE "quoting_example" gauge
# HELP "quoting_example" Number of goroutines that currently exist.
{"quoting_example","foo"="bar"} 4.5
""",
        [
            family(
                "process.cpu.seconds",
                Kind.COUNTER,
                CounterPoint((("node.name", "my_node"),), 4.20072246e06),
                help="Total user and system CPU time spent in seconds.",
                unit="seconds",
            ),
            family(
                "quoting_example",
                Kind.GAUGE,
                GaugePoint((("foo", "bar"),), 4.5),
                help="Number of goroutines that currently exist.",
            ),
        ],
    ),
    "escaping": (
        r"""# TYPE foo_seconds_total counter
# UNIT foo_seconds_total seconds
# HELP foo_seconds_total Some text and \n some \" escaping
# TYPE "\"bar\".seconds.count" gauge
{"\"bar\".seconds.count","b\\"="escaping\" example \n "} 0
""",
        [
            family(
                "foo_seconds_total", Kind.COUNTER, help='Some text and \n some " escaping', unit="seconds"
            ),
            family('"bar".seconds.count', Kind.GAUGE, GaugePoint((("b\\", 'escaping" example \n '),), 0)),
        ],
    ),
    "a unit that is not in the name": (
        "# TYPE foo_total counter\n# UNIT foo_total seconds\n",
        [family("foo_total", Kind.COUNTER, unit="seconds")],
    ),
    "gauges": (
        '# TYPE foo gauge\nfoo{a="bb"} 17.0\nfoo{a="ccc"} 17.0\n'
        "# TYPE bar gauge\nbar 17.0 123\nbar 18.0 456\n",
        [
            family("foo", Kind.GAUGE, state(17.0, a="bb"), state(17.0, a="ccc")),
            family("bar", Kind.GAUGE, state(17.0, 123), state(18.0, 456)),
        ],
    ),
    "counter": (
        "# TYPE foo_total counter\nfoo_total 17.0\n",
        [family("foo_total", Kind.COUNTER, CounterPoint((), 17.0))],
    ),
    "counter with a timestamp": (
        "# TYPE foo_total counter\nfoo_total 17.0 1520879607.789\n",
        [family("foo_total", Kind.COUNTER, CounterPoint((), 17.0, timestamp=TIME))],
    ),
    "counter with a start": (
        "# TYPE foo_total counter\nfoo_total 17.0 st@1520430000.123\n",
        [family("foo_total", Kind.COUNTER, CounterPoint((), 17.0, created=START))],
    ),
    "counter without a suffix": (
        "# TYPE foo counter\nfoo 17.0 1520879607.789 st@1520879607.789\n",
        [family("foo", Kind.COUNTER, CounterPoint((), 17.0, None, TIME, TIME))],
    ),
    "counter with everything": (
        "# TYPE foo_total counter\n"
        'foo_total 17.0 1520879607.789 st@1520430000.123 # {trace_id="KOO5S4vxi0o"} 0.67 1520879606.1\n',
        [
            family(
                "foo_total",
                Kind.COUNTER,
                CounterPoint(
                    (), 17.0, Exemplar((("trace_id", "KOO5S4vxi0o"),), 0.67, 1520879606.1), START, TIME
                ),
            )
        ],
    ),
    "state set": (
        '# TYPE foo stateset\nfoo{entity="controller",foo="a"} 1.0\nfoo{entity="controller",foo="bb"} 0.0\n',
        [
            family(
                "foo",
                Kind.STATESET,
                state(1, entity="controller", foo="a"),
                state(0, entity="controller", foo="bb"),
            )
        ],
    ),
    "info": (
        '# TYPE foo_info info\nfoo_info{entity="controller",name="pretty name",version="8.2.7"} 1.0\n',
        [
            family(
                "foo_info",
                Kind.INFO,
                InfoPoint(labelled(entity="controller", name="pretty name", version="8.2.7")),
            )
        ],
    ),
    "summary without quantiles": (
        "# TYPE foo summary\nfoo {count:17,sum:324789.3,quantile:[]} st@1520430000.123\n",
        [family("foo", Kind.SUMMARY, SummaryPoint((), (), 324789.3, 17, START))],
    ),
    "summary": (
        "# TYPE foo summary\nfoo {count:0,sum:0.0,quantile:[0.95:123.7,0.99:150]} st@1520430000.123\n",
        [family("foo", Kind.SUMMARY, SummaryPoint((), ((0.95, 123.7), (0.99, 150)), 0.0, 0.0, START))],
    ),
    "classic buckets": (
        "# TYPE foo histogram\n"
        "foo {count:17,sum:324789.3,bucket:[0.0:0,1e-05:0,0.0001:5,0.1:8,1.0:10,10.0:11,100000.0:11,1e+06:15,"
        "1e+23:16,1.1e+23:17,+Inf:17]} st@1520430000.123\n",
        [
            family(
                "foo",
                Kind.HISTOGRAM,
                HistogramPoint(
                    (),
                    (0.0, 1e-05, 0.0001, 0.1, 1.0, 10.0, 100000.0, 1e06, 1e23, 1.1e23),
                    (0, 0, 5, 3, 2, 1, 0, 4, 1, 1, 0),
                    324789.3,
                    created=START,
                ),
            )
        ],
    ),
    "native buckets": (
        "# TYPE acme_http_request_seconds histogram\n"
        'acme_http_request_seconds{path="/api/v1",method="GET"} {count:59,sum:1.2e2,schema:7,'
        "zero_threshold:1e-4,zero_count:0,negative_spans:[1:2],negative_buckets:[5,7],positive_spans:[-1:2,3:4],"
        "positive_buckets:[5,7,10,9,8,8]} st@1520430000.123\n",
        [family("acme_http_request_seconds", Kind.HISTOGRAM, ALL_FIELDS)],
    ),
    "no buckets in use": (
        "# TYPE acme_http_request_seconds histogram\n"
        'acme_http_request_seconds{path="/api/v1",method="GET"} {count:0,sum:0,schema:3,zero_threshold:1e-4,'
        "zero_count:0} st@1520430000.123\n",
        [
            family(
                "acme_http_request_seconds",
                Kind.HISTOGRAM,
                NativeHistogramPoint(API, 3, 1e-4, 0, (), (), 0, created=START),
            )
        ],
    ),
    "several exemplars": (
        "# TYPE foo histogram\n"
        "foo {count:17,sum:324789.3,schema:0,zero_threshold:1e-4,zero_count:0,positive_spans:[0:2],"
        'positive_buckets:[5,12]} st@1520430000.123 # {trace_id="shaZ8oxi"} 0.67 1520879607.789 '
        '# {trace_id="ookahn0M"} 1.2 1520879608.589\n',
        [
            family(
                "foo",
                Kind.HISTOGRAM,
                BOTH_NATIVE._replace(
                    created=START,
                    exemplars=(
                        Exemplar((("trace_id", "shaZ8oxi"),), 0.67, TIME),
                        Exemplar((("trace_id", "ookahn0M"),), 1.2, 1520879608.589),
                    ),
                ),
            )
        ],
    ),
    "exemplars of buckets": (
        "# TYPE foo histogram\n"
        "foo {count:17,sum:324789.3,bucket:[0.01:0,0.1:8,1.0:11,10.0:17,+Inf:17]} st@1520430000.123 "
        '# {} 0.054 1520879607.7 # {trace_id="KOO5S4vxi0o"} 1.67 1520879602.890 '
        '# {trace_id="oHg5SJYRHA0"} 9.8 1520879607.789\n',
        [family("foo", Kind.HISTOGRAM, CLASSIC._replace(exemplars=CLASSIC_EXEMPLARS))],
    ),
    "both kinds of buckets": (
        "# TYPE foo histogram\n"
        "foo {count:17,sum:324789.3,schema:0,zero_threshold:1e-4,zero_count:0,positive_spans:[0:2],"
        "positive_buckets:[5,12],bucket:[0.01:0,0.1:8,1.0:11,10.0:17,+Inf:17]} st@1520430000.123 "
        '# {} 0.054 1520879607.7 # {trace_id="KOO5S4vxi0o"} 1.67 1520879602.890 '
        '# {trace_id="oHg5SJYRHA0"} 9.8 1520879607.789\n',
        [family("foo", Kind.HISTOGRAM, CLASSIC._replace(exemplars=CLASSIC_EXEMPLARS, native=BOTH_NATIVE))],
    ),
    "gauge histogram": (
        "# TYPE foo gaugehistogram\nfoo {gcount:42,gsum:3289.3,bucket:[0.01:20,0.1:25,1:34,+Inf:42]}\n",
        [family("foo", Kind.GAUGE_HISTOGRAM, HistogramPoint((), (0.01, 0.1, 1.0), (20, 5, 9, 8), 3289.3))],
    ),
    "native gauge histogram": (
        "# TYPE acme_http_request_seconds gaugehistogram\n"
        'acme_http_request_seconds{path="/api/v1",method="GET"} {gcount:59,gsum:1.2e2,schema:7,'
        "zero_threshold:1e-4,zero_count:0,negative_spans:[1:2],negative_buckets:[5,7],"
        "positive_spans:[-1:2,3:4],positive_buckets:[5,7,10,9,8,8]}\n",
        [family("acme_http_request_seconds", Kind.GAUGE_HISTOGRAM, ALL_FIELDS._replace(created=None))],
    ),
    "unknown": ("# TYPE foo unknown\nfoo 42.23\n", [family("foo", Kind.UNKNOWN, UnknownPoint((), 42.23))]),
}


def written(*families: MetricFamily) -> str:
    """What we write of these families, which must all be there."""
    findings = Findings()
    text = Encoder(OpenMetrics2Writer(), findings=findings).encode(families).body.decode()
    assert text.count("# TYPE") >= len(families)
    return text


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_specification_s_examples(name: str) -> None:
    """The specification's text and ours say the same, by one grammar."""
    example, families = EXAMPLES[name]
    assert parse2(written(*families)) == parse2(f"{example}# EOF\n")


def test_what_the_specification_forbids_is_seen_by_the_grammar() -> None:
    """The judge is not one that approves of everything."""
    for wrong in (
        "# TYPE a counter\na 1",
        "# TYPE a histogram\na 1\n# EOF\n",
        "# TYPE a histogram\na {count:1,sum:2}\n# EOF\n",
        "# TYPE a histogram\na {count:1, sum:2,bucket:[+Inf:1]}\n# EOF\n",
        "# TYPE a histogram\na {count:1,sum:2,bucket:[1:1]}\n# EOF\n",
        "# TYPE a histogram\na {count:3,sum:2,bucket:[+Inf:1]}\n# EOF\n",
        "# TYPE a histogram\na {count:1,sum:2,bucket:[+Inf:1],schema:0,zero_threshold:0,zero_count:1}\n"
        "# EOF\n",
        "# TYPE a gaugehistogram\na {count:1,sum:2,bucket:[+Inf:1]}\n# EOF\n",
        "# TYPE a gauge\na 1 st@5\n# EOF\n",
        "# TYPE a counter\na 1 st@5 7\n# EOF\n",
        "# TYPE a counter\na 1 # {} 1\n# EOF\n",
        "# TYPE a info\na 1\n# EOF\n",
        "# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\na 2 3\n# EOF\n",
        "# TYPE a gauge\na 1\na 1\n# EOF\n",
    ):
        with pytest.raises(ValueError, match=r"."):
            parse2(wrong)


def test_it_is_an_answer_only_to_who_asks_and_only_with_the_option(bridge: Make) -> None:
    """Without the option, or without the version in the header, everything is as before."""
    on, off = (bridge(openmetrics_2=value) for value in (True, False))
    for setup in (on, off):
        setup.meter.create_counter("c").add(1)
    fallback = f"{ACCEPT};q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2"
    assert on.reader.expose(fallback).content_type == (
        "application/openmetrics-text; version=2.0.0; charset=utf-8; escaping=allow-utf-8"
    )
    assert "version=1.0.0" in off.reader.expose(fallback).content_type
    assert off.reader.expose(ACCEPT).content_type.startswith("text/plain; version=0.0.4")
    for others in ("application/openmetrics-text", "application/*", "*/*", fallback.split(",", 1)[1]):
        assert on.reader.expose(others) == on.reader.expose(others)
        assert "version=2.0.0" not in on.reader.expose(others).content_type


def test_the_sdk_s_metrics(bridge: Make) -> None:
    """Names are as they are, start times stand in the line, histograms are one sample, maybe a native one."""
    exponential = View(instrument_name="size", aggregation=ExponentialBucketHistogramAggregation())
    setup = bridge(openmetrics_2=True, translation_strategy="NoTranslation", views=(exponential,))
    setup.meter.create_counter("http.requests").add(2, {"a.b": "c"})
    setup.meter.create_histogram("lat", unit="s", explicit_bucket_boundaries_advisory=[-1, 1]).record(0.5)
    setup.meter.create_histogram("size").record(3)
    found = parse2(setup.reader.expose(ACCEPT).body.decode())
    (requests,) = found["http.requests"].samples
    assert found["http.requests"].kind == "counter"
    assert (requests.labels, requests.value) == (frozenset({("a.b", "c")}), 2)
    (lat,) = found["lat"].samples
    assert lat.value == {"count": 1, "sum": 0.5, "bucket": [(-1, 0), (1, 1), (math.inf, 1)]}
    (size,) = found["size"].samples
    assert (size.value["count"], size.value["sum"], size.value["zero_count"]) == (1, 3, 0)
    assert size.value["positive_buckets"] == [(1,)]
    assert None not in (requests.start, lat.start, size.start)


def test_other_collectors(bridge: Make) -> None:
    """A summary of prometheus_client has no quantiles, a count that is an integer, and its start."""
    registry = CollectorRegistry()
    Summary("rpc", "Rpc", registry=registry).observe(2.5)
    setup = bridge(registry=registry, openmetrics_2=True)
    body = setup.reader.expose(ACCEPT).body.decode()
    (rpc,) = parse2(body)["rpc"].samples
    assert "rpc {count:1,sum:2.5,quantile:[]} st@" in body
    assert rpc.start is not None


def test_what_is_not_known() -> None:
    """A field that must be there is NaN if nobody knows it; exemplars without a time are left out."""
    silent = HistogramPoint((), (), (3,), None, (Exemplar((), 1.0, None),))
    assert written(family("h", Kind.HISTOGRAM, silent)).splitlines()[1] == (
        "h {count:3,sum:NaN,bucket:[+Inf:3]}"
    )
    quantiles = SummaryPoint((), ((0.5, 1.0),), None, None)
    assert written(family("s", Kind.SUMMARY, quantiles)).splitlines()[1] == (
        "s {count:0,sum:NaN,quantile:[0.5:1.0]}"
    )


@given(any_families())
def test_whatever_families_say_is_in_the_grammar(families: list[MetricFamily]) -> None:
    """Any family is written so that the grammar reads every series of it."""
    # "The MetricFamily name for Info metrics MUST end in `_info`", as those of prometheus_client and ours do.
    families = [
        replace(item, name=f"{item.name}_info") if item.kind is Kind.INFO else item for item in families
    ]
    found = parse2(written(*families))
    assert [len(found[item.name].samples) for item in families] == [len(item.points) for item in families]


def test_prometheus_client_reads_what_both_versions_have() -> None:
    """Its parser, which does not know 2.0, reads gauges, unknown values and state sets of ours."""
    families = (
        family("g", Kind.GAUGE, state(17.0, TIME, a="b")),
        family("s", Kind.STATESET, state(1, s="a"), state(0, s="b")),
        family("u", Kind.UNKNOWN, UnknownPoint((), 1)),
    )
    found = list(text_string_to_metric_families(written(*families)))
    assert [(metric.name, metric.type, len(metric.samples)) for metric in found] == [
        ("g", "gauge", 1),
        ("s", "stateset", 2),
        ("u", "unknown", 1),
    ]


def test_unchanged_bodies_are_the_same_object() -> None:
    """The new format goes through the same encoder as the others."""
    exposer = Exposer(findings=Findings(), options=WriterOptions(openmetrics_2=True))
    families = (family("foo_total", Kind.COUNTER, CounterPoint((), 1, created=START)),)
    first = exposer.expose(families, accept=ACCEPT)
    assert exposer.expose(families, accept=ACCEPT).body is first.body
    assert first.body == b"# TYPE foo_total counter\nfoo_total 1 st@1520430000.123\n# EOF\n"
