"""Synchronous instruments: what it takes to record, and no more.

To record is to find the cell of an attribute set, and to have it add a value (:meth:`Synchronous.measure`).
The cell is found by the attributes as they are given: names and values in their order and, where some value
is no text, its types. That is decided for each instrument. The first time, and where something is odd, it is
found in a slower way (:meth:`Synchronous.find`).

No lock is held while a cell that is known adds (see ``cells.py``). So what may come in between (another
thread, a signal handler, a ``__del__``) waits for nothing, and nothing waits for it.

What was recorded waits in ``changed`` cells until a collection takes it (:meth:`Synchronous.drain`). A cell
is marked and put there after it has added, and a collection takes the mark away before it takes the rest. So
in whichever order these come, what one collection leaves is there for the next. The number of cells is
bounded. Past the limit there is one cell for everything, whose attribute set is the SDK's for that purpose.
When the table is more than half full, a collection empties it.
"""

from __future__ import annotations

import contextlib
import math
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat, starmap
from types import CodeType, FunctionType
from typing import Any, ClassVar

from opentelemetry import metrics
from opentelemetry.context import Context, get_current

from otel_prom_bridge.attribution import FromContext
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.direct.cells import (
    HAS_GLOBAL_LOCK,
    Cell,
    ExponentialCell,
    GaugeCell,
    Guard,
    GuardedCell,
    HistogramCell,
    SumCell,
)
from otel_prom_bridge.direct.given_attributes import MOST_CHARACTERS, TEXT, lasting, size_of, usable
from otel_prom_bridge.direct.plans import RecordingPlan
from otel_prom_bridge.families import Kind
from otel_prom_bridge.forks import Process, renew_lock
from otel_prom_bridge.interrupts import raise_interrupt
from otel_prom_bridge.native import RLock
from otel_prom_bridge.points import PLAIN_TYPES, AttributeSet, Meaning, Sampled, Shape, Stream, sampled
from otel_prom_bridge.store.keys import items_key
from otel_prom_bridge.views.mapped import OVERFLOW_ATTRIBUTES

_INFINITY = math.inf
_NUMBERS = (int, float)
# The cell of an attribute set with more characters (see `size_of`) is kept until the next collection only.
_LONGEST = 4096
# How many cells a collection takes at once: fewer than there must be new objects (700) before the garbage
# collector looks for cycles.
_AT_ONCE = 256
# How long a collection waits to tidy up a table. Whoever has its lock may be a thread that waits for it.
_TIDY_SECONDS = 0.1


