"""An encoder that has seen other points before writes what a new one writes."""

from __future__ import annotations

import pytest
from any_families import POINTS, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.exposition.encoder import Encoder
from otel_prom_bridge.exposition.openmetrics import OpenMetricsWriter
from otel_prom_bridge.exposition.openmetrics2 import OpenMetrics2Writer
from otel_prom_bridge.exposition.protobuf import ProtobufWriter
from otel_prom_bridge.exposition.text import TextWriter
from otel_prom_bridge.exposition.writer import WriterOptions
from otel_prom_bridge.families import GaugePoint, Kind, MetricFamily, Point

OPTIONS = WriterOptions(created=True)
WRITERS = (TextWriter(OPTIONS), OpenMetricsWriter(OPTIONS), OpenMetrics2Writer(OPTIONS), ProtobufWriter())


def body(encoder: Encoder, family: MetricFamily) -> bytes:
    """What it writes of the family."""
    return encoder.encode((family,)).body


@st.composite
def histories(draw: st.DrawFn) -> list[MetricFamily]:
    """A family at one scrape after the other: points stay, change, get other labels, come, move or go."""
    kind = draw(st.sampled_from(list(Kind)))
    name, points = draw(texts.filter(bool)), st.lists(POINTS[kind], max_size=6)
    shown: list[Point] = draw(points)
    history = [tuple(shown)]
    for _ in range(draw(st.integers(1, 4))):
        others = draw(points)
        for index, other in enumerate(others[: len(shown)]):
            match draw(st.sampled_from(["stays", "changes", "is another"])):
                case "changes":  # with the very same labels, as the store has it
                    shown[index] = other._replace(labels=shown[index].labels)
                case "is another":
                    shown[index] = other
        shown = [*shown, *others[len(shown) :]]
        if draw(st.booleans()):
            shown = draw(st.permutations(shown))[: draw(st.integers(0, 6))]
        history.append(tuple(shown))
    return [MetricFamily(name, kind, "H", "", points) for points in history]


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: type(writer).__name__)
@settings(max_examples=examples(30))
@given(histories())
def test_whatever_was_before(writer: TextWriter | ProtobufWriter, history: list[MetricFamily]) -> None:
    """Points that stay, and labels that do, are taken from the body before, wherever they stand in it."""
    encoder = Encoder(writer, findings=Findings())
    for family in history:
        assert body(encoder, family) == body(Encoder(writer, findings=Findings()), family)


@pytest.mark.parametrize("size", [0, 1, 60, 120, 121, 122, 123, 124, 125, 126, 127, 128, 300, 16_350, 16_400])
def test_labels_of_every_size(size: int) -> None:
    """In protobuf, what stands before the labels depends on how long a metric is."""
    encoder, labels = Encoder(ProtobufWriter(), findings=Findings()), (("k", "v" * size),)
    for value in (1.0, 2.0, 3.0):
        family = MetricFamily("g", Kind.GAUGE, "", "", (GaugePoint(labels, value),))
        assert body(encoder, family) == body(Encoder(ProtobufWriter(), findings=Findings()), family)
