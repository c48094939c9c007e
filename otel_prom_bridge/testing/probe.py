"""A probe: what an application has recorded, as a test wants to ask for it.

A probe has a provider and a reader of its own, without a port and without anything global. Or it looks at a
reader of the application. What a probe says is what a scrape would say: the names and the labels are those
that queries have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource

from otel_prom_bridge.arithmetic.histograms import native_sum, to_classic
from otel_prom_bridge.families import (
    Exemplar,
    HistogramPoint,
    Labels,
    MetricFamily,
    NativeHistogramPoint,
)
from otel_prom_bridge.reader.reader import PrometheusMetricReader
from otel_prom_bridge.snapshots import Snapshot
from otel_prom_bridge.snapshots.quantities import matching, quantile_of, quantities
from otel_prom_bridge.testing.baseline import since
from otel_prom_bridge.testing.search import NoMetricError, find, total

# A test asks for what it recorded and nothing else. It wants a collection of its own each time.
ALONE: dict[str, Any] = {
    "registry": None,
    "self_metrics": False,
    "scope_info_enabled": False,
    "disable_target_info": True,
    "collect_interval": 0,
}


@dataclass(frozen=True, slots=True)
class Histogram:
    """A histogram, or several added up. ``counts`` are those in each bucket, the last one up to +Inf."""

    count: int
    sum: float | None
    bounds: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def buckets(self) -> dict[float, int]:
        """The cumulative counts by upper bound, the last of which is infinite."""
        totals = [sum(self.counts[: index + 1]) for index in range(len(self.counts))]
        return dict(zip((*self.bounds, float("inf")), totals, strict=True))

    def quantile(self, quantile: float) -> float:
        """The quantile as ``histogram_quantile`` of PromQL estimates it."""
        if not 0 <= quantile <= 1:
            raise ValueError(f"quantile: {quantile!r} is not allowed, expected a number from 0 to 1")
        return quantile_of(self.bounds, self.counts, quantile)


class MetricsProbe:
    """Asks for metrics by the names that queries have.

    ``reader`` is one of the application's; without it the probe makes a provider with a reader, for which
    ``options`` are those of ``PrometheusMetricReader``. ``sdk_views`` and ``resource`` are for that provider.

    >>> probe = MetricsProbe()
    >>> probe.meter("shop").create_counter("orders").add(2, {"method": "card"})
    >>> probe.value("orders_total", method="card")
    2
    """

    def __init__(
        self,
        reader: PrometheusMetricReader | None = None,
        *,
        sdk_views: tuple[View, ...] = (),
        resource: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        if reader is not None and (options or sdk_views or resource):
            raise TypeError("the options of a reader go to the reader, which is there already")
        self._provider: MeterProvider | None = None
        if reader is None:
            reader = PrometheusMetricReader(**{**ALONE, **options})
            self._provider = MeterProvider(
                [reader],
                resource=Resource(dict(resource or {})),
                views=[*sdk_views, *reader.policy.sdk_views(beside=sdk_views)],
                exemplar_filter=AlwaysOnExemplarFilter() if options.get("exemplars") else None,
                shutdown_on_exit=False,
            )
        self.reader = reader
        self._zero: tuple[MetricFamily, ...] = ()
        self._mark: tuple[MetricFamily, ...] = ()

    @property
    def provider(self) -> MeterProvider:
        """The provider of the probe, for applications and instrumentations that take one."""
        if self._provider is None:
            raise TypeError("this probe looks at a reader of the application; the provider is that one's")
        return self._provider

    def meter(self, name: str = "test", version: str | None = None) -> Meter:
        """A meter of the probe's provider."""
        return self.provider.get_meter(name, version)

    def families(self) -> tuple[MetricFamily, ...]:
        """All families with their points, as they are now, since the last :meth:`reset`."""
        return since(self._zero, self.reader.families()) if self._zero else self.reader.families()

    def value(self, name: str, /, **labels: object) -> float:
        """The value of a series.

        Of a counter, or of the count or sum of a histogram, it is the sum of all series with these labels.

        Raises:
            NoMetricError: (an AssertionError) there is none; the message says what there is.
        """
        return total(find(self.families(), name, labels), name, labels)

    def get_metric(self, name: str, /, **labels: object) -> float | None:
        """The same, but None if there is none."""
        try:
            return self.value(name, **labels)
        except NoMetricError:
            return None

    def get_all_metrics(self) -> dict[tuple[str, Labels], float]:
        """Every number, by the name and the labels that queries have for it."""
        return {
            (item.name, item.labels): item.value for family in self.families() for item in quantities(family)
        }

    def histogram(self, name: str, /, **labels: object) -> Histogram:
        """A histogram: the sum of all series that have these labels.

        Raises:
            NoMetricError: there is none, or its series have different buckets.
        """
        find(self.families(), f"{name}_count", labels)
        family = next(family for family in self.families() if family.name == name)
        found = matching(family.points, labels)
        points = [point for point in found if isinstance(point, HistogramPoint)]
        if native := [point for point in found if isinstance(point, NativeHistogramPoint)]:
            points.append(to_classic(native_sum(native)))
        bounds = {point.bounds for point in points}
        if len(bounds) != 1:
            raise NoMetricError(
                f"{name}: {len(points)} series with different buckets; say which one is meant"
            )
        sums = [point.sum for point in points]
        return Histogram(
            sum(point.observations for point in points),
            None if None in sums else sum(item for item in sums if item is not None),
            bounds.pop(),
            tuple(map(sum, zip(*(point.counts for point in points), strict=True))),
        )

    def exemplars(self, name: str, /, **labels: object) -> list[Exemplar]:
        """The exemplars of a counter or a histogram: of all series that have these labels, oldest first."""
        found: list[Exemplar] = []
        for family in self.families():
            if family.name == name:
                for point in matching(family.points, labels):
                    items = getattr(point, "exemplars", None) or (getattr(point, "exemplar", None),)
                    found += [item for item in items if item is not None]
        return sorted(found, key=lambda item: item.timestamp or 0)

    def mark(self) -> None:
        """Begin to count what :meth:`delta` says: from here on."""
        self._mark = self.families()

    def delta(self, name: str, /, **labels: object) -> float:
        """By how much a value has changed since the last :meth:`mark`, else since the beginning or a reset.

        Raises:
            NoMetricError: there is no such series now.
        """
        now = self.value(name, **labels)
        try:
            return now - total(find(self._mark, name, labels), name, labels)
        except NoMetricError:
            return now

    def assert_counter(self, name: str, expected: float, /, **labels: object) -> None:
        """Fail unless the counter has this value. One that nobody recorded is 0."""
        __tracebackhide__ = True
        self._assert(name, expected, labels)

    def assert_value(self, name: str, expected: float, /, **labels: object) -> None:
        """The same for any number, which must be there."""
        __tracebackhide__ = True
        self.value(name, **labels)
        self._assert(name, expected, labels)

    def _assert(self, name: str, expected: float, labels: Mapping[str, object]) -> None:
        __tracebackhide__ = True
        try:
            found = find(self.families(), name, labels)
        except NoMetricError:
            if expected == 0:
                return
            raise
        value = total(found, name, labels)
        if value != expected:
            shown = "\n".join(f"  {item.name}{dict(item.labels)} {item.value}" for item in found.numbers[:8])
            raise AssertionError(
                f"{name}{dict(labels)} is {value}, not {expected}; it is the sum of\n{shown}"
            )

    def reset(self) -> None:
        """Begin anew: counters and histograms count from here on, and are shown when they do.

        Current values are what they are.
        """
        self._zero = self.reader.families()
        self._mark = ()

    def snapshot(self) -> Snapshot:
        """What :meth:`families` says, as a snapshot."""
        return Snapshot.of_families(self.families())

    def text(self, accept: str | None = None) -> str:
        """The exposition that a scrape would get, without regard to :meth:`reset`."""
        return self.reader.expose(accept).body.decode()

    def shutdown(self) -> None:
        """End the probe's provider, if it has one of its own. A second call does nothing."""
        if self._provider is not None and not self.reader.is_shut_down:
            self._provider.shutdown()

    def __enter__(self) -> MetricsProbe:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
