"""Synchronous instruments: what it takes to record, and no more.

To record is to find the cell of an attribute set and to add to it under a lock. The cell is found by the
attributes as they are given: names and values in their order and, where some value is no text, its types.
That is decided for each instrument. The first time, and where something is odd, it is found in a slower way
(:meth:`Synchronous.find`). Each method that records repeats how that begins: to share it takes one more call
of a Python function, which is a thirtieth of a recording.

While the lock is held, no code runs but ours, and no allocation that the garbage collector counts. So what
may come in between in the same thread (a signal handler, a ``__del__``) comes before or after, and if it does
not, the lock lets it in.

What was recorded waits in ``changed`` cells until a collection takes it (:meth:`Synchronous.drain`). The
number of cells is bounded. Past the limit there is one cell for everything, whose attribute set is the SDK's
for that purpose. When the table is more than half full, a collection empties it.
"""

from __future__ import annotations

import math
import sys
from abc import abstractmethod
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from opentelemetry import metrics
from opentelemetry.context import Context, get_current

from otel_prom_bridge.attribution import FromContext
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.direct.attributes import TEXT, usable
from otel_prom_bridge.direct.cells import Cell, ExponentialCell, GaugeCell, HistogramCell, SumCell
from otel_prom_bridge.direct.recording import Recording
from otel_prom_bridge.families import Kind
from otel_prom_bridge.forks import renew_lock
from otel_prom_bridge.native import RLock
from otel_prom_bridge.points import AttributeSet, Meaning, Sampled, Shape, Stream, sampled
from otel_prom_bridge.store.keys import items_key
from otel_prom_bridge.store.series.base import added
from otel_prom_bridge.views.mapping import OVERFLOW_ATTRIBUTES

_INFINITY = math.inf
# Values of these types stand in a key as they are.
_PLAIN = frozenset({str, bool, int, bytes, type(None)})
# An interpreter without a global lock has one for each object. Those that other threads held at a fork stay
# taken in the child (CPython 3.13.5, whatever is forked), and the table is what threads read all the time.
_LOCKS_OBJECTS = not getattr(sys, "_is_gil_enabled", lambda: True)()
# An attribute set whose texts have more characters gets a cell that no table keeps.
_LONGEST = 4096
# How many characters such cells may have together between two collections.
_MOST_CHARACTERS = 16_000_000
# How many cells a collection takes at once: fewer than there must be new objects (700) before the garbage
# collector looks for cycles.
_AT_ONCE = 256

C = TypeVar("C", bound=Cell)


