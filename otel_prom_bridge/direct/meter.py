"""Makes instruments, each once.

What is valid, and which of two equal instruments counts, is decided as the SDK does it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any, TypeVar

from opentelemetry import metrics
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_prom_bridge.direct.observed import (
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    Observed,
)
from otel_prom_bridge.direct.plans import RecordingPlan, RecordingPlans
from otel_prom_bridge.direct.synchronous import Counter, Gauge, Histogram, Synchronous, UpDownCounter
from otel_prom_bridge.forks import renew_lock
from otel_prom_bridge.native import RLock
from otel_prom_bridge.points import Stream

R = TypeVar("R", bound=Synchronous)
A = TypeVar("A", bound=Observed)


class Meter(metrics.Meter):
    """The instruments of one scope. ``plans`` says how each is recorded."""

    def __init__(self, scope: InstrumentationScope, plans: RecordingPlans) -> None:
        super().__init__(scope.name, scope.version, scope.schema_url)
        self._scope = scope
        self._plans = plans
        self._lock = RLock()  # a signal handler may make instruments, too
        self._synchronous: dict[tuple[object, ...], Any] = {}
        self._observable: dict[tuple[object, ...], Any] = {}
        self._advised: dict[Synchronous, Sequence[float] | None] = {}

    @property
    def synchronous(self) -> list[Synchronous]:
        """The instruments so far that record."""
        return list(self._synchronous.values())

    @property
    def observable(self) -> list[Observed]:
        """The instruments so far that callbacks observe."""
        return list(self._observable.values())

    def begin(self) -> None:
        """Record for another reader."""
        instrument: Any
        for instrument in (*self.synchronous, *self.observable):
            instrument.begin(self._recording_of(instrument))

    def renew(self) -> None:
        """In a forked child: wait for no thread of the parent."""
        renew_lock(self)
        for instrument in self.synchronous:
            instrument.renew()

    def create_counter(self, name: str, unit: str = "", description: str = "") -> Counter:
        """A counter. The same arguments give the same instrument."""
        return self._recorded(Counter, name, unit, description)

    def create_up_down_counter(self, name: str, unit: str = "", description: str = "") -> UpDownCounter:
        """An up-down counter."""
        return self._recorded(UpDownCounter, name, unit, description)

    def create_gauge(self, name: str, unit: str = "", description: str = "") -> Gauge:
        """A gauge that is set."""
        return self._recorded(Gauge, name, unit, description)

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> Histogram:
        """A histogram, with the buckets that it advises unless views want others."""
        advised = self._checked(name, explicit_bucket_boundaries_advisory)
        return self._recorded(Histogram, name, unit, description, advised)

    def create_observable_counter(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> ObservableCounter:
        """A counter that callbacks observe. Those of an equal instrument that was made before count."""
        return self._observed(ObservableCounter, name, callbacks, unit, description)

    def create_observable_up_down_counter(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> ObservableUpDownCounter:
        """An up-down counter that callbacks observe."""
        return self._observed(ObservableUpDownCounter, name, callbacks, unit, description)

    def create_observable_gauge(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> ObservableGauge:
        """A gauge that callbacks observe."""
        return self._observed(ObservableGauge, name, callbacks, unit, description)

    def _recorded(
        self, kind: type[R], name: str, unit: str, description: str, advised: Sequence[float] | None = None
    ) -> R:
        stream, plans = self._stream(kind, name, unit, description), self._plans
        with self._lock:
            found: Any = self._synchronous.get((kind, *stream))
            if found is None:
                plan, findings = plans.of(stream, advised), plans.findings
                found = kind(stream, plan, recorded=plans.heard, findings=findings)
                self._advised[found] = advised
                self._synchronous[(kind, *stream)] = found
        if self._advised[found] != advised:
            message = "histogram %r of scope %r is there already with other buckets (%r), which count"
            before = self._advised[found]
            self._plans.findings.report(("advised", stream), message, name, self._scope.name, before)
        made: R = found
        return made

    def _observed(self, kind: type[A], name: str, callbacks: Any, unit: str, description: str) -> A:
        stream = self._stream(kind, name, unit, description)
        with self._lock:
            found: Any = self._observable.get((kind, *stream))
            if found is None:
                plan, findings = self._plans.of(stream, None), self._plans.findings
                found = kind(stream, plan, callbacks=callbacks, findings=findings)
                self._observable[(kind, *stream)] = found
        made: A = found
        return made

    def _recording_of(self, instrument: Any) -> RecordingPlan:
        meaning = instrument.MEANING
        stream = instrument.stream._replace(meaning=meaning)
        return self._plans.of(stream, self._advised.get(instrument))

    def _stream(self, kind: Any, name: str, unit: str, description: str) -> Stream:
        """The stream of an instrument.

        Raises:
            ValueError: the name or the unit is not one that OpenTelemetry allows. The SDK raises there, too.
        """
        unit, description = self._said(name, "unit", unit), self._said(name, "description", description)
        checked = metrics.Instrument._check_name_unit_description(name, unit, description)
        if checked["name"] is None:
            raise ValueError(f"expected ASCII string of maximum length 255 characters but got {name}")
        if checked["unit"] is None:
            raise ValueError(f"expected ASCII string of maximum length 63 characters but got {unit}")
        # "Instrument names are case-insensitive": the first one counts, and the SDK shows it in lower case.
        return Stream(
            self._scope,
            checked["name"].lower(),
            checked["unit"] or "",
            checked["description"] or "",
            kind.MEANING,
        )

    def _said(self, name: str, what: str, given: Any) -> str:
        """What is said of an instrument; nothing if it is no text, as no metric is worth losing for that."""
        if isinstance(given, str):
            return given if type(given) is str else str.__str__(given)  # some have no hash
        if given is not None:
            message = "instrument %r of scope %r: its %s is no text and is left out: %s"
            finding = (what, self._scope, str(name))
            self._plans.findings.report(finding, message, name, self._scope.name, what, type(given))
        return ""

    def _checked(self, name: str, advised: Any) -> tuple[float, ...] | None:
        if advised is None:
            return None
        with contextlib.suppress(Exception):
            if isinstance(advised, Sequence) and all(isinstance(each, int | float) for each in advised):
                return tuple(each for each in advised if math.isfinite(each))
        message = "histogram %r: explicit_bucket_boundaries_advisory must be a sequence of numbers, not %r"
        self._plans.findings.report(("advisory", name, _text(advised)), message, name, advised)
        return None


def _text(value: object) -> str:
    """What is said of a value, which may be unable to say anything."""
    try:
        return repr(value)[:200]
    except Exception:
        return type(value).__name__
