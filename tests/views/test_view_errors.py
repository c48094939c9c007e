"""Views that cannot work are refused when they are made, by a message that names the view and the reason."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from exported import Application, selecting
from opentelemetry.metrics import Counter as ApiCounter
from opentelemetry.sdk.metrics import Counter, ObservableCounter

from otel_prom_bridge import ConfigurationError, ExportView, Outcome, Policy
from otel_prom_bridge.rules import Forbid
from otel_prom_bridge.views.kinds import INSTRUMENTS_BY_NAME

TYPES = "one of " + ", ".join(map(repr, INSTRUMENTS_BY_NAME))
TEXT = "a string that is not empty"
NAME = "the name of a family, or None to export nothing"
A_HISTOGRAM = "a histogram, as 'take' and 'buckets' need one"
PATTERNS = "a list of attribute keys, with '*' and '?'"
BY_KEY = "a mapping by attribute key"
SOURCE = "what to compute it from: an attribute key, a list of them, or a function of attributes"
CONDITION = "a pattern, a list of them, or a mapping with 'included' or 'excluded'"
RULE = "a rule such as Allow([…]), or a function of a string"
BOUNDS = "a list of finite numbers, each greater than the one before"
LABELS = "labels that are strings and not empty"
SURROGATE = "\ud800"


class Nothing:
    """A computation that says that it reads nothing."""

    attributes = ()

    def __call__(self, _: object) -> str:
        return "x"


# Fields, and of the message: the key, the value and what is allowed.
WRONG: list[tuple[dict[str, Any], str, object, str]] = [
    ({"instrument_name": ""}, "instrument_name", "", TEXT),
    ({"instrument_name": None}, "instrument_name", None, TEXT),
    ({"instrument_name": ["c"]}, "instrument_name", ["c"], TEXT),
    ({"instrument_unit": ""}, "instrument_unit", "", TEXT),
    ({"meter_name": 5}, "meter_name", 5, TEXT),
    ({"instrument_type": "timer"}, "instrument_type", "timer", TYPES),
    ({"instrument_type": []}, "instrument_type", [], TYPES),
    ({"instrument_type": int}, "instrument_type", int, TYPES),
    ({"instrument_type": ApiCounter}, "instrument_type", ApiCounter, TYPES),
    ({"instrument_type": "counter", "take": "count", "name": "x"}, "instrument_type", "counter", A_HISTOGRAM),
    ({"instrument_type": Counter, "buckets": [1]}, "instrument_type", Counter, A_HISTOGRAM),
    ({"name": 5}, "name", 5, NAME),
    ({"name": SURROGATE}, "name", SURROGATE, NAME),
    *(
        ({"name": bad}, "name", bad, f"another name: {whose!r} is of what the bridge says itself")
        for bad, whose in (
            ("target_info", "target_info"),
            ("target", "target"),
            ("target.info", "target_info"),
            ("otel_prom_bridge_series", "otel_prom_bridge_series"),
            ("otel_prom_bridge_anything", "otel_prom_bridge_anything"),
            ("otel.prom.bridge.series", "otel_prom_bridge_series"),
        )
    ),
    (
        {"take": "count", "name": "target_total"},
        "name",
        "target_total",
        "another name: 'target' is of what the bridge says itself",
    ),
    (
        {"instrument_type": "histogram", "name": "target"},
        "name",
        "target",
        "another name: 'target' is of what the bridge says itself",
    ),
    ({"description": None}, "description", None, "a string"),
    ({"take": "max"}, "take", "max", "one of 'value', 'count', 'sum'"),
    ({"take": []}, "take", [], "one of 'value', 'count', 'sum'"),
    ({"take": "sum"}, "name", "", "the name of the new counter, as the view takes the sum"),
    (
        {"take": "count", "name": "x", "buckets": [1]},
        "buckets",
        [1],
        "none, as the view takes only the count",
    ),
    *(({"buckets": bad}, "buckets", bad, BOUNDS) for bad in ([1, 1], [2, 1], [math.inf], [True], ["1"], 5)),
    ({"buckets": "native"}, "buckets", "native", f"{BOUNDS}, or 'exponential'"),
    *(({"max_series": bad}, "max_series", bad, "a whole number of at least 1") for bad in (0, True, 1.5)),
    ({"exemplars": None}, "exemplars", None, "Exemplars(…), or False for none"),
    ({"keep": "a"}, "keep", "a", PATTERNS),
    ({"keep": [1]}, "keep", [1], PATTERNS),
    ({"drop": None}, "drop", None, PATTERNS),
    ({"drop": {"a"}}, "drop", {"a"}, PATTERNS),
    *(({key: ["a"]}, key, ["a"], BY_KEY) for key in ("rename", "compute", "where", "rules")),
    *(({key: {"": "a"}}, key, {"": "a"}, BY_KEY) for key in ("rename", "compute", "where", "rules")),
    *(({key: {1: "a"}}, key, {1: "a"}, BY_KEY) for key in ("rename", "compute", "where", "rules")),
    *(({"rename": {"a": bad}}, "rename", {"a": bad}, LABELS) for bad in ("", [], SURROGATE)),
    *(
        ({"rename": {"a": bad}}, "rename", {"a": bad}, f"a label other than {bad!r}, which is reserved")
        for bad in ("le", "quantile", "__name__", "otel.scope.name", "otel_scope_x", "otel_metric_overflow")
    ),
    ({"compute": {"le": "a"}}, "compute", {"le": "a"}, "a label other than 'le', which is reserved"),
    (
        {"rename": {"a.b": "c"}, "drop": ["a.*"]},
        "rename",
        "a.b",
        "an attribute that 'drop' does not leave out",
    ),
    (
        {"rename": {"a": "x"}, "compute": {"x": "b"}},
        "compute",
        "x",
        "a label that 'rename' does not make, too",
    ),
    (
        {"rename": {"a": "x.y"}, "compute": {"x_y": "b"}},
        "compute",
        "x_y",
        "a label that 'rename' does not make, too (as 'x.y')",
    ),
    *(
        (fields, key, second, f"a label that {key!r} does not make, too (as {first!r})")
        for fields, key, first, second in (
            ({"rename": {"a": "x_y", "b": "x-y"}}, "rename", "x_y", "x-y"),
            ({"compute": {"x.y": "a", "x__y": "b"}}, "compute", "x.y", "x__y"),
            ({"labels": {"2xx": "", "key_2xx": "b"}}, "labels", "2xx", "key_2xx"),
        )
    ),
    *(
        ({"compute": {"x": bad}}, "compute['x']", bad, SOURCE)
        for bad in ("", [], None, ["a", ""], Nothing(), Outcome, b"a", 5, {"a": "b"})
    ),
    *(
        ({"where": {"a": bad}}, "where['a']", bad, CONDITION)
        for bad in (None, 5, [5], {}, [], {"include": ["x"]}, {"included": "x"}, {"excluded": []})
    ),
    *(({"rules": {"a": bad}}, "rules['a']", bad, RULE) for bad in ("lower", Forbid, None)),
]


def _id(value: object) -> str:
    return re.sub(" at 0x[0-9a-f]+", "", str(value))


@pytest.mark.parametrize(("fields", "key", "value", "allowed"), WRONG, ids=_id)
def test_a_view_that_cannot_work_is_refused(
    fields: dict[str, Any], key: str, value: object, allowed: str
) -> None:
    """The message names the view, the field and its value, and says what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        ExportView(**{"instrument_name": "c", **fields})
    title = f"ExportView({fields.get('instrument_name', 'c')!r}, name={fields.get('name', '')!r})"
    assert str(caught.value) == f"{title}.{key}: {value!r} is not allowed, expected {allowed}"
    assert isinstance(caught.value, ValueError)


