"""What a reader exports: its views, its limits, and how long a series lives.

A policy is what the options of a reader amount to, checked as a whole. It holds no state. The store applies
it, and :meth:`Policy.sdk_views` tells the SDK as much of it as the SDK understands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from opentelemetry.sdk.metrics.view import Aggregation, View

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.families import claimed_names
from otel_prom_bridge.points import Stream
from otel_prom_bridge.prices import PriceTable
from otel_prom_bridge.translate.labels import label_name
from otel_prom_bridge.views.bounds import (
    DEFAULT_CLIENT_VALUES,
    DEFAULT_HELP_LENGTH,
    DEFAULT_LABELS,
    DEFAULT_VALUE_LENGTH,
    LINES_PER_SERIES,
    LabelBounds,
)
from otel_prom_bridge.views.buckets import preferred_aggregations
from otel_prom_bridge.views.context_labels import ContextLabels
from otel_prom_bridge.views.exemplars import Exemplars
from otel_prom_bridge.views.mapping import AttributeMap, Priced
from otel_prom_bridge.views.pricing import Pricing
from otel_prom_bridge.views.sdk_views import sdk_views
from otel_prom_bridge.views.tenants import DEFAULT_MAX_SERIES, Tenants, sdk_limit, sdk_limits, stream_limit
from otel_prom_bridge.views.view import ExportView
from otel_prom_bridge.views.workers import Workers

# The view of a stream that no view selects.
AS_IT_IS = ExportView()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The policy of a reader. Its fields are the options of ``PrometheusMetricReader`` of the same names.

    Raises:
        ConfigurationError: two views contradict each other.
    """

    views: Sequence[ExportView] = ()
    fallback_views: Sequence[ExportView] = ()
    max_series_per_metric: int = DEFAULT_MAX_SERIES
    max_series_by_type: Mapping[type, int] = field(default_factory=dict)
    max_series: int | None = None
    tenant: Tenants | None = None
    id_labels: bool = False
    exemplars: Exemplars | bool = True
    expire_after: float | None = None
    sdk_max_series: int | None = None
    max_label_value_length: int = DEFAULT_VALUE_LENGTH
    max_labels: int = DEFAULT_LABELS
    max_help_length: int = DEFAULT_HELP_LENGTH
    max_client_values: int = DEFAULT_CLIENT_VALUES
    max_lines_per_metric: int | None = None
    gauges: Workers = "each"
    seconds_buckets: bool = True
    prices: PriceTable | None = None
    context_labels: Mapping[str, str] = field(default_factory=dict)
    context: ContextLabels = field(init=False, repr=False, compare=False)
    pricing: Pricing = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "views", tuple(self.views))
        object.__setattr__(self, "fallback_views", tuple(self.fallback_views))
        named = [view for view in (*self.views, *self.fallback_views) if view.name]
        _check_kinds(named)
        _check_takes(named)
        object.__setattr__(self, "pricing", Pricing(self.prices))
        _check_tenants(self.tenant, self.context_labels)
        context = ContextLabels(self.context_labels, values=self.max_client_values)
        object.__setattr__(self, "context", context)

    def views_of(self, stream: Stream) -> tuple[ExportView, ...]:
        """The views that make families of a stream, in their order."""
        return self.tier_of(stream)[1]

    def tier_of(self, stream: Stream) -> tuple[str, tuple[ExportView, ...]]:
        """The views that make families of a stream, and whose they are.

        ``own`` are those of the option ``views``, ``fallback`` those of the profile for streams that these do
        not select, and ``none`` stands for showing the stream as it is.
        """
        for tier, views in (("own", self.views), ("fallback", self.fallback_views)):
            found = tuple(view for view in views if view.selects(stream))
            if found:
                return tier, found
        return "none", (AS_IT_IS,)

    @property
    def max_lines(self) -> int:
        """The number of lines that the series of one histogram may have together; 0 for any."""
        if self.max_lines_per_metric is None:
            # Who allows fewer series does not ask for fewer of a histogram than that.
            return LINES_PER_SERIES * max(self.max_series_per_metric, DEFAULT_MAX_SERIES)
        return self.max_lines_per_metric

    def limit(self, stream: Stream, view: ExportView) -> int:
        """The number of series that the family of a stream may have.

        A view that names no limit has that of the other views which feed its family, rather than the default.
        """
        chosen = self._named_limit(view)
        return chosen or stream_limit(stream, self.max_series_by_type, self.max_series_per_metric)

    def limit_is_named(self, stream: Stream, view: ExportView) -> bool:
        """Whether somebody named that number for this family, or for the kind of its instrument."""
        return bool(self._named_limit(view) or stream_limit(stream, self.max_series_by_type, 0))

    def _named_limit(self, view: ExportView) -> int | None:
        named = (other.max_series for other in self._all_views if view.name and other.name == view.name)
        return view.max_series or max(filter(None, named), default=None)

    def exemplars_of(self, view: ExportView) -> Exemplars | None:
        """How the series of a view keep exemplars; None if they keep none."""
        given = self.exemplars if view.exemplars is True else view.exemplars
        return Exemplars() if given is True else given or None

    def workers_of(self, view: ExportView) -> Workers:
        """What a view shows of gauges that several workers have."""
        return view.workers or self.gauges

    @property
    def has_prices(self) -> bool:
        """Whether some view shows tokens as costs."""
        return any(view.price is not None for view in (*self.views, *self.fallback_views))

    def reports_cost(self, view: ExportView) -> bool:
        """Whether a view shows what producers say of costs, in a family where others show tokens as costs."""
        if view.price is not None:
            return False
        name = view.name or view.stream_name
        return bool(name) and any(
            other.price not in (None, "missing") and name == (other.name or other.stream_name)
            for other in self._all_views
        )

    def attribute_map(
        self,
        view: ExportView,
        findings: Findings,
        label_of: Callable[[str], str] = label_name,
        *,
        metric: str = "",
        scope: str = "",
        additive: bool = False,
    ) -> AttributeMap:
        """What a view makes of the attributes of a metric. ``label_of`` gives the label of an attribute.

        Where equal series are ``additive``, attributes whose values look like ids are left out.
        """
        bounds = LabelBounds(
            value_length=self.max_label_value_length,
            labels=self.max_labels,
            client_values=self.max_client_values,
        )
        return AttributeMap(
            view,
            tenants=self.tenant,
            id_labels=self.id_labels,
            findings=findings,
            label_of=label_of,
            bounds=bounds,
            metric=metric,
            workers=self.workers_of(view),
            additive=additive,
            price=Priced(self.pricing, scope, view.price, reports=self.reports_cost(view)),
            context=self.context,
        )

    @property
    def sdk_limit(self) -> int:
        """The limit of the SDK's own table. It is well above every limit here, so floods reach the rules."""
        if self.sdk_max_series is not None:
            return self.sdk_max_series
        limits = [self.max_series_per_metric, *(view.max_series or 0 for view in self._all_views)]
        if self.tenant is not None:
            limits.append(self.tenant.other_limit + sum(self.tenant.limits.values()))
        return sdk_limit(max(limits))

    def sdk_views(self, *, beside: Iterable[View] = ()) -> list[View]:
        """SDK Views for a ``MeterProvider`` of one's own, so that the SDK does not keep what no view shows.

        They leave out the attributes that none of the views for an instrument needs; those still come along
        with exemplars. They drop instruments that no view exports, and pass limits on. At most one of them
        matches an instrument, and none matches an instrument that a View of ``beside`` matches, so that each
        instrument keeps one stream.
        """
        views = self._all_views
        map_of = partial(self.attribute_map, findings=Findings())
        limit = max(sdk_limits(self.max_series_by_type, self.sdk_limit).values())
        fallbacks = len(self.fallback_views) + 1
        return sdk_views(views, map_of, fallbacks=fallbacks, limit=limit, beside=tuple(beside))

    def preferred_aggregations(self, findings: Findings) -> Mapping[type, Aggregation]:
        """How a reader wants the SDK to record, by the class of instruments, where no SDK View says it."""
        tiers = (self.views, self.fallback_views)
        return preferred_aggregations(tiers, findings, seconds=self.seconds_buckets)

    @property
    def _all_views(self) -> tuple[ExportView, ...]:
        return (*self.views, *self.fallback_views, AS_IT_IS)


