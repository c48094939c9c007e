"""No call at all: the readers that ``opentelemetry-instrument`` makes.

``OTEL_METRICS_EXPORTER=prometheus_bridge`` and the declarative configuration (``OTEL_CONFIG_FILE``) find
the classes by their entry points. An exception in a constructor would abort *all* auto-instrumentation,
traces and logs included: so nothing is raised here. What is wrong is logged, and the application keeps
recording.
"""

from __future__ import annotations

from otel_prom_bridge.configuration import Settings, from_environment, from_mapping, log_error
from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.endpoint.server import MetricsServer, start_http_server
from otel_prom_bridge.errors import ConfigurationError, EndpointError
from otel_prom_bridge.reader import PrometheusMetricReader


class _ServingReader(PrometheusMetricReader):
    """A reader with an endpoint; ``server`` is None if it could not be opened."""

    server: MetricsServer | None

    def __init__(self, settings: Settings) -> None:
        super().__init__(**settings.reader)
        self.server = self._serve(settings)

    def _serve(self, settings: Settings) -> MetricsServer | None:
        try:
            return start_http_server(self, port=settings.port, addr=settings.host)
        except (EndpointError, ConfigurationError) as error:
            logger.error("metrics are recorded but not served: %s", error)
        except Exception:
            logger.exception("metrics are recorded but not served")
        return None


class AutoPrometheusMetricReader(_ServingReader):
    """A reader with an endpoint, configured by environment variables."""

    def __init__(self) -> None:
        super().__init__(from_environment(log_error))


class DeclarativePrometheusMetricReader(_ServingReader):
    """A reader with an endpoint, configured by the mapping that stands under its name in a YAML file."""

    # Positional-only, so that no key of the mapping can be taken for `self`.
    def __init__(self, /, **options: object) -> None:
        super().__init__(from_mapping(options, log_error))
