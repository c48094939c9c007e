"""Asynchronous instruments, whose callbacks say what there is when somebody collects."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from time import time_ns
from typing import Any

from opentelemetry import metrics
from opentelemetry.context import get_current
from opentelemetry.metrics import CallbackOptions, Observation

from otel_prom_bridge.callbacks import take_all
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.direct.cells import Number
from otel_prom_bridge.direct.given_attributes import usable
from otel_prom_bridge.direct.plans import RecordingPlan
from otel_prom_bridge.families import Kind
from otel_prom_bridge.points import Meaning, Stream, sampled
from otel_prom_bridge.store.keys import items_key
from otel_prom_bridge.views.mapped import OVERFLOW_ATTRIBUTES

_INFINITY = float("inf")


class Observed:
    """What all asynchronous instruments have in common: callbacks, and what their observations are."""

    MEANING: Meaning

    def __init__(
        self, stream: Stream, plan: RecordingPlan, *, callbacks: Sequence[Any] | None, findings: Findings
    ) -> None:
        self.name, self.unit, self.description = stream.name, stream.unit, stream.description
        self.instrumentation_scope = stream.scope
        self._findings = findings
        self.begin(plan)
        self.callbacks = [ObservedCallback(self, _function(callback)) for callback in callbacks or ()]

    def begin(self, plan: RecordingPlan) -> None:
        """Observe for another reader."""
        self.plan = plan
        self.stream = plan.stream

    def points(self, observations: Iterable[Observation]) -> Iterator[Number]:
        """The observations as points, without those that are no numbers."""
        now = time_ns()
        for observation in observations:
            value = self._number(observation.value)
            if value is None:
                continue
            exemplars: Sequence[Any] = ()
            plan = self.plan
            if plan.samples:
                found = observation.context or get_current()
                taken = sampled(value, found, always=plan.samples_all, left_out=None)
                exemplars = () if taken is None else (taken,)
            yield Number(self._attributes(observation.attributes), value, exemplars, now, now)

    def together(self, points: Sequence[Number]) -> Sequence[Number]:
        """The points of all callbacks, each attribute set once where only the last one stands.

        They are in the order in which they were said last, since some may become one series.
        """
        if self.MEANING.additive or len(points) < 2:
            return points
        known: dict[object, Number] = {}
        for point in points:
            key = items_key(point.attributes)
            known.pop(key, None)
            known[id(point) if key is None else key] = point
        return [*known.values()]

    def _attributes(self, given: Any) -> Mapping[str, object]:
        """The attributes of an observation. If they cannot be read, the others lose nothing by that."""
        try:
            return dict(usable(given, self.stream, self._findings)) if given else {}
        except Exception as error:
            message = "instrument %r: attributes that are none are left out: %r"
            self._findings.report(("attributes", self.stream), message, self.name, error)
            return OVERFLOW_ATTRIBUTES

    def _number(self, value: Any) -> float | None:
        try:
            number = value if isinstance(value, int | float) else value.__float__()
            if -_INFINITY < float(number) < _INFINITY:
                # As a plain number: those of a subclass may add up in whichever way.
                found: float = int(number) if isinstance(number, int) else float.__float__(number)
                return found
            why = "not finite"
        except OverflowError:  # an int that no float can hold
            why = "not finite"
        except Exception:
            why = "no number"
        message = "instrument %r: an observation that is %s is passed over, the first one is %r"
        self._findings.report(("value", self.stream, why), message, self.name, why, value)
        return None


class ObservableCounter(Observed, metrics.ObservableCounter):
    """A counter that is observed."""

    MEANING = Meaning(Kind.COUNTER, accumulates=False, additive=True)


class ObservableUpDownCounter(Observed, metrics.ObservableUpDownCounter):
    """An up-down counter that is observed."""

    MEANING = Meaning(Kind.GAUGE, accumulates=False, additive=True)


class ObservableGauge(Observed, metrics.ObservableGauge):
    """A gauge that is observed."""

    MEANING = Meaning(Kind.GAUGE, accumulates=False, additive=False)


class ObservedCallback:
    """One callback of an instrument, and what it said last."""

    def __init__(self, instrument: Observed, function: Callable[[CallbackOptions], Any]) -> None:
        self.instrument = instrument
        self._function = function

    def observe(self, options: CallbackOptions) -> tuple[list[Number], BaseException | None]:
        """What it observes, and what it raised after that. Nothing comes out of it."""
        points: list[Number] = []
        try:
            take_all(self.instrument.points(self._function(options)), points)
        except BaseException as error:  # the thread is ours: not even SystemExit is meant for it
            return points, error
        return points, None


def _function(callback: Any) -> Callable[[CallbackOptions], Any]:
    return _of_generator(callback) if isinstance(callback, Generator) else callback


def _of_generator(generator: Generator[Any, Any, Any]) -> Callable[[CallbackOptions], Any]:
    """A generator as a function: it gets the options by ``yield``, and ends when it likes."""
    next(generator)

    def send(options: CallbackOptions) -> Any:
        try:
            return generator.send(options)
        except StopIteration:
            return ()

    return send
