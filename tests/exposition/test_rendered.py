"""An encoder that has seen other families before writes what a new one writes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.exposition.encoder import Encoder
from otel_prom_bridge.exposition.openmetrics import OpenMetricsWriter
from otel_prom_bridge.exposition.openmetrics2 import OpenMetrics2Writer
from otel_prom_bridge.exposition.protobuf import ProtobufWriter
from otel_prom_bridge.exposition.text import TextWriter
from otel_prom_bridge.families import HistogramPoint, Kind, MetricFamily, NativeHistogramPoint, Point

WRITERS = (TextWriter(), OpenMetricsWriter(), OpenMetrics2Writer(), ProtobufWriter())


def point(number: int, count: int, native: bool) -> Point:
    """A histogram, of either sort, whose text and bytes are the longer the larger the count is."""
    labels = (("k", "v" * number),)
    if native:
        return NativeHistogramPoint(labels, 0, 0.0, 0, ((1, count),), (), 1.0)
    return HistogramPoint(labels, (1.0,), (count, 0), 1.0)


POINTS = st.lists(
    st.builds(point, st.integers(0, 9), st.integers(1, 10**6), st.booleans()), max_size=9, unique_by=id
)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Point, ...]]:
    """What a family shows at one scrape after the other: some points stay, change, move, come or go."""
    shown = draw(POINTS)
    history = [tuple(shown)]
    for _ in range(draw(st.integers(1, 6))):
        others = draw(POINTS)
        shown = [draw(st.sampled_from([known, *others])) for known in shown]
        history.append(tuple([*shown, *others][: draw(st.integers(0, 12))]))
        shown = list(history[-1])
    return history


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: type(writer).__name__)
@given(histories())
def test_whatever_was_before(writer: TextWriter | ProtobufWriter, history: list[tuple[Point, ...]]) -> None:
    """Points that stay are taken from the body before, wherever they stand in it."""
    empty = MetricFamily("h", Kind.HISTOGRAM, "H", "", ())
    encoder = Encoder(writer, findings=Findings())
    for points in history:
        family = replace(empty, points=points)
        assert encoder.encode((family,)) == Encoder(writer, findings=Findings()).encode((family,))
