"""One view of one stream: its family, its limit and its series.

A point is added straight to the series of every projection that wants it, and what a view leaves out is never
kept. What a new attribute set becomes is decided here once; ``lookup.py`` remembers it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, MutableMapping, Sequence
from typing import NamedTuple, cast

from otel_prom_bridge.arithmetic.histograms import MAX_CLASSIC_BUCKETS
from otel_prom_bridge.arithmetic.scaling import Scale
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.families import Kind, Labels, MetricFamily
from otel_prom_bridge.interrupts import sheltered
from otel_prom_bridge.points import AttributeSet, BucketPoint, SourcePoint, Stream
from otel_prom_bridge.store.growing import GrowingFamily
from otel_prom_bridge.store.intake import ExemplarIntake, Shift
from otel_prom_bridge.store.keys import as_set, set_key
from otel_prom_bridge.store.origins import Origin
from otel_prom_bridge.store.series import (
    ExponentialSeries,
    Folded,
    HistogramSeries,
    Room,
    Series,
    Target,
    Targets,
    Traits,
    priced,
    series_class,
)
from otel_prom_bridge.store.series_budgets import SeriesBudget, SeriesBudgets
from otel_prom_bridge.translate import Attributes, Translation
from otel_prom_bridge.translate.labels import (
    Layout,
    label_name,
    label_value,
    shortened,
    valid_unicode,
)
from otel_prom_bridge.translate.units import unit_words
from otel_prom_bridge.views.bounds import CLIENT_VALUES, LABELS, VALUE_LENGTH
from otel_prom_bridge.views.mapped import OVERFLOW_ATTRIBUTES, OVERFLOW_KEY, Fold, Mapped
from otel_prom_bridge.views.mapping import AttributeMap
from otel_prom_bridge.views.policy import Policy
from otel_prom_bridge.views.pricing import PRICE_KEY
from otel_prom_bridge.views.view import ExportView

OVERFLOW = Fold("", "max_series")  # the fold that is not a rule's

_LONG_NAME = (
    "metric %r: the name of a label is longer than%.0s %d characters and is cut, so something that is no name"
    " may be recorded as one; max_label_value_length allows more, and 0 any length"
)
# What the log says when a label is cut, left out or folded for the first time, by the option that bounds it.
_BOUNDED: Mapping[str, str] = {
    VALUE_LENGTH: "metric %r: a value of the label %r is longer than %d characters and is cut; series that"
    " become equal add up; max_label_value_length allows more, and 0 any length",
    LABELS: "metric %r: a series has more labels than it may, and some are left out%.0s; series that become"
    " equal add up; max_labels allows more than %d, and 0 any number",
    CLIENT_VALUES: "metric %r: clients choose the values of the label %r, and those after the first %d are"
    " shown as 'other'; max_client_values allows more; a view that names it in 'keep', or id_labels=True,"
    " keeps all of them",
}
_MOST_FOLDS = 100
# Nearly all series of a metric have the same keys. The bound is for producers that put data into keys.
_LAYOUTS_REMEMBERED = 500

_UNJUDGED = ", whether the view's 'where' chooses them or not, which nobody knows any more"


class Shared(NamedTuple):
    """What all projections of one store share. A new series is in ``unplaced`` until a family shows it."""

    policy: Policy
    translation: Translation
    budgets: SeriesBudgets
    findings: Findings
    shift: Shift
    unplaced: MutableMapping[Series, Projection]


class Projection:
    """The series that one view makes of one stream.

    ``scope`` holds the attributes that every series gets from that, and ``origin`` says what it gets from the
    resource.
    """

    __slots__ = (
        "_attributes",
        "_began",
        "_budgets",
        "_defaults",
        "_full",
        "_has_buckets",
        "_layouts",
        "_made",
        "_new",
        "_own",
        "_resource",
        "_room",
        "_scope",
        "_service",
        "_shared",
        "_shown_as",
        "_told",
        "family",
        "folds",
        "key",
        "kind",
        "name",
        "origin",
        "rejected",
        "series",
        "traits",
        "view",
    )

    def __init__(
        self,
        key: Stream,
        view: ExportView,
        *,
        shared: Shared,
        scope: Attributes,
        origin: Origin,
    ) -> None:
        self.key = key
        self.view = view
        self.origin = origin
        self._scope, self._resource = scope, origin.promoted
        self._made = {*view.rename.values(), *view.compute}
        self.kind = Kind.COUNTER if view.take != "value" else key.meaning.kind
        self._shown_as = _shown_as(key, view)
        self._shared = shared
        self._defaults = shared.translation.labels(self.kind, {**origin.common, **view.labels})
        try:
            self.name = self._family_name()
        except Exception:  # reported when the family is made; until then the points count under this name
            self.name = key.name
        self.folds: dict[Fold, Folded] = {}
        self.family: GrowingFamily | None = None
        self.rejected = False
        self._began = (0, 0.0)
        self._layouts: dict[tuple[str, ...], Layout] = {}  # by the keys of series, as long as `_service` is
        self._service = origin.service
        self._room = Room()
        self.series: dict[Hashable, Series] = {}
        self._attributes = _attribute_map(key, view, shared)
        self.traits = self._common_traits()
        self._new = series_class(key.meaning, view.take, scaled=self.traits.scale is not None)
        self._has_buckets = issubclass(self._new, HistogramSeries | ExponentialSeries)
        self._own = self._own_budgets()
        self._budgets = shared.budgets.of(self._own, None)
        self._full: set[SeriesBudget] = set()  # the budgets that sent points to the overflow
        self._told: set[str | None] = set()  # the tenants (or None) whose overflow the log has mentioned

    def _own_budgets(self) -> tuple[SeriesBudget, ...]:
        policy, budgets = self._shared.policy, self._shared.budgets
        own = budgets.family(self.name, policy.limit(self.key, self.view))
        if not self._has_buckets or policy.limit_is_named(self.key, self.view):
            return (own,)
        return (own, *budgets.lines(self.name))

    def _common_traits(self) -> Traits:
        view, unit, policy = self.view, self.key.unit, self._shared.policy
        factor = view.factor(unit)
        bounds = view.buckets if isinstance(view.buckets, tuple) else ()
        # "Exemplars on gauges SHOULD be dropped": OpenMetrics 1.0 has no place for them.
        wanted = None if self.kind is Kind.GAUGE else policy.exemplars_of(view)
        escape = self._shared.translation.strategy.escapes
        return Traits(
            stream=self.key,
            bounds=view.recorded_bounds(unit),
            scale=None if factor is None else Scale(factor, bounds=bounds),
            intake=None
            if wanted is None
            else ExemplarIntake(wanted, self._attributes, escape=escape, shift=self._shared.shift),
            workers=policy.workers_of(view),
            keeps_ended=view.ended == "keep",
        )

    @property
    def attribute_map(self) -> AttributeMap:
        """What it makes of attributes."""
        return self._attributes

    @property
    def escapes(self) -> bool:
        """Whether the names of labels are translated."""
        return self._shared.translation.strategy.escapes

    @property
    def takes_away(self) -> bool:
        """Whether it takes what another projection of the stream shows out of a third one."""
        return self.view.price is not None and self.view.price.startswith("-")

    @property
    def additive(self) -> bool:
        """Whether equal series add up."""
        return self.key.meaning.additive

    @property
    def wanted(self) -> float:
        """The number of attribute sets that there can be, infinite if the view does not bound it."""
        most = self._attributes.max_series
        return math.inf if most is None else most

    @property
    def overflow_key(self) -> object:
        """Equal for projections whose overflow series, those of tenants included, are the same ones."""
        return self.labels(OVERFLOW_ATTRIBUTES), self._attributes.tenant_label

    @property
    def overflow_values(self) -> int:
        """How many of these there are at most for each tenant."""
        return self._attributes.overflow_values

    @property
    def left_out_ids(self) -> bool:
        """Whether some attribute is no label because it is an id."""
        return self._attributes.left_out_ids

    @property
    def exemplars_held(self) -> int:
        """The number of exemplars that its series keep."""
        return 0 if self.traits.intake is None else self.traits.intake.held

    @property
    def may_be_full(self) -> bool:
        """Whether some new attribute set may find no place."""
        return self._shared.budgets.may_be_full(self._own)

    @property
    def has_room_again(self) -> bool:
        """Whether a budget that sent points to the overflow is not full any more."""
        return bool(self._full) and not all(budget.is_full for budget in self._full)

    @property
    def is_pressed(self) -> bool:
        """Whether a budget, or the table of a label whose values clients choose, had no room."""
        return bool(self._full) or self._attributes.is_pressed

    def relieve(self) -> None:
        """Keep only those values of clients that a series has."""
        self._attributes.keep_values_of(series.attributes for series in self.series.values())

    def take_back(self) -> None:
        """Forget which budgets sent points to the overflow; the attribute sets of those points ask again."""
        self._full.clear()

    def _family_name(self) -> str:
        translation = self._shared.translation
        if self.view.name:
            return translation.given_name(self.view.name)
        return translation.name(self._shown_as, counter=self.kind is Kind.COUNTER)

    def empty_family(self) -> MetricFamily:
        """The family that its series belong to, without points."""
        self.name = self._family_name()
        return MetricFamily(
            name=self.name,
            kind=self.kind,
            help=self._help(),
            unit=str(unit_words(self._shown_as.unit)),
            points=(),
            foreign=not self._shared.translation.strategy.escapes,
            additive=self.additive,
        )

    def _help(self) -> str:
        text = valid_unicode(self.view.description or self._description())
        longest = self._shared.policy.max_help_length
        if not longest or len(text) <= longest:
            return text
        self._shared.findings.report(
            ("help", self.name),
            "metric %r: its help text has %d characters and is cut after %d; max_help_length allows more",
            *(self.name, len(text), longest),
        )
        return shortened(text, longest)

    def _description(self) -> str:
        if self.view.take == "value":
            return self.key.description
        # Of the pattern, not of the stream: several streams of a view feed one family.
        return f"The {self.view.take} of what {self.view.instrument_name} observed"

    def labels(self, attributes: Mapping[str, object]) -> Labels:
        """The labels of a series; the view's own stand where nothing else gives them a value."""
        if type(attributes) is AttributeSet and self.view.price is None:
            keys, values = attributes.parts()
        else:
            given = {key: value for key, value in attributes.items() if key != PRICE_KEY}
            keys, values = tuple(given), tuple(given.values())
        if self._service is not self.origin.service:
            self._layouts.clear()
            self._service = self.origin.service
        layout = self._layouts.get(keys)
        return (layout or self._layout(keys)).labels(values)

    def _layout(self, keys: tuple[str, ...]) -> Layout:
        """What makes labels of attributes with these keys, as nearly all series have them."""
        layout = self._shared.translation.layout(
            self.kind, keys, *self._beside(keys), defaults=self._defaults
        )
        if len(self._layouts) < _LAYOUTS_REMEMBERED:
            self._layouts[keys] = layout
        return layout

    def _beside(self, keys: Sequence[str]) -> tuple[Attributes, Attributes]:
        """What scope and resource say, without the labels that the view makes of attributes itself."""
        resource = self._resource + self.origin.service
        made = self._made and {label_name(label) for label in self._made if label in keys}
        if not made:
            return self._scope, resource
        scope = tuple(item for item in self._scope if label_name(item[0]) not in made)
        return scope, tuple(item for item in resource if label_name(item[0]) not in made)

    def targets(self, point: SourcePoint) -> Targets | None:
        """What takes the points of this point's attribute set: a series, and the counters of its folds.

        None if the view does not want them, or if its family cannot be shown.
        """
        mapped = self._mapped(point)
        if mapped is None or self.rejected:
            return None
        key: Hashable = mapped.key
        if key is None:
            key = set_key(mapped.attributes)
        recorded = point.attributes
        if type(recorded) is AttributeSet and recorded.key == key:
            key = recorded.key  # which is kept already
        if key == _SDK_OVERFLOW:
            return self._overflow(mapped, point)
        series = self.series.get(key)
        if series is None:
            budgets = self._budgets
            if mapped.tenant is not None:
                budgets = self._shared.budgets.of(self._own, mapped.tenant)
            full = [budget for budget in budgets if budget.is_full]
            if full:
                self._full.update(full)
                return self._overflow(mapped, point, full)
            series = self._new_series(mapped.attributes, key, point)
            lines = self._lines(point)
            if self._room.lines != lines or self._room.budgets is not budgets:
                self._room = Room(budgets, lines)  # nearly all have the same
            series.room = self._room
            for budget in budgets:
                budget.add(lines)
        return (series, *self._folded(mapped.folds)) if mapped.folds else series

    def known(self, point: SourcePoint) -> Series | None:
        """The series of an attribute set, if it has one already."""
        mapped = self._mapped(point)
        return None if mapped is None else self.series.get(mapped.key or set_key(mapped.attributes))

    def _mapped(self, point: SourcePoint) -> Mapped | None:
        try:
            return sheltered(self._attributes.apply, point.attributes or {})
        except Exception as error:  # a fault of ours: no point is lost for it
            self._shared.findings.report(("view", self.name), "%s failed: %r", self.view.title, error)
            return Mapped(OVERFLOW_ATTRIBUTES)

    def _overflow(
        self, mapped: Mapped, point: SourcePoint, full: Sequence[SeriesBudget] = ()
    ) -> tuple[Target, ...]:
        """The overflow series for what is past these limits of ours or, if there are none, past the SDK's."""
        # Every point of a flood comes here, so the usual case takes no detour.
        attributes = mapped.overflow
        key = _SDK_OVERFLOW if attributes is OVERFLOW_ATTRIBUTES else set_key(attributes)
        series = self.series.get(key)
        if full:
            self._report_limits(full, mapped.tenant)
        if series is None:
            if not full:
                self._report_sdk_limit()
            series = self._new_series(attributes, key, point)
            series.room = Room(lines=self._lines(point), overflowed=True)
        return (series, *self._folded((*mapped.folds, OVERFLOW)))

    def _report_limits(self, full: Sequence[SeriesBudget], tenant: str | None) -> None:
        if tenant in self._told:
            return
        self._told.add(tenant)
        self._shared.findings.report(
            ("overflow", self.name, tenant),
            "metric %r is at a limit of its series: %s; %spoints with further labels are shown as"
            ' otel_metric_overflow="true"; reader.cardinality() says which labels make so many,'
            " an ExportView can drop or bound them, %s allows more",
            self.name,
            " and ".join(map(str, full)),
            self._flooding_label(),
            " and ".join(budget.option for budget in full),
        )

    def _flooding_label(self) -> str:
        """Which label has the most values, as a part of a sentence, if any of them has several."""
        values: dict[str, set[str]] = {}
        for series in self.series.values():
            for key, value in series.attributes.items():
                if key not in (PRICE_KEY, OVERFLOW_KEY):
                    values.setdefault(key, set()).add(label_value(value))
        label = max(values, key=lambda key: len(values[key]), default="")
        if len(values.get(label, ())) < 2:
            return ""
        return f"the label {label!r} has {len(values[label])} values; "

    def _report_sdk_limit(self) -> None:
        self._shared.findings.report(
            ("sdk overflow", self.name),
            "metric %r had more attribute sets between two collections than the SDK may hold: points past"
            ' that are shown as otel_metric_overflow="true"%s; sdk_max_series allows more',
            self.name,
            _UNJUDGED if self.view.where else "",
        )

    def _folded(self, folds: Sequence[Fold]) -> list[Folded]:
        return [self.folds.get(fold) or self._first_folded(fold) for fold in folds]

    def _first_folded(self, fold: Fold) -> Folded:
        if fold.rule in _BOUNDED:
            limit = getattr(self._shared.policy, fold.rule)
            is_name = fold.rule == VALUE_LENGTH and not fold.label
            said = _LONG_NAME if is_name else _BOUNDED[fold.rule]
            self._shared.findings.report((fold, self.name), said, self.name, fold.label, limit)
            if len(self.folds) >= _MOST_FOLDS:  # somebody puts data into keys
                fold = Fold("", fold.rule)
        return self.folds.setdefault(fold, Folded())

    def _new_series(self, attributes: Mapping[str, object], key: Hashable, point: SourcePoint) -> Series:
        is_priced = self.view.price is not None and PRICE_KEY in attributes
        new = priced(self._new) if is_priced else self._new
        series = self.series[key] = new(self.traits, as_set(attributes, key))
        if point.start_time_unix_nano is not None:
            series.created = self._seconds(point.start_time_unix_nano)
        self._shared.unplaced[series] = self
        return series

    def _seconds(self, nanoseconds: int) -> float:
        """These nanoseconds as seconds; most series that are new in one collection began with it."""
        if nanoseconds != self._began[0]:
            self._began = (nanoseconds, nanoseconds / 1_000_000_000)
        return self._began[1]

    def _lines(self, point: SourcePoint) -> int:
        """The lines of a new series. Says so if no bucket that the view wants is recorded."""
        if not self._has_buckets:
            return 1
        wanted = self.traits.bounds
        if issubclass(self._new, ExponentialSeries):
            return 3 + (MAX_CLASSIC_BUCKETS if wanted is None else len(wanted))
        recorded = cast("BucketPoint", point).explicit_bounds
        if wanted:
            self._compare_bounds(wanted, recorded)
        return 3 + len(recorded if wanted is None else wanted)

    def _compare_bounds(self, wanted: Sequence[float], recorded: Sequence[float]) -> None:
        if set(wanted).isdisjoint(recorded):
            self._shared.findings.report(
                ("bounds", self.name),
                "metric %r: none of the buckets of %s is recorded, because a View of the SDK records others."
                " Only its count and sum are left",
                *(self.name, self.view.title),
            )

    def show(self, series: Series) -> None:
        """Give a series its place in the family, which must be there."""
        assert self.family is not None
        self.family.place(series, self.labels(series.attributes))

    def forget(self, last_seen: int, *, overflow: bool = True) -> list[Series]:
        """Drop the series that had their last point in this collection or before, and return them.

        With ``overflow`` also those that stand for what is past a limit. Levels stay, unless the family is
        not shown at all.
        """
        gone = [
            series
            for series in self.series.values()
            if series.seen <= last_seen
            and (overflow or not series.room.overflowed)
            and (self.rejected or not series.is_level)
        ]
        self.drop(gone)
        return gone

    def drop(self, gone: Iterable[Series]) -> None:
        """Drop these series."""
        for series in gone:
            del self.series[set_key(series.attributes)]
            self._let_go(series)

    def _let_go(self, series: Series) -> None:
        series.gone = True
        self._shared.unplaced.pop(series, None)
        if self.family is not None:
            self.family.remove(series)
        if self.traits.intake is not None:
            self.traits.intake.held -= series.exemplars_held
        for budget in series.room.budgets:
            budget.remove(series.room.lines)


_SDK_OVERFLOW = set_key(OVERFLOW_ATTRIBUTES)


def _shown_as(key: Stream, view: ExportView) -> Stream:
    """The stream with the name and the unit from which the family's name is made."""
    unit = key.unit if view.unit is None else view.unit
    return key._replace(name=view.stream_name or key.name, unit="" if view.take == "count" else unit)


def _attribute_map(key: Stream, view: ExportView, shared: Shared) -> AttributeMap:
    """What the view makes of the attributes of this stream."""
    label_of = label_name if shared.translation.strategy.escapes else str
    return shared.policy.attribute_map(
        view,
        shared.findings,
        label_of,
        metric=key.name,
        scope=key.scope.name,
        additive=key.meaning.additive,
    )
