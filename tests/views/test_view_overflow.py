"""Views past a limit: the SDK's own overflow, what the warning says, and the largest number of series."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from exported import Application, selecting
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import Counter
from properties import examples

from otel_prom_bridge import ExportView, Outcome, Tenants
from otel_prom_bridge.rules import Allow, Chain, First, Forbid, StatusClass, Truncate

OVERFLOW = "otel_metric_overflow"

# ---------------------------------------------------------------- the SDK's own overflow


def _flooded(*views: ExportView, sdk: bool = False) -> Application:
    application = Application(*views, sdk=sdk, sdk_max_series=2)
    counter = application.meter.create_counter("c")
    for number in range(5):
        counter.add(2**number, {"k": "ab"[number % 2], "n": str(number)})
    return application


@pytest.mark.parametrize("sdk", [False, True])
def test_the_first_view_of_a_family_takes_what_the_sdk_folded(
    sdk: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Views with conditions share a family: what none of them can judge is in it once, and logged once."""
    with caplog.at_level(logging.WARNING):
        application = _flooded(
            selecting("c", name="x_total", where={"k": "a"}),
            selecting("c", name="x_total", where={"k": {"excluded": ["a"]}}),
            selecting("c", name="y_total"),
            selecting("c", name="y_total", where={"k": ""}),
            sdk=sdk,
        )
        for _ in range(2):
            for name in ("x_total", "y_total"):
                assert application.values(name, "n") == {"0": 1, "1": 2, None: 4 + 8 + 16}
                assert application.values(name, OVERFLOW)["true"] == 28
    messages = [record.getMessage() for record in caplog.records]
    unknown = ", whether the view's 'where' chooses them or not, which nobody knows any more"
    assert [unknown in message for message in messages if "the SDK may hold" in message] == [True, False]


def test_a_family_of_conditions_only_loses_nothing() -> None:
    """The sum is never too low: what cannot be judged is counted, and can be told by its label."""
    application = _flooded(selecting("c", name="x_total", where={"k": "a"}))
    assert application.values("x_total", "n") == {"0": 1, None: 28}
    assert application.values("x_total", OVERFLOW)["true"] == 28


# ---------------------------------------------------------------- what is said about it


