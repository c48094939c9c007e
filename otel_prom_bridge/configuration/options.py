"""The options, in one table.

The table says everything about an option; reading it, checking it and the documentation follow from that. So
an option means the same whichever way it came, and a wrong value has the same answer: which key, which value,
what is allowed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from otel_prom_bridge.configuration.endpoint_options import ENDPOINT_OPTIONS, EndpointOptions
from otel_prom_bridge.configuration.table import Alias, Option, ours
from otel_prom_bridge.profiles import GENERATION, PROFILES, Present
from otel_prom_bridge.reader.reader import DEFAULT_COLLECT_INTERVAL, DEFAULT_SCRAPE_TIMEOUT
from otel_prom_bridge.translate import TranslationStrategy
from otel_prom_bridge.translate.strategies import STRATEGY
from otel_prom_bridge.values.checks import (
    BOOLEAN,
    BOUNDS,
    COMMON_LABELS,
    INTERVAL,
    NAMES,
    PATH,
    PATTERNS,
    POSITIVE,
    SECONDS,
    STRING,
)
from otel_prom_bridge.views.exemplars import Exemplars
from otel_prom_bridge.views.instruments import LIMITS
from otel_prom_bridge.views.tenants import DEFAULT_MAX_SERIES, Tenants
from otel_prom_bridge.views.view import ExportView
from otel_prom_bridge.views.written import EXEMPLARS, TENANTS, VIEWS

CONFIG_FILE = Option(
    key="config_file",
    variable=ours("config_file"),
    check=PATH,
    without="none",
    meaning="a TOML file with the options of this table; not in YAML, and not in the file itself",
)
PROFILE = Option(
    key="profile",
    variable=ours("profile"),
    check=PROFILES,
    default="semconv",
    meaning="a dialect of metrics: which families there are beside what `views` says, their labels, buckets"
    " and limits; see [profiles](profiles.md)",
)
PRESENT = Option(
    key="present",
    variable=ours("present"),
    check=GENERATION,
    default="current",
    meaning="the names of the generative AI conventions that the profile `semconv` shows, whichever were"
    " recorded: those that producers emit today, the newest ones, or both",
)
READER_OPTIONS = (
    PROFILE,
    PRESENT,
    Option(
        key="prefix",
        variable=ours("prefix"),
        check=STRING,
        default="",
        without="none",
        meaning="put before every metric name, with an `_`",
    ),
    Option(
        key="scope_info_enabled",
        variable=ours("scope_info_enabled"),
        check=BOOLEAN,
        default=True,
        meaning="the labels `otel_scope_*` on every series",
    ),
    Option(
        key="target_info_enabled",
        other_keys=("target_info_enabled/development",),
        variable=ours("target_info_enabled"),
        check=BOOLEAN,
        default=True,
        meaning="`target_info`, the info metric with the resource attributes",
    ),
    Option(
        key="resource_constant_labels",
        variable=ours("resource_constant_labels"),
        check=PATTERNS,
        without="none",
        meaning="resource attributes that become labels of every series, by their keys; what is excluded"
        " beats what is included, and without `included` all are",
    ),
    Option(
        key="common_labels",
        variable=ours("common_labels"),
        check=COMMON_LABELS,
        without="none",
        meaning="labels of every series of the application that has no value of its own for them, from the"
        " resource; empty where it has no such attribute",
    ),
    Option(
        key="translation_strategy",
        variable=ours("translation_strategy"),
        check=STRATEGY,
        default=TranslationStrategy.UNDERSCORE_ESCAPING_WITH_SUFFIXES,
        meaning="how names are translated; the declarative configuration's spellings"
        " (`no_translation/development`) are taken, too",
    ),
    Option(
        key="views",
        variable="",
        check=VIEWS,
        default=(),
        without="none",
        meaning="which families the streams become, and what their labels may say; see"
        " [view-options](view-options.md#in-a-file)",
    ),
    Option(
        key="max_series_per_metric",
        variable=ours("max_series_per_metric"),
        check=POSITIVE,
        default=DEFAULT_MAX_SERIES,
        meaning="series per metric; what is more goes to one series, `otel_metric_overflow`",
        aliases=(Alias(variable="METRICS_CARDINALITY_MAX_PER_METRIC"),),
    ),
    Option(
        key="cardinality_limits",
        variable=ours("cardinality_limits"),
        check=LIMITS,
        without="none",
        meaning="the same by kind of instrument, for the SDK's table, too; `default` is for kinds not named",
    ),
    Option(
        key="max_series",
        variable=ours("max_series"),
        check=POSITIVE,
        without="none",
        meaning="series of all metrics together",
        aliases=(Alias(variable="METRICS_CARDINALITY_MAX_TOTAL"),),
    ),
    Option(
        key="tenant",
        variable="",
        check=TENANTS,
        without="none",
        meaning="the attribute that names a tenant, and how many series each tenant may have",
    ),
    Option(
        key="id_labels",
        variable=ours("id_labels"),
        check=BOOLEAN,
        default=False,
        meaning="labels also of the ids of users, sessions, requests, traces …, which are labels of exemplars"
        " otherwise",
    ),
    Option(
        key="exemplars",
        variable=ours("exemplars"),
        check=EXEMPLARS,
        default=True,
        meaning="which exemplars are kept: `true` for the newest of each bucket, `false` for none",
    ),
    Option(
        key="expire_after",
        variable=ours("expire_after"),
        check=SECONDS,
        without="never",
        meaning="how long a series lives that nobody touches",
    ),
    Option(
        key="scrape_timeout",
        variable=ours("scrape_timeout"),
        check=SECONDS,
        default=DEFAULT_SCRAPE_TIMEOUT,
        meaning="how long a scrape waits for callbacks and collectors",
    ),
    Option(
        key="collect_interval",
        variable=ours("collect_interval"),
        check=INTERVAL,
        default=DEFAULT_COLLECT_INTERVAL,
        meaning="after how long without a scrape a collection runs on its own; 0 for never",
    ),
    Option(
        key="sdk_max_series",
        variable=ours("sdk_max_series"),
        check=POSITIVE,
        without="20000, or ten times the largest limit here",
        meaning="attribute sets that the SDK may hold per instrument between two collections",
    ),
    Option(
        key="created_timestamps",
        variable=ours("created_timestamps"),
        check=BOOLEAN,
        default=False,
        meaning="`_created` lines in OpenMetrics: when each counter and histogram began",
    ),
    Option(
        key="exponential_histogram_bounds",
        variable=ours("exponential_histogram_bounds"),
        check=BOUNDS,
        without="limits of their own buckets",
        meaning="the buckets of exponential histograms in text and OpenMetrics",
    ),
    Option(
        key="self_metrics",
        variable=ours("self_metrics"),
        check=BOOLEAN,
        default=True,
        meaning="what the bridge does: `otel_prom_bridge_*` and two `otel_sdk_*` metrics",
    ),
    Option(
        key="self_metric_names",
        variable=ours("self_metric_names"),
        check=NAMES,
        without="their own",
        meaning="other names for some of these metrics",
    ),
)
OPTIONS = ENDPOINT_OPTIONS + READER_OPTIONS


class ReaderOptions(TypedDict, total=False):
    """The reader's options as keyword arguments; None and a missing one are the same."""

    profile: str | os.PathLike[str] | None
    present: Present | None
    prefix: str | None
    scope_info_enabled: bool | None
    target_info_enabled: bool | None
    resource_constant_labels: Mapping[str, Sequence[str]] | None
    common_labels: Mapping[str, str | Sequence[str]] | None
    translation_strategy: TranslationStrategy | str | None
    views: Sequence[ExportView | Mapping[str, Any]] | None
    max_series_per_metric: int | None
    cardinality_limits: Mapping[str, int] | Mapping[type, int] | None
    max_series: int | None
    tenant: Tenants | Mapping[str, Any] | None
    id_labels: bool | None
    exemplars: Exemplars | Mapping[str, Any] | bool | None
    expire_after: float | None
    scrape_timeout: float | None
    collect_interval: float | None
    sdk_max_series: int | None
    created_timestamps: bool | None
    exponential_histogram_bounds: Sequence[float] | None
    self_metrics: bool | None
    self_metric_names: Mapping[str, str] | None


class Options(EndpointOptions, ReaderOptions, total=False):
    """Both, which is what ``start()`` takes."""


def markdown_table() -> str:
    """The table of options for ``docs/configuration.md``."""
    rows = ["| option | environment variable | allowed | default | meaning |", "|---|---|---|---|---|"]
    for option in (CONFIG_FILE, *OPTIONS):
        allowed = option.check.allowed
        if option.check.example:
            allowed += f"; as text `{option.check.example}`"
        allowed = re.sub(r"'([^']+)'", r"`\1`", allowed).replace("|", "\\|")  # which would end the cell
        variables = [f"`{variable}`" for variable in option.variables] or ["in a file"]
        variables += _aliases(option)
        default = option.without or f"`{option.shown_default}`"
        cells = (f"`{option.key}`", ", ".join(variables), allowed, default, option.meaning)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _aliases(option: Option) -> list[str]:
    return [f"`{alias.variable}`" + (f" ({alias.note})" if alias.note else "") for alias in option.aliases]
