"""From the tables of a file to a profile: names are looked up, and export views are made.

A family is written once, and it names the sources that feed it. For each source an export view is made, in
the notation that ``views`` of a configuration file has. So a mistake in a family is answered like one in a
view.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.families import Kind, claimed_names
from otel_prom_bridge.instruments import METHODS
from otel_prom_bridge.profiles.budgets import read_budgets
from otel_prom_bridge.profiles.inheritance import NAMING_PATTERNS, beside, listed
from otel_prom_bridge.profiles.own_instruments import InstrumentSpec
from otel_prom_bridge.profiles.profile import PRESENT, Family, Label, Profile, Source
from otel_prom_bridge.translate.names import metric_name
from otel_prom_bridge.values.checks import BOOLEAN, BOUNDS, STRING, TEXT, Check, list_of, one_of
from otel_prom_bridge.values.notation import Read, as_table, called, is_list, part, read_at, tables, unknown
from otel_prom_bridge.views.computations import Completed, FirstOf
from otel_prom_bridge.views.view import ExportView
from otel_prom_bridge.views.written import VIEWS

_TYPES = ("counter", "gauge", "histogram")
# Prometheus' words for the units that families here have.
_UNITS = {"s": "seconds", "By": "bytes"}
# https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/metrics/api.md#instrument-name-syntax
_INSTRUMENT = re.compile(r"[A-Za-z][A-Za-z0-9_.\-/]{0,254}")

# What names may begin with, those of families and those of instruments.
_BEGINNING = re.compile(r"(?:[A-Za-z_:][A-Za-z0-9_.:\-/]*)?")


def _namespace(value: object) -> str:
    if not (isinstance(value, str) and _BEGINNING.fullmatch(value)):
        raise ValueError
    return value


_NAMESPACE = Check(
    allowed="a string of letters, digits, '_', '.' and '-' that begins with no digit", check=_namespace
)
_PATTERNS = list_of(TEXT, "a list of patterns", least=1)
# These keys of a family are handed to its views as they are.
_VIEW_KEYS = ("keep", "drop", "rename", "compute", "rules", "max_series", "exemplars", "workers")


class ProfileTable(NamedTuple):
    """The whole file, without ``extends`` and ``parts``."""

    name: str
    description: str = ""
    namespace: str = ""
    fallback: bool = False
    labels: Mapping[str, Any] = {}
    buckets: Mapping[str, Any] = {}
    patterns: Mapping[str, Any] = {}
    sources: Mapping[str, Any] = {}
    defaults: Mapping[str, Any] = {}
    families: Sequence[Any] = ()
    instruments: Sequence[Any] = ()
    options: Mapping[str, Any] = {}
    dashboard: Mapping[str, Any] = {}
    budget: Any = ()


class LabelTable(NamedTuple):
    """``[labels.model]``: where the value of a label comes from, and the rules for what it may say.

    ``label`` is the name of the label if that is not the name of the table. ``like`` is the name of another
    table, which says what this one does not say.
    """

    label: str = ""
    like: str = ""
    description: str = ""
    attributes: Sequence[str] | None = None
    default: str = ""
    compute: Any = None
    rules: Any = None


class FamilyTable(NamedTuple):
    """``[[families]]``: a family as it is written. From ``keep`` on, the keys are those of a view.

    ``stream`` is the name of an instrument. With it the family gets the name into which the reader translates
    that, with its own strategy and prefix. ``name`` then has to be what the default strategy makes of it.
    """

    name: str
    type: str
    help: str
    source: Any
    labels: Sequence[str] | None = None
    stream: str = ""
    unit: str = ""
    present: Sequence[str] = PRESENT
    take: str = "value"
    buckets: Any = None
    where: Mapping[str, Any] = {}
    keep: Sequence[str] | None = None
    drop: Sequence[str] = ()
    rename: Mapping[str, str] = {}
    compute: Mapping[str, Any] = {}
    rules: Mapping[str, Any] = {}
    max_series: int | None = None
    exemplars: Any = None
    workers: str | None = None


def read_profile(values: Mapping[str, Any], *, name: str, where: str = "") -> Profile:
    """The profile that these tables describe. The keys of errors begin with ``where``."""
    try:
        return replace(
            _Reading(called(ProfileTable, {"name": name, **values}, read={"defaults": as_table})).profile(),
            where=where,
        )
    except ConfigurationError as error:
        raise error.renamed(where + error.key.lstrip(".")) from None


class _Reading:
    """Reads one file, whose families refer to labels, buckets and sources by their names."""

    def __init__(self, table: ProfileTable) -> None:
        self._table = table
        self._namespace = _NAMESPACE.value(".namespace", table.namespace)
        self._buckets = _each(".buckets", table.buckets, lambda _, value: BOUNDS.value("", value))
        self._labels = _each(".labels", table.labels, self._label)
        self._patterns = _each(".patterns", table.patterns, lambda _, value: [*_PATTERNS.value("", value)])
        self._sources = _each(".sources", table.sources, lambda _, value: self._selections(value))
        own = read_at(".instruments", tables(self._instrument), table.instruments)
        self._own: Sequence[InstrumentSpec] = _instruments(own)

    def profile(self) -> Profile:
        """The profile."""
        table = self._table
        families = read_at(".families", tables(self._family), table.families)
        _check_types(families)
        options = _options(table.options)
        return Profile(
            name=TEXT.value(".name", table.name),
            description=STRING.value(".description", table.description).strip(),
            namespace=self._namespace,
            fallback=BOOLEAN.value(".fallback", table.fallback),
            labels=self._labels,
            families=families,
            own_instruments=self._own,
            options=options,
            dashboard=read_at(".dashboard", as_table, table.dashboard),
            budgets=read_at(".budget", lambda value: read_budgets(value, families, options), table.budget),
        )

    def _family(self, value: object) -> Family:
        given = beside(self._table.defaults, as_table(value))
        table: FamilyTable = called(FamilyTable, given, read={"where": self._conditions})
        one_of(*_TYPES).value(".type", table.type)
        present = [one_of(*PRESENT).value(".present", item) for item in listed(table.present)]
        selections = self._selected(table.source)
        buckets = read_at(".buckets", self._bounds, table.buckets)
        views = tuple(self._view(table, item, buckets) for item in selections)
        for kind in {view.kind.value for view in views if view.kind is not None} - {table.type}:
            raise ConfigurationError(".type", table.type, f"{kind!r}, which its sources make")
        name = self._full(TEXT.value(".name", table.name), "_")
        if table.stream:
            one_of(_translated(table)).value(".name", name)
        return Family(
            name=name,
            type=table.type,
            help=TEXT.value(".help", table.help),
            unit=_UNITS.get(table.unit, table.unit),
            labels=None if table.labels is None else tuple(map(self._schema, listed(table.labels))),
            buckets=buckets,
            present=tuple(present),
            sources=tuple(
                replace(item, take=item.take or table.take, where=_where(table, item)) for item in selections
            ),
            views=views,
        )

    def _view(self, table: FamilyTable, source: Source, buckets: object) -> ExportView:
        view = {key: getattr(table, key) for key in _VIEW_KEYS}
        take = source.take or table.take
        view |= {
            "instrument_name": source.instrument,
            "instrument_type": source.type,
            "instrument_unit": source.unit,
            "meter_name": source.meter,
            "name": "" if table.stream else self._full(table.name, "_"),
            "stream_name": table.stream,
            "description": table.help,
            "take": take,
            "where": _where(table, source),
            "buckets": buckets if take == "value" else None,
        }
        if table.unit and take != "count":
            view["unit"] = table.unit
        if source.scale is not None and take != "count":  # a number of points has no unit to convert
            view["scale"] = source.scale
        if source.price is not None:
            view["price"] = source.price
        if table.labels is None:
            view["labels"] = source.attributes
        else:
            view |= self._labelled(table, source)
        return _made(view)

    def _schema(self, name: object) -> Label:
        found: Label = self._known(name, "labels", self._labels, at=".labels")
        return found

    def _label(self, name: str, value: object) -> Label:
        return _label(name, self._likened(value, (name,)))

    def _likened(self, value: object, below: tuple[str, ...]) -> dict[str, Any]:
        """The table of a label, with what those say that it is like. The name of a label is its own."""
        given = as_table(value)
        like = given.pop("like", "")
        if like == "":
            return given
        if like in below:
            raise ConfigurationError(".like", like, "a label that is not like this one")
        other = self._known(like, "labels", self._table.labels, at=".like")
        inherited = self._likened(other, (*below, like))
        left_out = {"label", *({"attributes", "compute"} if given.keys() & {"attributes", "compute"} else ())}
        return {**{key: item for key, item in inherited.items() if key not in left_out}, **given}

    def _labelled(self, table: FamilyTable, source: Source) -> dict[str, object]:
        """The labels of the schema, and no others. Each is computed."""
        labels = {label.name: label for label in map(self._schema, listed(table.labels))}
        known = source.attributes
        compute = {
            name: Completed(label.compute, known) if known.keys() & {*label.attributes} else label.compute
            for name, label in labels.items()
        }
        rules = {name: label.rule for name, label in labels.items() if label.rule is not None}
        return {
            "keep": table.keep or (),
            "compute": {**compute, **table.compute},
            "rules": {**rules, **table.rules},
        }

    def _selected(self, value: object) -> list[Source]:
        found: list[Source] = []
        for item in listed(value):
            found += self._selections([item]) if isinstance(item, Mapping) else self._of_name(item)
        if not found:
            raise ConfigurationError(".source", value, "a source, or several")
        return [each for source in found for each in self._with_own(source)]

    def _selections(self, value: object) -> list[Source]:
        if not is_list(value) or not value:
            raise ConfigurationError("", value, "a list of tables, each with 'instrument'")
        read: dict[str, Read] = {"attributes": _known, "where": self._conditions}
        return [called(Source, as_table(item), read=read) for item in value]

    def _conditions(self, value: object) -> dict[str, object]:
        """Conditions as views have them, with the patterns that ``in`` and ``not_in`` name."""
        return {key: self._condition(item, at=f"[{key!r}]") for key, item in as_table(value).items()}

    def _condition(self, value: object, *, at: str) -> object:
        if not isinstance(value, Mapping):
            return value
        found = dict(value)
        for word in NAMING_PATTERNS.keys() & found.keys():
            key, name = NAMING_PATTERNS[word], found.pop(word)
            if key in found:
                raise ConfigurationError(f"{at}.{word}", name, f"either {word!r} or {key!r}")
            found[key] = self._known(name, "patterns", self._patterns, at=f"{at}.{word}")
        return found

    def _with_own(self, source: Source) -> list[Source]:
        """An instrument of the profile may be called with or without the namespace, so both are selected."""
        name = self._full(source.instrument, ".") if isinstance(source.instrument, str) else ""
        is_own = name != source.instrument and name in {spec.name for spec in self._own}
        return [replace(source, instrument=name), source] if is_own else [source]

    def _of_name(self, name: object) -> list[Source]:
        found: list[Source] = self._known(name, "sources", self._sources, at=".source")
        return found

    def _bounds(self, value: object) -> Any:
        if value is None or value == "exponential":
            return value
        if isinstance(value, str):
            return self._known(value, "buckets", self._buckets, at="")
        return BOUNDS.value("", value)

    def _known(self, name: object, kind: str, names: Mapping[str, Any], *, at: str) -> Any:
        if not isinstance(name, str) or name not in names:
            raise unknown(name, name, names, f"profile's {kind}", at=at)
        return names[name]

    def _instrument(self, value: object) -> InstrumentSpec:
        read: dict[str, Read] = {
            "name": self._instrument_name,
            "type": partial(one_of(*METHODS).value, ""),
            "unit": partial(STRING.value, ""),
            "description": partial(STRING.value, ""),
            "attributes": lambda keys: tuple(TEXT.value("", key) for key in listed(keys)),
            "buckets": self._explicit_bounds,
        }
        given = as_table(value)
        spec: InstrumentSpec = called(InstrumentSpec, given, read=read)
        if spec.buckets is not None and spec.type != "histogram":
            raise ConfigurationError(".buckets", given["buckets"], "bounds, of a histogram")
        return spec

    def _explicit_bounds(self, value: object) -> Any:
        if value == "exponential":
            raise ConfigurationError("", value, "bounds, of a histogram")
        return self._bounds(value)

    def _instrument_name(self, value: object) -> str:
        name = self._full(TEXT.value("", value), ".")
        if not _INSTRUMENT.fullmatch(name):
            raise ConfigurationError("", name, "a letter, then letters, digits, '_', '.', '-' and '/'")
        return name

    def _full(self, name: str, separator: str) -> str:
        return f"{self._namespace}{separator}{name}" if self._namespace else name


def _translated(table: FamilyTable) -> str:
    unit = "" if table.take == "count" else table.unit
    return metric_name(table.stream, unit=unit, counter=table.type == "counter")


def _check_types(families: Sequence[Family]) -> None:
    """Refuse two types of one family, and a family that has the name of a sample of another one."""
    types: dict[str, str] = {}
    claims: dict[tuple[str, str], Family] = {}
    for family in families:
        at = f".families[{family.name!r}]"
        known = types.setdefault(family.name, family.type)
        if known != family.type:
            raise ConfigurationError(
                f"{at}.type", family.type, f"{known!r}, as the other family of this name"
            )
        names = sorted(claimed_names(family.name, Kind(family.type)))
        for name, present in product(names, family.present):
            owner = claims.setdefault((name, present), family)
            if owner.name != family.name:
                expected = f"another name: {name!r} is of the {owner.type} {owner.name!r}"
                raise ConfigurationError(f"{at}.name", f"{family.name} ({family.type})", expected)


def _instruments(specs: Sequence[InstrumentSpec]) -> Sequence[InstrumentSpec]:
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(".instruments", name, "one instrument of each name")
    return specs


def _options(value: object) -> dict[str, Any]:
    options: dict[str, Any] = read_at(".options", as_table, value)
    if "profile" in options:
        expected = "no profile in a profile; 'extends' says what it is made of"
        raise ConfigurationError(".options.profile", options["profile"], expected)
    return options


def _label(name: str, value: object) -> Label:
    table: LabelTable = called(LabelTable, as_table(value))
    if (table.attributes is None) == (table.compute is None):
        raise ConfigurationError("", value, "either 'attributes' or 'compute'")
    compute = table.compute
    if table.attributes is not None:
        keys = [TEXT.value(".attributes", key) for key in listed(table.attributes)]
        compute = FirstOf(keys, STRING.value(".default", table.default))
    label = STRING.value(".label", table.label) or name
    rules = {} if table.rules is None else {label: table.rules}
    # The rule is made once for all families, so that they share what it remembers. "The first 50" are the
    # same 50 in each of them.
    view = _made({"compute": {label: compute}, "rules": rules})
    return Label(
        name=label,
        description=STRING.value(".description", table.description),
        compute=view.computations()[label],
        rule=view.rules.get(label),
    )


def _known(value: object) -> dict[str, str]:
    given = as_table(value)
    for key, text in given.items():
        if not isinstance(text, str):
            raise ConfigurationError(part(key), text, "a string; a key with dots is written in quotes")
    return given


def _where(table: FamilyTable, source: Source) -> dict[str, object]:
    for key in table.where.keys() & source.where.keys():
        raise ConfigurationError(f".where[{key!r}]", table.where[key], "no filter that its source has, too")
    return {**source.where, **table.where}


def _made(view: Mapping[str, object]) -> ExportView:
    """The view that this table describes, in the notation of configuration files."""
    given = {key: value for key, value in view.items() if value not in (None, {}, (), "") or key == "keep"}
    try:
        found: ExportView = VIEWS.check([given])[0]
    except ConfigurationError as error:
        raise error.renamed(error.key.removeprefix("[0]")) from None
    return found


def _each(key: str, values: object, read: Callable[[str, object], Any]) -> dict[str, Any]:
    found = {}
    for name, item in read_at(key, as_table, values).items():
        found[name] = read_at(f"{key}{part(name)}", partial(read, name), item)
    return found
