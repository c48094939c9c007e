"""What the bridge says about itself, as families beside those of the application.

The parts of the pipeline call in with a number once per scrape; what only the store knows comes as a
:class:`State` when families are asked for. Nothing here is done per recorded measurement or per series: a
scrape costs a few additions and one look at every *metric*. A scrape is counted when it is over, so it shows
up in the next one.

Names follow the OTel semantic conventions where those have one, with the labels that they demand; the rest
begins with ``otel_prom_bridge_``. Names and labels do not follow the translation strategy or the prefix: an
alert on them works everywhere.

https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/

Refused: ``http.server.*`` for scrapes (those names belong to the instrumentation of the application's own
server, which may serve our app) and ``otel.sdk.exporter.metric_data_point.*`` (a scrape shows a state, it
hands nothing over, and the number of series says the same).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Literal, TypeAlias

from otel_prom_bridge.diagnostics import Conflict, Findings, logger
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.families import Kind, MetricFamily, claimed_names, identity
from otel_prom_bridge.forks import renew_in_child, renew_lock
from otel_prom_bridge.native import RLock
from otel_prom_bridge.report.self_metrics import metadata
from otel_prom_bridge.report.self_metrics.tables import Counters, Durations, Gauges, Table
from otel_prom_bridge.values.notation import unknown

Phase: TypeAlias = Literal["collect", "apply", "encode", "compress"]

# "A name identifying the type of the OpenTelemetry component", of the conventions' own list.
# https://opentelemetry.io/docs/specs/semconv/registry/attributes/otel/#otel-component-type
COMPONENT_TYPE = "prometheus_http_text_metric_exporter"
_instances = count()

# Few statuses, formats, errors and phases exist, unless something is odd.
_MAX_FEW = 20

_COLLECTION = metadata.COLLECTION.name
_PREFIXES = ("otel_prom_bridge_", "otel_sdk_", "otel.sdk.")

_FORMATS = {
    "text/plain": "text",
    "application/openmetrics-text": "openmetrics",
    "application/vnd.google.protobuf": "protobuf",
}


@dataclass(frozen=True, slots=True)
class State:
    """What the store knows when it is asked; metrics are named as they are exposed.

    ``series`` has the number of series of each metric, ``overflowed`` the points that went to its overflow
    series since the start, ``folded`` the points in which a rule changed a label, by metric, label and rule.
    Those two are totals: they never go down. ``dropped`` metrics are not shown at all; ``conflicting`` is the
    number of conflicts found so far; ``exemplars`` are those that the next scrape could show; ``limit`` is
    the number of series that all metrics together may have, None for any. ``collected``: the last collection
    succeeded in time; None where there was none. ``stuck`` collectors have not answered; None where there are
    none to ask.
    """

    series: Mapping[str, int] = field(default_factory=dict)
    overflowed: Mapping[str, int] = field(default_factory=dict)
    folded: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    dropped: int = 0
    conflicting: int = 0
    exemplars: int = 0
    limit: int | None = None
    collected: bool | None = None
    stuck: int | None = None


class SelfMetrics:
    """Counts and times what the bridge does. Safe to use from any thread, and never raises for a number.

    ``findings`` hears of a family of ours that gave way. If not ``enabled``, every method returns at once and
    there are no families. ``names`` are other names for some of the families.
    """

    def __init__(
        self,
        *,
        findings: Findings,
        enabled: bool = True,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.enabled = enabled
        self._findings = findings
        self._component = (f"{COMPONENT_TYPE}/{next(_instances)}", COMPONENT_TYPE)
        # The only lock of this module is held for additions and never around a call into other code.
        # Re-entrant, because a signal handler may scrape.
        self._lock = RLock()
        self._prefixes = (*_PREFIXES, *(names or {}).values())
        self._joined: dict[str, tuple[MetricFamily, MetricFamily, MetricFamily]] = {}
        self._create_tables(time.time())
        self._rename(names or {})
        renew_in_child(self)

    def renew(self) -> None:
        """In a forked child: wait for no thread of the parent."""
        renew_lock(self)

    def _rename(self, names: Mapping[str, str]) -> None:
        known = {table.family().name: table for table in self._tables}
        for name in sorted(names.keys() - known.keys()):
            whose = "metrics of the bridge itself"
            logger.warning(
                "%s; ignoring it", unknown(name, name, sorted(known), whose, at="self_metric_names")
            )
        for name in sorted(names.keys() & known.keys()):
            others = [table.family() for table in self._tables if table is not known[name]]
            if _is_free(names[name], known[name].family().kind, others):
                known[name].rename(names[name])
                continue
            expected = "a name that no other metric of the bridge itself has"
            error = ConfigurationError(f"self_metric_names[{name!r}]", names[name], expected)
            logger.warning("%s; ignoring it", error)

    def _create_tables(self, created: float) -> None:
        component = ("otel_component_name", "otel_component_type", "error_type")
        few = _MAX_FEW
        self._collections = Durations(metadata.COLLECTION, *component, created=created, limit=few)
        self._operations = Durations(metadata.OPERATION, *component, created=created, limit=few)
        self._phases = Durations(metadata.PHASE, "phase", created=created, limit=few)
        self._scrapes = Counters(metadata.SCRAPES, "status", created=created, limit=few)
        self._sizes = Gauges(metadata.SIZE, "encoding", "format", created=created, limit=few)
        self._callbacks = Counters(metadata.CALLBACK_FAILURES, "instrument", created=created)
        self._collectors = Counters(metadata.COLLECTOR_FAILURES, "collector", created=created)
        self._total = Gauges(metadata.SERIES, created=created)
        self._limit = Gauges(metadata.SERIES_LIMIT, created=created)
        self._series = Gauges(metadata.METRIC_SERIES, "metric", created=created)
        self._overflowed = Counters(metadata.OVERFLOWED, "metric", created=created)
        self._folded = Counters(metadata.FOLDED, "metric", "label", "rule", created=created)
        self._dropped = Gauges(metadata.DROPPED, created=created)
        self._conflicting = Gauges(metadata.CONFLICTING, created=created)
        self._exemplars = Gauges(metadata.EXEMPLARS, created=created)
        self._collected = Gauges(metadata.COLLECTED, created=created)
        self._stuck = Gauges(metadata.STUCK, created=created)
        self._reloaded = Gauges(metadata.RELOADED, created=created)
        self._tables = tuple(value for value in vars(self).values() if isinstance(value, Table))

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Time a part of a scrape, also if it raises."""
        start, error = time.perf_counter(), ""
        try:
            yield
        except BaseException as reason:
            error = type(reason).__qualname__
            raise
        finally:
            self.observe(name, time.perf_counter() - start, error=error)

    def observe(self, name: Phase, seconds: float, *, error: str = "") -> None:
        """A part of a scrape took so long. ``error``: why a collection failed, in one word."""
        if not self.enabled:
            return
        with self._lock:
            if name == "collect":
                self._collections.observe((*self._component, error), seconds)
            else:
                self._phases.observe(name, seconds)

    def scrape(self, status: int, seconds: float) -> None:
        """A request for metrics was answered with this status after so many seconds."""
        if not self.enabled:
            return
        # "For successful operations, error.type MUST NOT be set"; for HTTP the error is the status code.
        error = str(status) if status >= 400 else ""
        with self._lock:
            self._scrapes.add(str(status))
            self._operations.observe((*self._component, error), seconds)

    def size(self, content_type: str, size: int, *, encoding: str = "identity") -> None:
        """The last body of this content type had so many bytes, in the Content-Encoding given."""
        if not self.enabled:
            return
        media_type = content_type.partition(";")[0].strip()
        with self._lock:
            self._sizes.set((encoding, _FORMATS.get(media_type, media_type)), size)

    def callback_failed(self, instrument: str) -> None:
        """A callback of this asynchronous instrument raised."""
        if self.enabled:
            with self._lock:
                self._callbacks.add(instrument)

    def collector_failed(self, collector: str) -> None:
        """A collector of the ``prometheus_client`` registry raised; the name of its class."""
        if self.enabled:
            with self._lock:
                self._collectors.add(collector)

    def reloaded(self, successful: bool) -> None:
        """Whether the files in front of an endpoint are in use as they are now."""
        if self.enabled:
            with self._lock:
                self._reloaded.set((), int(successful))

    def families(self, state: State) -> tuple[MetricFamily, ...]:
        """Everything as it is now, without families that have no point; what did not change is the same
        object as before."""
        if not self.enabled:
            return ()
        with self._lock:
            self._total.set((), sum(state.series.values()))
            self._series.set_all(state.series)
            self._overflowed.raise_all(state.overflowed)
            self._folded.raise_all(state.folded)
            self._dropped.set((), state.dropped)
            self._conflicting.set((), state.conflicting)
            self._exemplars.set((), state.exemplars)
            if state.limit is not None:
                self._limit.set((), state.limit)
            if state.collected is not None:
                self._collected.set((), int(state.collected))
            if state.stuck is not None:
                self._stuck.set((), state.stuck)
            families = [table.family() for table in self._tables]
        return tuple(family for family in families if family.points)

    def beside(self, others: Sequence[MetricFamily], state: State) -> tuple[MetricFamily, ...]:
        """The families of the application, then ours; where names meet, the application's come first.

        The SDK can record the duration of collections itself, for all of its readers: then ours is left
        out. Series of ours join a family of the same name and type that has none of them: exporters record
        their operations under the name that we use. Any other family of ours whose name is taken is left
        out and reported.

        https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/#metric-otelsdkmetric_readercollectionduration
        """
        own = self.families(state)
        near = {family.name: family for family in others if family.name.startswith(self._prefixes)}
        if not near:
            return (*others, *own)
        joined: dict[str, MetricFamily] = {}
        kept: list[MetricFamily] = []
        for family in own:
            known = near.get(family.name)
            if family.name == _COLLECTION and any(map(_is_collection, near)):
                continue
            if known is not None and known.kind is family.kind and _disjoint(known, family):
                joined[family.name] = self._join(known, family)
            elif _is_free(family.name, family.kind, near.values()):
                kept.append(family)
            else:
                what = f"{family.kind.value} {family.name!r} of the bridge itself"
                self._findings.conflict(Conflict(family.name, what, "its name is taken"))
        return (*(joined.get(family.name, family) for family in others), *kept)

    def _join(self, known: MetricFamily, family: MetricFamily) -> MetricFamily:
        last = self._joined.get(family.name)
        if last is None or last[0] is not known or last[1] is not family:
            result = replace(known, points=known.points + family.points)
            last = self._joined[family.name] = (known, family, result)
        return last[2]


def _is_collection(name: str) -> bool:
    # However the strategy translated otel.sdk.metric_reader.collection.duration.
    return name.replace(".", "_") in (_COLLECTION, _COLLECTION.removesuffix("_seconds"))


def _is_free(name: str, kind: Kind, others: Iterable[MetricFamily]) -> bool:
    claimed = claimed_names(name, kind)
    return all(claimed.isdisjoint(claimed_names(other.name, other.kind)) for other in others)


def _disjoint(known: MetricFamily, family: MetricFamily) -> bool:
    taken = {identity(point.labels) for point in known.points}
    return taken.isdisjoint(identity(point.labels) for point in family.points)
