"""The options as keyword arguments of ``start()``: what an editor shows of them, and what mypy checks.

This is the one list that repeats the names in the table of ``options.py``, and a test compares the two. It
cannot be made of the table, since editors and mypy read types and run nothing. Neither can it be the list of
a reader's constructor (``pipeline/options.py``): there a value has the type that is used, a default, and in
three cases another name. Here None means that the variables and the file are asked, and values may have the
form in which a file has them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from otel_prom_bridge.endpoint.health import Health
from otel_prom_bridge.prices import PriceTable
from otel_prom_bridge.profiles import Present
from otel_prom_bridge.translate import TranslationStrategy
from otel_prom_bridge.views.exemplars import Exemplars
from otel_prom_bridge.views.tenants import Tenants
from otel_prom_bridge.views.view import ExportView
from otel_prom_bridge.views.workers import Workers


class EndpointOptions(TypedDict, total=False):
    """The endpoint's options but ``addr`` and ``port``, as keyword arguments; None and a missing one are
    the same."""

    unix_socket: str | os.PathLike[str] | None
    strict: bool | None
    process_ports: int | None
    span_metrics: bool | None
    metrics_path: str | None
    cache_ttl: float | None
    compression_threshold: int | bool | None
    health: Health | bool | None
    explorer: bool | Literal["public"] | None
    trace_url: str | None
    allow: Sequence[str] | None
    trusted_proxies: Sequence[str] | None
    rate_limit: float | None
    rate_burst: int | None
    peer_rate_limit: float | None
    peer_rate_burst: int | None
    max_in_flight: int | None
    bearer_tokens_file: str | os.PathLike[str] | None
    health_open: bool | None
    web_config: str | os.PathLike[str] | None
    tls_cert_file: str | os.PathLike[str] | None
    tls_key_file: str | os.PathLike[str] | None
    tls_client_ca_file: str | os.PathLike[str] | None
    tls_client_allowed_sans: Sequence[str] | None
    tls_min_version: str | None
    head_timeout: float | None
    handshake_timeout: float | None
    write_timeout: float | None
    idle_timeout: float | None
    max_connections: int | None


class WorkerOptions(TypedDict, total=False):
    """The options of a process that pushes, as keyword arguments; None and a missing one are the same."""

    hub: str | None
    hub_token: str | None
    push_interval: float | None
    flush_on_sigterm: bool | None


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
    max_label_value_length: int | None
    max_labels: int | None
    max_help_length: int | None
    max_client_values: int | None
    max_lines_per_metric: int | None
    seconds_buckets: bool | None
    prices: PriceTable | str | os.PathLike[str] | Literal[False] | None
    tenant: Tenants | Mapping[str, Any] | None
    context_labels: Mapping[str, str] | None
    gauges: Workers | None
    id_labels: bool | None
    exemplars: Exemplars | Mapping[str, Any] | bool | None
    expire_after: float | None
    scrape_timeout: float | None
    collect_interval: float | None
    sdk_max_series: int | None
    created_timestamps: bool | None
    openmetrics_2: bool | None
    exponential_histogram_bounds: Sequence[float] | None
    self_metrics: bool | None
    self_metric_names: Mapping[str, str] | None


class Options(EndpointOptions, WorkerOptions, ReaderOptions, total=False):
    """All of them, which is what ``start()`` takes."""

    recording: Literal["sdk", "direct"] | None
