"""Export views through a real reader and provider: what each field does, judged by independent parsers."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping
from typing import Any

import pytest
from exported import PROTOBUF, Application, in_span, selecting
from metrics_messages import decode, labels
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import Counter, Histogram, ObservableGauge
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.trace import TracerProvider
from oracles import OPENMETRICS

from otel_prom_bridge import (
    ConfigurationError,
    Exemplars,
    ExportView,
    FirstOf,
    Outcome,
    PrometheusMetricReader,
    TranslationStrategy,
)
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.rules import Allow, Chain, Forbid, Redact, Rule, StatusClass, Translate, Truncate
from otel_prom_bridge.testing.probe import ALONE

# ---------------------------------------------------------------- what a view selects


def _many(application: Application) -> None:
    other = application.provider.get_meter("other.scope")
    application.meter.create_counter("http.requests", unit="1").add(1, {"k": "a"})
    application.meter.create_up_down_counter("http.active", unit="1").add(1, {"k": "a"})
    application.meter.create_histogram("http.duration", unit="s").record(1, {"k": "a"})
    application.meter.create_gauge("http.load", unit="1").set(1, {"k": "a"})
    other.create_counter("http.requests2", unit="By").add(1, {"k": "a"})
    other.create_observable_counter("db.calls", [lambda _: [Observation(1, {"k": "a"})]])
    other.create_observable_gauge("db.load", [lambda _: [Observation(1, {"k": "a"})]])
    other.create_observable_up_down_counter("db.active", [lambda _: [Observation(1, {"k": "a"})]])


ALL = frozenset(
    {
        *("http_requests_total", "http_active", "http_duration_seconds", "http_load"),
        *("http_requests2_bytes_total", "db_calls_total", "db_load", "db_active"),
    }
)


@pytest.mark.parametrize(
    ("selection", "selected"),
    [
        ({}, ALL),
        ({"instrument_name": "http.requests"}, {"http_requests_total"}),
        ({"instrument_name": "HTTP.Requests"}, {"http_requests_total"}),
        ({"instrument_name": "http.requests?"}, {"http_requests2_bytes_total"}),
        ({"instrument_name": "http.requests*"}, {"http_requests_total", "http_requests2_bytes_total"}),
        ({"instrument_name": "*.load"}, {"http_load", "db_load"}),
        ({"instrument_name": "http.[lr]*"}, set()),
        ({"instrument_name": "http-requests"}, set()),
        ({"instrument_type": "counter"}, {"http_requests_total", "http_requests2_bytes_total"}),
        ({"instrument_type": Counter}, {"http_requests_total", "http_requests2_bytes_total"}),
        ({"instrument_type": "up_down_counter"}, {"http_active"}),
        ({"instrument_type": "histogram"}, {"http_duration_seconds"}),
        ({"instrument_type": Histogram}, {"http_duration_seconds"}),
        ({"instrument_type": "gauge"}, {"http_load", "db_load"}),
        ({"instrument_type": ObservableGauge}, {"http_load", "db_load"}),
        ({"instrument_type": "observable_counter"}, {"db_calls_total"}),
        ({"instrument_type": "observable_up_down_counter"}, {"db_active"}),
        ({"instrument_unit": "s"}, {"http_duration_seconds"}),
        ({"instrument_unit": "by"}, set()),
        (
            {"meter_name": "test"},
            {"http_requests_total", "http_active", "http_duration_seconds", "http_load"},
        ),
        ({"meter_name": "o*.scope", "instrument_name": "db.*", "instrument_type": "gauge"}, {"db_load"}),
        ({"meter_name": "Test"}, set()),
    ],
)
@pytest.mark.parametrize("sdk", [False, True])
def test_a_view_selects(selection: Mapping[str, Any], selected: set[str], sdk: bool) -> None:
    """A view that drops the label k changes what its selection says, and nothing else is any different."""
    application = Application(ExportView(**selection, drop=["k"]), sdk=sdk)
    _many(application)
    lines = [line for line in application.text().splitlines() if not line.startswith("#")]
    without = {name for name in ALL if any(_is_of(name, line) and 'k="a"' not in line for line in lines)}
    having = {name for name in ALL if any(_is_of(name, line) and 'k="a"' in line for line in lines)}
    assert (without, having) == (selected, ALL - selected)


def _is_of(name: str, line: str) -> bool:
    return line.split("{")[0].split(" ")[0] in {name, f"{name}_bucket", f"{name}_sum", f"{name}_count"}


@pytest.mark.parametrize("sdk", [False, True])
def test_a_view_without_a_name_of_its_own_drops_what_it_selects(sdk: bool) -> None:
    """name=None exports nothing of the streams selected, unless another view does."""
    views = (selecting("http.*", name=None), selecting("http.load", name="load"))
    application = Application(*views, sdk=sdk)
    _many(application)
    names = {"load", "http_requests2_bytes_total", "db_calls_total", "db_load", "db_active"}
    assert set(application.types()["text"]) == names - {"http_requests2_bytes_total"}


# ---------------------------------------------------------------- what it makes

FORMS = ("text", "openmetrics", "protobuf")


@pytest.mark.parametrize("sdk", [False, True])
def test_counters_of_a_histogram_are_counters_everywhere(sdk: bool) -> None:
    """Count and sum are counters in all formats, with help and, where formats have them, exemplars."""
    application = Application(
        selecting("lat", take="count", name="requests_total", description="How many.", drop=["k"]),
        selecting("lat", take="sum", name="busy_seconds_total"),
        selecting("lat"),
        exemplars=True,
        sdk=sdk,
        created_timestamps=True,
    )
    histogram = application.meter.create_histogram("lat", unit="s", description="Latency.")
    for value in (0.25, 0.5, 4):
        with in_span(7, 9):
            histogram.record(value, {"k": "a"})
    types = application.types()
    families = {"requests_total": "counter", "busy_seconds_total": "counter", "lat_seconds": "histogram"}
    assert types["text"] == types["protobuf"] == families
    assert types["openmetrics"] == {name.removesuffix("_total"): kind for name, kind in families.items()}
    assert application.values("requests_total") == {None: 3}
    assert application.values("busy_seconds_total", "k") == {"a": 4.75}
    text = application.text()
    assert "# HELP requests_total How many.\n" in text
    assert "# HELP busy_seconds_total The sum of what lat observed\n" in text
    assert "# UNIT busy_seconds seconds\n" in application.text(OPENMETRICS)
    samples = {sample.name: sample for sample in application.parsed(OPENMETRICS)}
    assert samples["requests_total"].exemplar.labels["trace_id"] == f"{7:032x}"
    assert samples["busy_seconds_total"].exemplar.labels["span_id"] == f"{9:016x}"
    assert samples["requests_total"].exemplar.value == 4
    assert samples["requests_created"].value > 1e9
    messages = {item.name: item for item in decode(application.reader.expose(PROTOBUF).body)}
    for name, value in (("requests_total", 3), ("busy_seconds_total", 4.75)):
        counter = messages[name].metric[0].counter
        assert counter.value == value
        assert ("trace_id", f"{7:032x}") in labels(counter.exemplar)
        assert counter.start_timestamp.seconds > 1e9


def test_a_counter_without_total_keeps_its_name() -> None:
    """The name is as given: OpenMetrics cannot call such a counter one."""
    application = Application(selecting("lat", take="count", name="requests"))
    application.meter.create_histogram("lat").record(1)
    kinds = {form: kinds["requests"] for form, kinds in application.types().items()}
    assert kinds == {"text": "counter", "openmetrics": "unknown", "protobuf": "counter"}


def test_a_unit_that_the_name_does_not_end_with_is_left_out() -> None:
    """A name of one's own need not end with the unit; OpenMetrics says no UNIT then."""
    application = Application(selecting("lat", name="latency"))
    application.meter.create_histogram("lat", unit="s").record(1)
    assert "# UNIT" not in application.text(OPENMETRICS)
    assert application.types()["openmetrics"] == {"latency": "histogram"}


