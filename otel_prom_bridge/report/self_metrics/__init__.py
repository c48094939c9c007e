"""What the bridge says about itself, as families beside those of the application.

Each part of the pipeline reports a number once per scrape. What only the store knows comes as a
:class:`State` when the families are asked for. Nothing here is done for each measurement or for each series:
a scrape costs a few additions and one look at every *metric*. A scrape is counted when it is over, so the
next one shows it.

If the semantic conventions of OpenTelemetry have a name for something, it has that name here, and the labels
that they demand. All other names begin with ``otel_prom_bridge_``. Names and labels do not depend on the
translation strategy or the prefix, so an alert on them works everywhere.

https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/

Two groups of names from the conventions were considered and are not used. ``http.server.*`` would count
scrapes, but these names belong to the instrumentation of the application's own server, which may serve our
app. ``otel.sdk.exporter.metric_data_point.*`` counts what is handed over, but a scrape shows a state and
hands nothing over. The number of series says the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

from otel_prom_bridge.diagnostics import Conflict, Findings, logger
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.families import Kind, MetricFamily, claimed_names, identity
from otel_prom_bridge.forks import renew_in_child, renew_lock
from otel_prom_bridge.native import RLock
from otel_prom_bridge.report.recent import Recent
from otel_prom_bridge.report.self_metrics import metadata
from otel_prom_bridge.report.self_metrics.tables import Counters, Durations, Gauges, Table
from otel_prom_bridge.values.notation import unknown

Phase: TypeAlias = Literal["collect", "apply", "encode", "compress"]

# "A name identifying the type of the OpenTelemetry component". The conventions have a list of them.
# https://opentelemetry.io/docs/specs/semconv/registry/attributes/otel/#otel-component-type
COMPONENT_TYPE = "prometheus_http_text_metric_exporter"
_instances = count()

# There are few statuses, formats, errors and phases, unless something is wrong.
_MAX_FEW = 20

_NOTHING: Mapping[Any, int] = MappingProxyType({})
_COLLECTION = metadata.COLLECTION.name
# What is asked of each table at each scrape, whether it changed or not.
_IS_STALE, _SHOWN, _POINTS = map(attrgetter, ("is_stale", "shown", "points"))
_PREFIXES = ("otel_prom_bridge_", "otel_sdk_", "otel.sdk.")

_FORMATS = {
    "text/plain": "text",
    "application/openmetrics-text": "openmetrics",
    "application/vnd.google.protobuf": "protobuf",
}


class State(NamedTuple):
    """What the store knows when it is asked. Metrics have the names under which they are shown.

    - ``series`` is the number of series of each metric.
    - ``overflowed`` is the number of points of each metric that went to its overflow series since the start.
    - ``folded`` is the number of points in which a rule changed a label, by metric, label and rule. This
      number and the one before are totals, so they never go down.
    - ``dropped`` is the number of metrics that are not shown at all.
    - ``conflicting`` is the number of conflicts found so far.
    - ``exemplars`` is the number of exemplars that the next scrape could show.
    - ``prices`` has the version and the date of the table of prices, if something was looked up in it.
    - ``limit`` is the number of series that all metrics together may have. None stands for no limit.
    - ``collected`` says whether the last collection succeeded in time. It is None if there was no collection.
    - ``stuck`` is the number of collectors that have not answered. It is None if there are none to ask.
    - ``sources`` is the number of processes that push to this one. It is None where nobody does that.
    - ``rest`` is how many of them, since the start, were of services for which there was no place any more.
    - ``push_age`` is how many seconds ago the last push came of the one that has been silent for longest.
    """

    series: Mapping[str, int] = _NOTHING
    overflowed: Mapping[str, int] = _NOTHING
    folded: Mapping[tuple[str, str, str], int] = _NOTHING
    dropped: int = 0
    conflicting: int = 0
    exemplars: int = 0
    prices: Mapping[tuple[str, str], int] = _NOTHING
    limit: int | None = None
    collected: bool | None = None
    stuck: int | None = None
    sources: int | None = None
    push_age: float | None = None
    rest: int = 0


class SelfMetrics:
    """Counts what the bridge does, and measures how long it takes.

    It can be used from any thread, and never raises, whatever the number is. ``findings`` is told when a
    family of ours had to give way to one of the application. If it is not ``enabled``, nothing is counted,
    and there are no families. ``names`` gives some of the families other names.
    """

    def __init__(
        self,
        *,
        findings: Findings,
        enabled: bool = True,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.enabled = enabled
        self.recent = Recent()  # also if not enabled: it is no metric
        self._findings = findings
        self._component = (f"{COMPONENT_TYPE}/{next(_instances)}", COMPONENT_TYPE)
        # This is the only lock of the module. It is held for additions, and never around a call into other
        # code. It is re-entrant, because a signal handler may scrape.
        self._lock = RLock()
        self._prefixes = (*_PREFIXES, *(names or {}).values())
        self._joined: dict[str, tuple[MetricFamily, MetricFamily, MetricFamily]] = {}
        self._seen: tuple[Sequence[MetricFamily], Mapping[str, MetricFamily]] = ((), {})
        # The last change of the tables that began, and the last one that ended with what they show since.
        # Only if it is the same one, that is still so.
        self._takeover = object()
        self._settled: tuple[object, State | tuple[()]] = (self._takeover, ())
        self._create_tables(time.time())
        self._rename(names or {})
        renew_in_child(self)

    def renew(self) -> None:
        """Make the lock anew in a forked child, where the thread that holds it may be gone."""
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
        self._callbacks = Counters(metadata.CALLBACK_FAILURES, "instrument", "error_type", created=created)
        self._collectors = Counters(metadata.COLLECTOR_FAILURES, "collector", created=created)
        self._total = Gauges(metadata.SERIES, created=created)
        self._limit = Gauges(metadata.SERIES_LIMIT, created=created)
        self._series = Gauges(metadata.METRIC_SERIES, "metric", created=created)
        self._overflowed = Counters(metadata.OVERFLOWED, "metric", created=created)
        self._folded = Counters(metadata.FOLDED, "metric", "label", "rule", created=created)
        self._dropped = Gauges(metadata.DROPPED, created=created)
        self._conflicting = Gauges(metadata.CONFLICTING, created=created)
        self._exemplars = Gauges(metadata.EXEMPLARS, created=created)
        self._prices = Gauges(metadata.PRICES, "version", "date", created=created)
        self._collected = Gauges(metadata.COLLECTED, created=created)
        self._stuck = Gauges(metadata.STUCK, created=created)
        self._reloaded = Gauges(metadata.RELOADED, created=created)
        self._certificate = Gauges(metadata.CERTIFICATE, created=created)
        self._sources = Gauges(metadata.SOURCES, created=created)
        self._ended = Counters(metadata.SOURCES_ENDED, "how", created=created, limit=few)
        self._pushes = Counters(metadata.PUSHES, "status", created=created, limit=few)
        self._push_age = Gauges(metadata.PUSH_AGE, created=created)
        self._rest = Counters(metadata.OVERFLOWED_SOURCES, created=created)
        self._duplicates = Counters(metadata.DUPLICATES, created=created)
        self._rejected = Counters(metadata.REJECTED, created=created)
        self._worker_dropped = Counters(metadata.WORKER_DROPPED, created=created)
        self._tables = tuple(value for value in vars(self).values() if isinstance(value, Table))

    @property
    def is_entered(self) -> bool:
        """Whether this very thread has the lock already, so that others may wait for it."""
        owned: bool = self._lock._is_owned()  # type: ignore[attr-defined]
        return owned

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Measure how long a part of a scrape takes, also if it raises."""
        start, error = time.perf_counter(), ""
        try:
            yield
        except BaseException as reason:
            error = type(reason).__qualname__
            raise
        finally:
            self.observe(name, time.perf_counter() - start, error=error)

    def observe(self, name: Phase, seconds: float, *, error: str = "") -> None:
        """Take in how long a part of a scrape took. ``error`` says in one word why a collection failed."""
        self.recent.observe(name, seconds, error)
        if not self.enabled:
            return
        with self._lock:
            if name == "collect":
                self._collections.observe((*self._component, error), seconds)
            else:
                self._phases.observe(name, seconds)

    def scrape(self, status: int, seconds: float) -> None:
        """Count a request for metrics that was answered with this status after so many seconds."""
        if not self.enabled:
            return
        # "For successful operations, error.type MUST NOT be set". With HTTP the error is the status code.
        error = str(status) if status >= 400 else ""
        with self._lock:
            self._scrapes.add(str(status))
            self._operations.observe((*self._component, error), seconds)

    def size(self, content_type: str, size: int, *, encoding: str = "identity") -> None:
        """Take in how many bytes the last body of this content type had, in this ``Content-Encoding``."""
        if not self.enabled:
            return
        media_type = content_type.partition(";")[0].strip()
        with self._lock:
            self._sizes.set((encoding, _FORMATS.get(media_type, media_type)), size)

    def callback_failed(self, instrument: str, error: str = "") -> None:
        """Count a callback of this asynchronous instrument that raised, and what if that is known."""
        self.recent.callback_failed(instrument, error)
        if self.enabled:
            with self._lock:
                self._callbacks.add((instrument, error))

    def collector_failed(self, collector: str) -> None:
        """Count a collector of the ``prometheus_client`` registry that raised, by the name of its class."""
        if self.enabled:
            with self._lock:
                self._collectors.add(collector)

    def reloaded(self, successful: bool) -> None:
        """Take in whether the guards of an endpoint use their files as these are now."""
        if self.enabled:
            with self._lock:
                self._reloaded.set((), int(successful))

    def certificate(self, ends: float) -> None:
        """Take in when the certificate of an endpoint ends, in seconds since 1970."""
        if self.enabled:
            with self._lock:
                self._certificate.set((), ends)

    def pushed(self, status: int, *, rejected: int = 0, dropped: int = 0, duplicate: bool = False) -> None:
        """Count a push that was answered with this status.

        So many of its points were ``rejected``, and so many were ``dropped`` by the worker before.
        """
        if self.enabled:
            with self._lock:
                self._pushes.add(str(status))
                self._rejected.add((), rejected)
                self._worker_dropped.add((), dropped)
                self._duplicates.add((), int(duplicate))

    def source_ended(self, how: Literal["goodbye", "connection", "timeout"]) -> None:
        """Count a process that pushed and has ended."""
        if self.enabled:
            with self._lock:
                self._ended.add(how)

    def families(self, state: State) -> tuple[MetricFamily, ...]:
        """All families that have a point, as they are now.

        What did not change is the same object as before.
        """
        if not self.enabled:
            return ()
        with self._lock:
            if self._settled != (self._takeover, state):
                self._take_over(state)
            for table in filter(_IS_STALE, self._tables):  # few change between two scrapes
                table.family()
            return tuple(filter(_POINTS, map(_SHOWN, self._tables)))

    def _take_over(self, state: State) -> None:
        """Bring the tables to this state.

        A signal handler or a finalizer may scrape in between, on this very thread, and bring some of them to
        a state of its own. Then nobody knows what they show, and the next scrape does all of it again.
        """
        mine = object()
        before, self._takeover = self._takeover, mine
        whose, known = self._settled
        settled: State | tuple[()] = ()
        try:
            self._fill(state, known if whose is before else ())
            settled = state
        finally:
            self._settled = mine, settled

    def _fill(self, state: State, last: State | tuple[()]) -> None:
        if state[:3] != last[:3]:
            self._total.set((), sum(state.series.values()))
            self._series.set_all(state.series)
            self._overflowed.raise_all(state.overflowed)
            self._folded.raise_all(state.folded)
        self._dropped.set((), state.dropped)
        self._conflicting.set((), state.conflicting)
        self._exemplars.set((), state.exemplars)
        self._prices.set_all(state.prices)
        if state.limit is not None:
            self._limit.set((), state.limit)
        if state.collected is not None:
            self._collected.set((), int(state.collected))
        if state.stuck is not None:
            self._stuck.set((), state.stuck)
        if state.sources is not None:
            self._sources.set((), state.sources)
            self._push_age.set((), state.push_age or 0.0)
            if state.rest:
                self._rest.raise_all({(): state.rest})

    def beside(self, others: Sequence[MetricFamily], state: State) -> tuple[MetricFamily, ...]:
        """The families of the application, and ours after them. The application's come first if names meet.

        - The SDK can record the duration of collections itself, for all of its readers. Then ours is left
          out.
        - Series of ours join a family of the same name and type that has none of them, because exporters
          record their operations under the name that we use.
        - Any other family of ours whose name is taken is left out, and that is reported.

        https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/#metric-otelsdkmetric_readercollectionduration
        """
        own, near = self.families(state), self._near(others)
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

    def _near(self, others: Sequence[MetricFamily]) -> Mapping[str, MetricFamily]:
        """Those of the families by their names whose names are like ours."""
        seen, near = self._seen
        if seen is not others:
            near = {family.name: family for family in others if family.name.startswith(self._prefixes)}
            self._seen = others, near
        return near

    def _join(self, known: MetricFamily, family: MetricFamily) -> MetricFamily:
        last = self._joined.get(family.name)
        if last is None or last[0] is not known or last[1] is not family:
            result = replace(known, points=known.points + family.points)
            last = self._joined[family.name] = (known, family, result)
        return last[2]


def _is_collection(name: str) -> bool:
    # This holds for every strategy with which otel.sdk.metric_reader.collection.duration may be translated.
    return name.replace(".", "_") in (_COLLECTION, _COLLECTION.removesuffix("_seconds"))


def _is_free(name: str, kind: Kind, others: Iterable[MetricFamily]) -> bool:
    claimed = claimed_names(name, kind)
    return all(claimed.isdisjoint(claimed_names(other.name, other.kind)) for other in others)


def _disjoint(known: MetricFamily, family: MetricFamily) -> bool:
    taken = {identity(point.labels) for point in known.points}
    return taken.isdisjoint(identity(point.labels) for point in family.points)
