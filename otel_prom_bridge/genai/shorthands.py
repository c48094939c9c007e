"""Shorthands for an application's own instruments: a timer, a batch, and instruments by name.

They need the OpenTelemetry API alone. Like the recorders, they never raise into the application while they
record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self, cast

from opentelemetry import metrics
from opentelemetry.context import Context, get_current
from opentelemetry.metrics import Counter, Histogram, Meter, UpDownCounter
from opentelemetry.metrics import _Gauge as Gauge

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.genai.vocabulary import SECONDS
from otel_prom_bridge.instruments import InstrumentKind, Record, recording
from otel_prom_bridge.recording.decorators import DecoratingOperation
from otel_prom_bridge.recording.measurements import clean
from otel_prom_bridge.recording.operations import Duration, seconds, settle
from otel_prom_bridge.recording.reports import guarded, report

Instrument = Counter | UpDownCounter | Histogram | Gauge
# How many of a unit make a second.
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


class Checked(Protocol):
    """An instrument of a profile, whose method has the same name whatever its type."""

    @property
    def record(self) -> Callable[..., None]:
        """Record a value."""
        ...


Recording = Instrument | Checked
Attributes = Mapping[str, object] | None


class timer(DecoratingOperation):  # noqa: N801 - used like a function, as contextlib.suppress is
    """Records in a histogram how long something took, whether it succeeded or not.

    ``unit`` is the histogram's unit, one of ``s``, ``ms``, ``us`` and ``ns``. Without it the instrument's
    own unit is used if it is one of these, and seconds otherwise.

    It runs with ``with`` and ``async with``, as a decorator of functions and generators, sync or async, and
    by hand with :meth:`start` and :meth:`end`. It records once, also if it is dropped without an end.
    """

    def __init__(
        self,
        histogram: Histogram,
        attributes: Attributes = None,
        *,
        unit: str | None = None,
        context: Context | None = None,
    ) -> None:
        if unit is not None and unit not in _PER_SECOND:
            raise ConfigurationError("timer: unit", unit, f"one of {', '.join(_PER_SECOND)}")
        self._histogram = histogram
        self._per_second = _PER_SECOND[_unit_of(histogram) if unit is None else unit]
        self._attributes = clean(attributes)
        super().__init__(context=context)

    def _on_end(self, took: float, error: str | None) -> None:
        self._histogram.record(took * self._per_second, self._attributes, self._context)


class Batch:
    """Measurements that are recorded together, by :meth:`record` or at the end of a ``with`` block.

    The end of the block records them also if the block raises, because what was measured until then is true.
    A batch is empty after it was recorded. It is for one thread at a time.
    """

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []

    def add(self, instrument: Recording, value: float, attributes: Attributes = None) -> Self:
        """Collect a value that is added to a counter, set in a gauge, or recorded in a histogram.

        An instrument of a profile does one of these, depending on its type.
        """
        return self._collect(_record_of(instrument), value, attributes)

    def _collect(self, record: Record | None, value: float, attributes: Attributes) -> Self:
        # The exemplar has to lead to the span of the measurement, and not to that of the batch's end.
        labels, context = clean(attributes), get_current()
        if record is not None:
            self._waiting.append(lambda: record(value, labels, context))
        return self

    def record(self) -> None:
        """Record what was collected."""
        settle()
        waiting, self._waiting = self._waiting, []
        for measurement in waiting:
            with guarded("a measurement of a batch"):
                measurement()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.record()


class NamedBatch(Batch):
    """A :class:`Batch` of instruments by name, made by :meth:`Metrics.batch`."""

    def __init__(self, named: Metrics) -> None:
        super().__init__()
        self._named = named

    def increment_counter(self, name: str, value: float = 1, attributes: Attributes = None) -> Self:
        """Collect a value that is added to a counter."""
        return self._collect(self._named._record("counter", name, ""), value, attributes)

    def observe_histogram(
        self, name: str, value: float, attributes: Attributes = None, *, unit: str = ""
    ) -> Self:
        """Collect a value for a histogram."""
        return self._collect(self._named._record("histogram", name, unit), value, attributes)

    def set_gauge(self, name: str, value: float, attributes: Attributes = None, *, unit: str = "") -> Self:
        """Collect the value of a gauge."""
        return self._collect(self._named._record("gauge", name, unit), value, attributes)

    def add_to_gauge(
        self, name: str, change: float, attributes: Attributes = None, *, unit: str = ""
    ) -> Self:
        """Collect a change of a gauge. See :meth:`Metrics.add_to_gauge`."""
        return self._collect(self._named._record("up_down_counter", name, unit), change, attributes)


class Metrics:
    """Counters, gauges and histograms by name. An instrument is made when its name is first used.

    It is meant for the few numbers of an application that are not worth a variable. Without a ``meter`` one
    of the global provider is used. A name should have one kind and one unit.
    """

    def __init__(self, meter: Meter | None = None) -> None:
        self._meter = metrics.get_meter("otel_prom_bridge.genai.metrics") if meter is None else meter
        self._records: dict[tuple[InstrumentKind, str, str], Record] = {}

    def increment_counter(self, name: str, value: float = 1, attributes: Attributes = None) -> None:
        """Add to a counter."""
        self.batch().increment_counter(name, value, attributes).record()

    def set_gauge(self, name: str, value: float, attributes: Attributes = None, *, unit: str = "") -> None:
        """Set a gauge."""
        self.batch().set_gauge(name, value, attributes, unit=unit).record()

    def add_to_gauge(
        self, name: str, change: float, attributes: Attributes = None, *, unit: str = ""
    ) -> None:
        """Add to a gauge, or take away from it. A gauge that is set has to have another name."""
        self.batch().add_to_gauge(name, change, attributes, unit=unit).record()

    def observe_histogram(
        self, name: str, value: float, attributes: Attributes = None, *, unit: str = ""
    ) -> None:
        """Record a value in a histogram. With the unit ``s`` the histogram has buckets from 10 ms to 82 s."""
        self.batch().observe_histogram(name, value, attributes, unit=unit).record()

    def observe_duration(self, name: str, duration: Duration, attributes: Attributes = None) -> None:
        """Record a duration, in seconds or as a timedelta, in a histogram of seconds."""
        self.observe_histogram(name, seconds(duration), attributes, unit="s")

    def batch(self) -> NamedBatch:
        """A batch of these instruments. Its methods can be chained."""
        return NamedBatch(self)

    def _record(self, kind: InstrumentKind, name: str, unit: str) -> Record | None:
        key = (kind, name, unit)
        # Without a lock: a signal handler may record, too, and a forked child has no thread to release it.
        # A meter gives whoever asks for the same instrument the same one.
        with guarded(f"the {kind} {name!r}"):
            if key not in self._records:
                buckets = SECONDS if unit == "s" else None
                made = recording(self._meter, kind, name, unit=unit, buckets=buckets)
                self._records.setdefault(key, made)
        return self._records.get(key)


def _record_of(instrument: Recording) -> Record | None:
    # "record" comes first because every instrument of a profile has it, whatever its type.
    with guarded("a measurement of a batch"):
        for method in ("record", "set", "add"):
            found = getattr(instrument, method, None)
            if callable(found):
                return cast(Record, found)
    report(("batch", type(instrument)), "%r is no instrument and is not recorded", type(instrument))
    return None


def _unit_of(instrument: object) -> str:
    """The unit of an instrument, if it is known and one of durations; otherwise seconds.

    The API has no way to ask. The SDK's instruments have a ``unit``, and those that were made before there
    was an SDK have a ``_unit``. An instrument of a profile has it in its ``spec``.
    """
    given = getattr(instrument, "spec", instrument)
    unit = getattr(given, "unit", None) or getattr(given, "_unit", None)
    return unit if isinstance(unit, str) and unit in _PER_SECOND else "s"