@pytest.mark.parametrize("name", ["requests_total", "a:b", "_x__y", "U__x", "Requests_seconds_total_2"])
@pytest.mark.parametrize("strategy", list(TranslationStrategy))
def test_a_legacy_name_is_taken_exactly(strategy: TranslationStrategy, name: str) -> None:
    """Neither unit nor _total nor the prefix is added, and no underscore is removed, in any strategy."""
    application = Application(selecting("c", name=name), translation_strategy=strategy, prefix="app")
    application.meter.create_counter("c", unit="By").add(2)
    lines = [line for line in application.text().splitlines() if not line.startswith("#")]
    assert lines == [f"{name} 2"] or lines == [f"{name} 2.0"]


@pytest.mark.parametrize(
    ("strategy", "shown"),
    [
        ("UnderscoreEscapingWithSuffixes", "my_calls_x"),
        ("UnderscoreEscapingWithoutSuffixes", "my_calls_x"),
        ("NoUTF8EscapingWithSuffixes", "my.calls  x"),
        ("NoTranslation", "my.calls  x"),
    ],
)
def test_foreign_characters_of_a_name_follow_the_strategy(strategy: str, shown: str) -> None:
    """What a legacy name cannot hold is escaped where the strategy escapes, and quoted elsewhere."""
    application = Application(selecting("c", name="my.calls  x"), translation_strategy=strategy)
    application.meter.create_counter("c", unit="By").add(2)
    text = application.text("text/plain; version=1.0.0; escaping=allow-utf-8")
    assert (f'{{"{shown}"}} 2' in text) if " " in shown else (f"{shown} 2" in text)


