"""The SDK's locks, so that no recording and no collection ever waits for itself or for a thread that is gone.

The SDK runs Python code while it holds plain locks: one per instrument around every recording of a delta, one
per series, one around everything that a collection reads. Wherever Python code runs, something may come in
between, in the same thread, that records too: a signal handler, or a ``__del__`` that the garbage collector
calls. It would wait for a lock that its own thread holds. In a forked child only the thread that forked goes
on; what the others held nobody releases.

So, of a provider that takes in our reader:

- locks that a recording holds are re-entrant, and what comes in between is counted exactly;
- a collection of ours reads what was recorded without the lock of the instrument: it first puts an empty
  table in its place. So nothing that runs within a collection can wait for it, and recordings do not either;
- nobody collects in the middle of a recording of its own thread (:data:`LOCKS`). Another collection
  may be going on, and that waits for a lock of this very thread;
- a forked child gets new locks for those that another thread held, also those of other readers.

All of it is done where an instrument or a series comes into being, so a recording costs what it did. The
names are private to the SDK: :data:`PRIVATE` lists them, a test says which releases have them, and where one
is not there, that part is left as it is.
"""

from __future__ import annotations

import contextlib
import copy
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, repeat
from time import time_ns
from types import FunctionType
from typing import Any

from opentelemetry.sdk.metrics import Counter, Histogram, UpDownCounter
from opentelemetry.sdk.metrics import _Gauge as Gauge
from opentelemetry.sdk.metrics import view as sdk

from otel_prom_bridge.forks import renew_in_child, renew_lock
from otel_prom_bridge.native import RLock
from otel_prom_bridge.points import plain
from otel_prom_bridge.sdk import versions
from otel_prom_bridge.sdk.deltas import Deltas, HistogramMatch, SumMatch, deltas_for
from otel_prom_bridge.sdk.private import private, private_class
from otel_prom_bridge.sdk.series_keys import LastingMatch, QuickMatch, is_known

# What we touch, by the class that has it.
PRIVATE = {
    "SynchronousMeasurementConsumer": ("_lock", "_reader_storages"),
    "MetricReaderStorage": ("_lock", "_instrument_view_instrument_matches", "collect"),
    "_ViewInstrumentMatch": (
        "_lock",
        "_view",
        "_instrument_class_aggregation",
        "_aggregation",
        "_attributes_aggregation",
        "collect",
    ),
    "_Aggregation": ("_lock", "_reservoir"),
}
# The SDK makes a mapping of each scale once, and lets it be found before it is whole.
_MAPPINGS = {
    private(".exponential_histogram.mapping.exponent_mapping", "ExponentMapping"): range(-10, 1),
    private(".exponential_histogram.mapping.logarithm_mapping", "LogarithmMapping"): range(1, 21),
}
_MAPPINGS.pop(None, None)
# What has a lock while it records, be it that a handler or a finalizer has interrupted it.
LOCKS = frozenset(
    [
        kind.consume_measurement.__code__
        for kind in (LastingMatch.__base__, LastingMatch, QuickMatch, SumMatch, HistogramMatch)
        if hasattr(kind, "consume_measurement")
    ]
)
# What records.
RECORDS = LOCKS | {
    method.__code__
    for kind in (Counter, UpDownCounter, Histogram, Gauge)
    for name in ("add", "record", "set")
    for method in (getattr(kind, name, None),)
    if isinstance(method, FunctionType)
}


class Locks:
    """The locks of the provider that took in ``reader``, which is to be told of it by ``consumer``."""

    def __init__(self, reader: object, consumer: object) -> None:
        self._consumer: Any = consumer
        self._providers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._matches: Mapping[Any, Any] | None = None  # of what is recorded for this reader
        storages = getattr(consumer, "_reader_storages", {})
        storage = storages.get(reader)
        if storage is None or not _has(storage, "MetricReaderStorage"):
            return
        for owner, name in ((consumer, "_lock"), *((mapping, "_mappings_lock") for mapping in _MAPPINGS)):
            _make_reentrant(owner, name)
        for mapping, scales in _MAPPINGS.items():
            for scale in scales:
                mapping(scale)
        storages[reader] = _take_in(storage)
        self._matches = storage._instrument_view_instrument_matches
        renew_in_child(self)

    def add(self, provider: object) -> None:
        """This is the provider."""
        self._providers.add(provider)

    def find_nothing(self) -> bool:
        """Whether a collection would find nothing. Then this was one, and no lock had to be asked for.

        A gauge is something, as the SDK hands it over each time.
        """
        if self._matches is None:
            return False
        now, found = time_ns(), list(chain.from_iterable(self._matches.values()))
        tables = list(map(getattr, found, repeat("_attributes_aggregation"), repeat(None)))
        if any(tables) or not {*map(type, tables)} <= {_Once}:
            return False
        for match in found:
            match._previous_collection_start_nanos = now
        return True

    def renew(self) -> None:
        """In a forked child: let nothing wait for a thread of the parent."""
        for owner, name in self._places():
            renew_lock(owner, name)
        for storage in list(getattr(self._consumer, "_reader_storages", {}).values()):
            renew_lock(storage)
            for matches in list(getattr(storage, "_instrument_view_instrument_matches", {}).values()):
                for match in matches:
                    _renew_match(match)

    def _places(self) -> Iterator[tuple[Any, str]]:
        yield self._consumer, "_lock"
        for mapping in _MAPPINGS:
            yield mapping, "_mappings_lock"
        for provider in self._providers:
            yield provider, "_lock"
            yield provider, "_meter_lock"
            yield type(provider), "_all_metric_readers_lock"
            for meter in list(getattr(provider, "_meters", {}).values()):
                yield meter, "_instrument_registration_lock"
                yield meter, "_instrument_id_instrument_lock"  # before SDK 1.40