CLASHES = [
    ({"instrument_type": "counter", "name": "x"}, {"instrument_type": "gauge", "name": "x"}),
    ({"take": "count", "name": "x_total"}, {"instrument_type": "up_down_counter", "name": "x"}),
    ({"instrument_type": "histogram", "name": "x"}, {"take": "count", "name": "x_count"}),
    ({"buckets": [1], "name": "x"}, {"take": "sum", "name": "x"}),
    ({"take": "count", "name": "x"}, {"take": "count", "name": "x_total"}),
]
REASONS = [
    ("x (gauge)", "'x' is of the counter"),
    ("x (gauge)", "'x' is of the counter"),
    ("x_count (counter)", "'x_count' is of the histogram"),
    ("x (counter)", "'x' is of the histogram"),
    ("x_total (counter)", "'x' is of the counter"),
]


@pytest.mark.parametrize(("clash", "reason"), list(zip(CLASHES, REASONS, strict=True)), ids=str)
def test_two_types_for_one_family_are_refused(
    clash: tuple[dict[str, Any], dict[str, Any]], reason: tuple[str, str]
) -> None:
    """Where views alone say the types, a name that two would use in any format is refused at once."""
    first, second = (selecting(name, **fields) for name, fields in zip(("one", "two"), clash, strict=True))
    with pytest.raises(ConfigurationError) as caught:
        Policy(views=[first, second])
    message = (
        f"name: {reason[0]!r} is not allowed, "
        f"expected another name for ExportView('two', name={second.name!r}): "
        f"{reason[1]} that ExportView('one', name={first.name!r}) makes"
    )
    assert str(caught.value) == f"ExportView('two', name={second.name!r}).{message}"
    with pytest.raises(ConfigurationError) as caught:
        Application(first, second)
    assert str(caught.value) == f"views[1].{message}"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"take": "count", "name": "x_total"}, {"instrument_type": ObservableCounter, "name": "x_total"}),
        ({"instrument_type": "gauge", "name": "x"}, {"instrument_type": "up_down_counter", "name": "x"}),
        ({"name": "x"}, {"take": "count", "name": "x_total"}),
        ({"name": None, "take": "count"}, {"name": None, "instrument_type": "gauge"}),
        ({"name": ""}, {"name": "", "instrument_type": "gauge"}),
    ],
    ids=str,
)
def test_families_of_one_type_and_of_unknown_ones_are_not_refused(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    """One type may come from several views; what only data can tell is not guessed."""
    assert len(Policy(views=[selecting("one", **first), selecting("two", **second)]).views) == 2


def test_what_looks_wrong_and_is_not() -> None:
    """Unusual views that work."""
    for fields in (
        {"keep": []},
        {"buckets": []},
        {"buckets": "exponential"},
        {"rename": {"a": "a"}},
        {"rename": {"a": "b", "b": "a"}},
        {"rename": {"a": "x.y", "b": "x.y"}, "labels": {"x_y": "none"}},
        {"rename": {"a": "x_y"}, "keep": ["x.y"]},  # the attribute makes way, and that is logged
        {"keep": ["x.y", "x_y"]},  # they are joined, as the specification says
        {"where": {"a": ""}},
        {"rules": {"absent": str.lower}},
        {"compute": {"x": lambda attributes: None}},
        {"compute": {"x": "x"}},
        {"name": None, "take": "count"},
        {"instrument_name": "*?*"},
        {"name": "target_info_x"},
        {"name": "otel_prom_bridges"},
        {"name": "otel_sdk_exporter_operation_duration_seconds"},  # it may be the SDK's own, in a view
    ):
        assert ExportView(**{"instrument_name": "c", **fields})  # type: ignore[arg-type]


def test_two_takes_for_one_family_are_refused() -> None:
    """A count and a sum are both counters, and no one family."""
    with pytest.raises(ConfigurationError, match=r"another name for .*'two'.*'one', .* family of the count"):
        Policy(views=[selecting("one", take="count", name="x"), selecting("two", take="sum", name="x")])


@pytest.mark.parametrize("key", ["where", "keep", "rename", "rules", "compute", "drop"])
def test_what_is_not_exported_has_no_labels(key: str) -> None:
    """name=None drops all of a stream, so what would choose among its points is refused."""
    value: object = ["a"] if key in ("keep", "drop") else {"a": str.lower if key == "rules" else "b"}
    with pytest.raises(ConfigurationError, match=rf"name=None\)\.{key}: .* exports nothing at all"):
        ExportView(instrument_name="c", name=None, **{key: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["where", "rename", "rules"])
def test_only_lists_of_attributes_have_patterns(key: str) -> None:
    """A pattern as a key would match nothing, so a rule that forbids would not."""
    with pytest.raises(ConfigurationError, match=r"without '\*' and '\?'"):
        ExportView(**{key: {"user.*": str.lower if key == "rules" else "x"}})  # type: ignore[arg-type]