class Synchronous:
    """What all synchronous instruments have in common.

    ``recorded`` is called for each attribute set that is not found in the fast way. ``findings`` hears of
    values and attributes that make no sense.
    """

    METHOD: ClassVar[str]  # that records
    MAY_FALL: ClassVar[bool] = False

    def __init__(
        self,
        stream: Stream,
        plan: RecordingPlan,
        *,
        recorded: Callable[[], object],
        findings: Findings,
    ) -> None:
        self.name, self.unit, self.description = stream.name, stream.unit, stream.description
        self.instrumentation_scope = stream.scope
        self._recorded = recorded
        self._findings = findings
        self._lock = RLock()  # of the table, for those who record something new
        self._turn = RLock()  # of those who drain, for whom a recording must not have to wait
        self._process = Process()
        self._guard = Guard()
        self.begin(plan)

    def begin(self, plan: RecordingPlan) -> None:
        """Record for another reader, from nothing."""
        self.plan = plan
        self.stream = plan.stream
        method = self._method(plan)
        # Not in `vars(self)`: once that was asked for, it takes longer to read any attribute.
        if method is not None:
            setattr(self, self.METHOD, method)
        else:
            with contextlib.suppress(AttributeError):
                delattr(self, self.METHOD)
        self._samples, self._samples_all = plan.samples, plan.samples_all
        self._reduces = False  # some attribute is recorded that no view needs
        self._typed = False  # some value is no text, so keys have types
        self._changed: deque[Cell] = deque()
        self._overflow: Cell | None = None
        self._drained = 0  # when that was, in nanoseconds since the epoch
        self.forget()

    def _method(self, plan: RecordingPlan) -> Callable[..., None] | None:
        """What stands in the place of the method that records; None for that of the class."""
        if not plan.is_shown:
            return _nothing
        return None if plan.completing is None else _completed(self.measure, plan.completing)

    def forget(self) -> None:
        """Find no cell in the fast way. What they have is not lost."""
        self._cells: dict[tuple[object, ...], Cell] = {}
        self._bare: Cell | None = None  # the cell of no attributes
        self._forget_long()

    def _forget_long(self) -> None:
        """Find no cell of a long attribute set any more. What these have is not lost."""
        self._long: dict[tuple[object, ...], Cell] = {}
        self._characters = 0  # of all of them

    def renew(self) -> None:
        """In a forked child: wait for no thread of the parent."""
        self._process = Process()
        renew_lock(self)
        renew_lock(self, "_turn")
        self._guard.renew()
        # Without a global lock, each object has one. Those that other threads held at a fork stay taken in
        # the child (CPython 3.13.5, whatever is forked), and the table is what threads read all the time.
        if not HAS_GLOBAL_LOCK:
            self.forget()

    def discard(self, now: int) -> None:
        """Forget what was recorded and not taken, as in a forked child, whose parent takes it."""
        for cell in [*self._changed]:
            cell.take(now, now)  # in its place, since the recording that goes on here may have found it
        self._changed = deque()
        self._overflow = None
        self._drained = now
        # Another thread of the parent may have added to a cell, and not have marked it yet.
        self.forget()

    def measure(self, amount: float, attributes: Any = None, context: Context | None = None) -> None:
        """Record a measurement."""
        kind = type(amount)
        if not (amount >= 0 if kind is int else kind is float and 0 <= amount < _INFINITY):
            number = self._number(amount)
            if number is None:
                return
            amount = number
        try:
            if not attributes:
                cell = self._bare
            elif self._typed:
                values = attributes.values()
                cell = self._cells.get((*attributes, *values, *map(type, values)))
            else:
                cell = self._cells.get((*attributes, *attributes.values()))
        except Exception as error:
            cell = self._find_after(error, attributes)
        if cell is None:
            cell = self.find(attributes)
        taken = None
        if self._samples and ((context := context or get_current()) or self._samples_all):
            taken = self._sampled(amount, attributes, context)
        try:
            cell.add(amount, taken)
        except OverflowError:  # that of a gauge, whose value before stays
            self._refused(amount, "too large for a float")
            return
        if not cell.changed:
            cell.changed = True
            self._changed.append(cell)

    def nothing_to_drain(self, now: int) -> bool:
        """Whether nothing was recorded since the last time. If so, this moment counts as a collection."""
        if self._changed:
            return False
        self._drained = now
        return True

    def drain(self, now: int) -> Iterator[Sequence[Any]]:
        """What was recorded since the last time, as points, some of them at a time.

        So few of them are there at once, which the garbage collector would count. What nobody asks for waits
        for the next time.
        """
        with self._turn:
            before, self._drained = self._drained, now
        self._tidy_up()
        changed, cells, done = self._changed, list[Cell](), 0
        try:
            with contextlib.suppress(IndexError):  # somebody else has just taken them
                cells.extend(starmap(changed.popleft, repeat((), len(changed))))
            cells = self._arranged(cells)
            while done < len(cells):
                points = self._taken(cells[done : done + _AT_ONCE], before, now)
                done += len(points)
                yield points
        finally:
            changed.extend(cells[done:])

    def _tidy_up(self) -> None:
        """Make room in the table, unless a recording that a signal handler has interrupted is changing it.

        Then the next collection does it.
        """
        if not self._lock.acquire(timeout=_TIDY_SECONDS):
            return
        try:
            self._forget_long()
            if 2 * len(self._cells) > self.plan.limit:
                self.forget()
        finally:
            self._lock.release()

    def _arranged(self, cells: list[Cell]) -> list[Cell]:
        """The cells in the order in which they are to be taken."""
        return cells

    def _taken(self, cells: list[Any], before: int, now: int) -> list[Any]:
        """What these cells have, as points."""
        return [cell.take(before, now) for cell in cells]

    def _made(self, attributes: Mapping[str, object]) -> Cell:
        """A cell of this attribute set, which may be used by several threads."""
        cell = self._new(attributes)
        return cell if cell.IS_ATOMIC else GuardedCell(cell, self._guard)

    @abstractmethod
    def _new(self, attributes: Mapping[str, object]) -> Cell:
        """A cell of this attribute set."""

    def find(self, attributes: Any) -> Cell:
        """The cell of an attribute set that was not found in the fast way. Raises only what interrupts it."""
        if self._process.is_another():
            self.renew()
        self._recorded()
        try:
            return self._found(attributes)
        except Exception as error:
            raise_interrupt(error, self._found, attributes)
            message = "instrument %r: attributes that are none are left out: %r"
            self._findings.report(("attributes", self.stream), message, self.name, error)
            return self._past_limit()

    def _find_after(self, error: Exception, attributes: Any) -> Cell:
        """The cell, if it was the attributes that raised this in the fast way."""
        if type(error) is not TypeError:  # as a list has no hash
            raise_interrupt(error, _hashed, attributes)
        return self.find(attributes)

    def _found(self, given: Any) -> Cell:
        attributes = self._needed(usable(given, self.stream, self._findings)) if given else None
        if not attributes:
            with self._lock:
                if self._bare is None:
                    self._bare = self._made({})
                return self._bare
        key = self._key(attributes)
        if key is None:
            attributes = {name: lasting(value) for name, value in attributes.items()}
            key = items_key(attributes)
            if key is None:
                return self._past_limit()
        cell = self._cells.get(key) or self._long.get(key)
        if cell is not None:
            return cell
        if len(self._cells) + len(self._long) >= self.plan.limit:
            return self._past_limit()
        # The same set in another order gets a cell of its own: what both have ends in one series.
        kept = self._kept(attributes, key)
        size = size_of(attributes)
        with self._lock:
            if self._characters > MOST_CHARACTERS:
                return self._past_limit()
            if size <= _LONGEST:
                return self._cells.setdefault(key, self._made(kept))
            self._characters += size
            return self._long.setdefault(key, self._made(kept))

    def _kept(self, attributes: Mapping[str, object], key: tuple[object, ...]) -> Mapping[str, object]:
        """The attributes as they are now; nothing but their key, where that says everything."""
        if PLAIN_TYPES.issuperset(map(type, values := attributes.values())):
            # The cell's own key has types, too, once some value was no text. That of texts has none anywhere.
            is_text = self._typed and TEXT.issuperset(map(type, values))
            return AttributeSet((*attributes, *values) if is_text else key)
        return {name: lasting(value) for name, value in attributes.items()}

    def _needed(self, attributes: Mapping[str, object]) -> Mapping[str, object]:
        """The attributes without those that no view needs."""
        plan = self.plan
        if all(map(plan.needed.get, attributes)):  # as nearly always
            return attributes
        unneeded = [name for name in attributes if not plan.needs(name)]
        if not unneeded:
            return attributes
        self._reduces = True
        return {name: value for name, value in attributes.items() if name not in unneeded}

    def _key(self, attributes: Mapping[str, object]) -> tuple[object, ...] | None:
        """The key of the cell in the table; None if some value is of a type that has none."""
        values = attributes.values()
        if self._typed:
            return items_key(attributes)
        if TEXT.issuperset(map(type, values)):
            return (*attributes, *values)
        with self._lock:
            self._typed = True
            self.forget()
        return items_key(attributes)

    def _past_limit(self) -> Cell:
        with self._lock:
            if self._overflow is None:
                self._overflow = self._made(OVERFLOW_ATTRIBUTES)
            return self._overflow

    def _sampled(self, value: float, attributes: Any, context: Context | None) -> Sampled | None:
        try:
            return self._taken_sample(value, attributes, context)
        except Exception as error:  # a span that is made otherwise
            raise_interrupt(error, self._taken_sample, value, attributes, context)
            message = "instrument %r: an exemplar could not be taken: %r"
            self._findings.report(("exemplar", self.stream), message, self.name, error)
            return None

    def _taken_sample(self, value: float, attributes: Any, context: Context | None) -> Sampled | None:
        left_out = None
        if self._reduces and attributes:
            needs, given = self.plan.needs, usable(attributes, self.stream, self._findings)
            left_out = {name: lasting(each) for name, each in given.items() if not needs(name)}
        return sampled(value, context, always=self._samples_all, left_out=left_out)

    def _refused(self, value: object, why: str) -> None:
        message = "instrument %r: a value that is %s is passed over, the first one is %r"
        self._findings.report(("value", self.stream, why), message, self.name, why, value)

    def _number(self, value: Any) -> float | None:
        """The value as an int or float; None if it cannot be recorded, which the log says."""
        if self.MAY_FALL and type(value) in _NUMBERS and -_INFINITY < value < 0:  # as is usual
            down: float = value
            return down
        try:
            number = _plain(value)
        except Exception as error:
            raise_interrupt(error, _plain, value)
            self._refused(value, "no number")
            return None
        if number != number or number in (_INFINITY, -_INFINITY):
            self._refused(value, "not finite")
            return None
        if number < 0 and not self.MAY_FALL:
            self._refused(value, "negative")
            return None
        return number


