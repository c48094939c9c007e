"""Names as the scraper can read them: the schemes, and what meets under them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import samples
from prometheus_client import CollectorRegistry, Gauge
from setups import Setup

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.exposition import Exposer
from otel_prom_bridge.exposition.schemes import Escaper, Escaping, escaped
from otel_prom_bridge.families import (
    CounterPoint,
    Exemplar,
    GaugePoint,
    HistogramPoint,
    Kind,
    MetricFamily,
    NativeHistogramPoint,
    is_legacy_label,
    is_legacy_name,
)

Make = Callable[..., Setup]
UNDERSCORES, DOTS, VALUES = Escaping.UNDERSCORES, Escaping.DOTS, Escaping.VALUES

# prometheus/common@d2417e2cbb82 model/metric_test.go TestEscapeName (line 474), and the examples of
# prometheus/docs@c105550aad07 docs/instrumenting/escaping_schemes.md.
NAMES = [
    ("", UNDERSCORES, ""),
    ("", DOTS, ""),
    ("no:escaping_required", UNDERSCORES, "no:escaping_required"),
    ("no:escaping_required", VALUES, "no:escaping_required"),
    ("mysystem.prod.west.cpu.load", UNDERSCORES, "mysystem_prod_west_cpu_load"),
    ("mysystem.prod.west.cpu.load_total", UNDERSCORES, "mysystem_prod_west_cpu_load_total"),
    ("mysystem.prod.west.cpu.load_total", DOTS, "mysystem_dot_prod_dot_west_dot_cpu_dot_load__total"),
    ("http.status:sum", UNDERSCORES, "http_status:sum"),
    ("http.status:sum", VALUES, "U__http_2e_status:sum"),
    ("label with 😱", UNDERSCORES, "label_with__"),
    ("label with 😱", DOTS, "label__with____"),
    ("label with 😱", VALUES, "U__label_20_with_20__1f631_"),
    ("花火", UNDERSCORES, "__"),
    ("花火", DOTS, "____"),
    ("label with Ā", UNDERSCORES, "label_with__"),
    ("label with Ā", VALUES, "U__label_20_with_20__100_"),
    ("metric.name/with/slashes", UNDERSCORES, "metric_name_with_slashes"),
    ("metric.name.with.dots", DOTS, "metric_dot_name_dot_with_dot_dots"),
    # The place decides: a digit is foreign at the start only.
    ("1st.2nd", UNDERSCORES, "_st_2nd"),
    ("1st.2nd", VALUES, "U___31_st_2e_2nd"),
    # Where the references disagree: EscapeName doubles the underscores of legacy names under `dots`, and so
    # do the document, prometheus_client and the .NET exporter; Go's EscapeMetricFamily leaves legacy names
    # alone.
    ("no:escaping_required", DOTS, "no:escaping__required"),
    ("a_b", DOTS, "a__b"),
    ("a_dot_b", DOTS, "a__dot__b"),
    # The document writes U__metric_2E_name; the implementation writes lower case, and reads both.
    ("metric.name", VALUES, "U__metric_2e_name"),
]


@pytest.mark.parametrize(("name", "scheme", "expected"), NAMES)
def test_names(name: str, scheme: Escaping, expected: str) -> None:
    """Each scheme rewrites what legacy names cannot hold, and `dots` underscores, too."""
    assert escaped(name, scheme) == expected
    assert escaped(name, Escaping.ALLOW_UTF_8) == name


def test_a_colon_is_foreign_to_labels() -> None:
    """Scrapers read a colon in metric names but not in unquoted label names, so there it is escaped."""
    assert escaped("a:b", UNDERSCORES) == "a:b"
    assert [escaped("a:b", scheme, label=True) for scheme in (UNDERSCORES, DOTS, VALUES)] == [
        "a_b",
        "a__b",
        "U__a_3a_b",
    ]


def unescaped(name: str) -> str:
    """Decode the scheme `values`, by its document: the independent way back."""
    if not name.startswith("U__"):
        return name
    return re.sub(r"__|_([0-9a-f]+)_", lambda found: chr(int(found[1], 16)) if found[1] else "_", name[3:])


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.booleans())
def test_any_name_becomes_legal_and_values_can_be_read_back(name: str, label: bool) -> None:
    """Under every scheme but allow-utf-8 any name is a legacy one; `values` loses nothing."""
    for scheme in (UNDERSCORES, DOTS, VALUES):
        result = escaped(name, scheme, label=label)
        assert (is_legacy_label if label else is_legacy_name)(result)
    # A legacy name that looks like an escaped one is sent as it is, by the reference, too.
    if not name.startswith("U__"):
        assert unescaped(escaped(name, VALUES, label=label)) == name


def family(name: str, *points: object, kind: Kind = Kind.COUNTER, additive: bool = False) -> MetricFamily:
    """A family with foreign names."""
    return MetricFamily(name, kind, "", "", points, foreign=True, additive=additive)  # type: ignore[arg-type]


def escape(*families: MetricFamily, scheme: Escaping = UNDERSCORES) -> list[tuple[str, tuple[object, ...]]]:
    """Names and points after escaping."""
    found = Escaper(scheme, findings=Findings()).escape(families)
    return [(item.name, item.points) for item in found]


def test_labels_that_meet_are_joined_and_series_that_meet_are_merged() -> None:
    """Two labels that become one are joined in the order of their names; equal series add up."""
    exemplars = [Exemplar((("x.y", str(n)),), n, float(n)) for n in range(2)]
    points = [
        CounterPoint((("a-b", "1"), ("a.b", "2")), 5, exemplars[1], 20.0),
        CounterPoint((("a_b", "1;2"),), 6, exemplars[0], 10.0),
    ]
    newest = Exemplar((("x_y", "1"),), 1, 1.0)
    assert escape(family("c_total", *points)) == [
        ("c_total", (CounterPoint((("a_b", "1;2"),), 11, newest, 10.0),))
    ]


def test_families_that_meet_are_merged_or_the_later_is_left_out() -> None:
    """Families of one type become one; of two types the later is left out, as it is with sample names."""
    a, b = CounterPoint((("k", "a"),), 1), CounterPoint((("k", "b"),), 2)
    assert escape(family("x.y_total", a), family("x-y_total", b, a)) == [
        ("x_y_total", (CounterPoint((("k", "a"),), 2), b))
    ]
    gauge = GaugePoint((), 1)
    histogram = HistogramPoint((), (), (1,), 1.0)
    assert escape(
        family("h", histogram, kind=Kind.HISTOGRAM),
        family("h.count", gauge, kind=Kind.GAUGE),
        family("g", gauge, kind=Kind.GAUGE),
    ) == [("h", (histogram,)), ("g", (gauge,))]


@pytest.mark.parametrize(("additive", "expected"), [(True, 5), (False, 2)])
def test_gauges_that_meet(additive: bool, expected: float) -> None:
    """Up-down counters add up; of gauges the one that changed last stands."""
    points = [GaugePoint((("a.b", "1"),), 2, updated=7), GaugePoint((("a-b", "1"),), 3, updated=6)]
    assert escape(family("g", *points, kind=Kind.GAUGE, additive=additive)) == [
        ("g", (GaugePoint((("a_b", "1"),), expected, 7),))
    ]


def test_the_newest_gauge_stands_for_scrapers_that_cannot_tell_them_apart(bridge: Make) -> None:
    """Under `underscores`, two gauges that become one show what was set last."""
    setup = bridge(translation_strategy="NoTranslation")
    dotted, plain = setup.meter.create_gauge("a.b"), setup.meter.create_gauge("a_b")
    dotted.set(1)
    plain.set(2)
    setup.text()
    for gauge, value in ((dotted, 3), (plain, 4), (dotted, 5)):
        gauge.set(value)
        assert setup.text() == f"# TYPE a_b gauge\na_b {value}\n"


def test_escaped_exemplars_keep_their_length() -> None:
    """Names that escaping makes too long for an exemplar are left out of it; the ids stay."""
    ids = (("trace_id", "a" * 32), ("span_id", "b" * 16))
    item = Exemplar((("." * 30, "v" * 20), ("k", "v"), *ids), 1, 1.0)
    ((_, (point,)),) = escape(family("c_total", CounterPoint((), 1, item)), scheme=VALUES)
    assert point.exemplar.labels == (*ids, ("k", "v"))  # type: ignore[attr-defined]


def test_dots_doubles_the_underscores_of_legacy_families_but_not_of_trace_ids() -> None:
    """Names and labels tell `.` and `_` apart; suffixes of a format and ids of traces stay as they are."""
    exposer = Exposer(findings=Findings())
    item = Exemplar((("trace_id", "a"), ("x.y_z", "b")), 0.5, 1.0)
    counter = CounterPoint((("a_b", "1"),), 2, item)
    histogram = HistogramPoint((), (1.0,), (2, 1), 3.0)
    families = (
        MetricFamily("c_total", Kind.COUNTER, "", "", (counter,)),
        MetricFamily("h_s", Kind.HISTOGRAM, "", "", (histogram,)),
    )
    exposition = exposer.expose(families, accept=f"{ACCEPT}dots")
    assert exposition.body.decode().splitlines() == [
        "# TYPE c_ counter",
        'c__total{a__b="1"} 2 # {trace_id="a",x_dot_y__z="b"} 0.5 1.000',
        "# TYPE h__s histogram",
        'h__s_bucket{le="1.0"} 2',
        'h__s_bucket{le="+Inf"} 3',
        "h__s_count 3",
        "h__s_sum 3.0",
        "# EOF",
    ]
    assert exposer.expose(families, accept=f"{ACCEPT}values").body.startswith(b"# TYPE c counter")


def test_histograms_that_meet() -> None:
    """Classic and native histograms add up, each with their exemplars' names escaped."""
    item, clean = Exemplar((("a.b", "1"),), 0.5, 1.0), Exemplar((("a_b", "1"),), 0.5, 1.0)
    classic = [HistogramPoint(((f"a{c}b", "1"),), (1.0,), (2, 1), 3.0, (item, None)) for c in ".-"]
    native = [NativeHistogramPoint(((f"a{c}b", "1"),), 0, 0.0, 1, ((0, 2),), (), 3.0, (item,)) for c in ".-"]
    found = escape(family("c", *classic, kind=Kind.HISTOGRAM), family("n", *native, kind=Kind.HISTOGRAM))
    labels = (("a_b", "1"),)
    assert found == [
        ("c", (HistogramPoint(labels, (1.0,), (4, 2), 6.0, (clean, None)),)),
        ("n", (NativeHistogramPoint(labels, 0, 0.0, 2, ((0, 4),), (), 6.0, (clean, clean)),)),
    ]


