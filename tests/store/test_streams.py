"""What is remembered of attribute sets: every type of value is, and no two that differ are taken for one."""

from __future__ import annotations

import copy
import enum
import gc
from collections import Counter as Tally
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from exported import Application, selecting
from hypothesis import given, settings
from hypothesis import strategies as st
from inside import remembered, store_of
from opentelemetry.metrics import Observation
from oracles import OPENMETRICS, forget, samples
from properties import examples
from setups import Setup

from otel_prom_bridge import ExportView
from otel_prom_bridge.store.lookup import _REMEMBERED_AT_LEAST, StreamRecord
from otel_prom_bridge.store.series import Folded
from otel_prom_bridge.testing import Clock
from otel_prom_bridge.translate.labels import attribute_identity, label_value

Make = Callable[..., Setup]
NAN = float("nan")


class Color(enum.StrEnum):
    """A string that is not of type str."""

    RED = "red"


class Level(enum.IntEnum):
    """An integer that is not of type int."""

    HIGH = 1


class Asked:
    """A projection that counts what it is asked, and has a target for each attribute set."""

    name = "c_total"
    takes_away = False
    view = ExportView()

    def __init__(self) -> None:
        self.times = 0
        self.sets: dict[str, Folded] = {}

    def targets(self, point: Any) -> tuple[Folded]:
        self.times += 1
        return (self.sets.setdefault(attribute_identity(point.attributes or {}), Folded()),)


def _record(asked: Asked, limit: int = 10) -> StreamRecord:
    key: Any = None
    projection: Any = asked
    return StreamRecord(key, [projection], limit)


def _point(attributes: Mapping[str, object] | None) -> Any:
    return SimpleNamespace(attributes=attributes)


EACH_TYPE: list[Any] = [
    *("plain", True, 1, 1.5, 0.0, -0.0, NAN, float("inf"), b"b", None),
    *(["a", "b"], ("stop",), (), (0.0, 1, True, None), ((1,), ("x", (2.5,))), {"a": [1, {"b": 0.5}]}),
    *(Color.RED, Level.HIGH),
]


# ---------------------------------------------------------------- asked once


def _noting(asked: list[str]) -> Callable[[str], str]:
    def rule(text: str) -> str:
        asked.append(text)
        return text

    return rule


@pytest.mark.parametrize("value", EACH_TYPE, ids=repr)
def test_rules_are_asked_once_whatever_the_type(value: Any) -> None:
    """A rule is asked for a new attribute set, and not at the next scrapes, for a value of any type."""
    asked: list[str] = []
    application = Application(selecting("*", rules={"k": _noting(asked)}), max_series_per_metric=1)
    counter = application.meter.create_counter("c")
    for _ in range(3):
        counter.add(1, {"k": value, "other": "x"})
        application.text()
    application.meter.create_observable_gauge("g", [lambda _: [Observation(1, {"k": value, "t": 0.7})]])
    for _ in range(3):
        application.text()
    assert asked == [label_value(value)] * 2


def test_rules_are_asked_once_beside_a_value_of_another_type() -> None:
    """An attribute that no rule sees does not make the rules of others ask again."""
    asked: list[str] = []
    application = Application(selecting("*", rules={"m": _noting(asked)}))
    histogram = application.meter.create_histogram("h")
    for _ in range(3):
        for number in range(5):
            histogram.record(1, {"m": f"m{number}", "temperature": 0.7, "finish_reasons": ["stop"]})
        application.text()
    assert asked == [f"m{number}" for number in range(5)]


def test_a_point_without_attributes_is_remembered() -> None:
    """No attributes at all are an attribute set like any other."""
    asked = Asked()
    record = _record(asked)
    assert record.find(_point(None)) is record.find(_point({})) is record.find(_point(None))
    assert asked.times == 1


def test_what_may_change_is_asked_each_time() -> None:
    """Values of types that OTel does not know may say something else each time: not remembered."""
    nested: list[Any] = []
    nested.append(nested)
    for value in (Decimal("1.5"), object(), [Decimal(1)], {"a": Decimal(1)}, bytearray(b"x"), nested):
        asked = Asked()
        record = _record(asked)
        assert record.find(_point({"k": value})) == record.find(_point({"k": value}))
        assert asked.times == 2
        assert not record.by_items


def test_a_series_is_few_objects(bridge: Make) -> None:
    """Of a series nothing is kept but itself, its place in a family, its point, and tuples of texts."""
    setup = bridge(max_series_per_metric=3000)
    counter = setup.meter.create_counter("c")

    def objects() -> int:
        setup.text()
        forget()
        gc.collect()  # it looks at tuples of texts no more
        return len(gc.get_objects())

    before = 0
    for number in range(2000):
        if number == 1000:
            before = objects()
        counter.add(1, {"k": f"value {number}", "l": "l"})
    assert objects() - before < 3.5 * 1000


# ---------------------------------------------------------------- kept apart


