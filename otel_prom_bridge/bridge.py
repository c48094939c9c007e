"""One call: a resource, a provider with our reader, and the endpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Unpack

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.configuration.options import Options
from otel_prom_bridge.configuration.serving import serve
from otel_prom_bridge.configuration.settings import from_arguments
from otel_prom_bridge.endpoint.server.server import MetricsServer
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.reader.reader import PrometheusMetricReader
from otel_prom_bridge.values.checks import BOOLEAN, instance_of, list_of

# What start() takes that is no option.
_RESOURCE = instance_of(Resource | Mapping, "a Resource, or a mapping of attributes")
_READER = instance_of(PrometheusMetricReader, "a PrometheusMetricReader")
_VIEWS = list_of(
    instance_of(View, "a View of the SDK"),
    "a list of the SDK's Views; an ExportView belongs into `views`",
)


@dataclass(frozen=True, slots=True)
class Bridge:
    """A running bridge; made by :func:`start`."""

    reader: PrometheusMetricReader
    meter_provider: MeterProvider
    server: MetricsServer

    def shutdown(self) -> None:
        """Close the endpoint and shut the provider down. A second call does nothing."""
        if not self.reader.is_shut_down:  # the application did it itself
            self.meter_provider.shutdown()

    def __enter__(self) -> Bridge:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()


def start(
    *,
    port: int | None = None,
    addr: str | None = None,
    resource: Resource | Mapping[str, AttributeValue] | None = None,
    sdk_views: Sequence[View] = (),
    config_file: str | os.PathLike[str] | None = None,
    reader: PrometheusMetricReader | None = None,
    set_global: bool = True,
    **options: Unpack[Options],
) -> Bridge:
    """Record with OpenTelemetry, scrape with Prometheus: everything between, with one call.

    Args:
        port: the TCP port of the endpoint, 0 for a free one; without it
            ``OTEL_EXPORTER_PROMETHEUS_PORT``, else 9464.
        addr: the address of the endpoint; without it ``OTEL_EXPORTER_PROMETHEUS_HOST``, else ``localhost``.
        resource: what ``target_info`` says: a ``Resource``, or attributes to add to the SDK's own.
        sdk_views: SDK Views for the provider. Beside them it gets ``reader.policy.sdk_views()``, so that the
            SDK does not keep what no view of the reader shows.
        config_file: a TOML file with options; without it ``OTEL_PROM_BRIDGE_CONFIG_FILE``, else none.
        reader: a configured reader of the application's own.
        set_global: make the provider the one that ``opentelemetry.metrics.get_meter`` uses.
        options: the other options of the endpoint: ``metrics_path``, ``allow``, ``bearer_tokens_file``,
            ``web_config`` and all others of docs/configuration.md; and, unless there is ``reader``, those of
            the reader: ``views``, ``exemplars``, ``tenant``, ``max_series_per_metric`` …, as Python objects
            or as a file would have them. For what is not given (or None) there are environment variables,
            then the file.

    Raises:
        ConfigurationError: an option, an environment variable or a file has a value that cannot work.
        EndpointError: the address cannot be bound. With ``strict=False`` that is logged, and
            ``.server.is_serving`` is False.

    After an exception nothing is left running or registered; a reader of your own can be used again.
    """
    _RESOURCE.optional("resource", resource)
    _READER.optional("reader", reader)
    _VIEWS.value("sdk_views", sdk_views)
    BOOLEAN.value("set_global", set_global)
    if reader is not None and reader.is_shut_down:
        raise ConfigurationError("reader", reader, "a reader that was not shut down")
    given = {"addr": addr, "port": port, "config_file": config_file, **options}
    settings = from_arguments(given, own_reader=reader is not None)
    if not isinstance(resource, Resource):
        resource = Resource.create(dict(resource or {}))
    with ExitStack() as undo:
        if reader is None:
            reader = PrometheusMetricReader(**settings.reader)
            undo.callback(reader.shutdown)
        server = undo.enter_context(serve(reader, settings))
        all_views = [*sdk_views, *reader.policy.sdk_views(beside=sdk_views)]
        provider = MeterProvider(metric_readers=[reader], resource=resource, views=all_views)
        undo.pop_all()
    if set_global:
        metrics.set_meter_provider(provider)
    return Bridge(reader, provider, server)
