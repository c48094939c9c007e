"""Attribute sets that are nothing but their key."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_prom_bridge import ExportView
from otel_prom_bridge.direct import DirectMeterProvider, DirectReader
from otel_prom_bridge.points import AttributeSet, plain
from otel_prom_bridge.store.keys import items_key

PLAIN = st.one_of(st.text(max_size=3), st.integers(), st.booleans(), st.binary(max_size=3), st.none())


@given(st.dictionaries(st.text(max_size=3), PLAIN))
def test_a_set_says_what_its_key_was_made_of(attributes: dict[str, Any]) -> None:
    """With types, and without them where all values are texts."""
    keys = [items_key(attributes)]
    if all(type(value) is str for value in attributes.values()):
        keys.append((*attributes, *attributes.values()))
    for key in keys:
        assert key is not None
        found = AttributeSet(key)
        assert (dict(found), list(found), len(found)) == (attributes, list(attributes), len(attributes))
        assert list(found.items()) == list(attributes.items()) == list(plain(found).items())
        assert bool(found) is bool(attributes)


def test_what_a_view_makes_of_a_set_is_shown() -> None:
    """Also where it is equal to what was recorded, and of another type."""
    view = ExportView(instrument_name="c", compute={"k": lambda attributes: True})
    reader = DirectReader(registry=None, views=[view])
    provider = DirectMeterProvider(reader, shutdown_on_exit=False)
    provider.get_meter("m").create_counter("c").add(1, {"k": 1})
    body = reader.expose().body.decode()
    provider.shutdown()
    assert 'c_total{k="true",' in body


def test_texts_in_another_order_are_the_same_series_beside_numbers() -> None:
    """There are nine sets, and each has one series, also where so many values came that they are known."""
    reader = DirectReader(registry=None, max_series_per_metric=9)
    provider = DirectMeterProvider(reader, shutdown_on_exit=False)
    counter = provider.get_meter("m").create_counter("c")
    counter.add(1, {"a": 1})
    for number in range(8):
        counter.add(1, {"a": f"{number}", "b": "y"})
    for number in range(8):
        counter.add(1, {"b": "y", "a": f"{number}"})
    body = reader.expose().body.decode()
    provider.shutdown()
    assert "otel_metric_overflow" not in body
    assert body.count('",b="y",') == 8