def _has(found: object, name: str) -> bool:
    return all(hasattr(found, attribute) for attribute in PRIVATE[name])


# Locks.


def _make_reentrant(owner: Any, name: str = "_lock") -> None:
    """Replace a lock that nobody holds, where there is one."""
    lock = getattr(owner, name, None)
    # Of all locks only re-entrant ones know who owns them, also those of gevent.
    if lock is None or hasattr(lock, "_is_owned") or not lock.acquire(blocking=False):
        return
    try:
        setattr(owner, name, RLock())
    finally:
        lock.release()


def _renew_match(match: Any) -> None:
    renew_lock(match)
    table = getattr(match, "_attributes_aggregation", {})
    for key, series in list(table.items()):
        was_held = renew_lock(series)
        renew_lock(getattr(series, "_reservoir", None))
        # A histogram is many numbers, and the other thread had changed some of them. It counts that
        # measurement in the parent.
        if was_held and isinstance(series, _HISTOGRAMS):
            table.pop(key, None)


# Storages, and what is in them.


class _Stable(dict[Any, Any]):
    """A table that may grow while somebody goes through it."""

    def values(self) -> list[Any]:  # type: ignore[override]
        return _unchanging(super().values)

    def items(self) -> list[tuple[Any, Any]]:  # type: ignore[override]
        return _unchanging(super().items)


def _unchanging(entries: Callable[[], Any]) -> list[Any]:
    while True:
        with contextlib.suppress(RuntimeError):  # "changed size": a finalizer ran while the list was made
            return list(entries())


class _Lasting(_Stable):
    """The series of a match that keeps them, by their attributes.

    While the SDK makes one, somebody may come in between who makes it, too. The first one stays, and the SDK
    asks for it. Recorders of ours find them in ``found``.
    """

    found: dict[object, Any]

    def __init__(self, series: Any) -> None:
        super().__init__(series)
        self.found = {}

    def __setitem__(self, key: Any, series: Any) -> None:
        self.setdefault(key, series)

    def pop(self, key: Any, *default: Any) -> Any:
        self.found = {}
        return super().pop(key, *default)

    def clear(self) -> None:
        self.found = {}
        super().clear()


class _Once(dict[Any, Any]):
    """The series of a match until the next collection.

    Here the SDK goes on with the one that it made, so both stay, and a collection gives two points that are
    added up.
    """

    def __setitem__(self, key: Any, series: Any) -> None:
        if self.setdefault(key, series) is not series:
            super().__setitem__((key, id(series)), series)


class _Matches(_Stable):
    """A storage's instruments and what becomes of them, each taken in before a recording can find it."""

    def __setitem__(self, instrument: Any, matches: Any) -> None:
        for index, match in enumerate(matches):
            with contextlib.suppress(Exception):  # an SDK that is made otherwise; the recording must go on
                matches[index] = _take_in_match(match)
        found = self.setdefault(instrument, matches)
        if found is not matches:  # somebody came in between; the SDK goes on with the list that it holds
            matches[:] = found


def _take_in(storage: Any) -> Any:
    """What is to stand in the place of the storage."""
    found = _Matches()
    for instrument, matches in list(storage._instrument_view_instrument_matches.items()):
        found[instrument] = matches
    storage._instrument_view_instrument_matches = found
    return _collecting_without_lock(storage, type(storage))


def _take_in_match(match: Any) -> Any:
    """What is to stand in the place of the match."""
    if not _has(match, "_ViewInstrumentMatch"):
        return match
    _make_reentrant(match)
    if versions.empties(match) and versions.sets(match._aggregation, match._instrument):
        match._reset_on_collect = False  # what was set is what there is, so its series stay
    if versions.empties(match):
        deltas = deltas_for(match)
        kind = deltas.match if deltas else QuickMatch if is_known(match) else type(match)
        _make_series_with(match, deltas)
        match._attributes_aggregation = _Once(match._attributes_aggregation)
        recording = _as(kind, match)
        recording.deltas = deltas
        recording.collect = _swapping(recording, shadow=match)
        return recording
    _make_series_with(match)
    # Of what is not a delta, the one that is made last is the one to stay.
    kind = type(match)
    if versions.asks_table(match):
        match._attributes_aggregation = _Lasting(match._attributes_aggregation)
        kind = LastingMatch if kind is LastingMatch.__base__ else kind
    else:
        match._attributes_aggregation = _Stable(match._attributes_aggregation)
    return _collecting_without_lock(match, kind)


