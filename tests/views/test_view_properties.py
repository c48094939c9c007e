"""Views over random recordings: a cumulative reader of the SDK on the same provider has the same sums.

What that reader holds is filtered, projected and added up here by a few lines of their own, and compared with
the parsed exposition, whatever the views do to labels and however recordings and scrapes interleave.
"""

from __future__ import annotations

import json
import threading
from collections import Counter as Tally
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

import pytest
from exported import PROTOBUF, Application, selecting
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from oracles import OPENMETRICS
from properties import examples

from otel_prom_bridge import ExportView, FirstOf, Outcome
from otel_prom_bridge.rules import Allow, Forbid, StatusClass, Truncate

BOUNDS = (0.0, 1.0, 8.0, 32.0)
# Sums of such numbers are exact in any order.
numbers = st.integers(-64, 64).map(lambda value: value / 4)
positive = numbers.map(abs)
values = st.sampled_from(["a", "b", "200", "503", 200, 503, True, 1.5, b"x", "ab,c"])
attribute_sets = st.dictionaries(
    st.sampled_from(["k", "error.type", "http.response.status_code", "user.id", "s"]), values, max_size=4
)
accepts = st.sampled_from([None, OPENMETRICS, PROTOBUF])
steps = st.one_of(
    st.tuples(st.just("record"), positive, attribute_sets),
    st.tuples(st.just("record"), positive, attribute_sets),
    st.tuples(st.just("scrape"), accepts),
    st.tuples(st.just("flush")),
    st.tuples(st.just("other reader")),
)


def text(value: object) -> str:
    """A value as the specification has it in labels; only for the kinds of values above."""
    if isinstance(value, bytes):
        return "eA=="
    return value if isinstance(value, str) else json.dumps(value)


def play(application: Application, record: Callable[..., object], step: tuple[Any, ...]) -> None:
    """Do one step of a script."""
    match step:
        case ("record", value, attributes):
            record(value, attributes)
        case ("scrape", accept):
            application.reader.expose(accept)
        case ("flush",):
            application.provider.force_flush()
        case ("other reader",):
            application.reference.get_metrics_data()


# ---------------------------------------------------------------- derived counters and buckets

Labels = frozenset[tuple[str, str]]
# What the cumulative reader records: among others the bounds that our view asks for.
_RECORDED = sorted({*BOUNDS, 0.0, 8.0, 9.0})


def _histogram_oracle(application: Application) -> dict[tuple[str, Labels], float]:
    """Count, sum and fewer buckets by the attribute k, from the cumulative reader."""
    found: Tally[tuple[str, Labels]] = Tally()
    for attributes, point in application.recorded("h"):
        labels = {"k": text(attributes["k"])} if "k" in attributes else {}
        key = frozenset(labels.items())
        found["n_total", key] += point.count
        found["t_total", key] += point.sum
        found["few_count", key] += point.count
        found["few_sum", key] += point.sum
        if hasattr(point, "explicit_bounds"):
            below = dict(zip(point.explicit_bounds, accumulate(point.bucket_counts), strict=False))
            for bound in {0.0, 8.0, 9.0} & below.keys():
                found["few_bucket", frozenset({**labels, "le": str(bound)}.items())] += below[bound]
            found["few_bucket", frozenset({**labels, "le": "+Inf"}.items())] += point.count
    return dict(found)


def _histogram_application(exponential: bool, sdk: bool) -> Application:
    beside = [View(instrument_name="h", aggregation=ExponentialBucketHistogramAggregation())]
    return Application(
        selecting("h", take="count", name="n_total", keep=["k"]),
        selecting("h", take="sum", name="t_total", keep=["k"]),
        selecting("h", name="few", buckets=[0, 8, 9], keep=["k"]),
        beside=beside if exponential else (),
        sdk=sdk,
    )


def _agree(application: Application, expected: dict[Any, float]) -> None:
    shown = application.samples()
    assert {key: value for key, value in shown.items() if key in expected} == expected
    # Bounds between exponential buckets are approached; all else is exact, and nothing is there beside it.
    exponential = not any(name == "few_bucket" for name, _ in expected)
    beside = {name for name, _ in shown.keys() - expected.keys()}
    assert beside <= ({"few_bucket"} if exponential else set())