# The application's own Views decide what is recorded.
_EXPLICIT = View(instrument_name="*", aggregation=ExplicitBucketHistogramAggregation())


def test_buckets_that_nobody_records_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """Where only `+Inf` is left, the log says why, once."""
    application = Application(selecting("h", name="x", buckets=[0.123]), beside=[_EXPLICIT])
    histogram = application.meter.create_histogram("h")
    for key in ("a", "b"):
        histogram.record(1, {"k": key})
    assert application.values("x_bucket", "le") == {"+Inf": 2}
    (message,) = caplog.messages
    assert "none of the buckets" in message
    assert "a View of the SDK records others" in message


def test_fewer_buckets() -> None:
    """Bounds that the SDK does not record are left out; what is kept counts what it counted."""
    application = Application(selecting("lat", buckets=[5, 7, 100]), beside=[_EXPLICIT])
    histogram = application.meter.create_histogram("lat")
    for value in (1, 5, 6, 99, 101):
        histogram.record(value)
    assert application.values("lat_bucket", "le") == {"5.0": 2, "100.0": 4, "+Inf": 5}
    assert application.values("lat_sum") == {None: 212}


def test_no_buckets_at_all() -> None:
    """An empty list keeps count and sum, and the one bucket that a histogram must have."""
    application = Application(selecting("lat", buckets=[]), sdk=True)
    application.meter.create_histogram("lat").record(3)
    assert application.values("lat_bucket", "le") == {"+Inf": 1}
    assert application.types()["protobuf"] == {"lat": "histogram"}


def test_a_limit_of_its_own() -> None:
    """max_series bounds the family of this view only, and nothing is lost."""
    application = Application(selecting("c", name="few_total", max_series=2), selecting("c"))
    counter = application.meter.create_counter("c")
    for number in range(5):
        counter.add(1, {"k": str(number)})
    assert application.values("few_total", "k") == {"0": 1, "1": 1, None: 3}
    assert {"otel_metric_overflow": "true"} in application.labelled("few_total")
    assert len(application.labelled("c_total")) == 5


def test_exemplars_of_its_own() -> None:
    """A view may have none, or others than the reader's."""
    application = Application(
        selecting("lat", name="none_total", take="count", exemplars=False),
        selecting("lat", name="slow_total", take="count", exemplars=Exemplars(keep="slowest", labels=[])),
        selecting("lat", name="reader_total", take="count", drop=["k"]),
        exemplars=True,
    )
    histogram = application.meter.create_histogram("lat", explicit_bucket_boundaries_advisory=[1000.0])
    histogram.record(9, {"k": "x"})
    application.text()
    histogram.record(1, {"k": "x"})
    found = {sample.name: sample.exemplar for sample in application.parsed(OPENMETRICS)}
    assert found["none_total"] is None
    assert (found["slow_total"].value, found["slow_total"].labels) == (9, {})
    assert (found["reader_total"].value, found["reader_total"].labels) == (1, {"k": "x"})


# ---------------------------------------------------------------- several views, several streams


@pytest.mark.parametrize("sdk", [False, True])
def test_several_views_make_a_family_each(sdk: bool) -> None:
    """Each view has labels of its own, and all of them count everything."""
    application = Application(
        selecting("c", name="by_a_total", keep=["a"]),
        selecting("c*", name="by_b_total", keep=["b"]),
        selecting("c", name="all_total", keep=[]),
        sdk=sdk,
    )
    counter = application.meter.create_counter("c")
    for a, b, value in (("1", "x", 1), ("2", "x", 2), ("2", "y", 4)):
        counter.add(value, {"a": a, "b": b, "z": "z"})
    assert application.values("by_a_total", "a") == {"1": 1, "2": 6}
    assert application.values("by_b_total", "b") == {"x": 3, "y": 4}
    assert application.samples()["all_total", frozenset()] == 7
    assert "c_total" not in application.text()


@pytest.mark.parametrize("sdk", [False, True])
def test_several_streams_feed_one_family(sdk: bool) -> None:
    """Equal series of several streams add up; different ones stand side by side."""
    application = Application(
        selecting("jobs.*", name="jobs_total", description="Jobs.", drop=["x"]),
        selecting("lat", take="count", name="jobs_total", description="Jobs.", drop=["x"]),
        sdk=sdk,
    )
    application.meter.create_counter("jobs.done").add(1, {"k": "a", "x": "1"})
    application.meter.create_counter("jobs.failed").add(2, {"k": "b"})
    application.meter.create_histogram("lat").record(3, {"k": "a", "x": "2"})
    assert application.values("jobs_total", "k") == {"a": 2, "b": 2}
    assert application.text().count("# TYPE") == 1
    assert application.reader.conflicts() == []


