"""What a profile says, as data. ``reading.py`` makes it of a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from opentelemetry.metrics import Meter

from otel_prom_bridge.families import Kind, claimed_names
from otel_prom_bridge.profiles.own_instruments import Instruments, InstrumentSpec
from otel_prom_bridge.views.computations import Computation, attributes_of
from otel_prom_bridge.views.view import ExportView

Present: TypeAlias = Literal["current", "latest", "both"]
"""Which generation of the conventions' names the families get, no matter which was recorded."""

PRESENT: tuple[Present, ...] = ("current", "latest", "both")


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A label of the profile's schema: what it is computed from, and what it may say.

    ``name`` is the name of the label. A schema may have several labels of one name, for families that mean
    different things by it.
    """

    name: str
    description: str = ""
    compute: Computation
    rule: Any = None

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes from which its value is computed."""
        return attributes_of(self.compute) or ()

    @property
    def max_values(self) -> int | None:
        """How many values it can have. None means any number."""
        deciding = self.compute if self.rule is None else self.rule
        found: int | None = getattr(deciding, "max_values", None)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The streams that feed a family: those of one instrument, and which of their points.

    It is written as ``[[sources.calls]]``. ``type``, ``unit`` and ``meter`` choose among instruments of one
    name. ``take``, ``scale``, ``where`` and ``price`` are those of an export view. ``attributes`` is what is
    known of all these points where they do not say it themselves.
    """

    instrument: str
    type: str | None = None
    unit: str | None = None
    meter: str | None = None
    take: str | None = None
    scale: float | None = None
    price: str | None = None
    where: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A family of the profile, and the views that make it, one for each source.

    ``name`` begins with the namespace. Without ``labels`` all attributes are kept. ``unit`` is a word of
    Prometheus, such as ``seconds``. ``buckets`` are those of a histogram. ``present`` lists the settings of
    the option ``present`` with which the family exists.
    """

    name: str
    type: str
    help: str
    unit: str = ""
    labels: Sequence[Label] | None = None
    buckets: Sequence[float] | str | None = None
    present: Sequence[Present] = PRESENT
    sources: Sequence[Source]
    views: Sequence[ExportView]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be spent: an ``amount`` in USD in a ``period`` in seconds.

    It is for each value of the labels ``by``, or for everything together. ``costs`` is the family that says
    what was spent, and ``where`` which of its series count, by labels.
    """

    name: str
    costs: str
    amount: float
    period: int
    by: Sequence[str] = ()
    where: Mapping[str, str] = field(default_factory=dict)


def _names(name: str | None, kind: Kind | None) -> set[str]:
    if not name:
        return set()
    return {name} if kind is None else {name, *claimed_names(name, kind)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One dialect: its families, labels and instruments, and the options that go with them.

    With ``fallback`` its views are for the streams that no view of the application selects. Without it they
    stand beside the application's views. ``options`` are options of ``start()``, written as in a file.
    ``otel-prom-bridge dashboards`` makes a dashboard and rules of ``dashboard``. Errors call the profile
    ``where``.
    """

    name: str
    description: str = ""
    namespace: str = ""
    fallback: bool = False
    labels: Mapping[str, Label] = field(default_factory=dict)
    families: Sequence[Family] = ()
    own_instruments: Sequence[InstrumentSpec] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    dashboard: Mapping[str, Any] = field(default_factory=dict)
    budgets: Sequence[Budget] = ()
    where: str = ""

    def place(self, key: str) -> str:
        """How errors call one of its keys."""
        return f"{self.where or f'profile {self.name!r}: '}{key}"

    def shown(self, present: Present = "current") -> Iterator[Family]:
        """The families that exist with this setting of ``present``."""
        return (family for family in self.families if present in family.present)

    def views(self, present: Present = "current", *, beside: Sequence[ExportView] = ()) -> list[ExportView]:
        """The export views of the families that exist with this setting of ``present``.

        A family is left out if its name, or the name of one of its samples, is also that of a family which a
        view ``beside`` them makes.
        """
        taken = {name for view in beside for name in _names(view.name, view.kind)}
        free = (
            family
            for family in self.shown(present)
            if taken.isdisjoint(_names(family.name, Kind(family.type)))
        )
        return [view for family in free for view in family.views]

    def instruments(self, meter: Meter, *, strict: bool = False) -> Instruments:
        """Create the profile's own instruments, for what no instrumentation records.

        Args:
            meter: an OpenTelemetry meter.
            strict: raise for attributes that the profile does not know, which is meant for tests. Otherwise
                they are left out, and logged once.
        """
        return Instruments(meter, self.own_instruments, namespace=self.namespace, strict=strict)