def test_what_did_not_change_stays_the_same_object() -> None:
    """Escaping keeps identity, so that unchanged lines need not be rendered again."""
    escaper = Escaper(UNDERSCORES, findings=Findings())
    points = [CounterPoint((("a.b", str(n)),), n) for n in range(3)]
    legacy = MetricFamily("l_total", Kind.COUNTER, "", "", (points[0],))
    first = (legacy, family("x.y_total", *points))
    before = escaper.escape(first)
    assert escaper.escape(first) is before
    assert before[0] is legacy
    changed = family("x.y_total", points[0], points[1]._replace(value=7), points[2], CounterPoint((), 9))
    after = escaper.escape((legacy, changed))
    assert [new is old for new, old in zip(after[1].points, before[1].points, strict=False)] == [
        True,
        False,
        True,
    ]
    assert [point.value for point in after[1].points] == [0, 7, 2, 9]  # type: ignore[union-attr]
    shorter = escaper.escape((family("x.y_total", *points[1:]),))
    assert [point.value for point in shorter[0].points] == [1, 2]  # type: ignore[union-attr]


ACCEPT = "application/openmetrics-text;version=1.0.0;escaping="


@pytest.mark.parametrize(
    ("scheme", "lines"),
    [
        ("allow-utf-8", ['# TYPE "my.gauge" gauge', '{"my.gauge","a.b"="1",c="2"} 5.0']),
        ("underscores", ["# TYPE my_gauge gauge", 'my_gauge{a_b="1",c="2"} 5.0']),
        ("dots", ["# TYPE my_dot_gauge gauge", 'my_dot_gauge{a_dot_b="1",c="2"} 5.0']),
        ("values", ["# TYPE U__my_2e_gauge gauge", 'U__my_2e_gauge{U__a_2e_b="1",c="2"} 5.0']),
    ],
)
def test_a_scraper_gets_the_names_it_can_read(bridge: Make, scheme: str, lines: list[str]) -> None:
    """A foreign name of the application's own metrics is quoted or escaped as the scraper asks."""
    registry = CollectorRegistry()
    Gauge("my.gauge", "", ["a.b", "c"], registry=registry).labels("1", "2").set(5)
    setup = bridge(registry=registry)
    exposition = setup.reader.expose(ACCEPT + scheme)
    assert exposition.body.decode().splitlines() == [*lines, "# EOF"]
    assert exposition.content_type.endswith(f"; escaping={scheme}")
    assert list(samples(exposition.content_type, exposition.body).values()) == [5]


def test_new_metadata_reaches_the_scraper() -> None:
    """A family that has another help text than before has it under its escaped name, too."""
    escaper = Escaper(UNDERSCORES, findings=Findings())
    points = (GaugePoint((("a.b", "c"),), 1),)
    for text in ("before", "after"):
        (family,) = escaper.escape((MetricFamily("x.y", Kind.GAUGE, text, "", points, foreign=True),))
        assert (family.name, family.help) == ("x_y", text)
