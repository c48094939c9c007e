"""The options of a reader: their names, types, defaults and checks, which stand here and nowhere else.

A reader takes them as the arguments of its constructor (:func:`takes`). So a new option is one line here, one
in the table of ``configuration/options.py``, and whatever it does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from functools import wraps
from inspect import signature
from typing import Concatenate, Literal, ParamSpec, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry

from otel_prom_bridge.exposition import WriterOptions
from otel_prom_bridge.prices import PriceTable
from otel_prom_bridge.translate import Translation, TranslationStrategy
from otel_prom_bridge.translate.strategies import STRATEGY
from otel_prom_bridge.values.checks import (
    BOOLEAN,
    BOUND,
    BOUNDS,
    COMMON_LABELS,
    FUNCTION,
    INTERVAL,
    NAMES,
    POSITIVE,
    SECONDS,
    STRING,
    check_fields,
)
from otel_prom_bridge.values.notation import nearest
from otel_prom_bridge.views.bounds import (
    DEFAULT_CLIENT_VALUES,
    DEFAULT_HELP_LENGTH,
    DEFAULT_LABELS,
    DEFAULT_VALUE_LENGTH,
)
from otel_prom_bridge.views.context_labels import CHECK as CONTEXT_LABELS
from otel_prom_bridge.views.exemplars import Exemplars
from otel_prom_bridge.views.kinds import LIMITS
from otel_prom_bridge.views.policy import Policy
from otel_prom_bridge.views.tenants import DEFAULT_MAX_SERIES, Tenants
from otel_prom_bridge.views.view import ExportView
from otel_prom_bridge.views.workers import WORKERS, Workers
from otel_prom_bridge.views.written import EXEMPLARS, PRICES, TENANTS, VIEWS

# How long a scrape waits for callbacks: half of what Prometheus waits for us by default.
DEFAULT_SCRAPE_TIMEOUT = 5.0
DEFAULT_COLLECT_INTERVAL = 10.0

_CHECKS = {
    "views": VIEWS,
    "fallback_views": VIEWS,
    "max_series_per_metric": POSITIVE,
    "cardinality_limits": LIMITS,
    "max_series": POSITIVE,
    "max_label_value_length": BOUND,
    "max_labels": BOUND,
    "max_help_length": BOUND,
    "max_client_values": BOUND,
    "max_lines_per_metric": BOUND,
    "seconds_buckets": BOOLEAN,
    "prices": PRICES,
    "tenant": TENANTS,
    "context_labels": CONTEXT_LABELS,
    "id_labels": BOOLEAN,
    "gauges": WORKERS,
    "exemplars": EXEMPLARS,
    "expire_after": SECONDS,
    "sdk_max_series": POSITIVE,
    "created_timestamps": BOOLEAN,
    "openmetrics_2": BOOLEAN,
    "exponential_histogram_bounds": BOUNDS,
    "translation_strategy": STRATEGY,
    "prefix": STRING,
    "scope_info_enabled": BOOLEAN,
    "resource_attribute_filter": FUNCTION,
    "common_labels": COMMON_LABELS,
    "scrape_timeout": SECONDS,
    "self_metrics": BOOLEAN,
    "self_metric_names": NAMES,
    "disable_target_info": BOOLEAN,
    "collect_interval": INTERVAL,
}


@dataclass(frozen=True, slots=True, eq=False)
class PipelineOptions:
    """The options of ``PrometheusMetricReader``, which says what they mean. The first three have a place.

    Raises:
        ConfigurationError: an option has a value that cannot work.
    """

    disable_target_info: bool = False
    prefix: str = ""
    scope_info_enabled: bool = True
    _: KW_ONLY
    resource_attribute_filter: Callable[[str], bool] | None = None
    common_labels: Mapping[str, str | Sequence[str]] | None = None
    registry: CollectorRegistry | None = REGISTRY
    cardinality_limits: Mapping[type, int] | None = None
    translation_strategy: TranslationStrategy | str = TranslationStrategy.UNDERSCORE_ESCAPING_WITH_SUFFIXES
    views: Sequence[ExportView] = ()
    fallback_views: Sequence[ExportView] = ()
    max_series_per_metric: int = DEFAULT_MAX_SERIES
    max_series: int | None = None
    max_label_value_length: int = DEFAULT_VALUE_LENGTH
    max_labels: int = DEFAULT_LABELS
    max_help_length: int = DEFAULT_HELP_LENGTH
    max_client_values: int = DEFAULT_CLIENT_VALUES
    max_lines_per_metric: int | None = None
    seconds_buckets: bool = True
    prices: PriceTable | str | os.PathLike[str] | Literal[False] = "default"
    tenant: Tenants | None = None
    context_labels: Mapping[str, str] | None = None
    id_labels: bool = False
    gauges: Workers = "each"
    exemplars: Exemplars | bool = True
    expire_after: float | None = None
    scrape_timeout: float = DEFAULT_SCRAPE_TIMEOUT
    collect_interval: float = DEFAULT_COLLECT_INTERVAL
    self_metrics: bool = True
    self_metric_names: Mapping[str, str] | None = None
    sdk_max_series: int | None = None
    created_timestamps: bool = False
    openmetrics_2: bool = False
    exponential_histogram_bounds: Sequence[float] | None = None

    def __post_init__(self) -> None:
        check_fields(self, _CHECKS)

    def policy(self) -> Policy:
        """What is to be shown. Its fields have the names of the options, but for one."""
        given = {item.name: getattr(self, item.name) for item in fields(Policy) if hasattr(self, item.name)}
        given |= {"prices": self.prices or None, "context_labels": self.context_labels or {}}
        return Policy(**given, max_series_by_type=self.cardinality_limits or {})

    def translation(self) -> Translation:
        """How names and attributes are written."""
        return Translation(
            strategy=TranslationStrategy(self.translation_strategy),
            prefix=self.prefix,
            scope_info_enabled=self.scope_info_enabled,
            resource_attribute_filter=self.resource_attribute_filter,
            common_labels=COMMON_LABELS.check(self.common_labels or {}),
            value_length=self.max_label_value_length,
        )

    def writer_options(self) -> WriterOptions:
        """What the formats show."""
        return WriterOptions(
            created=self.created_timestamps,
            openmetrics_2=self.openmetrics_2,
            native_bounds=tuple(bounds) if (bounds := self.exponential_histogram_bounds) else None,
        )


# This folder knows none of their names.
_OF_OTHERS = "; options of the endpoint, and `profile`, are arguments of start()"

_Given = ParamSpec("_Given")
_Options = TypeVar("_Options")
_Self = TypeVar("_Self")


def takes(
    options: Callable[_Given, _Options],
) -> Callable[[Callable[[_Self, _Options], None]], Callable[Concatenate[_Self, _Given], None]]:
    """Makes a constructor that takes options into one that takes the arguments of their class.

    mypy and editors check its calls, and ``help()`` shows all of the arguments.
    """
    shape = signature(options)
    names = list(shape.parameters)

    def taking(
        init: Callable[[_Self, _Options], None],
    ) -> Callable[Concatenate[_Self, _Given], None]:
        def __init__(self: _Self, *args: _Given.args, **given: _Given.kwargs) -> None:  # noqa: N807
            try:
                shape.bind(*args, **given)
            except TypeError as error:
                unknown = next((name for name in given if name not in names), "")
                near = nearest(unknown, names) if unknown else None
                meant = f"; did you mean {near!r}?" if near else _OF_OTHERS if unknown else ""
                raise TypeError(f"{type(self).__name__}() {error}{meant}") from None
            init(self, options(*args, **given))

        return wraps(options.__init__)(__init__)  # type: ignore[return-value]

    return taking
