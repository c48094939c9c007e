"""One call: a resource, a provider with our reader, and the endpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from opentelemetry import metrics
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_PROMETHEUS_HOST,
    OTEL_EXPORTER_PROMETHEUS_PORT,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.endpoint.server import (
    DEFAULT_ADDRESS,
    DEFAULT_PORT,
    MetricsServer,
    start_http_server,
)
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.reader import PrometheusMetricReader


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
    views: Sequence[View] = (),
    reader: PrometheusMetricReader | None = None,
    set_global: bool = True,
) -> Bridge:
    """Record with OpenTelemetry, scrape with Prometheus: everything between, with one call.

    Args:
        port: the TCP port of the endpoint, 0 for a free one; without it
            ``OTEL_EXPORTER_PROMETHEUS_PORT``, else 9464.
        addr: the address of the endpoint; without it ``OTEL_EXPORTER_PROMETHEUS_HOST``, else ``localhost``.
        resource: what ``target_info`` says: a ``Resource``, or attributes to add to the SDK's own.
        views: SDK views for the provider.
        reader: a reader with options of its own; without it one with the defaults.
        set_global: make the provider the one that ``opentelemetry.metrics.get_meter`` uses.

    Raises:
        ConfigurationError: an option or environment variable has a value that cannot work.
        EndpointError: the address cannot be bound.

    After an exception nothing is left running or registered; a reader of your own can be used again.
    """
    if reader is not None and reader.is_shut_down:
        raise ConfigurationError("reader", reader, "a reader that was not shut down")
    addr, port = addr or environment_host(), environment_port() if port is None else port
    if not isinstance(resource, Resource):
        resource = Resource.create(dict(resource or {}))
    with ExitStack() as undo:
        if reader is None:
            reader = PrometheusMetricReader()
            undo.callback(reader.shutdown)
        server = undo.enter_context(start_http_server(reader, port=port, addr=addr))
        provider = MeterProvider(metric_readers=[reader], resource=resource, views=views)
        undo.pop_all()
    if set_global:
        metrics.set_meter_provider(provider)
    return Bridge(reader, provider, server)


def environment_host() -> str:
    """``OTEL_EXPORTER_PROMETHEUS_HOST``; "an empty value MUST be read as unset"."""
    return os.environ.get(OTEL_EXPORTER_PROMETHEUS_HOST, "").strip() or DEFAULT_ADDRESS


def environment_port() -> int:
    """``OTEL_EXPORTER_PROMETHEUS_PORT``; raises :class:`ConfigurationError` if it is not a port."""
    text = os.environ.get(OTEL_EXPORTER_PROMETHEUS_PORT, "").strip()
    if not text:
        return DEFAULT_PORT
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise ConfigurationError(OTEL_EXPORTER_PROMETHEUS_PORT, text, "a whole number from 0 to 65535")
    return int(text)