@pytest.mark.parametrize("exponential", [False, True])
@pytest.mark.parametrize("sdk", [False, True])
@settings(max_examples=examples(40))
@given(script=st.lists(steps, max_size=30))
def test_derived_counters_are_exact(script: list[Any], exponential: bool, sdk: bool) -> None:
    """Count, sum and kept buckets equal a cumulative reader's, however recordings and scrapes interleave."""
    application = _histogram_application(exponential, sdk)
    histogram = application.meter.create_histogram("h", explicit_bucket_boundaries_advisory=_RECORDED)
    for step in script:
        play(application, histogram.record, step)
        if step[0] == "scrape":
            _agree(application, _histogram_oracle(application))
    _agree(application, _histogram_oracle(application))


@pytest.mark.parametrize("exponential", [False, True])
def test_derived_counters_are_exact_with_two_scrapers(exponential: bool) -> None:
    """Two scrapers, two recording threads and flushes: nothing is lost and nothing counted twice."""
    application = _histogram_application(exponential, sdk=False)
    histogram = application.meter.create_histogram("h", explicit_bucket_boundaries_advisory=_RECORDED)
    done = threading.Event()
    scrapes: list[float] = []

    def scrape(accept: str) -> None:
        while not done.is_set():
            application.reader.expose(accept)
            scrapes.append(sum(application.values("n_total").values()))

    def record(worker: int) -> None:
        for number in range(400):
            # No zeros: the SDK's cumulative reader, which judges, fails where it has collected only these.
            value = (1 + number % 40) / 4
            histogram.record(value, {"k": str(number % 7), "x": str(number % 50), "w": worker})
            if number % 100 == 0:
                application.provider.force_flush()

    scrapers = [threading.Thread(target=scrape, args=(accept,)) for accept in (OPENMETRICS, PROTOBUF)]
    recorders = [threading.Thread(target=record, args=(worker,)) for worker in range(2)]
    for thread in (*scrapers, *recorders):
        thread.start()
    for thread in recorders:
        thread.join()
    done.set()
    for thread in scrapers:
        thread.join()
    _agree(application, _histogram_oracle(application))
    assert sum(application.values("n_total").values()) == 800
    assert scrapes


# ---------------------------------------------------------------- projections

RULES: list[Callable[[str], str | None]] = [
    *(Forbid(), Forbid()),
    *(Allow(["a", "200"]), StatusClass(), Truncate(2)),
    *(str.upper, lambda value: value[99]),
]
keys = st.sampled_from(["k", "error.type", "http.response.status_code", "user.id", "s", "label"])
patterns = st.lists(keys | st.sampled_from(["*", "http.*", "?"]), max_size=3)
conditions = st.sampled_from(["a", "*", "?*", "", ["a", "b"], {"excluded": ["a", "2*"]}, {"included": ["?"]}])
computations = st.sampled_from(
    [Outcome(), FirstOf(("error.type", "s"), default="none"), "user.id", ["s", "k"], len, lambda _: 1 / 0]
)


@st.composite
def projections(draw: st.DrawFn, **fixed: Any) -> ExportView:
    """A view that does anything to labels."""
    drop = draw(patterns.filter(lambda items: "*" not in items))
    rename = draw(st.dictionaries(keys, st.sampled_from(["label", "k", "s", "other"]), max_size=3))
    rename = {key: label for key, label in rename.items() if not _matches_any(drop, key)}
    computed = draw(st.dictionaries(st.sampled_from(["label", "status", "s"]), computations, max_size=2))
    fields: dict[str, Any] = {
        "keep": draw(st.none() | patterns),
        "drop": drop,
        "rename": rename,
        "compute": {label: value for label, value in computed.items() if label not in rename.values()},
        "where": draw(st.just({}) | st.dictionaries(keys, conditions, max_size=1)),
        "rules": draw(st.dictionaries(keys, st.sampled_from(RULES), max_size=3)),
    }
    return ExportView(**fields, **fixed)


def _matches_any(given: list[str], key: str) -> bool:
    return key in given or ("http.*" in given and key.startswith("http.")) or ("?" in given and len(key) == 1)


def chosen(condition: Any, value: str) -> bool:
    """Whether one of the conditions above holds."""
    if isinstance(condition, Mapping):
        if "excluded" in condition:
            return value != "a" and not value.startswith("2")
        return len(value) == 1
    if isinstance(condition, list):
        return value in condition
    return {"a": value == "a", "*": True, "?*": value != "", "": value == ""}[condition]


