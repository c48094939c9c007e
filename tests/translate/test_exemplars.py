"""OTel exemplars become Prometheus exemplars: the ids of their trace, and what else fits."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import Exemplar as SdkExemplar

from otel_prom_bridge.families import EXEMPLAR_CHARACTERS, Exemplar
from otel_prom_bridge.translate.exemplars import exemplar
from otel_prom_bridge.translate.labels import labels

TRACE_ID, SPAN_ID = 0x0AF7651916CD43DD8448EB211C80319C, 0x00F067AA0BA902B7
IDS = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "00f067aa0ba902b7"}
# What the two ids leave of the 128 characters: names of 8 and 7, values of 32 and 16.
ROOM = 65


def converted(
    attributes: dict[str, object] | None,
    *,
    trace_id: int | None = TRACE_ID,
    span_id: int | None = SPAN_ID,
    value: float = 1.5,
    time_unix_nano: int = 1_700_000_000_123_456_789,
) -> Exemplar:
    """Our exemplar for one of the SDK."""
    source = SdkExemplar(attributes, value, time_unix_nano, span_id, trace_id)  # type: ignore[arg-type]
    return exemplar(source, source.filtered_attributes or {})


def size(pairs: dict[str, str]) -> int:
    """How many characters the names and values take."""
    return sum(len(name) + len(value) for name, value in pairs.items())


# open-telemetry/opentelemetry-go@736a14fcdca2 exporters/prometheus/exporter_test.go:1364
def test_exemplar_of_the_go_exporter() -> None:
    """An exemplar has the ids of its trace in hexadecimal, and its filtered attributes as labels."""
    found = converted(
        {"A.1": "B", "C.2": "D", "E.3": True, "F.4": 42}, trace_id=1 << 120, span_id=1 << 56, value=9
    )
    assert dict(found.labels) == {
        "trace_id": "01000000000000000000000000000000",
        "span_id": "0100000000000000",
        "A_1": "B",
        "C_2": "D",
        "E_3": "true",
        "F_4": "42",
    }
    assert found.value == 9


@pytest.mark.parametrize(
    ("trace_id", "span_id", "expected"),
    [
        (TRACE_ID, SPAN_ID, IDS),
        (1, 2, {"trace_id": "0" * 31 + "1", "span_id": "0" * 15 + "2"}),
        ((1 << 128) - 1, (1 << 64) - 1, {"trace_id": "f" * 32, "span_id": "f" * 16}),
        (None, None, {}),
        # 0 is no id: https://www.w3.org/TR/trace-context/#trace-id
        (0, 0, {}),
        (TRACE_ID, None, {"trace_id": IDS["trace_id"]}),
        (None, SPAN_ID, {"span_id": IDS["span_id"]}),
    ],
)
def test_ids(trace_id: int | None, span_id: int | None, expected: dict[str, str]) -> None:
    """Ids are padded to 32 and 16 hexadecimal digits; without a span there are none."""
    assert dict(converted(None, trace_id=trace_id, span_id=span_id).labels) == expected


@pytest.mark.parametrize("attributes", [None, {}])
def test_no_attributes(attributes: dict[str, object] | None) -> None:
    """Without filtered attributes the ids stand alone."""
    assert dict(converted(attributes).labels) == IDS


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"http.route": "/a"}, {"http_route": "/a"}),
        ({"1x": None}, {"key_1x": ""}),
        ({"foo.bar": "a", "foo-bar": "b"}, {"foo_bar": "b;a"}),
        ({"bad": "\ud800"}, {"bad": "\ufffd"}),
        ({"火": [1, "火"]}, {"_": '[1, "火"]'}),
    ],
)
def test_attributes_are_sanitised(attributes: dict[str, object], expected: dict[str, str]) -> None:
    """Filtered attributes become labels by the rules of any other attributes."""
    assert dict(converted(attributes).labels) == {**IDS, **expected}


@pytest.mark.parametrize(
    ("attributes", "trace_id", "span_id", "expected"),
    [
        ({"trace_id": "x", "span_id": "y", "a": "1"}, TRACE_ID, SPAN_ID, {**IDS, "a": "1"}),
        ({"trace.id": "x", "span-id": "y"}, TRACE_ID, SPAN_ID, IDS),
        # there is no id to win
        ({"trace_id": "x", "span_id": "y"}, None, None, {"trace_id": "x", "span_id": "y"}),
        ({"trace_id": "x", "span_id": "y"}, TRACE_ID, None, {"trace_id": IDS["trace_id"], "span_id": "y"}),
    ],
)
def test_ids_win_over_attributes(
    attributes: dict[str, object], trace_id: int | None, span_id: int | None, expected: dict[str, str]
) -> None:
    """An attribute that becomes the label of an id makes way for the id, if there is one."""
    assert dict(converted(attributes, trace_id=trace_id, span_id=span_id).labels) == expected


# "The combined length of the label names and values of an Exemplar's LabelSet MUST NOT exceed 128 UTF-8
# character code points." prometheus/OpenMetrics@3bb328ab04d2 specification/OpenMetrics.md:99
@pytest.mark.parametrize(
    ("attributes", "kept"),
    [
        ({"a": "x" * (ROOM - 1)}, {"a"}),
        ({"a": "x" * ROOM}, set()),
        # code points, neither bytes nor UTF-16 units
        ({"a": "😀" * (ROOM - 1)}, {"a"}),
        ({"a": "😀" * ROOM}, set()),
        # the length counts after sanitising: key_1 takes five
        ({"1": "x" * (ROOM - 5)}, {"key_1"}),
        ({"1": "x" * (ROOM - 4)}, set()),
        # names count like values
        ({"n" * ROOM: ""}, {"n" * ROOM}),
        ({"n" * (ROOM + 1): ""}, set()),
        # one that does not fit takes no room from the others
        ({"a": "x" * 100, "b": "1", "c": "x" * 100, "d": "2"}, {"b", "d"}),
        ({"a": "x" * 40, "b": "x" * 40, "c": "x" * 20}, {"a", "c"}),
        # an attribute that an id replaces takes no room either
        ({"trace_id": "x" * 60, "z": "x" * (ROOM - 1)}, {"z"}),
    ],
)
def test_attributes_that_do_not_fit_are_left_out(attributes: dict[str, object], kept: set[str]) -> None:
    """Filtered attributes come along as far as 128 characters go; the ids always do."""
    found = dict(converted(attributes).labels)
    assert found.keys() == {*IDS, *kept}
    assert {**found, **IDS} == found
    assert size(found) <= 128


def test_without_ids_the_attributes_have_all_of_the_room() -> None:
    """Without a span, the 128 characters are the attributes'."""
    assert dict(converted({"a": "x" * 127}, trace_id=None, span_id=None).labels) == {"a": "x" * 127}
    assert converted({"a": "x" * 128}, trace_id=None, span_id=None).labels == ()


values = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=130) | st.binary(max_size=60)
)


@given(
    attributes=st.dictionaries(
        st.text(max_size=20)
        | st.text(st.characters(), max_size=20)
        | st.sampled_from(["trace_id", "span.id"]),
        values | st.lists(values, max_size=3),
        max_size=8,
    ),
    trace_id=st.none() | st.integers(0, (1 << 128) - 1),
    span_id=st.none() | st.integers(0, (1 << 64) - 1),
)
@example(attributes={"a": "x" * 64, "b": "x" * 200}, trace_id=TRACE_ID, span_id=SPAN_ID)
def test_any_exemplar_keeps_its_ids_and_fits(
    attributes: dict[str, object], trace_id: int | None, span_id: int | None
) -> None:
    """Any exemplar keeps its ids, holds at most 128 characters, and leaves out only what does not fit."""
    pairs = converted(attributes, trace_id=trace_id, span_id=span_id).labels
    found = dict(pairs)
    assert len(found) == len(pairs)
    assert size(found) <= EXEMPLAR_CHARACTERS == 128
    if trace_id:
        assert int(found["trace_id"], 16) == trace_id
    if span_id:
        assert int(found["span_id"], 16) == span_id
    ids = {name for name, number in (("trace_id", trace_id), ("span_id", span_id)) if number}
    offered = {name: value for name, value in labels(attributes.items()) if name not in ids}
    assert {name: value for name, value in found.items() if name not in ids}.items() <= offered.items()
    left_out = [len(name) + len(value) for name, value in offered.items() if name not in found]
    assert all(size(found) + more > EXEMPLAR_CHARACTERS for more in left_out)


@pytest.mark.parametrize(
    ("nanoseconds", "seconds"),
    [(0, 0.0), (1, 1e-9), (1_500_000_000, 1.5), (1_700_000_000_123_000_000, 1_700_000_000.123)],
)
def test_the_time_is_in_seconds(nanoseconds: int, seconds: float) -> None:
    """The time of the measurement comes along, in seconds since the epoch."""
    assert converted(None, time_unix_nano=nanoseconds).timestamp == seconds


@pytest.mark.parametrize("value", [0, -3, 2.5, 10**20])
def test_the_value_is_that_of_the_measurement(value: float) -> None:
    """The value is kept with its type, because integers are written without a point."""
    found = converted(None, value=value).value
    assert (found, type(found)) == (value, type(value))