@pytest.mark.parametrize("sdk", [False, True])
def test_two_views_of_one_stream_to_one_family_count_nothing_twice(sdk: bool) -> None:
    """The first view that wants a point takes it; what none wants is not there."""
    application = Application(
        selecting("c", name="calls_total", where={"p": "a*"}, keep=["p"]),
        selecting("c", name="calls_total", where={"p": ["ab", "c"]}, keep=["q"]),
        sdk=sdk,
    )
    counter = application.meter.create_counter("c")
    for p, value in (("ab", 1), ("ac", 2), ("c", 4), ("d", 8)):
        counter.add(value, {"p": p, "q": "q"})
    assert application.values("calls_total", "p") == {"ab": 1, "ac": 2, None: 4}
    assert application.values("calls_total", "q") == {"q": 4, None: 3}


# ---------------------------------------------------------------- filters


@pytest.mark.parametrize(
    ("condition", "chosen"),
    [
        ("a", {"a"}),
        ("*", {"a", "ab", "", "true", "7"}),
        ("", {""}),
        ("?*", {"a", "ab", "true", "7"}),
        (["a", "7"], {"a", "7"}),
        ({"included": ["a*", "7"]}, {"a", "ab", "7"}),
        ({"excluded": ["a*"]}, {"", "true", "7"}),
        ({"included": ["a*"], "excluded": ["a"]}, {"ab"}),
        ("A", set()),
        ("tru?", {"true"}),
    ],
)
@pytest.mark.parametrize("sdk", [False, True])
def test_where(condition: Any, chosen: set[str], sdk: bool) -> None:
    """A filter sees values as labels have them, and an attribute that is not there as an empty one."""
    application = Application(selecting("c", where={"k": condition}, keep=["j"]), sdk=sdk)
    counter = application.meter.create_counter("c")
    for value in ("a", "ab", None, True, 7):
        attributes = {} if value is None else {"k": value}
        text = "" if value is None else "true" if value is True else str(value)
        counter.add(1, {**attributes, "j": text or "none"})
    assert set(application.values("c_total", "j")) == {text or "none" for text in chosen}


def test_all_conditions_have_to_be_met() -> None:
    """Conditions on several attributes are joined by and."""
    application = Application(selecting("c", where={"a": "1", "b": "2"}))
    counter = application.meter.create_counter("c")
    for a, b, value in (("1", "2", 1), ("1", "3", 2), ("0", "2", 4)):
        counter.add(value, {"a": a, "b": b})
    assert sum(application.values("c_total").values()) == 1


# ---------------------------------------------------------------- labels


def _labels(view: ExportView, *attributes: Mapping[str, Any], sdk: bool = False) -> list[dict[str, str]]:
    application = Application(view, sdk=sdk)
    counter = application.meter.create_counter("c")
    for each in attributes:
        counter.add(1, each)
    return application.labelled("c_total")


def _exits(_: object) -> str:
    raise SystemExit(1)


def _fails(_: object) -> str:
    raise RuntimeError("no")


