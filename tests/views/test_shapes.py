"""What a view makes of attributes is the same whether their names came before or not."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from otel_prom_bridge import ExportView
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.points import WORKER, AttributeSet
from otel_prom_bridge.store.keys import items_key, set_key
from otel_prom_bridge.views.bounds import LabelBounds
from otel_prom_bridge.views.mapped import OVERFLOW_ATTRIBUTES, Mapped
from otel_prom_bridge.views.mapping import AttributeMap

METRIC = "http.server.request.duration"
# Some of these are ids by their names, some by their values, and some are chosen by clients.
NAMES = ["b", "a", "session.id", "loop.token", "server.address", "http.route", "a" * 30, WORKER]
IDS = [str(uuid.UUID(int=number)) for number in range(1, 9)]
VALUES = st.one_of(
    st.sampled_from(["GET", "", "ü", "x" * 25, "sk-proj-4f9aK2mQx7LbT0cVn8Rz", "y" * 50, *IDS]),
    st.sampled_from([0, 1, True, False, 1.0, float("nan"), None, b"1", 10**60]),
    st.lists(st.integers(0, 1), max_size=2).map(tuple),
    st.text(max_size=2),
)
SETS = st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5), max_size=25)
VIEWS = [ExportView(), ExportView(drop=["a"]), ExportView(keep=["b", "server.address", "loop.*"])]


def mapping(view: ExportView, **options: Any) -> AttributeMap:
    """What a view makes of the attributes of a metric."""
    return AttributeMap(view, metric=METRIC, findings=Findings(), **options)


def recorded(attributes: dict[str, Any]) -> Any:
    """The attributes as the doors hand them over, if they can be nothing but a key."""
    known = {str, bool, int, bytes, type(None)}
    key = items_key(attributes)
    if key is None or not known.issuperset(map(type, attributes.values())):
        return attributes
    texts = all(type(value) is str for value in attributes.values())
    return AttributeSet(key[: 2 * len(attributes)] if texts else key)


def said(mapped: Mapped | None) -> object:
    """Everything of it, in a form that can be compared."""
    assert mapped is not None
    assert mapped.key is None or mapped.key == set_key(dict(mapped.attributes))
    return set_key(mapped.attributes), repr(sorted(mapped.attributes.items())), mapped.folds, mapped.overflow


@pytest.mark.parametrize("view", VIEWS)
@settings(max_examples=examples(300))
@given(
    sets=SETS,
    additive=st.booleans(),
    longest=st.sampled_from([0, 10, 40]),
    most=st.sampled_from([0, 2]),
    as_key=st.booleans(),
    ids=st.sampled_from([0, 3, 8]),
)
def test_names_that_came_before_change_nothing(
    view: ExportView,
    sets: list[dict[str, Any]],
    additive: bool,
    longest: int,
    most: int,
    as_key: bool,
    ids: int,
) -> None:
    """Beside a map that looks closely at everything, with the same bounds and the same history."""
    bounds = LabelBounds(value_length=longest, labels=3, client_values=2 if most else 0)
    quick, close = (mapping(view, additive=additive, bounds=bounds) for _ in range(2))
    first = [{"loop.token": value, "b": "x"} for value in IDS[:ids]]
    for attributes in [*first, *sets, *first, *sets]:
        given_ = recorded(attributes) if as_key else attributes
        assert said(quick.apply(given_)) == said(close._applied(attributes))
        assert quick.is_pressed == close.is_pressed
        assert quick.left_out_ids == close.left_out_ids


def test_names_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the thousand series that differ in values only."""
    looked: list[object] = []
    monkeypatch.setattr(AttributeMap, "_labelled", _heard(AttributeMap._labelled, looked))
    quick = mapping(ExportView(), additive=True)
    for number in range(1000):
        found = quick.apply({"method": "GET", "route": f"/things/{number}", "status": 200})
        assert found is not None
        assert found.attributes["route"] == f"/things/{number}"
    assert len(looked) <= 10  # the first ones, until it is known that none of these are ids


def test_more_names_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody puts data into keys, nothing is found out in vain: the first ones stay as they are."""
    found_out: list[object] = []
    monkeypatch.setattr("otel_prom_bridge.views.mapping._SHAPES_REMEMBERED", 10)
    monkeypatch.setattr(AttributeMap, "keeps", _heard(AttributeMap.keeps, found_out))
    quick = mapping(ExportView())
    sets = [{f"key{number}": "a"} for number in range(30)]
    for attributes in sets * 2:
        assert said(quick.apply(attributes)) == said(Mapped(attributes))
    found_out.clear()
    for attributes in sets:
        quick.apply(attributes)
    assert found_out == []
    assert len(quick._shapes) == 10


def _heard(function: Any, heard: list[object]) -> Any:
    def hears(self: AttributeMap, attributes: Any) -> Any:
        heard.append(attributes)
        return function(self, attributes)

    return hears


@pytest.mark.parametrize("attributes", [{}, OVERFLOW_ATTRIBUTES])
def test_sets_of_which_nothing_is_left_out(attributes: dict[str, Any]) -> None:
    """No attributes at all, and the SDK's overflow."""
    quick = mapping(ExportView())
    for _ in range(3):
        found = quick.apply(attributes)
        assert found is not None
        assert dict(found.attributes) == dict(attributes)
