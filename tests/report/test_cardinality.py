"""How many series a metric has: counts against naive ones, against the exposition, and the table."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from setups import Setup

from otel_prom_bridge import TranslationStrategy
from otel_prom_bridge.families import (
    HistogramPoint,
    InfoPoint,
    Kind,
    Labels,
    MetricFamily,
    NativeHistogramPoint,
    SummaryPoint,
    identity,
)
from otel_prom_bridge.report.cardinality import (
    CardinalityReport,
    LabelCardinality,
    MetricCardinality,
    of_family,
    of_labels,
)
from otel_prom_bridge.snapshots import Snapshot

Make = Callable[..., Setup]

LABEL_SETS = st.lists(
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["", "x", "y", "z", "é"])).map(
        lambda labels: tuple(sorted(labels.items()))
    ),
    unique_by=identity,
)


@given(LABEL_SETS, st.integers(0, 6))
def test_counts_are_those_of_a_naive_count(label_sets: list[Labels], values: int) -> None:
    """Series, values and the biggest of them, counted one by one, are the same."""
    counted = of_labels("m", "gauge", label_sets, values=values)
    assert counted.series == counted.samples == len(label_sets)
    expected = []
    for name in "abcd":
        found = [dict(labels)[name] for labels in label_sets if dict(labels).get(name)]
        ranking = sorted(((value, found.count(value)) for value in set(found)), key=lambda i: (-i[1], i[0]))
        if found:
            expected.append(LabelCardinality(name, len(ranking), tuple(ranking[:values])))
    assert counted.labels == tuple(sorted(expected, key=lambda label: -label.values))


def test_an_empty_value_is_no_label() -> None:
    """A label whose values are all empty is not there; a partly empty one has the others."""
    counted = of_labels("m", "gauge", [(("a", ""), ("b", "")), (("a", ""), ("b", "1"))])
    assert counted.labels == (LabelCardinality("b", 1, (("1", 1),)),)


def test_the_overflow_series_are_counted() -> None:
    """Series with `otel_metric_overflow="true"` are known as such; what the caller knows is passed on."""
    sets = [(("k", "v"),), (("otel_metric_overflow", "true"),), (("otel_metric_overflow", "no"),)]
    counted = of_labels("m", "counter", sets, overflowed=37, maximum=2000)
    assert (counted.series, counted.overflow_series) == (3, 1)
    assert (counted.overflowed, counted.maximum) == (37, 2000)
    assert of_labels("m", "counter", sets[:1]).overflow_series == 0


@pytest.mark.parametrize(
    ("kind", "point", "samples"),
    [
        (Kind.HISTOGRAM, HistogramPoint((), tuple(range(15)), (0,) * 16, 1.0), 18),
        (Kind.HISTOGRAM, HistogramPoint((), (1.0,), (0, 0), None), 3),
        (Kind.HISTOGRAM, HistogramPoint((), (), (0,), 1.0), 3),
        (Kind.SUMMARY, SummaryPoint((), ((0.5, 1.0), (0.9, math.nan)), 1.0, 2), 4),
        (Kind.SUMMARY, SummaryPoint((), (), None, None), 0),
        (Kind.INFO, InfoPoint((("a", "b"),)), 1),
    ],
)
def test_samples_are_the_lines_of_the_text(kind: Kind, point: object, samples: int) -> None:
    """A series has as many samples as the text format writes lines for it."""
    family = MetricFamily("m", kind, "", "", (point,))  # type: ignore[arg-type]
    assert (of_family(family).series, of_family(family).samples) == (1, samples)


def test_a_native_histogram_is_one_sample() -> None:
    """What a native histogram becomes as text depends on the writer."""
    point = NativeHistogramPoint((), 0, 0.0, 1, ((1, 2),), (), 3.0)
    family = MetricFamily("m", Kind.HISTOGRAM, "", "", (point, point))
    assert of_family(family).samples == 2


@pytest.mark.parametrize("accept", [None, "application/openmetrics-text"])
def test_a_family_and_its_exposition_have_the_same_counts(bridge: Make, accept: str | None) -> None:
    """Counting our families and reading what we wrote of them is one and the same."""
    view = View(instrument_name="native", aggregation=ExponentialBucketHistogramAggregation())
    setup = bridge(scope_info_enabled=True, max_series_per_metric=5, views=(view,))
    counter, updown = setup.meter.create_counter("c", unit="By"), setup.meter.create_up_down_counter("u")
    histogram, gauge = setup.meter.create_histogram("h", unit="s"), setup.meter.create_gauge("g")
    native = setup.meter.create_histogram("native")
    for number in range(7):
        counter.add(1, {"user": str(number), "kind": 'a"\\\n'})
        updown.add(1, {"only": number > 3})
        histogram.record(number, {"route": f"/{number % 2}"})
    gauge.set(1)
    native.record(1)
    text = setup.text(accept)
    buckets = text.count("native_bucket{")
    counted = map(of_family, setup.reader.families())
    ours = CardinalityReport.of(
        replace(item, samples=buckets + 2) if item.metric == "native" else item for item in counted
    )
    assert ours == CardinalityReport.of(map(of_family, Snapshot.of(text.encode()).families))
    by_name = {metric.metric: metric for metric in ours}
    assert (by_name["h_seconds"].series, by_name["h_seconds"].samples) == (2, 36)
    assert (by_name["c_bytes_total"].series, by_name["c_bytes_total"].overflow_series) == (6, 1)


def _report() -> CardinalityReport:
    requests = [
        (("method", "GET" if number % 3 else "POST"), ("route", f"/api/{number % 40}"), ("zone", "eu"))
        for number in range(1200)
    ]
    return CardinalityReport.of(
        [
            of_labels("up", "gauge", [()]),
            of_labels("http_request_duration_seconds", "histogram", requests, samples=21600, maximum=10000),
            of_labels(
                "tokens_total",
                "counter",
                [(("model", "gpt"), ("user", "\x1b[2J" + "x" * 50)), (("otel_metric_overflow", "true"),)],
                overflowed=1,
            ),
        ]
    )


def test_the_table() -> None:
    """Biggest first, labels below their metric, totals at the end."""
    assert str(_report()) == (
        "METRIC                         TYPE       SERIES  SAMPLES     MAX\n"
        "http_request_duration_seconds  histogram   1,200   21,600  10,000\n"
        '    route   40  "/api/0" 30, "/api/1" 30, "/api/10" 30, "/api/11" 30, "/api/12" 30, …\n'
        '    method   2  "GET" 800, "POST" 400\n'
        '    zone     1  "eu" 1,200\n'
        "tokens_total                   counter         2        2       -\n"
        '    model  1  "gpt" 1\n'
        '    user   1  "\\x1b[2Jxxxxxxxxxxxxxxxxxxxxxxxx…" 1\n'
        '    over the limit: 1 series otel_metric_overflow="true", 1 point went there\n'
        "up                             gauge           1        1       -\n"
        "\n"
        "TOTAL of 3 metrics                         1,203   21,603"
    )


def test_the_top_of_the_table() -> None:
    """What is left out is counted, and totals stay those of all; no maximum, no column."""
    report = CardinalityReport.of(item for item in _report() if item.maximum is None)
    assert report.table(top=1).splitlines()[-4:] == [
        '    over the limit: 1 series otel_metric_overflow="true", 1 point went there',
        "and 1 smaller metric: 1 series, 1 sample",
        "",
        "TOTAL of 2 metrics                3        3",
    ]
    assert "MAX" not in str(report)
    assert len(report) == 2


def test_the_table_shows_the_labels_with_most_values() -> None:
    """Six labels of a metric, and how many more there are."""
    wide = of_labels("wide", "gauge", [[(f"label{number}", "x") for number in range(8)]])
    lines = str(CardinalityReport.of([wide])).splitlines()
    assert lines[2:9] == [*(f'    label{number}  1  "x" 1' for number in range(6)), "    and 2 more labels"]


def test_the_table_of_nothing() -> None:
    """No metrics are a table, too."""
    assert str(CardinalityReport.of([])).endswith("\n\nTOTAL of 0 metrics             0        0")


@given(
    st.lists(st.tuples(st.text(max_size=150), LABEL_SETS)),
    st.lists(st.tuples(st.text("abc\n", min_size=1, max_size=60), st.text(max_size=200)), max_size=12),
)
def test_a_table_fits_and_cannot_talk_to_the_terminal(
    metrics: list[tuple[str, list[Labels]]], hostile: list[tuple[str, str]]
) -> None:
    """Whatever names and values hold, lines are printable and, but for longer names, at most 100 wide."""
    report = CardinalityReport.of(
        [of_labels(name, "gauge", sets) for name, sets in metrics] + [of_labels("m", "gauge", [hostile])]
    )
    longest = max(len(name.encode("unicode_escape")) for name, _ in [*metrics, *hostile, ("", "")])
    for line in str(report).split("\n"):
        assert line.isprintable()
        assert len(line) <= max(100, longest + 100)
        assert longest > 30 or len(line) <= 100


def test_a_hundred_thousand_series_take_about_a_second() -> None:
    """The time grows with the series, also where every value is another one."""
    sets = [(("a", str(number % 7)), ("b", str(number))) for number in range(100_000)]
    start = time.thread_time()
    counted = of_labels("m", "gauge", sets)
    assert time.thread_time() - start < 20  # what compares every series with every other takes hours
    assert [label.values for label in counted.labels] == [100_000, 7]


def test_reports_compare_by_what_they_say() -> None:
    """Order of the metrics given does not matter; metrics are plain values."""
    items = [of_labels(name, "gauge", [()]) for name in "ab"]
    assert CardinalityReport.of(items) == CardinalityReport.of(reversed(items))
    assert items[0] == MetricCardinality(metric="a", kind="gauge", series=1, samples=1, labels=())


def test_the_overflow_is_known_where_names_are_not_escaped(bridge: Make) -> None:
    """Its label is the attribute's key then."""
    strategy = TranslationStrategy.NO_UTF8_ESCAPING_WITH_SUFFIXES
    setup = bridge(translation_strategy=strategy, max_series_per_metric=1)
    counter = setup.meter.create_counter("c")
    for number in range(3):
        counter.add(1, {"k": str(number)})
    setup.text()
    (metric,) = setup.reader.cardinality().metrics
    assert (metric.overflow_series, metric.overflowed) == (1, 2)
    assert "otel.metric.overflow  " not in setup.reader.cardinality().table()