LABELS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, str]]] = {
    "keep": ({"keep": ["a", "h.*"]}, {"a": 1, "h.x": 2, "b": 3}, {"a": "1", "h_x": "2"}),
    "keep nothing": ({"keep": []}, {"a": 1}, {}),
    "drop": ({"drop": ["a", "h.?"]}, {"a": 1, "h.x": 2, "h.xy": 3}, {"h_xy": "3"}),
    "drop wins over keep": ({"keep": ["*"], "drop": ["a"]}, {"a": 1, "b": 2}, {"b": "2"}),
    "rename": ({"rename": {"a.b": "c"}}, {"a.b": 1, "x": 2}, {"c": "1", "x": "2"}),
    "renaming keeps": ({"keep": ["x"], "rename": {"a": "b"}}, {"a": 1, "x": 2, "y": 3}, {"b": "1", "x": "2"}),
    "renamed beats an attribute": ({"rename": {"a": "b"}}, {"a": 1, "b": 2}, {"b": "1"}),
    "an attribute where nothing is renamed": ({"rename": {"a": "b"}}, {"b": 2}, {"b": "2"}),
    "the first that is there": ({"rename": {"a": "x", "b": "x"}}, {"b": 2, "a": 1}, {"x": "1"}),
    "the second is there": ({"rename": {"a": "x", "b": "x"}}, {"b": 2}, {"x": "2"}),
    "exchange": ({"rename": {"a": "b", "b": "a"}}, {"a": 1, "b": 2}, {"a": "2", "b": "1"}),
    "compute": ({"compute": {"s": "a"}}, {"a": 1}, {"a": "1", "s": "1"}),
    "compute of a dropped one": ({"compute": {"s": ["z", "a"]}, "keep": []}, {"a": 1}, {"s": "1"}),
    "compute by a function": ({"compute": {"n": len}, "keep": []}, {"a": 1, "b": 2}, {"n": "2"}),
    "computed beats an attribute": ({"compute": {"a": "b"}, "drop": ["b"]}, {"a": 1, "b": 2}, {"a": "2"}),
    "nothing computed, no label": ({"compute": {"a": "b"}}, {"a": 1}, {}),
    "a computed name's attribute renamed": (
        {"compute": {"a": "b"}, "rename": {"a": "c"}, "drop": ["b"]},
        {"a": 1, "b": 2},
        {"a": "2", "c": "1"},
    ),
    "default": ({"compute": {"s": FirstOf(["x", "y"], default="none")}}, {}, {"s": "none"}),
    "first of one": ({"compute": {"s": FirstOf("abc")}, "keep": []}, {"abc": 1, "a": 2}, {"s": "1"}),
    "outcome": ({"compute": {"o": Outcome()}, "keep": []}, {"error.type": "x"}, {"o": "error"}),
    "a computation that fails": ({"compute": {"s": _fails}}, {"a": 1}, {"a": "1"}),
    "rule": ({"rules": {"a": Allow(["1"])}}, {"a": 2, "b": 2}, {"a": "other", "b": "2"}),
    "rule that leaves out": ({"rules": {"a": lambda value: None}}, {"a": 2, "b": 2}, {"b": "2"}),
    "a rule that exits": ({"rules": {"a": _exits}}, {"a": 2, "b": 2}, {"b": "2"}),
    "rule that fails": ({"rules": {"a": _fails}}, {"a": 2, "b": 2}, {"b": "2"}),
    "rule of an attribute that is renamed": (
        {"rules": {"a": Truncate(3)}, "rename": {"a": "b"}},
        {"a": "12345"},
        {"b": "12…"},
    ),
    "rule of a renamed label": (
        {"rules": {"b": Truncate(3)}, "rename": {"a": "b"}},
        {"a": "12345"},
        {"b": "12…"},
    ),
    "rules of both names, each once": (
        {"rules": {"a": lambda v: v + "a", "b": lambda v: v + "b"}, "rename": {"a": "b"}},
        {"a": "1"},
        {"b": "1ab"},
    ),
    "a rule applies once": (
        {"rules": {"b": lambda v: v + "b"}, "rename": {"a": "b"}},
        {"b": "1"},
        {"b": "1b"},
    ),
    "renamed to itself, a rule applies once": (
        {"rules": {"a": lambda v: v + "a"}, "rename": {"a": "a", "b": "a"}},
        {"a": "1", "b": "2"},
        {"a": "1a"},
    ),
    "the rule of one is not that of the other": (
        {"rules": {"a": Forbid(), "b": Allow(["2"])}, "rename": {"a": "x", "b": "x"}},
        {"a": "secret", "b": "2"},
        {"x": "2"},
    ),
    "forbidden, its label is free": (
        {"rules": {"a": Forbid()}, "rename": {"a": "b"}},
        {"a": 1, "b": 2},
        {"b": "2"},
    ),
    "a rule for a name in its new place": (
        {"rules": {"a": lambda v: v + "!"}, "rename": {"a": "b"}},
        {"b": "mine"},
        {"b": "mine"},
    ),
    "rule of a computed label": (
        {"compute": {"s": "code"}, "rules": {"s": StatusClass()}, "keep": []},
        {"code": 503},
        {"s": "5xx"},
    ),
    "rule of a source": (
        {"compute": {"s": "code"}, "rules": {"code": Forbid()}},
        {"code": 503},
        {"s": "503"},
    ),
    "a rule that returns a number": ({"rules": {"a": lambda value: 7}}, {"a": "x"}, {"a": "7"}),
    "a rule that returns a list": ({"rules": {"a": lambda value: [1, None]}}, {"a": "x"}, {"a": "[1, null]"}),
    "a computed NaN": ({"compute": {"s": lambda _: math.nan}}, {}, {"s": "NaN"}),
    "a computed list": ({"compute": {"s": lambda _: [True]}}, {}, {"s": "[true]"}),
    "bytes": ({"rules": {"a": Truncate(9)}}, {"a": b"\x00"}, {"a": "AA=="}),
    "a boolean": ({"rules": {"a": Allow(["true"])}}, {"a": True}, {"a": "true"}),
    "a sequence": ({"rules": {"a": Truncate(99)}}, {"a": [1, 2]}, {"a": "[1, 2]"}),
    "a mapping": ({"keep": ["a"]}, {"a": {"x": [1]}}, {"a": '{"x": [1]}'}),
    "a lone surrogate": ({"rules": {"a": lambda value: value + "\ud800"}}, {"a": "x"}, {"a": "x\ufffd"}),
    "a computed surrogate": ({"compute": {"s": lambda _: "\udfff"}}, {}, {"s": "\ufffd"}),
    "chain": (
        {"rules": {"a": Chain(StatusClass(), Translate({"5xx": "bad"}, other="good"))}},
        {"a": "500"},
        {"a": "bad"},
    ),
}