def _hashed(attributes: Any) -> None:
    """Do with attributes what is done to find their cell in the fast way."""
    if attributes:
        hash((*attributes, *attributes.values()))


def _plain(value: Any) -> float:
    """The number that some object is. ``float()`` would read a text, too."""
    number = value if isinstance(value, int | float) else value.__float__()
    return int(number) if isinstance(number, int) else float.__float__(number)


def _measuring(name: str) -> Callable[..., None]:
    """:meth:`Synchronous.measure` as a function by itself, with this name.

    CPython remembers in the code of a function of which class its arguments were, and is an eighth slower
    where that changes from call to call. So each kind of instrument has code of its own.
    """
    shared = Synchronous.measure
    code = shared.__code__.replace(co_name=name)
    own = FunctionType(code, shared.__globals__, name, shared.__defaults__)
    own.__annotations__, own.__doc__ = shared.__annotations__, shared.__doc__
    return own


class Counter(Synchronous, metrics.Counter):
    """A counter."""

    MEANING = Meaning(Kind.COUNTER, accumulates=True, additive=True)
    METHOD = "add"
    add = _measuring("add")

    def _new(self, attributes: Mapping[str, object]) -> SumCell:
        return SumCell(attributes)


class UpDownCounter(Synchronous, metrics.UpDownCounter):
    """An up-down counter."""

    MEANING = Meaning(Kind.GAUGE, accumulates=True, additive=True)
    METHOD = "add"
    MAY_FALL = True
    add = _measuring("add")

    def _new(self, attributes: Mapping[str, object]) -> SumCell:
        return SumCell(attributes)


