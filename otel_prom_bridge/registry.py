"""What the other collectors of a ``prometheus_client`` registry yield, as families.

Process, platform and GC metrics and the application's own ``prometheus_client`` metrics appear beside ours
on one endpoint, so moving to the bridge takes nothing away. Collectors are the application's code, too: one
that raises is left out, and one that hangs shows what it said last, while the others are asked as usual.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from otel_prom_bridge.client_metrics import families
from otel_prom_bridge.coalescing import Coalesced
from otel_prom_bridge.collector import BridgeCollector
from otel_prom_bridge.diagnostics import Conflict, Findings
from otel_prom_bridge.errors import CollectionTimeoutError, CollectorError
from otel_prom_bridge.families import MetricFamily, claimed_names


class OtherCollectors:
    """The collectors of a registry, without those of bridges.

    ``failed`` hears the name of a collector's class every time it raises.
    """

    def __init__(
        self, registry: CollectorRegistry, *, findings: Findings, failed: Callable[[str], None]
    ) -> None:
        self._registry = registry
        self._findings = findings
        self._failed = failed
        self._lock = threading.Lock()
        self._last: dict[Collector, list[MetricFamily]] = {}
        self._asked: Collector | None = None  # the one that the present round is waiting for
        self._stuck: set[Collector] = set()
        self._round = self._new_round()

    def ask(self, seconds: float) -> int:
        """Ask all of them, wait so long, and say how many have not answered.

        Such a collector shows what it said last, and is not asked again before it has answered.
        """
        if self._collectors() and not self._round.wait(seconds):
            self._set_stuck(seconds)
        return len(self._stuck)

    def families(self, *, ours: Iterable[MetricFamily]) -> list[MetricFamily]:
        """What they said last.

        A family whose name belongs to one of ``ours`` or to one before it is left out and reported.
        """
        collectors = self._collectors()
        with self._lock:
            self._last = {item: self._last[item] for item in collectors if item in self._last}
        found = [family for shown in self._last.values() for family in shown]
        return self._without_conflicts(found, ours)

    def _new_round(self) -> Coalesced:
        return Coalesced(self._ask, name="otel-prom-bridge-collectors")

    def _set_stuck(self, seconds: float) -> None:
        # The thread of this round is lost to the one that it waits for; the next round begins without it.
        with self._lock:
            if self._asked is None or not self._round.is_late:
                return
            self._stuck.add(self._asked)
            error = CollectionTimeoutError(f"collector {self._asked!r}", seconds)
            self._findings.report(("stuck", type(self._asked)), "%s", error)
            self._asked = None
            self._round = self._new_round()

    def _collectors(self) -> list[Collector]:
        # There is no public way to collect one collector at a time, and registry.collect() ends at the first
        # one that raises.
        with self._registry._lock:
            found = list(self._registry._collector_to_names)
        return [item for item in found if not isinstance(item, BridgeCollector)]

    def _ask(self) -> bool:
        this = self._round
        for collector in self._collectors():
            with self._lock:
                if this is not self._round:
                    return False  # given up: there is another round
                if collector in self._stuck:
                    continue
                self._asked = collector
            found = self._collected(collector)
            with self._lock:
                self._last[collector] = found
                self._stuck.discard(collector)
                if this is self._round:
                    self._asked = None
        return True

    def _collected(self, collector: Collector) -> list[MetricFamily]:
        result: list[MetricFamily] = []
        try:
            for metric in collector.collect():
                try:
                    result += families(metric)
                except Exception as error:
                    self._findings.report(
                        ("collected", getattr(metric, "name", None)),
                        "metric %r of the prometheus_client registry is not valid and is left out: %r",
                        *(metric, error),
                    )
        except BaseException as error:  # this thread is ours: not even SystemExit is meant for it
            self._findings.report(("collector", type(collector)), "%s", CollectorError(collector, error))
            self._failed(type(collector).__qualname__)
        return result

    def _without_conflicts(
        self, found: Iterable[MetricFamily], ours: Iterable[MetricFamily]
    ) -> list[MetricFamily]:
        result: list[MetricFamily] = []
        claimed: set[str] = set()
        for family in found:
            if not claimed:
                claimed.update(*(claimed_names(known.name, known.kind) for known in ours))
            names = claimed_names(family.name, family.kind)
            if claimed.isdisjoint(names):
                claimed |= names
                result.append(family)
            else:
                what = f"{family.kind.value} {family.name!r} of the prometheus_client registry"
                self._findings.conflict(Conflict(family.name, what, "its name is taken"))
        return result


def register(registry: CollectorRegistry, collector: BridgeCollector) -> Callable[[], None]:
    """Let the registry ask this collector, until what is returned is called."""
    registry.register(collector)

    def leave() -> None:
        with contextlib.suppress(KeyError):  # the application did it already
            registry.unregister(collector)

    return leave
