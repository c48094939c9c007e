"""No call at all: the readers that ``opentelemetry-instrument`` makes.

``OTEL_METRICS_EXPORTER=prometheus_bridge`` and the declarative configuration (``OTEL_CONFIG_FILE``) find
the classes by their entry points. An exception in a constructor would abort *all* auto-instrumentation,
traces and logs included: so nothing is raised here. What is wrong is logged, and the application keeps
recording. Only who says ``strict`` gets the exception. What is wrong with the guards is no reason to serve
without them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otel_prom_bridge.configuration.settings import Settings, from_environment, from_mapping, log_error
from otel_prom_bridge.configuration.watch import Watch
from otel_prom_bridge.endpoint.server.server import MetricsServer
from otel_prom_bridge.reader.reader import PrometheusMetricReader
from otel_prom_bridge.sdk.versions import TELLS_PROVIDER


class _ServingReader(PrometheusMetricReader):
    """A reader with an endpoint. ``server`` is None, or its ``is_serving`` False, where there is none.

    The first process of an application gets the port. Another one, a worker for example, gets the next free
    port when something is recorded in it for the first time.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(**settings.reader)
        self._watch = Watch(self, settings, by_itself=True)
        self._watch.serve_if_possible()

    @property
    def server(self) -> MetricsServer | None:
        """The endpoint of this process."""
        return self._watch.server

    def _set_meter_provider(self, meter_provider: Any) -> None:
        super()._set_meter_provider(meter_provider)
        self._watch.begin(meter_provider)

    def _set_collect_callback(self, func: Callable[..., Any] | None) -> None:  # type: ignore[misc]
        super()._set_collect_callback(func)
        if func is not None and not TELLS_PROVIDER:
            self._watch.begin(self)


class AutoPrometheusMetricReader(_ServingReader):
    """A reader with an endpoint, configured by environment variables."""

    def __init__(self) -> None:
        super().__init__(from_environment(log_error))


class DeclarativePrometheusMetricReader(_ServingReader):
    """A reader with an endpoint, configured by the mapping that stands under its name in a YAML file."""

    # Positional-only, so that no key of the mapping can be taken for `self`.
    def __init__(self, /, **options: object) -> None:
        super().__init__(from_mapping(options, log_error))