class Gauge(Synchronous, metrics._Gauge):
    """A gauge that is set."""

    MEANING = Meaning(Kind.GAUGE, accumulates=True, additive=False)
    METHOD = "set"
    MAY_FALL = True
    set = _measuring("set")

    def _new(self, attributes: Mapping[str, object]) -> GaugeCell:
        return GaugeCell(attributes)

    def _arranged(self, cells: list[Any]) -> list[Any]:
        for cell in cells:
            cell.place = cell.order
        return sorted(cells, key=lambda cell: cell.place)

    def _taken(self, cells: list[Any], before: int, now: int) -> list[Any]:
        points = super()._taken(cells, before, now)
        for cell in cells:
            # It was set since. An older value of the same series may come behind it, so it comes once more.
            if cell.order != cell.place:
                cell.changed = True
                self._changed.append(cell)
        return points


class Histogram(Synchronous, metrics.Histogram):
    """A histogram with the buckets that its reader wants."""

    MEANING = Meaning(Kind.HISTOGRAM, accumulates=True, additive=True, shape=Shape.BUCKETS)
    METHOD = "record"
    record = _measuring("record")

    def _new(self, attributes: Mapping[str, object]) -> HistogramCell | ExponentialCell:
        buckets = self.plan.buckets
        return ExponentialCell(attributes) if buckets == "exponential" else HistogramCell(attributes, buckets)


def _completed(record: Callable[..., None], labels: FromContext) -> Callable[..., None]:
    """A method that records what it is given together with what the context says."""
    complete = labels.complete

    def record_completed(amount: float, attributes: Any = None, context: Context | None = None) -> None:
        context = context or get_current()
        record(amount, complete(attributes, context), context)

    return record_completed


# What a signal handler may interrupt that records, and what of it has a lock of the cells, for which a
# collection would wait.
_METHODS = [getattr(kind, kind.METHOD) for kind in (Counter, UpDownCounter, Gauge, Histogram)]
_COMPLETING = [code for code in _completed.__code__.co_consts if isinstance(code, CodeType)]
RECORDS = frozenset([*_COMPLETING, *(method.__code__ for method in (Synchronous.measure, *_METHODS))])
LOCKS = frozenset({Guard.add.__code__})


def _nothing(amount: float, attributes: Any = None, context: Context | None = None) -> None:
    """Record nothing, as no view shows any of it."""