@pytest.mark.parametrize("case", LABELS)
@pytest.mark.parametrize("sdk", [False, True])
def test_labels(case: str, sdk: bool) -> None:
    """Attributes become labels by keep, drop, rename, compute and rules, the same with the SDK's Views."""
    options, attributes, expected = LABELS[case]
    assert _labels(selecting("c", **options), attributes, sdk=sdk) == [expected]


def test_values_that_become_equal_are_one_series() -> None:
    """What a rule makes equal adds up, whatever it was made of."""
    application = Application(selecting("c", rules={"a": Allow(["1"])}))
    counter = application.meter.create_counter("c")
    for value in ("1", 1, "2", 3.5, [4], math.nan, None):
        counter.add(1, {"a": value})  # type: ignore[dict-item]
    assert application.values("c_total", "a") == {"1": 2, "other": 5}


def test_failures_are_logged_once_and_cost_no_point(caplog: pytest.LogCaptureFixture) -> None:
    """A rule and a computation that raise leave their labels out, each says so once, and points count."""
    view = selecting("c", name="mine_total", rules={"a": _fails}, compute={"b": _fails})
    application = Application(view)
    counter = application.meter.create_counter("c")
    with caplog.at_level(logging.WARNING, "otel_prom_bridge"):
        for number in range(10):
            counter.add(1, {"a": str(number)})
            application.text()
    assert application.samples() == {("mine_total", frozenset()): 10}
    messages = sorted(record.getMessage() for record in caplog.records)
    title = "ExportView('c', name='mine_total')"
    assert messages == [
        f"{title}: the computation of the label 'b' failed with RuntimeError, the label is left out",
        f"{title}: the rule of the label 'a' failed with RuntimeError, the label is left out",
    ]


def test_a_computation_cannot_change_what_was_recorded() -> None:
    """The attributes are the SDK's, and other views': a computation that takes one out gets no label."""
    taking = selecting("c", name="x_total", compute={"s": lambda attributes: attributes.pop("a")})
    application = Application(taking, selecting("c"))
    counter = application.meter.create_counter("c")
    for attributes in ({"a": "1"}, {}, {"a": "1"}, {}, {}):
        counter.add(1, attributes)
        application.text()
    assert application.values("x_total", "a") == application.values("c_total", "a") == {"1": 2, None: 3}


# ---------------------------------------------------------------- identifiers

IDS = {"user.id": "u1", "session.id": "s1", "requestId": "r1", "trace_id": "t1", "gen_ai.response.id": "g1"}


@pytest.mark.parametrize("sdk", [False, True])
def test_identifiers_are_no_labels_but_labels_of_exemplars(sdk: bool) -> None:
    """Without a view of it, an id makes no series; an exemplar has it."""
    application = Application(sdk=sdk)
    with in_span():
        application.meter.create_counter("c").add(1, {**IDS, "route": "/", "agent.id": "a"})
    assert application.labelled("c_total") == [{"route": "/", "agent_id": "a"}]
    found = application.exemplars("c_total")
    assert found == [{"user_id": "u1", "session_id": "s1", "requestId": "r1", "gen_ai_response_id": "g1"}]


@pytest.mark.parametrize("sdk", [False, True])
def test_identifiers_are_labels_where_wanted(sdk: bool) -> None:
    """id_labels makes labels of them all; keep and rename of those that they name, not by a pattern."""
    application = Application(sdk=sdk, id_labels=True)
    application.meter.create_counter("c").add(1, IDS)
    assert len(application.labelled("c_total")[0]) == len(IDS)
    view = selecting("c", keep=["user.id", "session.*"], rename={"requestId": "request"})
    application = Application(view, sdk=sdk)
    with in_span():
        application.meter.create_counter("c").add(1, IDS)
    assert application.labelled("c_total") == [{"user_id": "u1", "request": "r1"}]
    assert application.exemplars("c_total") == [{"session_id": "s1", "gen_ai_response_id": "g1"}]


@pytest.mark.parametrize("sdk", [False, True])
def test_rules_hold_for_the_labels_of_exemplars(sdk: bool) -> None:
    """What is forbidden is in no exemplar either; what is cut or replaced is there as the rule has it."""
    rules = {"user.id": Forbid(), "secret": Forbid(), "note": Truncate(3), "bad": _fails}
    application = Application(selecting("c", drop=["note", "bad"], rules=rules), sdk=sdk)
    attributes = {"user.id": "u1", "secret": "x", "note": "12345", "bad": "1", "session.id": "s"}
    with in_span():
        application.meter.create_counter("c").add(1, attributes)
    assert application.labelled("c_total") == [{}]
    assert application.exemplars("c_total") == [{"note": "12…", "session_id": "s"}]