def test_equal_values_of_other_types_are_others() -> None:
    """What Python takes for equal and a label does not is told apart, within sequences, too."""
    alike = [1, 1.0, True, "1", b"1", Level.HIGH, 0, 0.0, -0.0, False, "0.0", "-0.0", NAN, "nan", None, ""]
    values: list[Any] = [*alike, *([each] for each in alike), *({"a": each} for each in alike)]
    values += [Color.RED, *([1, 2], [[1], 2], [[1, 2]], ["1, 2"], [], [[]], {}, {"a": {}})]
    asked = Asked()
    record = _record(asked)
    found = [record.find(_point({"k": value})) for value in values]
    assert len({id(targets) for targets in found}) == len(values) == asked.times
    for value, targets in zip(values, found, strict=True):
        assert record.find(_point({"k": copy.deepcopy(value)})) is targets
    assert asked.times == len(values)


texts = st.sampled_from(["", "a", "b", "1", "1.0", "nan", "stop", "True"])
keys = st.sampled_from("abkl")
plain = texts | st.sampled_from([0, 1, True, False, None, b"a", Color.RED, Level.HIGH])
scalars = plain | st.sampled_from([0.0, -0.0, 1.0, 0.7, NAN, float("inf"), 1e300])
nested_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=2),
    max_leaves=5,
)
attribute_sets = st.dictionaries(keys, nested_values, max_size=3)


@settings(max_examples=examples(300))
@given(st.lists(attribute_sets, max_size=12))
def test_what_is_remembered_is_what_was_said(sets: list[dict[str, Any]]) -> None:
    """A point finds what its own attribute set became, whichever sets came before, and nothing twice."""
    asked = Asked()
    record = _record(asked)
    for attributes in [*sets, *copy.deepcopy(sets)]:
        (target,) = record.find(_point(attributes))
        assert target is asked.sets[attribute_identity(attributes)]
    # In another order the same attributes ask again.
    assert asked.times == len({(repr(attributes), *map(type, attributes.values())) for attributes in sets})


@settings(max_examples=examples(50))
@given(st.lists(st.tuples(attribute_sets, st.integers(1, 9)), max_size=10))
def test_each_point_counts_where_its_labels_are(recorded: list[tuple[dict[str, Any], int]]) -> None:
    """Over several scrapes the value of each label set is the sum of what was recorded for it."""
    application = Application()
    counter = application.meter.create_counter("c")
    expected: Tally[frozenset[tuple[str, str]]] = Tally()
    for attributes, value in [*recorded, *recorded]:
        counter.add(value, attributes)
        application.text()
        labels = {(key, text) for key, each in attributes.items() if (text := label_value(each))}
        expected[frozenset(labels)] += value
    found: Tally[frozenset[tuple[str, str]]] = Tally()
    for (name, labels), value in application.samples().items():
        if name == "c_total":
            found[frozenset(pair for pair in labels if pair[1])] += int(value)
    assert found == expected


# ---------------------------------------------------------------- forgotten


def test_a_flood_of_values_does_not_fill_memory() -> None:
    """What is remembered has a bound, whatever the type of what is new in every point."""
    asked = Asked()
    record = _record(asked)
    for number in range(_REMEMBERED_AT_LEAST + 1000):
        record.find(_point({"k": "a", "seconds": number + 0.5, "items": (str(number),)}))
        assert len(record.by_items) <= _REMEMBERED_AT_LEAST
    assert len(record.by_items) == 1000
    assert not record.by_texts


def _shown(setup: Setup) -> dict[str, float]:
    exposition = setup.reader.expose(OPENMETRICS)
    found = samples(exposition.content_type, exposition.body)
    return {dict(labels).get("k", "-"): value for (_, labels), value in found.items()}


def test_places_that_are_free_again_are_had(bridge: Make, clock: Clock) -> None:
    """With expiry, a set of floats and lists goes from the overflow to a place, and leaves nothing behind."""
    setup = bridge(expire_after=100, max_series_per_metric=1, disable_target_info=True)
    counter = setup.meter.create_counter("c")
    (early, late) = ({"k": [0.5, 1]}, {"k": [1, 0.5]})
    for attributes in (early, late, late):
        counter.add(1, attributes)
        _shown(setup)
    assert _shown(setup) == {"[0.5, 1]": 1, "-": 2}
    for _ in range(12):
        clock.now += 12
        counter.add(1, late)
        shown = _shown(setup)
    assert set(shown) == {"[1, 0.5]", "-"}
    assert sum(shown.values()) == 14
    clock.now += 200
    _shown(setup)
    assert _shown(setup) == {}
    assert remembered(store_of(setup.reader)) == 0
    counter.add(1, early)
    assert _shown(setup) == {"[0.5, 1]": 1}


def test_a_gauge_that_is_gone_is_forgotten(bridge: Make) -> None:
    """Of an observation that comes no more nothing is remembered, and its place is free for the next."""
    temperature = 0.5
    setup = bridge(max_series_per_metric=1, disable_target_info=True)
    setup.meter.create_observable_gauge("g", [lambda _: [Observation(1, {"k": temperature})]])
    for number in range(5):
        temperature = number + 0.5
        assert _shown(setup) == {str(temperature): 1}
    assert remembered(store_of(setup.reader)) == 1