def _check_tenants(tenant: Tenants | None, labels: Mapping[str, str]) -> None:
    """Refuse the name of a label where its key is meant."""
    key = None if tenant is None else labels.get(tenant.attribute)
    if tenant is not None and key is not None and key != tenant.attribute:
        expected = f"{key!r}, of which the label {tenant.attribute!r} is made"
        raise ConfigurationError("tenant.attribute", tenant.attribute, expected)


def _check_kinds(views: Sequence[ExportView]) -> None:
    owners: dict[str, ExportView] = {}
    for view in views:
        if view.kind is None:
            continue
        for name in sorted(claimed_names(view.name or "", view.kind)):
            owner = owners.setdefault(name, view)
            if owner is not view and (owner.name, owner.kind) != (view.name, view.kind):
                taken = f"{name!r} is of the {_kind(owner)} that {owner.title} makes"
                expected = f"another name for {view.title}: {taken}"
                raise ConfigurationError(f"{view.title}.name", f"{view.name} ({_kind(view)})", expected)


def _kind(view: ExportView) -> str:
    return view.kind.value if view.kind else "metric"


def _check_takes(views: Sequence[ExportView]) -> None:
    # A count and a sum are both counters, and yet they cannot be in one family.
    owners: dict[str, ExportView] = {}
    for view in views:
        if view.take == "value":
            continue
        owner = owners.setdefault(view.name or "", view)
        if owner.take != view.take:
            expected = f"another name for {view.title}: {owner.title} makes a family of the {owner.take}"
            raise ConfigurationError(f"{view.title}.name", f"{view.name} ({view.take})", expected)
