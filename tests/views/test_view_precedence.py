"""What a view names wins: its own labels displace attributes that would become the same ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest
from exported import Application, selecting

from otel_prom_bridge import ExportView
from otel_prom_bridge.rules import Allow, First, Forbid


def _lines(view: ExportView, *sets: Mapping[str, Any], **options: Any) -> list[str]:
    application = Application(view, **options)
    counter = application.meter.create_counter("c")
    for attributes in sets:
        counter.add(1, attributes)
    accept = "text/plain; version=1.0.0; escaping=allow-utf-8"
    return [line for line in application.text(accept).splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(
    "made", [{"rename": {"x": "http.route"}}, {"compute": {"http.route": "x"}}], ids=["rename", "compute"]
)
def test_a_label_of_the_view_displaces_what_would_become_the_same(
    made: Mapping[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is joined with what the view names; what gives way is said once."""
    view = selecting("c", drop=["x"] if "compute" in made else [], **made)
    with caplog.at_level(logging.WARNING):
        sets = [{"x": "new", "http_route": "old", "n": str(number)} for number in range(2)]
        lines = _lines(view, *sets)
    assert lines == [f'c_total{{http_route="new",n="{number}"}} 1' for number in range(2)]
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{view.title}: the attribute 'http_route' is left out where the view's label 'http.route' is,"
        " as both have one name in Prometheus"
    )


def test_the_attribute_of_the_very_name_gives_way_silently(caplog: pytest.LogCaptureFixture) -> None:
    """That is what the view's author asked for."""
    with caplog.at_level(logging.WARNING):
        lines = _lines(selecting("c", rename={"x": "k"}), {"x": "new", "k": "old"}, {"k": "old"})
    assert lines == ['c_total{k="new"} 1', 'c_total{k="old"} 1']
    assert caplog.records == []


def test_names_that_stay_different_are_not_displaced() -> None:
    """A strategy without escaping keeps both labels."""
    view = selecting("c", rename={"x": "http.route"})
    attributes = {"x": "new", "http_route": "old"}
    (line,) = _lines(view, attributes, translation_strategy="NoTranslation")
    assert '"http.route"="new"' in line
    assert 'http_route="old"' in line


def test_a_computed_label_keeps_its_place_where_nothing_is_computed() -> None:
    """An attribute that becomes the same label does not show instead."""
    view = selecting("c", compute={"a.b": "x"})
    assert _lines(view, {"a_b": "old"}, {"a.b": "old"}) == ["c_total 2"]


def test_attributes_that_no_view_names_are_joined_still() -> None:
    """The specification says so of what the application recorded."""
    assert _lines(selecting("c", drop=["x"]), {"a.b": "1", "a_b": "2"}) == ['c_total{a_b="1;2"} 1']


@pytest.mark.parametrize(
    ("fields", "sets", "asked"),
    [
        # Displaced by a renamed and by a computed label.
        ({"rename": {"x": "k"}}, [{"x": "1", "k": "2"}], {"1"}),
        ({"compute": {"k": "x"}}, [{"x": "1", "k": "2"}], {"1"}),
        ({"compute": {"k.": "x"}, "rename": {"k.": "k."}}, [{"k_": "1", "k.": "2"}], None),
        # Of several attributes for one label, only the first that is there.
        ({"rename": {"x": "k", "y": "k"}}, [{"x": "1", "y": "2"}, {"y": "3"}], {"1", "3"}),
        ({"rename": {"x": "k"}}, [{"k": "2"}], {"2"}),
    ],
    ids=range(5),
)
def test_rules_see_only_what_becomes_a_label(
    fields: Mapping[str, Any], sets: list[Mapping[str, Any]], asked: set[str] | None
) -> None:
    """A value that another one displaced uses up no place of a rule that remembers."""
    if asked is None:
        with pytest.raises(ValueError, match="a label that 'rename' does not make, too"):
            selecting("c", **fields)
        return
    seen: list[str] = []

    def rule(value: str) -> str:
        seen.append(value)
        return value

    _lines(selecting("c", rules={"k": rule}, **fields), *sets)
    assert set(seen) == asked


def test_a_displaced_attribute_uses_up_no_place() -> None:
    """A sticky rule has room for what is shown."""
    first = First(1)
    view = selecting("c", rename={"x": "k"}, rules={"k": first})
    lines = _lines(view, {"x": "new", "k": "old"}, {"k": "old"})
    assert lines == ['c_total{k="new"} 1', 'c_total{k="other"} 1']


def test_a_displaced_source_uses_up_no_place() -> None:
    """Nor does the second of two attributes for one label."""
    first = First(1)
    view = selecting("c", rename={"x": "k", "y": "k"}, rules={"y": first})
    assert _lines(view, {"x": "1", "y": "2"}, {"y": "3"}) == ['c_total{k="1"} 1', 'c_total{k="3"} 1']


def test_an_attribute_that_its_rule_leaves_out_lets_the_next_one_in() -> None:
    """Of several attributes for one label the first that may be shown is."""
    view = selecting("c", rename={"x": "k", "y": "k"}, rules={"x": Forbid(), "y": Allow(["2"])})
    assert _lines(view, {"x": "1", "y": "2"}) == ['c_total{k="2"} 1']
