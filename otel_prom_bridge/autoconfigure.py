"""No call at all: the reader that ``opentelemetry-instrument`` makes.

``OTEL_METRICS_EXPORTER=prometheus_bridge`` finds this class by its entry point. The SDK makes it without
arguments, and an exception in the constructor would abort *all* auto-instrumentation, traces and logs
included: so nothing is raised here. What is wrong is logged, and the application keeps recording.
"""

from __future__ import annotations

from otel_prom_bridge.bridge import environment_host, environment_port
from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.endpoint.server import DEFAULT_PORT, MetricsServer, start_http_server
from otel_prom_bridge.errors import ConfigurationError, EndpointError
from otel_prom_bridge.reader import PrometheusMetricReader


class AutoPrometheusMetricReader(PrometheusMetricReader):
    """A reader with an endpoint at ``OTEL_EXPORTER_PROMETHEUS_HOST``/``_PORT``, configured by nothing else.

    ``server`` is the endpoint, or None if it could not be opened.
    """

    server: MetricsServer | None

    def __init__(self) -> None:
        super().__init__()
        self.server = self._serve()

    def _serve(self) -> MetricsServer | None:
        try:
            return start_http_server(self, port=_port(), addr=environment_host())
        except (EndpointError, ConfigurationError) as error:
            logger.error("metrics are recorded but not served: %s", error)
        except Exception:
            logger.exception("metrics are recorded but not served")
        return None


def _port() -> int:
    try:
        return environment_port()
    except ConfigurationError as error:
        logger.error("%s; using %s", error, DEFAULT_PORT)
        return DEFAULT_PORT
