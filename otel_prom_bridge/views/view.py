"""Export views: which families a stream becomes, and what their labels may say.

An SDK View makes streams of an instrument. An ``ExportView`` makes a family of the streams that it selects.
It is only a description, which is checked when it is made. The store's projections apply it once per new
attribute set. So it works on instrumentation that nobody can edit, and what it leaves out costs no series.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import MISSING, dataclass, field, fields
from fractions import Fraction
from typing import Any, Literal, TypeAlias

from otel_prom_bridge.arithmetic.scaling import Scale
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.families import Kind, claimed_names
from otel_prom_bridge.points import Stream
from otel_prom_bridge.rules import Forbid, Rule
from otel_prom_bridge.sdk.meanings import HISTOGRAM, KINDS, instruments_of
from otel_prom_bridge.translate.labels import label_name
from otel_prom_bridge.translate.names import metric_name
from otel_prom_bridge.translate.units import conversion
from otel_prom_bridge.values.checks import (
    BOUNDS,
    FACTOR,
    KEY_PATTERNS,
    POSITIVE,
    STRING,
    TEXT,
    check_fields,
    instance_of,
    is_text,
    one_of,
)
from otel_prom_bridge.values.patterns import Filter, condition, glob, is_pattern, one_pattern
from otel_prom_bridge.views.computations import Computation, computation
from otel_prom_bridge.views.exemplars import Exemplars
from otel_prom_bridge.views.kinds import INSTRUMENT, INSTRUMENTS_BY_NAME
from otel_prom_bridge.views.pricing import PRICE
from otel_prom_bridge.views.workers import ENDED, WORKERS, Ended, Workers

# The SDK's data does not tell these two apart.
GAUGES: tuple[type, ...] = (INSTRUMENTS_BY_NAME["gauge"], INSTRUMENTS_BY_NAME["observable_gauge"])

Take: TypeAlias = Literal["value", "count", "sum"]

_CHECKS = {
    **dict.fromkeys(("instrument_name", "instrument_unit", "meter_name"), TEXT),
    "instrument_type": INSTRUMENT,
    "description": STRING,
    "take": one_of("value", "count", "sum"),
    "scale": FACTOR,
    "unit": STRING,
    "keep": KEY_PATTERNS,
    "drop": KEY_PATTERNS,
    "max_series": POSITIVE,
    "price": PRICE,
    "exemplars": instance_of(Exemplars | bool, "Exemplars(…), or False for none"),
    "workers": WORKERS,
    "ended": ENDED,
}
_OF_LABELS = ("rename", "compute", "labels", "rules")

# Labels that the bridge or Prometheus itself writes. An attribute of such a name has to make way, and a view
# that makes such a label on purpose is wrong.
_RESERVED = ("le", "quantile", "otel_metric_overflow")

_OURS = claimed_names("target_info", Kind.INFO)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ExportView:
    """Makes one family of the streams that it selects.

    Several views can select one stream, and each makes its own family of it. A stream that no view selects is
    exported as it is. In patterns ``*`` stands for any number of characters, and ``?`` for one.

    Args:
        instrument_name: the pattern of the streams' names. Case does not matter.
        instrument_type: ``"counter"``, ``"histogram"``, ``"observable_gauge"`` … or the SDK's class. Its data
            does not tell gauges from observable gauges, so either of them selects both.
        instrument_unit: the unit as it was recorded, such as ``"s"``.
        meter_name: the pattern of the scopes' names.
        name: the Prometheus name of the family. Nothing is added to it, so a counter's should end with
            ``_total``. Without it the stream's name is translated. None exports nothing.
        stream_name: the name under which the stream is shown. It is translated as the name of an instrument
            is, with unit, ``_total``, prefix and strategy. It cannot be given beside ``name``.
        description: the help text. Without it there is the stream's.
        take: ``value`` shows the stream as it is. ``count`` and ``sum`` make a counter of a part of a
            histogram. (The sum of negative observations goes down, which Prometheus takes for a restart.)
        price: the kind of tokens that the points count: ``"input"``, ``"output"``, ``"cached"``,
            ``"cache_write"`` or ``"reasoning"``. They are shown as USD, by the table of the reader's option
            ``prices``. ``"-input"`` and ``"-output"`` take tokens out again that another view shows as cached
            or reasoning. ``"missing"`` shows the tokens of models without a price, as tokens. The tokens of
            producers that report costs themselves, in the same family, are left out.
        buckets: the bounds of the histogram, or ``"exponential"`` for an exponential histogram. If a View of
            the SDK says how the histogram is recorded, those of these bounds are kept that it records.
        scale: the number by which values, sums, bounds and exemplars are multiplied. It needs a ``unit``. An
            exponential histogram becomes one with explicit buckets, unless the scale is a power of two.
        unit: the unit of what is shown, as instruments write it (``"s"``), for the name's suffix and UNIT.
            Without it there is the stream's. ``buckets`` are in this unit, too. Without ``scale``, what was
            recorded in another unit of time or of bytes is converted.
        keep: patterns of the attributes that become labels. Without it all of them do.
        drop: patterns of the attributes that do not become labels.
        rename: attribute → label. If several attributes become one label, the first that is there counts.
            A label that the view makes takes the place of an attribute of that name.
        compute: label → what it is computed from: an attribute, the first of several, or a function of the
            attributes as recorded (:class:`Outcome`, your own). A label that comes out as None is left out.
        labels: label → the value that it has in series where nothing else gives it one. It may be empty.
        where: attribute → what its value must match: a pattern, a list of patterns, or a mapping of
            ``included`` and ``excluded`` patterns. An attribute that is not there has the value "".
        rules: attribute → the rule for its values, whatever its label is called. Or renamed or computed label
            → the rule for its values. With ``Forbid()`` the attribute may be a pattern.
        max_series: the number of series that the family may have. Without it the reader's limit counts.
        exemplars: how exemplars are kept, or False for none. Without it the reader's option counts.
        workers: what is shown of a gauge that several workers have: ``"each"`` with the label ``worker``,
            their ``"sum"``, ``"max"`` or ``"min"``, or the one that changed last (``"newest"``). Without it
            the reader's option ``gauges`` counts.
        ended: ``"keep"`` keeps what a worker that ended said last: of an up-down counter in the sum, of a
            gauge with ``workers="newest"`` until there is a newer value. With ``"drop"`` it leaves.

    Raises:
        ConfigurationError: the view cannot work. The message names the view and says why.
    """

    instrument_name: str = "*"
    instrument_type: str | type | None = None
    instrument_unit: str | None = None
    meter_name: str | None = None
    name: str | None = ""
    stream_name: str = ""
    description: str = ""
    take: Take = "value"
    price: str | None = None
    buckets: Sequence[float] | Literal["exponential"] | None = None
    scale: float | None = None
    unit: str | None = None
    keep: Sequence[str] | None = None
    drop: Sequence[str] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    compute: Mapping[str, str | Sequence[str] | Computation] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, str | Sequence[str] | Mapping[str, Sequence[str]]] = field(default_factory=dict)
    rules: Mapping[str, Rule | Callable[[str], str | None]] = field(default_factory=dict)
    max_series: int | None = None
    exemplars: Exemplars | bool = True
    workers: Workers | None = None
    ended: Ended = "drop"

    def __post_init__(self) -> None:
        if self.name is None:
            self._check_nothing()
        check_fields(self, _CHECKS, title=f"{self.title}.")
        self._check_selection()
        self._check_output()
        self._check_labels()
        if self.ended == "keep" and self.workers not in (None, "newest"):
            expected = f"'drop', or workers='newest', as with {self.workers!r} nothing is kept of a gauge"
            self._refuse("ended", self.ended, expected)

    def __repr__(self) -> str:
        shown = (f"{item.name}={getattr(self, item.name)!r}" for item in fields(self) if self._is_given(item))
        return f"ExportView({', '.join(shown)})"

    def _is_given(self, item: Any) -> bool:
        default = {} if item.default is MISSING else item.default
        return bool(getattr(self, item.name) != default)

    @property
    def title(self) -> str:
        """The view in a few words, for messages."""
        return title_of(self.instrument_name, self.name)

    @property
    def classes(self) -> tuple[type, ...]:
        """The SDK's classes of instruments that the view selects. An empty tuple means all of them."""
        if self._needs_histogram:
            return HISTOGRAM
        if self.instrument_type is None:
            return ()
        given = self.instrument_type
        kind = INSTRUMENTS_BY_NAME[given] if isinstance(given, str) else given
        return GAUGES if kind in GAUGES else (kind,)

    @property
    def _needs_histogram(self) -> bool:
        return self.take != "value" or self.buckets is not None

    @property
    def kind(self) -> Kind | None:
        """The type of the family, or None if the view alone does not determine it."""
        if self.take != "value":
            return Kind.COUNTER
        return KINDS[self.classes[0]] if self.classes else None

    @property
    def forbidden(self) -> tuple[str, ...]:
        """The patterns in ``rules`` of attributes that are shown nowhere."""
        return tuple(key for key, rule in self.rules.items() if isinstance(rule, Forbid) and is_pattern(key))

    def factor(self, unit: str) -> float | Fraction | None:
        """The number by which the points of an instrument with this unit are multiplied, or None."""
        if self.scale is not None:
            return self.scale
        return None if self.unit is None else conversion(unit, self.unit)

    def recorded_bounds(self, unit: str) -> tuple[float, ...] | None:
        """The bounds of ``buckets`` in the unit of the instrument, as far as there are such numbers."""
        if not isinstance(self.buckets, tuple):
            return None
        factor = self.factor(unit)
        if factor is None:
            return self.buckets
        return tuple(filter(math.isfinite, map(Scale(factor).recorded, self.buckets)))

    def selects(self, stream: Stream) -> bool:
        """Whether the view makes a family of this stream."""
        classes = instruments_of(stream.meaning)
        return self.selects_instrument(stream.name, stream.unit, stream.scope.name or "", classes)

    def selects_instrument(self, name: str, unit: str, meter: str, classes: tuple[type, ...]) -> bool:
        """Whether the view selects an instrument, which may be of one of these ``classes``."""
        wanted = self.classes
        if wanted and set(wanted).isdisjoint(classes):
            return False
        if self.instrument_unit is not None and self.instrument_unit != unit:
            return False
        if self.meter_name is not None and not one_pattern(self.meter_name).fullmatch(meter):
            return False
        return self.selects_name(name)

    def selects_name(self, name: str) -> bool:
        """Whether the view selects instruments of this name. Case does not matter in such names."""
        return one_pattern(self.instrument_name, any_case=True).fullmatch(name) is not None

    def _check_selection(self) -> None:
        self.selects_name("")  # this compiles the pattern now, and not when the application first records
        given = self.instrument_type
        if self._needs_histogram and given not in (None, "histogram", *HISTOGRAM):
            self._refuse("instrument_type", given, "a histogram, as 'take' and 'buckets' need one")

    def _check_output(self) -> None:
        self._check_name()
        if self.take != "value" and self.name == "" and not self.stream_name:
            self._refuse("name", self.name, f"the name of the new counter, as the view takes the {self.take}")
        if self.take != "value" and self.buckets is not None:
            self._refuse("buckets", self.buckets, f"none, as the view takes only the {self.take}")
        if self.buckets is not None and self.buckets != "exponential":
            if isinstance(self.buckets, str):
                self._refuse("buckets", self.buckets, f"{BOUNDS.allowed}, or 'exponential'")
            object.__setattr__(self, "buckets", BOUNDS.value(self._key("buckets"), self.buckets))
        self._check_unit()

    def _check_name(self) -> None:
        if self.name is not None and not is_text(self.name):
            self._refuse("name", self.name, "the name of a family, or None to export nothing")
        if not is_text(self.stream_name) or (self.stream_name and self.name != ""):
            self._refuse("stream_name", self.stream_name, "a string, and none beside 'name'")
        # Both the name and its escaped form are checked, because a scraper may ask for either. Names of the
        # semantic conventions are free: the SDK records some of those metrics itself, which may have views.
        for name in (self.name, metric_name(self.name)) if self.name else ():
            for claimed in sorted(claimed_names(name, self.kind or Kind.GAUGE)):
                if claimed in _OURS or claimed.startswith("otel_prom_bridge_"):
                    expected = f"another name: {claimed!r} is of what the bridge says itself"
                    self._refuse("name", self.name, expected)

    def _check_unit(self) -> None:
        if self.price is not None and (self.take == "count" or self.scale is not None):
            self._refuse("price", self.price, "none with take='count' or a 'scale': it multiplies tokens")
        for key in ("scale", "unit"):
            if self.take == "count" and getattr(self, key) is not None:
                self._refuse(key, getattr(self, key), "none, as a count has no unit")
        if self.scale is not None and self.unit is None:
            self._refuse("unit", self.unit, "the unit of what is shown, as the view has a 'scale'")
        if isinstance(self.buckets, tuple) and len(self.recorded_bounds("") or ()) < len(self.buckets):
            expected = "bounds that are numbers in the unit of the instrument, too"
            self._refuse("buckets", self.buckets, expected)

    def _check_nothing(self) -> None:
        for key in (*_OF_LABELS, "where", "keep", "drop", "max_series", "scale", "unit", "workers"):
            if getattr(self, key):
                expected = "none, as name=None exports nothing at all of what the view selects; 'where' with"
                self._refuse(
                    key, getattr(self, key), f"{expected} 'excluded' patterns leaves out some points"
                )

    def _check_labels(self) -> None:
        for key in (*_OF_LABELS, "where"):
            value = getattr(self, key)
            if not isinstance(value, Mapping) or not all(is_text(item) and item for item in value):
                self._refuse(key, value, "a mapping by attribute key")
            exact = set(value).difference(self.forbidden if key == "rules" else ())
            if key not in ("compute", "labels") and any(map(is_pattern, exact)):
                self._refuse(key, value, "keys without '*' and '?': 'keep', 'drop' and Forbid() have them")
            object.__setattr__(self, key, dict(value))
        self._check_new_labels()
        compiled = {"compute": computation, "where": condition}
        for key, compile_value in compiled.items():
            for name, value in getattr(self, key).items():
                self._check_value(f"{key}[{name!r}]", value, compile_value)
        for name, rule in self.rules.items():
            if not callable(rule) or isinstance(rule, type):
                self._refuse(f"rules[{name!r}]", rule, "a rule such as Allow([…]), or a function of a string")

    def _check_new_labels(self) -> None:
        if not all(map(is_text, self.labels.values())):
            self._refuse("labels", self.labels, "labels with values that are strings")
        made = {"rename": self.rename.values(), "compute": self.compute, "labels": self.labels}
        for key, labels in made.items():
            for label in labels:
                if not (is_text(label) and label):
                    self._refuse(key, getattr(self, key), "labels that are strings and not empty")
                name = label_name(label)
                if name in _RESERVED or name.startswith("otel_scope_") or label.startswith("__"):
                    self._refuse(key, getattr(self, key), f"a label other than {label!r}, which is reserved")
        dropped = glob(self.drop)
        for key in self.rename:
            if dropped.fullmatch(key):
                self._refuse("rename", key, "an attribute that 'drop' does not leave out")
        self._check_names(rename=self.rename.values(), compute=self.compute)
        self._check_names(labels=self.labels)

    def _check_names(self, **made: Iterable[str]) -> None:
        # Two attributes that become one label are joined with ";", as the specification demands. Nobody wants
        # that for labels that a view makes. Names are compared as a scraper without UTF-8 sees them.
        names: dict[str, tuple[str, str]] = {}
        for key, labels in made.items():
            for label in dict.fromkeys(labels):
                maker, other = names.setdefault(label_name(label), (key, label))
                if (maker, other) != (key, label):
                    spelled = "" if other == label else f" (as {other!r})"
                    self._refuse(key, label, f"a label that {maker!r} does not make, too{spelled}")

    def _check_value(self, key: str, value: object, compile_value: Callable[[Any], object]) -> None:
        expected = "a pattern, a list of them, or a mapping with 'included' or 'excluded'"
        if key.startswith("compute"):
            expected = (
                "what to compute it from: an attribute key, a list of them, or a function of attributes"
            )
        try:
            compile_value(value)
        except (TypeError, ValueError):
            self._refuse(key, value, expected)

    def _key(self, key: str) -> str:
        return f"{self.title}.{key}"

    def _refuse(self, key: str, value: object, expected: str) -> None:
        raise ConfigurationError(self._key(key), value, expected)

    def conditions(self) -> dict[str, Filter]:
        """The conditions of ``where`` as functions of the attributes' values."""
        return {key: condition(value) for key, value in self.where.items()}

    def computations(self) -> dict[str, Computation]:
        """The computations of ``compute`` as functions of the attributes."""
        return {label: computation(value) for label, value in self.compute.items()}

    def with_rules(self, rules: Mapping[str, Rule]) -> ExportView:
        """The same view with other rules of the same names. They are not checked again."""
        view = copy(self)
        object.__setattr__(view, "rules", rules)
        return view

    def names(self, key: str) -> bool:
        """Whether the view asks for this attribute by its key and not by a pattern."""
        return key in self.rename or key in (self.keep or ())


def title_of(instrument_name: object, name: object) -> str:
    """A view in a few words. All messages about it begin like this."""
    return f"ExportView({instrument_name!r}, name={name!r})"


def instrument_names(stream: Stream) -> list[str]:
    """The kinds of instruments that make such a stream, as ``instrument_type`` names them."""
    kinds = instruments_of(stream.meaning)
    return [name for name, kind in INSTRUMENTS_BY_NAME.items() if kind in kinds]