class Synchronous(Generic[C]):
    """What all synchronous instruments have in common.

    ``recorded`` is called for each attribute set that is not found in the fast way. ``findings`` hears of
    values and attributes that make no sense.
    """

    METHOD: ClassVar[str]  # that records
    MAY_FALL: ClassVar[bool] = False

    def __init__(
        self,
        stream: Stream,
        recording: Recording,
        *,
        recorded: Callable[[], object],
        findings: Findings,
    ) -> None:
        self.name, self.unit, self.description = stream.name, stream.unit, stream.description
        self.instrumentation_scope = stream.scope
        self._recorded = recorded
        self._findings = findings
        self._lock = RLock()
        self.begin(recording)

    def begin(self, recording: Recording) -> None:
        """Record for another reader, from nothing."""
        self.recording = recording
        self.stream = recording.stream
        method = self._method(recording)
        if recording.is_shown and recording.completing is not None:
            own: Any = getattr(type(self), self.METHOD).__get__(self)
            method = _completed(method or own, recording.completing)
        if method is None:
            vars(self).pop(self.METHOD, None)
        else:
            vars(self)[self.METHOD] = method
        self._samples, self._samples_all = recording.samples, recording.samples_all
        self._reduces = False  # some attribute is recorded that no view needs
        self._typed = False  # some value is no text, so keys have types
        self._changed: list[C] = []
        self._overflow: C | None = None
        self.forget()

    def _method(self, recording: Recording) -> Callable[..., None] | None:
        """What stands in the place of the method that records; None for that of the class."""
        return None if recording.is_shown else _nothing

    def forget(self) -> None:
        """Find no cell in the fast way. What they have is not lost."""
        self._cells: dict[tuple[object, ...], C] = {}
        self._bare: C | None = None  # the cell of no attributes
        self._loose = self._characters = 0  # cells that are in no table, and the length of their texts

    def renew(self) -> None:
        """In a forked child: wait for no thread of the parent."""
        renew_lock(self)
        if _LOCKS_OBJECTS:
            self.forget()

    def drain(self, now: int) -> Iterator[Sequence[Any]]:
        """What was recorded since the last time, as points, some of them at a time.

        So few of them are there at once, which the garbage collector would count. What nobody asks for waits
        for the next time.
        """
        lock = self._lock
        with lock:
            changed, self._changed = self._changed, []
            self._loose = self._characters = 0
            if 2 * len(self._cells) > self.recording.limit:
                self.forget()
        cells = self._arranged(changed)
        done = 0
        try:
            while done < len(cells):
                points = []
                for cell in cells[done : done + _AT_ONCE]:
                    with lock:  # for each cell by itself, as somebody may wait to record
                        point = cell.take(now)
                    points.append(point)
                done += len(points)
                yield points
        finally:
            if done < len(cells):
                with lock:
                    self._changed += cells[done:]

    def _arranged(self, cells: list[C]) -> list[C]:
        """The cells in the order in which they are to be taken."""
        return cells

    @abstractmethod
    def _new(self, attributes: Mapping[str, object]) -> C:
        """A cell of this attribute set."""

    def find(self, attributes: Any) -> C:
        """The cell of an attribute set that was not found in the fast way. Never raises."""
        self._recorded()
        try:
            if not attributes:
                with self._lock:
                    if self._bare is None:
                        self._bare = self._new({})
                    return self._bare
            return self._found(usable(attributes, self.stream, self._findings))
        except Exception as error:
            message = "instrument %r: attributes that are none are left out: %r"
            self._findings.report(("attributes", self.stream), message, self.name, error)
            return self._past_limit()

    def _found(self, attributes: Mapping[str, object]) -> C:
        attributes = self._needed(attributes)
        if not attributes:
            return self.find(None)
        key = self._key(attributes)
        cell = None if key is None else self._cells.get(key)
        if cell is not None:
            return cell
        if len(self._cells) + self._loose >= self.recording.limit:
            return self._past_limit()
        # The same set in another order gets a cell of its own: what both have ends in one series.
        kept = {name: _lasting(value) for name, value in attributes.items()}
        size = sum(len(value) for value in kept.values() if isinstance(value, str | bytes))
        with self._lock:
            if self._characters > _MOST_CHARACTERS:
                return self._past_limit()
            if key is None or size > _LONGEST:
                self._loose += 1
                self._characters += size
                return self._new(kept)
            plain = _PLAIN.issuperset(map(type, kept.values()))
            return self._cells.setdefault(key, self._new(AttributeSet(key) if plain else kept))

    def _needed(self, attributes: Mapping[str, object]) -> Mapping[str, object]:
        """The attributes without those that no view needs."""
        recording = self.recording
        if all(map(recording.needed.get, attributes)):  # as nearly always
            return attributes
        unneeded = [name for name in attributes if not recording.needs(name)]
        if not unneeded:
            return attributes
        self._reduces = True
        return {name: value for name, value in attributes.items() if name not in unneeded}

    def _key(self, attributes: Mapping[str, object]) -> tuple[object, ...] | None:
        """The key of the cell in the table; None if there can be none."""
        values = attributes.values()
        if self._typed:
            return items_key(attributes)
        if TEXT.issuperset(map(type, values)):
            return (*attributes, *values)
        with self._lock:
            self._typed = True
            self.forget()
        return items_key(attributes)

    def _past_limit(self) -> C:
        with self._lock:
            if self._overflow is None:
                self._overflow = self._new(OVERFLOW_ATTRIBUTES)
            return self._overflow

    def _sampled(self, value: float, attributes: Any, context: Context | None) -> Sampled | None:
        try:
            left_out = None
            if self._reduces and attributes:
                needs = self.recording.needs
                left_out = {name: _lasting(each) for name, each in attributes.items() if not needs(name)}
            return sampled(value, context, always=self._samples_all, left_out=left_out)
        except Exception as error:  # a span that is made otherwise
            message = "instrument %r: an exemplar could not be taken: %r"
            self._findings.report(("exemplar", self.stream), message, self.name, error)
            return None

    def _refused(self, value: object, why: str) -> None:
        message = "instrument %r: a value that is %s is passed over, the first one is %r"
        self._findings.report(("value", self.stream, why), message, self.name, why, value)

    def _odd(self, value: Any, attributes: Any, context: Context | None) -> None:
        """Record a value that is neither an int nor a float, if it is a number that can be recorded."""
        number = self._number(value)
        if number is not None:
            getattr(self, self.METHOD)(number, attributes, context)

    def _number(self, value: Any) -> float | None:
        """The value as an int or float; None if it cannot be recorded, which the log says."""
        try:
            number = value if isinstance(value, int | float) else float(value)
            number = int(number) if isinstance(number, int) else float.__float__(number)
        except Exception:
            self._refused(value, "no number")
            return None
        if number != number or number in (_INFINITY, -_INFINITY):
            self._refused(value, "not finite")
            return None
        if number < 0 and not self.MAY_FALL:
            self._refused(value, "negative")
            return None
        return number