def wanted(view: ExportView, attributes: Mapping[str, object]) -> bool:
    """Whether the filter of a view wants a point."""
    items = view.where.items()
    return all(
        chosen(condition, text(attributes[key]) if key in attributes else "") for key, condition in items
    )


def _scripted(script: list[Any], *views: ExportView, sdk: bool = False, **options: Any) -> Application:
    application = Application(*views, sdk=sdk, **options)
    counter = application.meter.create_counter("c")
    histogram = application.meter.create_histogram("h", explicit_bucket_boundaries_advisory=list(BOUNDS))
    up_down = application.meter.create_up_down_counter("u")
    observed: list[Observation] = []
    application.meter.create_observable_counter("o", [lambda _: observed])
    gauge = application.meter.create_gauge("g")
    application.meter.create_observable_gauge("p", [lambda _: observed])

    def record(value: float, attributes: dict[str, Any]) -> None:
        counter.add(value, attributes)
        histogram.record(value, attributes)
        up_down.add(-value, attributes)
        gauge.set(value, attributes)
        observed.append(Observation(value, {**attributes, "number": len(observed)}))

    for step in script:
        play(application, record, step)
    return application


@settings(max_examples=examples(120))
@given(st.lists(steps, max_size=20), projections(), st.booleans(), st.booleans())
def test_a_projection_adds_up_to_what_was_recorded(
    script: list[Any], view: ExportView, id_labels: bool, sdk: bool
) -> None:
    """Whatever a view does to labels, the sum over its series is that of all points that it wants."""
    application = _scripted(script, view, id_labels=id_labels, sdk=sdk)
    plain = _scripted([step for step in script if step[0] == "record"])
    for name, sample in (("c", "c_total"), ("u", "u"), ("o", "o_total"), ("h", "h_sum")):
        points = [(a, p) for a, p in plain.recorded(name) if wanted(view, a)]
        total = sum(point.sum if name == "h" else point.value for _, point in points)
        assert sum(application.values(sample).values()) == total
    count = sum(point.count for a, point in plain.recorded("h") if wanted(view, a))
    assert sum(application.values("h_count").values()) == count


@settings(max_examples=examples(60))
@given(st.lists(steps, max_size=20), st.lists(conditions, min_size=1, max_size=3), patterns)
def test_a_family_of_several_views_counts_each_point_once(
    script: list[Any], given: list[Any], keep: list[str]
) -> None:
    """Views of one stream and one family count what any of their filters wants, each point once."""
    views = [selecting("c", name="x_total", where={"k": each}, keep=keep) for each in given]
    application = _scripted(script, *views)
    expected = sum(
        point.value for a, point in application.recorded("c") if any(wanted(view, a) for view in views)
    )
    assert sum(application.values("x_total").values()) == expected


selections = st.sampled_from(
    [
        {"instrument_name": "*"},
        {"instrument_name": "?"},
        {"instrument_name": "c", "name": "calls_total"},
        {"instrument_name": "c"},
        {"instrument_name": "h", "take": "count", "name": "n_total"},
        {"instrument_name": "*", "take": "sum", "name": "s_total"},
        {"instrument_name": "h", "name": None},
        {"instrument_type": "observable_counter", "name": "o2_total"},
        {"instrument_type": "counter", "name": None},
        {"instrument_type": "gauge"},
        {"instrument_type": "observable_gauge", "name": None},
        {"instrument_name": "u", "max_series": 100},
    ]
)


def _views(fixed: dict[str, Any]) -> st.SearchStrategy[ExportView]:
    # What exports nothing can say nothing about labels.
    return st.just(ExportView(**fixed)) if fixed.get("name", "") is None else projections(**fixed)


view_lists = st.lists(selections.flatmap(_views), max_size=4)


@settings(max_examples=examples(120))
@given(st.lists(steps, max_size=15), view_lists, st.booleans())
def test_the_exposition_is_the_same_with_sdk_views(
    script: list[Any], views: list[ExportView], id_labels: bool
) -> None:
    """What the SDK leaves out by our Views changes nothing that anybody sees."""
    with_them = _scripted(script, *views, sdk=True, id_labels=id_labels)
    without = _scripted(script, *views, id_labels=id_labels)
    # Which of several gauges a series shows is not said.
    gauges = {"g", "p"}
    shown, expected = (
        {key: 0 if key[0] in gauges else value for key, value in application.samples().items()}
        for application in (with_them, without)
    )
    assert shown == expected
    assert with_them.types() == without.types()
    assert with_them.reader.conflicts() == without.reader.conflicts()
