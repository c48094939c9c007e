"""What the other collectors of a ``prometheus_client`` registry yield, as families.

Metrics of the process, the platform and the garbage collector, and metrics that the application makes with
``prometheus_client``, appear beside ours on one endpoint, so moving to the bridge takes nothing away.
Collectors are code of the application, too. One that raises or hangs shows what it said last, and the others
are asked as usual.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from otel_prom_bridge.client.ours import Bridges, collectors
from otel_prom_bridge.client.reading import families
from otel_prom_bridge.diagnostics import Conflict, Findings, endpoint_logger
from otel_prom_bridge.errors import CollectorError
from otel_prom_bridge.families import MetricFamily, claimed_names
from otel_prom_bridge.forks import renew_in_child
from otel_prom_bridge.native import Event, RLock
from otel_prom_bridge.once import Coalesced
from otel_prom_bridge.values.checks import LONGEST_WAIT


class _Round:
    """One pass over all collectors, one after the other, in a thread that may be lost to one that hangs."""

    def __init__(self, ask: Callable[[_Round], bool]) -> None:
        # A round is never late as a whole. Who comes later waits for it, too, unless one collector takes too
        # long.
        self.work = Coalesced(lambda: ask(self), name="otel-prom-bridge-collectors", patience=math.inf)
        self.asked: Collector | None = None  # The collector that the round is waiting for.
        self.since = 0.0
        self.answered = Event()  # That collector did answer, after the round was given up.


class OtherCollectors:
    """The collectors of a registry, except those of bridges.

    ``failed`` is called with the name of a collector's class every time the collector raises. A collector
    counts as one that hangs only after ``patience`` seconds of silence, however little time a scraper had.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        findings: Findings,
        failed: Callable[[str], None],
        patience: float = 0.0,
    ) -> None:
        self._registry = registry
        self._findings = findings
        self._failures = Findings(log=endpoint_logger)
        self._failed = failed
        self._patience = patience
        self._last: dict[Collector, list[MetricFamily]] = {}
        self._whole: dict[Collector, list[MetricFamily]] = {}  # What it said when it last did not raise.
        self._raised: set[Collector] = set()
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Begin anew, as in a forked child, where no thread is left that waits for a collector."""
        self._lock = RLock()  # a signal handler may scrape, too
        self._stuck: set[Collector] = set()
        self._round = _Round(self._ask)

    def ask(self, seconds: float) -> int:
        """Ask all collectors, wait for so many seconds, and return how many have not answered by then.

        A collector that has not answered shows what it said last. One that hangs is not asked again before it
        has answered. If somebody else gives it up while this call waits for it, this call gets the answers of
        the other collectors first, and then waits for it again.
        """
        deadline = time.monotonic() + min(seconds, LONGEST_WAIT)
        given_up: list[_Round] = []
        this = self._round
        while self._collectors() and not this.work.wait(deadline - time.monotonic()):
            if this is self._round:
                missing = self._unanswered() | {this.asked}
                if time.monotonic() >= deadline:  # Otherwise it is a collector that asks us.
                    self._give_up(this, seconds)
                return len(missing)
            given_up.append(this)
            this = self._round
        for other in given_up:
            other.answered.wait(max(0.0, deadline - time.monotonic()))
        return len(self._unanswered())

    def families(self, *, ours: Iterable[MetricFamily]) -> list[MetricFamily]:
        """What the collectors said last.

        A family is left out and reported if its name belongs to one of ``ours`` or to a family before it.
        """
        collectors = self._collectors()
        with self._lock:
            self._last = {item: self._last[item] for item in collectors if item in self._last}
            self._whole = {item: self._whole[item] for item in collectors if item in self._whole}
            self._raised.intersection_update(collectors)
        found = [family for shown in self._last.values() for family in shown]
        return self._without_conflicts(found, ours)

    @property
    def is_whole(self) -> bool:
        """Whether no collector raised when it was asked last."""
        return not self._raised

    def _unanswered(self) -> set[Collector | None]:
        present = self._collectors()
        with self._lock:
            return {item for item in present if item in self._stuck}

    def _give_up(self, this: _Round, seconds: float) -> None:
        # The thread of this round is lost to the collector that it waits for. The next round begins without
        # both.
        with self._lock:
            silent = time.monotonic() - this.since
            if this is not self._round or this.asked is None or silent < self._patience:
                return
            self._stuck.add(this.asked)
            self._failures.report(
                ("stuck", type(this.asked)),
                "collector %r of the prometheus_client registry has not answered for %.1f s and shows what it"
                " said last: a scrape waited %.1f s; look for what hangs in it, or let scrapes wait longer",
                *(this.asked, silent, seconds),
            )
            self._round = _Round(self._ask)
        this.work.give_up()

    def _collectors(self) -> list[Collector]:
        # They are asked one at a time, because registry.collect() ends at the first that raises.
        return [item for item in collectors(self._registry) if not isinstance(item, Bridges)]

    def _ask(self, this: _Round) -> bool:
        for collector in self._collectors():
            with self._lock:
                if collector in self._stuck:
                    continue
                this.asked, this.since = collector, time.monotonic()
            found, raised = self._collected(collector)
            with self._lock:
                if raised:
                    self._raised.add(collector)
                    new = {family.name for family in found}
                    found += [known for known in self._whole.get(collector, ()) if known.name not in new]
                else:
                    self._raised.discard(collector)
                    self._whole[collector] = found
                self._last[collector] = found
                self._stuck.discard(collector)
                this.asked = None
                if this is not self._round:  # This round was given up, and there is another one.
                    this.answered.set()
                    return False
        return True

    def _collected(self, collector: Collector) -> tuple[list[MetricFamily], bool]:
        """What the collector says, and whether it raised before it had said everything."""
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
        except BaseException as error:  # This thread is ours, so not even SystemExit is meant for it.
            self._failures.report(("collector", type(collector)), "%s", CollectorError(collector, error))
            self._failed(type(collector).__qualname__)
            return result, True
        return result, False

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