def _messages(caplog: pytest.LogCaptureFixture, **options: Any) -> list[str]:
    with caplog.at_level(logging.WARNING):
        application = Application(**options)
        counter = application.meter.create_counter("c")
        for number in range(5):
            counter.add(1, {"k": str(number), "t": "acme"})
        application.text()
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("options", "full", "remedy"),
    [
        ({"max_series_per_metric": 2}, "2 series of its own", "max_series_per_metric or a view's max_series"),
        ({"max_series": 3}, "3 series of all metrics together", "max_series"),
        (
            {"tenant": Tenants("t", {"acme": 4})},
            "4 series of the tenant 'acme'",
            "the tenant's limits['acme']",
        ),
        (
            {"tenant": Tenants("t", {"globex": 4}, other_limit=1)},
            "1 series of the tenant 'other'",
            "the tenant's other_limit",
        ),
    ],
    ids=str,
)
def test_the_warning_says_which_limit_and_what_to_do(
    options: Mapping[str, Any], full: str, remedy: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Which of the limits is reached, and which option allows more."""
    (message,) = _messages(caplog, **options)
    assert message.startswith(f"metric 'c_total' is at a limit of its series: {full}; ")
    assert message.endswith(f"an ExportView can drop or bound them, {remedy} allows more")


def test_all_full_limits_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """Where two limits are full, raising one of them would not help."""
    (message,) = _messages(caplog, max_series_per_metric=2, max_series=2)
    assert ": 2 series of its own and 2 series of all metrics together; " in message
    assert message.endswith(", max_series_per_metric or a view's max_series and max_series allows more")


def test_each_tenant_that_is_full_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reads the log sees who floods, and no line of it twice."""
    application = Application(tenant=Tenants("t", {"acme": 1, "globex": 1}))
    counter = application.meter.create_counter("c")
    for _ in range(2):
        for number in range(3):
            counter.add(1, {"t": "acme", "k": str(number)})
            counter.add(1, {"t": "globex", "k": str(number)})
        application.text()
    first, second = (message for message in caplog.messages if "at a limit" in message)
    assert "the tenant 'acme'" in first
    assert "the tenant 'globex'" in second


def test_our_limit_is_said_where_the_sdks_was_first(caplog: pytest.LogCaptureFixture) -> None:
    """Another cause for the same series of overflow is another remedy."""
    application = Application(sdk_max_series=2, max_series_per_metric=2)
    counter = application.meter.create_counter("c")
    for start in range(3):
        for number in range(4):
            counter.add(1, {"k": f"{start} {number}"})
        application.text()
    assert any("than the SDK may hold" in message for message in caplog.messages)
    assert any("2 series of its own" in message for message in caplog.messages)


# ---------------------------------------------------------------- the largest number of series

KEYS = ("k", "t", "a.b", "a_b")
RULES = [Allow(["1", "2"]), StatusClass(), Forbid(), Truncate(1), lambda _: "x"]
BOUNDED = {key: Allow(["1", "2"]) for key in KEYS}
small = st.integers(1, 4)
texts = st.sampled_from([*"1234567", "", "200", "other"])
attribute_sets = st.dictionaries(st.sampled_from([*KEYS, "x"]), texts, max_size=4)
rules = st.sampled_from([*RULES, None]).map(lambda rule: rule or Chain(First(2), Truncate(4)))


def _some(keys: Sequence[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.just({}) | st.dictionaries(st.sampled_from(keys), values, max_size=2)


@st.composite
def views(draw: st.DrawFn) -> ExportView:
    """A view whose labels may be bounded, and which shares a family with others."""
    computed = draw(_some(["o", "k"], st.sampled_from([Outcome(), "t"])))
    renamed = draw(_some(KEYS, st.sampled_from(["t", "u", "a_b"])))
    return ExportView(
        instrument_name=draw(st.sampled_from(["*", "c", "d"])),
        name=draw(st.sampled_from(["", "x_total"])),
        keep=draw(st.lists(st.sampled_from(KEYS), max_size=2)),
        rename=renamed,
        compute={label: value for label, value in computed.items() if label not in renamed.values()},
        labels=draw(_some(["z", "k"], st.just("1"))),
        where=draw(_some(KEYS, st.sampled_from(["?*", "1"]))),
        rules=draw(_some([*KEYS, "u"], rules) | st.just(BOUNDED)),
        max_series=draw(st.none() | small),
    )


readers = st.fixed_dictionaries(
    {"sdk_max_series": st.none() | small},
    optional={
        "max_series_per_metric": small,
        "max_series": st.integers(1, 8),
        "scope_info_enabled": st.booleans(),
        "cardinality_limits": st.just({Counter: 3}),
        "tenant": st.builds(
            Tenants,
            st.sampled_from(KEYS),
            st.dictionaries(st.sampled_from("123"), small, min_size=1),
            other_limit=small,
        ),
    },
)
recordings = st.tuples(st.sampled_from("ccd"), st.sampled_from(["s", "test", "test"]), attribute_sets)
scripts = st.lists(recordings | recordings | st.none(), min_size=4, max_size=30)


MANY = [("c", "test", {"k": str(number)}) for number in range(9)]


@pytest.mark.slow
@settings(max_examples=examples(300))
@example({"sdk_max_series": 1}, [ExportView(keep=[])], MANY)
@example({"max_series": 2}, [ExportView(name="x_total", keep=[])], [("d", "s", {}), None, *MANY])
@example({"tenant": Tenants("t", {"1": 1})}, [ExportView(keep=["t"], rename={"k": "t"})], MANY)
@example({"tenant": Tenants("t", {"1": 1})}, [ExportView(keep=[], compute={"t": "k"})], MANY)
@given(readers, st.lists(views(), max_size=3), scripts)
def test_no_metric_has_more_series_than_its_maximum(
    options: dict[str, Any], given: list[ExportView], script: list[Any]
) -> None:
    """Whatever views, limits and tenants there are, and whatever the SDK folds."""
    application = Application(*given, **options)
    for step in script:
        if step is None:
            application.reader.families()
        else:
            name, scope, attributes = step
            application.provider.get_meter(scope).create_counter(name).add(1, attributes)
    for report in application.reader.cardinality():
        assert report.maximum is not None
        assert report.series <= report.maximum, report


def test_an_overflow_for_each_set_of_constant_labels() -> None:
    """Views of one family with different labels of their own have different overflow series."""
    application = Application(
        selecting("c", name="x_total", labels={"z": "1"}, keep=[]),
        selecting("d", name="x_total", labels={"z": "2"}, keep=[]),
        sdk_max_series=1,
    )
    for name in ("c", "d"):
        counter = application.meter.create_counter(name)
        for number in range(3):
            counter.add(1, {"k": str(number)})
    (report,) = application.reader.cardinality()
    assert (report.series, report.overflow_series, report.maximum) == (4, 2, 4)


def test_the_overflow_counts_once_where_views_share_it() -> None:
    """Two instruments of one scope in one family have one overflow series, and the maximum says so."""
    application = Application(selecting("?", name="x_total", keep=[]), sdk_max_series=1)
    for name in ("c", "d"):
        counter = application.meter.create_counter(name)
        for number in range(3):
            counter.add(1, {"k": str(number)})
    (report,) = application.reader.cardinality()
    assert (report.series, report.maximum) == (2, 3)
