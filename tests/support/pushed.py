"""Batches of sources as a hub hands them to the store, without a hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from opentelemetry.sdk.metrics.export import HistogramDataPoint, NumberDataPoint
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.families import HistogramPoint, Kind, MetricFamily
from otel_prom_bridge.points import WORKER, Meaning, Shape, Source, SourcePoint, Stream
from otel_prom_bridge.store.store import Store
from otel_prom_bridge.translate import Translation
from otel_prom_bridge.views.policy import Policy

SCOPE = InstrumentationScope("test")
COUNTER = Stream(SCOPE, "c", "", "", Meaning(Kind.COUNTER, accumulates=True, additive=True))
LEVEL = Stream(SCOPE, "u", "", "", Meaning(Kind.GAUGE, accumulates=False, additive=True))
GAUGE = Stream(SCOPE, "g", "", "", Meaning(Kind.GAUGE, accumulates=False, additive=False))
TOTAL = Stream(SCOPE, "t", "", "", Meaning(Kind.COUNTER, accumulates=False, additive=True))
HISTOGRAM = Stream(SCOPE, "h", "", "", Meaning(Kind.HISTOGRAM, True, True, Shape.BUCKETS))
WHOLE = Stream(SCOPE, "w", "", "", Meaning(Kind.HISTOGRAM, False, True, Shape.BUCKETS))

Shown = dict[str, dict[frozenset[tuple[str, str]], Any]]
Values = Mapping[str | None, float]  # by the value of the attribute k, or None without it

_times = count(1_700_000_000 * 10**9, 10**6)


def number(value: float, attributes: Mapping[str, Any] | None = None, **more: Any) -> NumberDataPoint:
    """A point with one value."""
    return NumberDataPoint(
        attributes=dict(attributes or {}),
        start_time_unix_nano=more.get("start", 10**18),
        time_unix_nano=more.get("time", next(_times)),
        value=value,
        exemplars=more.get("exemplars", []),
    )


def histogram(values: Sequence[float], bounds: Sequence[float] = (1.0, 10.0)) -> HistogramDataPoint:
    """A point with these observations."""
    counts = [0] * (len(bounds) + 1)
    for value in values:
        counts[sum(bound < value for bound in bounds)] += 1
    return HistogramDataPoint(
        attributes={},
        start_time_unix_nano=10**18,
        time_unix_nano=next(_times),
        count=len(values),
        sum=sum(values),
        bucket_counts=counts,
        explicit_bounds=bounds,
        min=0,
        max=0,
    )


def points(source: Source, stream: Stream, values: Values) -> list[NumberDataPoint]:
    """Points as the hub makes them: gauges say which worker they are of."""
    said = {} if stream is not GAUGE or source.worker is None else {WORKER: str(source.worker)}
    return [number(value, said if key is None else {"k": key, **said}) for key, value in values.items()]


class Workers:
    """A store, and sources that push to it."""

    def __init__(self, *views: Any, clock: Callable[[], float] | None = None, **options: Any) -> None:
        translation = options.pop("translation", Translation(scope_info_enabled=False))
        self.findings = Findings()
        self.store = Store(
            translation=translation,
            policy=Policy(views=views, **options),
            findings=self.findings,
            **({} if clock is None else {"clock": clock}),
        )

    def push(self, source: Source, said: Mapping[Stream, Values], **more: Any) -> None:
        """One batch of a source."""
        batch: Iterable[tuple[Stream, Sequence[SourcePoint]]] = [
            (stream, points(source, stream, values)) for stream, values in said.items()
        ]
        self.store.take(source, batch, **more)

    def shown(self) -> Shown:
        """The values of what is shown, by family and labels; of histograms their counts."""
        return {family.name: shown(family) for family in self.store.families()}


def shown(family: MetricFamily) -> dict[frozenset[tuple[str, str]], Any]:
    """The values of a family by labels."""
    found: dict[frozenset[tuple[str, str]], Any] = {}
    for point in family.points:
        value = point.counts if isinstance(point, HistogramPoint) else getattr(point, "value", 1)
        assert found.setdefault(frozenset(point.labels), value) is value
    return found