def _lasting(value: object) -> object:
    """The value as it is now, which the application may change."""
    return tuple(value) if type(value) is list else bytes(value) if type(value) is bytearray else value


class Counter(Synchronous[SumCell], metrics.Counter):
    """A counter."""

    MEANING = Meaning(Kind.COUNTER, accumulates=True, additive=True)
    METHOD = "add"

    def _new(self, attributes: Mapping[str, object]) -> SumCell:
        return SumCell(attributes)

    def add(self, amount: float, attributes: Any = None, context: Context | None = None) -> None:
        """Record an increment."""
        kind = type(amount)
        if (kind is not int and kind is not float) or not 0 <= amount < _INFINITY:
            self._odd(amount, attributes, context)
            return
        try:
            if not attributes:
                cell = self._bare
            elif self._typed:
                values = attributes.values()
                cell = self._cells.get((*attributes, *values, *map(type, values)))
            else:
                cell = self._cells.get((*attributes, *attributes.values()))
        except Exception:
            cell = None
        if cell is None:
            cell = self.find(attributes)
        taken = None
        if self._samples and ((context := context or get_current()) or self._samples_all):
            taken = self._sampled(amount, attributes, context)
        with self._lock:
            try:
                cell.value += amount
            except OverflowError:
                cell.value = added(cell.value, amount)
            if taken is not None:
                cell.sampled = taken
            if not cell.changed:
                cell.changed = True
                self._changed.append(cell)


class UpDownCounter(Synchronous[SumCell], metrics.UpDownCounter):
    """An up-down counter."""

    MEANING = Meaning(Kind.GAUGE, accumulates=True, additive=True)
    METHOD = "add"
    MAY_FALL = True

    def _new(self, attributes: Mapping[str, object]) -> SumCell:
        return SumCell(attributes)

    def add(self, amount: float, attributes: Any = None, context: Context | None = None) -> None:
        """Record an increment or a decrement."""
        kind = type(amount)
        if (kind is not int and kind is not float) or not -_INFINITY < amount < _INFINITY:
            self._odd(amount, attributes, context)
            return
        try:
            if not attributes:
                cell = self._bare
            elif self._typed:
                values = attributes.values()
                cell = self._cells.get((*attributes, *values, *map(type, values)))
            else:
                cell = self._cells.get((*attributes, *attributes.values()))
        except Exception:
            cell = None
        if cell is None:
            cell = self.find(attributes)
        with self._lock:
            try:
                cell.value += amount
            except OverflowError:
                cell.value = added(cell.value, amount)
            if not cell.changed:
                cell.changed = True
                self._changed.append(cell)