def _collecting_without_lock(original: Any, kind: type) -> Any:
    """The same with the same tables, which collects without a lock: the consumer keeps collections apart."""
    recording = _as(kind, original)
    original._lock = contextlib.nullcontext()
    recording.collect = original.collect
    return recording


def _as(kind: Any, original: Any) -> Any:
    """A new object of this class with what the original has.

    The new one is for recordings. CPython finds the attributes of an object faster as long as nobody asked
    for all of them at once, as one does to copy it, or changed its class.
    """
    result = kind.__new__(kind)
    for name, value in vars(original).items():
        setattr(result, name, value)
    return result


def _swapping(match: Any, *, shadow: Any) -> Callable[[Any, int], Any]:
    """A ``collect`` that holds the lock only while it puts an empty table in the place of the full one.

    ``shadow`` is the same match, which then collects what is in the full one.
    """
    shadow._lock = contextlib.nullcontext()

    def collect(temporality: Any, start: int) -> Any:
        if not match._attributes_aggregation:
            match._previous_collection_start_nanos = start
            return None
        with match._lock:
            shadow._attributes_aggregation = match._attributes_aggregation
            match._attributes_aggregation = _Once()
            match._previous_collection_start_nanos = start
        return shadow_collect(temporality, start)

    shadow_collect = shadow.collect
    return collect


# Series.


class _Reentrant(sdk.Aggregation):
    """Makes series as another aggregation does, with re-entrant locks."""

    def __init__(self, aggregation: Any) -> None:
        self._aggregation = aggregation

    def _create_aggregation(self, instrument: Any, attributes: Any, *others: Any) -> Any:
        # A copy: the application's own mapping may change, and SDKs before 1.42 keep that one.
        attributes = attributes if attributes is None else dict(plain(attributes))
        series: Any = self._aggregation._create_aggregation(instrument, attributes, *others)
        owner: Any
        for owner in (series, getattr(series, "_reservoir", None)):
            if hasattr(owner, "_lock") and not hasattr(owner._lock, "_is_owned"):
                owner._lock = RLock()  # nobody else knows the series yet
        kind = _KINDS.get(type(series))
        if kind is not None:
            return _as(kind, series)
        return _as(_Gauge, series) if versions.forgets(series, instrument) else series


def _make_series_with(match: Any, deltas: Deltas | None = None) -> None:
    """Have the match make these series, or those that it makes anyway with locks that are re-entrant."""
    kind = type(match._instrument)
    by_kind = match._instrument_class_aggregation
    match._instrument_class_aggregation = {**by_kind, kind: deltas or _Reentrant(by_kind[kind])}
    if not isinstance(match._view._aggregation, sdk.DefaultAggregation):
        match._view = copy.copy(match._view)
        match._view._aggregation = deltas or _Reentrant(match._view._aggregation)


class _Buckets(private_class(".aggregation", "_ExplicitBucketHistogramAggregation")):  # type: ignore[misc]
    """A histogram that finds what was counted while it made room to count."""

    def _get_empty_bucket_counts(self) -> list[int]:
        empty: list[int] = super()._get_empty_bucket_counts()
        counted: list[int] | None = self._value
        return empty if counted is None else counted


class _Exponential(
    private_class(".aggregation", "_ExponentialBucketHistogramAggregation"),  # type: ignore[misc]
):
    """An exponential histogram that counts one measurement after the other.

    It moves its buckets in many steps, and what comes in between must not find it half moved.
    """

    _busy = False
    _waiting: deque[tuple[Any, bool]]

    def aggregate(self, measurement: Any, should_sample_exemplar: bool = True) -> None:
        with self._lock:
            waiting = self.__dict__.setdefault("_waiting", deque())
            waiting.append((measurement, should_sample_exemplar))
            self._aggregate_waiting(waiting)

    def collect(self, temporality: Any, start: int) -> Any:
        with self._lock:
            # A handler has recorded, and then raised out of the recording that it has interrupted.
            self._aggregate_waiting(self.__dict__.get("_waiting"))
            return super().collect(temporality, start)

    def _aggregate_waiting(self, waiting: deque[tuple[Any, bool]] | None) -> None:
        while waiting and not self._busy:
            self._busy = True
            try:
                if waiting:  # what came in before we were busy may have done it
                    super().aggregate(*waiting.popleft())
            finally:
                self._busy = False


class _Gauge(private_class(".aggregation", "_LastValueAggregation")):  # type: ignore[misc]
    """What an application set, until it is set again."""

    _value: Any

    def collect(self, temporality: Any, start: int) -> Any:
        with self._lock:
            value = self._value
            point = super().collect(temporality, start)
            if self._value is None:
                self._value = value
            return point


_KINDS = {kind.__base__: kind for kind in (_Buckets, _Exponential)}
_HISTOGRAMS = tuple(_KINDS)