def test_the_rule_of_a_new_name_holds_for_exemplars_past_the_limit() -> None:
    """Past a limit no attribute is a label, and those in exemplars obey the rules of both their names."""
    view = selecting("c", rename={"user.id": "user"}, rules={"user": Truncate(3)}, max_series=1)
    application = Application(view)
    counter = application.meter.create_counter("c")
    with in_span():
        counter.add(1, {"user.id": "first"})
        counter.add(1, {"user.id": "second"})
    assert {"otel_metric_overflow": "true"} in application.labelled("c_total")
    assert {"user_id": "se…"} in application.exemplars("c_total")
    assert "second" not in application.text(OPENMETRICS)


def test_an_application_cannot_fake_the_overflow() -> None:
    """An attribute of the overflow's name beside others does not bring ids into labels."""
    (found,) = _labels(selecting("c", drop=["x"]), {"otel.metric.overflow": True, "user.id": "u", "x": "1"})
    assert "user_id" not in found
    assert "x" not in found


# ---------------------------------------------------------------- other instruments


@pytest.mark.parametrize("sdk", [False, True])
def test_asynchronous_counters_add_up_without_resets(sdk: bool) -> None:
    """Attribute sets that become one are added up; the series never falls, and never begins anew."""
    application = Application(selecting("*", drop=["k"]), sdk=sdk, created_timestamps=True)
    state = {"a": 1, "b": 10}

    def observe(_: CallbackOptions) -> list[Observation]:
        return [Observation(value, {"k": key}) for key, value in state.items()]

    application.meter.create_observable_counter("o", [observe])
    application.meter.create_observable_up_down_counter("u", [observe])
    created = application.samples()["o_created", frozenset()]
    for step in range(5):
        state["a"] += step
        state[f"new{step}"] = 1
        samples = application.samples()
        assert samples["o_total", frozenset()] == samples["u", frozenset()] == sum(state.values())
        assert samples["o_created", frozenset()] == created


@pytest.mark.parametrize("sdk", [False, True])
def test_up_down_counters_add_up(sdk: bool) -> None:
    """An up-down counter is the sum of what became one, negative values included."""
    application = Application(selecting("u", drop=["k"]), sdk=sdk)
    counter = application.meter.create_up_down_counter("u")
    for value, key in ((5, "a"), (-3, "b"), (1, "c"), (-9, "a")):
        counter.add(value, {"k": key})
        application.text()
    assert application.samples() == {("u", frozenset()): -6}
    assert application.types()["openmetrics"] == {"u": "gauge"}


@pytest.mark.parametrize("sdk", [False, True])
def test_gauges_show_one_of_the_values(sdk: bool) -> None:
    """Gauges that become one are not added up: one of the values stands."""
    application = Application(selecting("*", drop=["k"]), sdk=sdk)
    gauge = application.meter.create_gauge("g")
    observed = [Observation(3, {"k": "a"}), Observation(4, {"k": "b"})]
    application.meter.create_observable_gauge("o", [lambda _: observed])
    gauge.set(1, {"k": "a"})
    gauge.set(2, {"k": "b"})
    samples = application.samples()
    assert samples["g", frozenset()] in {1, 2}
    assert samples["o", frozenset()] in {3, 4}
    observed.clear()
    assert set(application.samples()) == {("g", frozenset())}


# ---------------------------------------------------------------- the object itself


def test_views_are_values() -> None:
    """Equal fields make equal views, they cannot be changed, and what was given is copied."""
    rename = {"a": "b"}
    view = selecting("c", name="x", rename=rename, keep=["k"])
    rename["a"] = "le"
    assert view == ExportView(instrument_name="c", name="x", rename={"a": "b"}, keep=("k",))
    assert view != selecting("c", name="y", rename={"a": "b"}, keep=["k"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        view.name = "z"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        (ExportView(), "ExportView()"),
        (selecting("c", name=None), "ExportView(instrument_name='c', name=None)"),
        (selecting("c", name="None"), "ExportView(instrument_name='c', name='None')"),
        (ExportView(keep=[], exemplars=False), "ExportView(keep=(), exemplars=False)"),
        (ExportView(take="count", name="x"), "ExportView(name='x', take='count')"),
        (ExportView(rename={"a": "b"}), "ExportView(rename={'a': 'b'})"),
        (ExportView(instrument_type=Counter, buckets=None), f"ExportView(instrument_type={Counter!r})"),
    ],
)
def test_a_view_shows_what_was_given(view: ExportView, shown: str) -> None:
    """The representation has the fields that differ from their defaults."""
    assert repr(view) == shown


