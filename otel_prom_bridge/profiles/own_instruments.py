"""A profile's own instruments. Each has its unit, buckets and description, and checks its attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.metrics import Meter

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.instruments import METHODS, Attributes, InstrumentKind, recording
from otel_prom_bridge.values.notation import nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentSpec:
    """One instrument. ``name`` is its OpenTelemetry name. ``unit`` is in UCUM (``s``, ``By``, ``{step}``)."""

    name: str
    type: InstrumentKind
    unit: str = ""
    description: str = ""
    attributes: Sequence[str] = ()
    buckets: Sequence[float] | None = None


def _meant(name: str, known: Sequence[str]) -> str:
    near = nearest(name, known)
    return f" (did you mean {near!r}?)" if near else ""


class CheckedInstrument:
    """An instrument that takes the attributes of its profile, and no others.

    A value is always recorded. An attribute that the profile does not know is left out and logged once,
    because cardinality gets out of hand with labels that nobody has decided on.
    """

    def __init__(self, meter: Meter, spec: InstrumentSpec, *, strict: bool) -> None:
        self.spec = spec
        self._record = recording(
            meter,
            spec.type,
            spec.name,
            unit=spec.unit,
            description=spec.description,
            buckets=spec.buckets,
        )
        self._known = frozenset(spec.attributes)
        self._strict = strict
        self._findings = Findings(most=10)

    def record(
        self, value: float, attributes: Attributes | None = None, context: Context | None = None
    ) -> None:
        """Record one value: of a histogram an observation, of a gauge the state, of a counter an increment.

        Raises:
            ConfigurationError: an attribute is not one of the profile's, and the instruments are ``strict``.
        """
        given = attributes or {}
        if not given.keys() <= self._known:
            given = self._checked(given)
        self._record(value, given, context)

    # The instruments of OpenTelemetry have these two methods, and each only for some types. A type that has
    # not must not have it here either: "set" of a counter would add.

    def add(self, value: float, attributes: Attributes | None = None, context: Context | None = None) -> None:
        """Record an increment of a counter, or a change of an up-down counter; see :meth:`record`."""
        self._check_method("add")
        self.record(value, attributes, context)

    def set(self, value: float, attributes: Attributes | None = None, context: Context | None = None) -> None:
        """Record the state of a gauge; see :meth:`record`."""
        self._check_method("set")
        self.record(value, attributes, context)

    def _check_method(self, name: str) -> None:
        _, known = METHODS[self.spec.type]
        if name != known:
            raise AttributeError(f"{self.spec.name}: its type {self.spec.type} has {known!r}, not {name!r}")

    def _checked(self, attributes: Attributes) -> Attributes:
        known = ", ".join(map(repr, self.spec.attributes))
        for key in attributes.keys() - self._known:
            allowed = f"one of {known}{_meant(key, self.spec.attributes)}"
            if not known:
                allowed = "none, since it has no attributes"
            error = ConfigurationError(f"{self.spec.name}: attribute", key, allowed)
            if self._strict:
                raise error
            self._findings.report(key, "%s; leaving it out", error)
        return {key: value for key, value in attributes.items() if key in self._known}


class Instruments(Mapping[str, CheckedInstrument]):
    """The instruments of a profile by their names, with or without its namespace."""

    def __init__(
        self, meter: Meter, specs: Sequence[InstrumentSpec], *, namespace: str = "", strict: bool = False
    ) -> None:
        self._prefix = f"{namespace}." if namespace else ""
        self._instruments = {spec.name: CheckedInstrument(meter, spec, strict=strict) for spec in specs}

    def __getitem__(self, name: str) -> CheckedInstrument:
        found = self._instruments.get(name) or self._instruments.get(f"{self._prefix}{name}")
        if found is None:
            known = [key.removeprefix(self._prefix) for key in self._instruments]
            listed = ", ".join(map(repr, self._instruments))
            raise KeyError(f"{name!r} is none of {listed}{_meant(name.removeprefix(self._prefix), known)}")
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._instruments)

    def __len__(self) -> int:
        return len(self._instruments)
