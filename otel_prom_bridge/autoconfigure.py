"""No call at all: the readers that ``opentelemetry-instrument`` makes.

``OTEL_METRICS_EXPORTER=prometheus_bridge`` and the declarative configuration (``OTEL_CONFIG_FILE``) find
the classes by their entry points. An exception in a constructor would abort *all* auto-instrumentation,
traces and logs included: so nothing is raised here. What is wrong is logged, and the application keeps
recording. Only who says ``strict`` gets the exception. What is wrong with the guards is no reason to serve
without them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from opentelemetry import metrics
from opentelemetry.environment_variables import OTEL_METRICS_EXPORTER

from otel_prom_bridge.configuration.exporters import exporters_beside, names_our_provider
from otel_prom_bridge.configuration.pushing import Pushing, has_hub, push_options
from otel_prom_bridge.configuration.settings import Settings, from_environment, from_mapping, log_error
from otel_prom_bridge.configuration.watch import Watch, watch_of
from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.direct import DirectMeterProvider, DirectPushReader, DirectReader
from otel_prom_bridge.endpoint.server.server import MetricsServer
from otel_prom_bridge.push.reader import PushReader
from otel_prom_bridge.reader.reader import PrometheusMetricReader
from otel_prom_bridge.sdk.base_reader import BridgeReader
from otel_prom_bridge.sdk.versions import TELLS_PROVIDER


class _Watched(BridgeReader):
    """A reader of which the other doors know."""

    _watch: Watch | Pushing

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


class _PushingReader(_Watched, PushReader):
    """A reader that pushes to a hub, in each process of an application by itself."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(**push_options(settings))
        self._watch = Pushing(self, settings, by_itself=True)


class _ServingReader(_Watched, PrometheusMetricReader):
    """A reader with an endpoint. ``server`` is None, or its ``is_serving`` False, where there is none.

    The first process of an application gets the port. Another one, a worker for example, gets the next free
    port when something is recorded in it for the first time.
    """

    _settings: Settings

    def __init__(self, settings: Settings) -> None:
        super().__init__(**settings.reader)
        self._watch = watch = Watch(self, settings, by_itself=True)
        watch.serve_if_possible()


class AutoPrometheusMetricReader(_ServingReader):
    """A reader with an endpoint, configured by environment variables. With a hub it is one that pushes."""

    def __new__(cls) -> Any:
        """The reader that the variables describe."""
        return _made(cls, from_environment(log_error))

    def __init__(self) -> None:
        super().__init__(self._settings)


class DeclarativePrometheusMetricReader(_ServingReader):
    """The same, configured by the mapping that stands under its name in a YAML file."""

    # Positional-only, so that no key of the mapping can be taken for `self`.
    def __new__(cls, /, **options: object) -> Any:
        """The reader that the mapping describes."""
        return _made(cls, from_mapping(options, log_error))

    def __init__(self, /, **options: object) -> None:
        super().__init__(self._settings)


class _Unused(BridgeReader):
    """The reader of a provider of the SDK's that nobody uses, as one of ours is the global one."""

    def __init__(self, provider: DirectMeterProvider) -> None:
        super().__init__()
        self._provider = provider

    @property
    def server(self) -> MetricsServer | None:
        """The endpoint of this process."""
        watch = watch_of(self._provider)
        return None if watch is None else watch.server

    def _ordered(self, collect: Callable[..., Any]) -> Callable[..., Any]:
        return collect

    def _receive_metrics(self, metrics_data: object, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        pass

    def _set_collect_callback(self, func: Callable[..., Any] | None) -> None:  # type: ignore[misc]
        super()._set_collect_callback(func)
        # What auto-instrumentation adds to the resource stands only in that of the SDK's provider.
        resource = getattr(getattr(self._consumer, "_sdk_config", None), "resource", None)
        if resource is not None:
            self._provider.resource = resource


class _NoFalseAlarm(logging.Filter):
    """Leaves out the API's warning that the SDK's provider does not become the global one."""

    def filter(self, record: logging.LogRecord) -> bool:
        return str(record.msg) != "Overriding of current MeterProvider is not allowed"


_NO_FALSE_ALARM = _NoFalseAlarm()
_API_LOGGER = "opentelemetry.metrics._internal"


def meter_provider() -> metrics.MeterProvider:
    """The provider of ``OTEL_PYTHON_METER_PROVIDER=prometheus_bridge``, with an endpoint or with a hub."""
    return _direct(from_environment(log_error))


def _direct(settings: Settings) -> DirectMeterProvider:
    watch: Watch | Pushing
    if has_hub(settings):
        pushing = DirectPushReader(**push_options(settings))
        provider, watch = DirectMeterProvider(pushing), Pushing(pushing, settings, by_itself=True)
    else:
        reader = DirectReader(**settings.reader)
        watch = Watch(reader, settings, by_itself=True)
        watch.serve_if_possible()
        provider = DirectMeterProvider(reader)
    watch.begin(provider)
    return provider


def _is_direct(settings: Settings) -> bool:
    """Whether to record without the SDK; the log says why not if that was asked for."""
    wanted = settings.recording == "direct" or names_our_provider(os.environ)
    beside = exporters_beside(os.environ)
    if wanted and beside:
        logger.error(
            "recording='direct' has no other exporters of metrics beside it, and %s names %s: recording with"
            " the SDK",
            *(OTEL_METRICS_EXPORTER, beside),
        )
    return wanted and not beside


def _made(kind: type[_ServingReader], settings: Settings) -> BridgeReader:
    """A reader that serves, which is to be initialized, or another one, which is no instance of it."""
    if kind is DeclarativePrometheusMetricReader:
        if settings.recording == "direct":
            logger.error(
                "recording: 'direct' does nothing in a declarative configuration, where other readers may be"
                " beside it: recording with the SDK"
            )
    elif _is_direct(settings):
        provider = _direct(settings)
        logging.getLogger(_API_LOGGER).addFilter(_NO_FALSE_ALARM)
        metrics.set_meter_provider(provider)
        return _Unused(provider)
    if has_hub(settings):
        return _PushingReader(settings)
    reader = object.__new__(kind)
    reader._settings = settings
    return reader