class Gauge(Synchronous[GaugeCell], metrics._Gauge):
    """A gauge that is set."""

    MEANING = Meaning(Kind.GAUGE, accumulates=True, additive=False)
    METHOD = "set"
    MAY_FALL = True
    _order = 0

    def _new(self, attributes: Mapping[str, object]) -> GaugeCell:
        return GaugeCell(attributes)

    def _arranged(self, cells: list[GaugeCell]) -> list[GaugeCell]:
        return sorted(cells, key=lambda cell: cell.order)

    def set(self, amount: float, attributes: Any = None, context: Context | None = None) -> None:
        """Set the value, which stands until it is set again."""
        kind = type(amount)
        if (kind is not int and kind is not float) or not -_INFINITY < amount < _INFINITY:
            self._odd(amount, attributes, context)
            return
        try:
            if not attributes:
                cell = self._bare
            elif self._typed:
                values = attributes.values()
                cell = self._cells.get((*attributes, *values, *map(type, values)))
            else:
                cell = self._cells.get((*attributes, *attributes.values()))
        except Exception:
            cell = None
        if cell is None:
            cell = self.find(attributes)
        with self._lock:
            self._order = cell.order = self._order + 1
            cell.value = amount
            if not cell.changed:
                cell.changed = True
                self._changed.append(cell)


class Histogram(Synchronous[HistogramCell], metrics.Histogram):
    """A histogram with explicit bounds."""

    MEANING = Meaning(Kind.HISTOGRAM, accumulates=True, additive=True, shape=Shape.BUCKETS)
    METHOD = "record"

    def begin(self, recording: Recording) -> None:
        """Record for another reader, from nothing, with the buckets that it wants."""
        buckets = recording.buckets
        self._bounds: tuple[float, ...] = () if buckets == "exponential" else buckets
        self._is_counting = False
        self._waiting: deque[tuple[Any, float, Sampled | None]] = deque()
        super().begin(recording)

    def _new(self, attributes: Mapping[str, object]) -> Any:
        if self.recording.buckets == "exponential":
            return ExponentialCell(attributes)
        return HistogramCell(attributes, self._bounds)

    def _method(self, recording: Recording) -> Callable[..., None] | None:
        is_exponential = recording.is_shown and recording.buckets == "exponential"
        return self._record_exponential if is_exponential else super()._method(recording)

    def record(self, amount: float, attributes: Any = None, context: Context | None = None) -> None:
        """Record an observation."""
        kind = type(amount)
        if (kind is not int and kind is not float) or not 0 <= amount < _INFINITY:
            self._odd(amount, attributes, context)
            return
        try:
            if not attributes:
                cell = self._bare
            elif self._typed:
                values = attributes.values()
                cell = self._cells.get((*attributes, *values, *map(type, values)))
            else:
                cell = self._cells.get((*attributes, *attributes.values()))
        except Exception:
            cell = None
        if cell is None:
            cell = self.find(attributes)
        taken = None
        if self._samples and ((context := context or get_current()) or self._samples_all):
            taken = self._sampled(amount, attributes, context)
        bucket = bisect_left(cell.bounds, amount)
        with self._lock:
            cell.counts[bucket] += 1
            try:
                cell.sum += amount
            except OverflowError:
                cell.sum = added(cell.sum, amount)
            if taken is not None:
                cell.keep(bucket, taken)
            if not cell.changed:
                cell.changed = True
                self._changed.append(cell)

    def _record_exponential(
        self, amount: float, attributes: Any = None, context: Context | None = None
    ) -> None:
        """Count in exponential buckets, one value after the other, as that takes several steps."""
        number = self._number(amount)
        if number is None:
            return
        cell: Any = self.find(attributes)
        context = context or get_current()
        taken = self._sampled(number, attributes, context) if self._samples else None
        with self._lock:
            waiting = self._waiting
            waiting.append((cell, number, taken))
            while waiting and not self._is_counting:
                self._is_counting = True
                try:
                    if waiting:  # what came in before we were counting may have done it
                        self._count(*waiting.popleft())
                finally:
                    self._is_counting = False

    def _count(self, cell: Any, value: float, taken: Sampled | None) -> None:
        cell.add(value, taken)
        if not cell.changed:
            cell.changed = True
            self._changed.append(cell)


def _completed(record: Callable[..., None], labels: FromContext) -> Callable[..., None]:
    """A method that records what it is given together with what the context says."""
    complete = labels.complete

    def record_completed(amount: float, attributes: Any = None, context: Context | None = None) -> None:
        context = context or get_current()
        record(amount, complete(attributes, context), context)

    return record_completed


def _nothing(amount: float, attributes: Any = None, context: Context | None = None) -> None:
    """Record nothing, as no view shows any of it."""