def test_a_view_goes_by_the_data_and_not_by_the_instrument() -> None:
    """A counter that an SDK View makes a histogram of is a histogram to views."""
    histogram = View(instrument_name="c", aggregation=ExplicitBucketHistogramAggregation([1.0]))
    views = (
        selecting("c", instrument_type="counter", name=None),
        selecting("c", take="count", name="times_total"),
    )
    application = Application(*views, beside=[histogram])
    application.meter.create_counter("c").add(5, {"k": "a"})
    assert application.values("times_total", "k") == {"a": 1}


def test_conflicts_that_only_data_shows() -> None:
    """A name that turns out to be of another type is left out, and conflicts() says so."""
    application = Application(selecting("g", name="c_total"), selecting("h", name="c"))
    application.meter.create_counter("c").add(1)
    application.text()
    application.meter.create_gauge("g").set(5)
    application.meter.create_histogram("h").record(5)
    assert application.samples() == {("c_total", frozenset()): 1}
    conflicts = application.reader.conflicts()
    assert {conflict.metric for conflict in conflicts} == {"c_total", "c"}
    assert all("rename one of them with an ExportView" in str(conflict) for conflict in conflicts)


def test_views_that_cannot_both_be_right_make_no_reader() -> None:
    """Two types for one family are refused when the reader is built, and nothing stays registered."""
    views = [
        selecting("a", instrument_type="gauge", name="x"),
        selecting("b", take="count", name="x_total"),
    ]
    with pytest.raises(ConfigurationError, match="'x' is of the gauge that"):
        PrometheusMetricReader(views=views)
    PrometheusMetricReader(registry=None, views=views[:1])


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({}, None),
        ({"keep": ["a*"]}, None),
        ({"keep": []}, 1),
        ({"keep": ["a"]}, None),
        ({"keep": ["a"], "rules": {"a": Allow(["1", "2"])}}, 4),
        ({"keep": [], "rename": {"a": "x"}, "rules": {"a": Allow(["1"])}}, 3),
        ({"keep": [], "rename": {"a": "x"}, "rules": {"x": Allow(["1"])}}, 3),
        # Two attributes with rules of their own bring the values of both.
        ({"keep": [], "rename": {"a": "x", "b": "x"}, "rules": {"a": Allow(["1"]), "b": Allow(["2"])}}, 5),
        ({"keep": [], "rename": {"a": "x", "b": "x"}, "rules": {"a": Allow(["1"])}}, None),
        ({"keep": [], "compute": {"o": Outcome()}}, 3),
        ({"keep": [], "compute": {"o": "a"}}, None),
        ({"keep": [], "compute": {"o": "a"}, "rules": {"o": StatusClass()}}, 7),
    ],
)
def test_the_bound_of_a_view(fields: Mapping[str, Any], most: int | None) -> None:
    """Bounded values make a bounded number of attribute sets, each label being there or not."""
    reader = PrometheusMetricReader(**ALONE)
    assert reader.policy.attribute_map(selecting("c", **fields), Findings()).max_series == most


def test_rules_are_asked_once_per_attribute_set() -> None:
    """However many sets come back at every scrape, as long as the SDK hands them over."""
    calls: list[str] = []

    def rule(value: str) -> str:
        calls.append(value)
        return value[:1]

    application = Application(selecting("c", rules={"k": rule}, max_series=50))
    counter = application.meter.create_counter("c")
    for _ in range(3):
        for number in range(9_000):
            counter.add(1, {"k": str(number)})
        application.text()
    assert len(calls) == 9_000
    assert sum(application.values("c_total", "k").values()) == 27_000


def test_a_view_that_gets_no_point_is_a_conflict() -> None:
    """Another one before it takes all of the stream for the same family."""
    application = Application(selecting("h", take="count", name="x"), selecting("h", name="x"))
    application.meter.create_histogram("h").record(1)
    application.text()
    (conflict,) = application.reader.conflicts()
    assert (conflict.metric, "takes all of it" in conflict.reason) == ("x", True)


@pytest.mark.parametrize("rule", [Forbid(), Redact(), Chain(Redact(), Truncate(50))], ids=repr)
def test_what_a_computed_label_hides_no_exemplar_shows(rule: Rule) -> None:
    """The attribute that it is computed from does not come out with an exemplar."""
    view = selecting("h", keep=[], compute={"who": "user.email"}, rules={"who": rule})
    application = Application(view)
    with TracerProvider().get_tracer("t").start_as_current_span("s"):
        application.meter.create_histogram("h").record(1, {"user.email": "ada@example.com"})
    text = application.text(OPENMETRICS)
    assert "trace_id" in text
    assert "ada@" not in text
