"""One call: a resource, a provider with our reader, and the endpoint."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack
from weakref import WeakSet

from opentelemetry import metrics
from opentelemetry.environment_variables import OTEL_METRICS_EXPORTER, OTEL_PYTHON_METER_PROVIDER
from opentelemetry.sdk.environment_variables import OTEL_METRICS_EXEMPLAR_FILTER
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge import direct, push
from otel_prom_bridge.configuration.exporters import exporters_beside, names_our_provider
from otel_prom_bridge.configuration.pushing import Pushing, has_hub, push_options
from otel_prom_bridge.configuration.settings import Settings, from_arguments
from otel_prom_bridge.configuration.watch import Watch, watch_of, watches
from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.direct.exemplar_filter import FILTER
from otel_prom_bridge.endpoint.server.server import MetricsServer
from otel_prom_bridge.errors import ConfigurationError, EndpointError
from otel_prom_bridge.reader.reader import PrometheusMetricReader
from otel_prom_bridge.sdk.base_reader import BridgeReader
from otel_prom_bridge.sdk.versions import RELEASE, TAKES_READERS_LATER
from otel_prom_bridge.values.checks import BOOLEAN, instance_of, list_of

if TYPE_CHECKING:
    from otel_prom_bridge.configuration.arguments import Options
    from otel_prom_bridge.direct import DirectMeterProvider, DirectPushReader, DirectReader
    from otel_prom_bridge.push import PushReader

# What start() takes that is no option.
_RESOURCE = instance_of(Resource | Mapping, "a Resource, or a mapping of attributes")
_READER = instance_of(PrometheusMetricReader, "a PrometheusMetricReader")
_VIEWS = list_of(
    instance_of(View, "a View of the SDK"),
    "a list of the SDK's Views; an ExportView belongs into `views`",
)

# The providers that start() made global, and those of them that wait for another start().
_ours: WeakSet[object] = WeakSet()
_free: WeakSet[object] = WeakSet()
# Why a provider of ours cannot be the global one, and what to do about it.
_RUNNING = "one bridge is running already; use that one, or call its shutdown() before"
_AUTOMATIC = "opentelemetry-instrument has started a bridge already; leave start() out"
_BY_VARIABLE = (
    f"{OTEL_PYTHON_METER_PROVIDER} has started a bridge already; leave out start(), or the variable"
)
_ENDED = "the global meter provider was shut down; call shutdown() of the Bridge instead"
_OTHERWISE = "the global meter provider records otherwise; keep the `recording` that the first start() had"
_ONLY_ONCE = (
    f"opentelemetry-sdk {RELEASE} cannot give the global meter provider another reader, which 1.43 and newer "
    "can; in a forked child, serve_inherited() works with this one, too"
)
_NOT_THERE = (
    "%s names %s, where nothing goes that recording='direct' records. Unset it, or leave start() out and "
    "take opentelemetry-instrument with recording='sdk'"
)
_FOREIGN = (
    "another meter provider is the global one already; call start() before that one is set, or give it a "
    "PrometheusMetricReader among its `metric_readers` and serve that with start_http_server(), or under "
    "opentelemetry-instrument leave start() out and set OTEL_METRICS_EXPORTER=prometheus_bridge"
)


@dataclass(frozen=True, slots=True)
class Bridge:
    """A running bridge; made by :func:`start`.

    With ``recording="direct"``, ``reader`` is a ``DirectReader``, which has the same methods, and
    ``meter_provider`` is one of ours. With a hub, ``reader`` is a :class:`PushReader` or a
    ``DirectPushReader``, and ``server.is_serving`` is False, since the hub has the endpoint.
    """

    reader: PrometheusMetricReader | DirectReader | PushReader | DirectPushReader
    meter_provider: MeterProvider | DirectMeterProvider
    server: MetricsServer

    def shutdown(self) -> None:
        """Close the endpoint, and let nothing be collected any more. A second call does nothing.

        A global provider stays the global one, since OpenTelemetry takes no second one. Its instruments
        record again after the next :func:`start`. Any other provider is shut down, and with SDKs before 1.43
        the global one, too.
        """
        if self.reader.is_shut_down:  # the application did it itself
            return
        provider: Any = self.meter_provider
        is_global = provider is metrics.get_meter_provider()
        if not is_global or not _takes_another_reader(provider):
            provider.shutdown()
            return
        self.reader.shutdown()  # now, while it can still collect and push
        if isinstance(self.reader, BridgeReader):
            self.reader.on_end(partial(_let_go, provider, self.reader))
        _free.add(provider)

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
        set_global: make the provider the one that ``opentelemetry.metrics.get_meter`` uses. After the
            ``shutdown()`` of another bridge, and in a forked child, that one's provider is used again, with
            the instruments that it has.
        options: ``recording``: ``"sdk"``, or ``"direct"`` to record without the SDK, which costs less and
            has no ``reader`` and no ``sdk_views``; ``hub``, where there is one to push to instead of serving;
            the other options of the endpoint: ``metrics_path``, ``allow``, ``bearer_tokens_file``,
            ``web_config`` and all others of docs/configuration.md; and, unless there is ``reader``, those of
            the reader: ``views``, ``exemplars``, ``tenant``, ``max_series_per_metric`` …, as Python objects
            or as a file would have them. For what is not given (or None) there are environment variables,
            then the file.

    Raises:
        ConfigurationError: an option, an environment variable or a file has a value that cannot work; or the
            provider cannot be the global one, because there is another one. With SDKs before 1.43 that is so
            after a ``shutdown()`` and in a forked child, too.
        EndpointError: the address cannot be bound. With ``strict=False`` that is logged, and
            ``.server.is_serving`` is False. If another process of the same application has the port, the next
            free one is taken.

    After an exception nothing is left running or registered; a reader of your own can be used again.
    """
    _RESOURCE.optional("resource", resource)
    _READER.optional("reader", reader)
    _VIEWS.value("sdk_views", sdk_views)
    BOOLEAN.value("set_global", set_global)
    if reader is not None and reader.is_shut_down:
        raise ConfigurationError("reader", reader, "a reader that was not shut down")
    if set_global:
        _check_global()
    given = {"addr": addr, "port": port, "config_file": config_file, **options}
    settings = from_arguments(given, own_reader=reader is not None)
    if set_global and (inherited := _inherited_push()) is not None:
        return inherited
    is_direct = _is_direct(settings, reader, sdk_views)
    with ExitStack() as undo:
        watch = _attached(reader, settings, undo, is_main=set_global, is_direct=is_direct)
        server = undo.enter_context(watch.serve())
        # After the server, which says better that there are no threads.
        if not isinstance(resource, Resource):
            resource = Resource.create(dict(resource or {}))
        before = watch_of(metrics.get_meter_provider()) if set_global else None
        if isinstance(watch, Pushing) and isinstance(before, Pushing):
            watch.reader.go_on_from(before.reader)
        provider = _provider(watch.reader, resource, sdk_views, is_global=set_global)
        undo.pop_all()
    watch.begin(provider)
    return Bridge(watch.reader, provider, server)


def _is_direct(settings: Settings, reader: PrometheusMetricReader | None, sdk_views: Sequence[View]) -> bool:
    """Whether to record without the SDK.

    Raises:
        ConfigurationError: something is given that only the SDK's provider has.
    """
    if settings.recording != "direct":
        return False
    if reader is not None or sdk_views:
        given = "`reader`" if reader is not None else "`sdk_views`"
        raise ConfigurationError("recording", "direct", f"'sdk', or no {given} beside it")
    if beside := exporters_beside(os.environ):
        logger.warning(_NOT_THERE, OTEL_METRICS_EXPORTER, beside)
    return True


def _attached(
    reader: PrometheusMetricReader | None,
    settings: Settings,
    undo: ExitStack,
    *,
    is_main: bool,
    is_direct: bool,
) -> Watch | Pushing:
    """The reader that the provider is to use; with a hub it has the policy of the application's own."""
    if has_hub(settings):
        policy = None if reader is None else reader.policy
        options = push_options(settings, policy)
        pushing = direct.DirectPushReader(**options) if is_direct else push.PushReader(**options)
        undo.callback(pushing.shutdown)
        return Pushing(pushing, settings)
    if is_direct:
        recorder = direct.DirectReader(**settings.reader)
        undo.callback(recorder.shutdown)
        return Watch(recorder, settings, is_main=is_main)
    if reader is None:
        reader = PrometheusMetricReader(**settings.reader)
        undo.callback(reader.shutdown)
    return Watch(reader, settings, is_main=is_main)


def serve_inherited(
    *, port: int | None = None, addr: str | None = None, unix_socket: str | os.PathLike[str] | None = None
) -> MetricsServer:
    """Serve what a forked child records with the meter provider that it has from its parent.

    A child begins with the totals of its parent. With a :func:`start` of its own it begins with nothing.

    Args:
        port: the TCP port, 0 for a free one; without it the first port that is free, from that of the parent
            on.
        addr: the address, if not that of the parent.
        unix_socket: the path of a Unix socket, instead of a port.

    All other options are those of the parent's endpoint. If this process serves already, that endpoint is the
    result. With a hub nothing is served, since the child pushes as its parent does.

    Raises:
        ConfigurationError: an argument has a value that cannot work.
        EndpointError: there is nothing that could be served, or the address cannot be bound.
    """
    found = watches()
    for watch in found:
        if watch.server is not None and watch.is_serving:
            return watch.server
    if not found:
        advice = "no bridge was started before this process was forked; call start() instead"
        raise EndpointError(errno.EINVAL, f"cannot serve metrics: {advice}")
    return found[-1].serve_at(port=port, host=addr, unix_socket=unix_socket)


def _check_global() -> None:
    """Raise ConfigurationError if a provider of ours could not become the global one."""
    current = metrics.get_meter_provider()
    watch = watch_of(current)
    is_inherited = watch is not None and watch.is_inherited
    if _takes_another_reader(current) and (current in _free or is_inherited):
        return
    if watch is not None and watch.reader.is_ready and not is_inherited:
        by_itself = _BY_VARIABLE if names_our_provider(os.environ) else _AUTOMATIC
        raise _refused(_RUNNING if current in _ours else by_itself)
    if is_inherited and isinstance(watch, Pushing):
        return
    if not TAKES_READERS_LATER and (current in _ours or is_inherited):
        raise _refused(_ONLY_ONCE)
    if current in _ours:
        raise _refused(_ENDED)
    if isinstance(current, MeterProvider) or direct.is_provider(current):
        raise _refused(_FOREIGN)


def _inherited_push() -> Bridge | None:
    """What a forked child pushes with already, where the SDK cannot give its provider another reader.

    Such a reader begins with nothing in a child, as one of its own would.
    """
    current: Any = metrics.get_meter_provider()
    watch = watch_of(current)
    if _takes_another_reader(current) or not isinstance(watch, Pushing) or not watch.is_inherited:
        return None
    watch.adopt()
    return Bridge(watch.reader, current, watch.server)


def _takes_another_reader(provider: object) -> bool:
    """Whether a provider that has had a reader of ours can go on with another one."""
    return TAKES_READERS_LATER or direct.is_provider(provider)


def _let_go(provider: Any, reader: Any) -> None:
    """Have the SDK's provider record no more for a reader, unless it has let go of it."""
    if reader.is_attached:
        provider.remove_metric_reader(reader)


def _refused(reason: str) -> ConfigurationError:
    return ConfigurationError("set_global", True, f"False, because {reason}")


def _provider(
    reader: PrometheusMetricReader | DirectReader | PushReader | DirectPushReader,
    resource: Resource,
    sdk_views: Sequence[View],
    *,
    is_global: bool,
) -> MeterProvider | DirectMeterProvider:
    """The provider that records for this reader.

    Raises:
        ConfigurationError: it cannot be the global one.
    """
    if not isinstance(reader, BridgeReader):
        return _direct_provider(reader, resource, is_global=is_global)
    views = [*sdk_views, *reader.policy.sdk_views(beside=sdk_views)]
    return (_global_sdk_provider if is_global else _sdk_provider)(reader, resource, views)


def _set_global(provider: MeterProvider | DirectMeterProvider) -> None:
    """Make this the global provider, which is possible once for each process.

    Raises:
        ConfigurationError: the application has set another one.
    """
    metrics.set_meter_provider(provider)
    if metrics.get_meter_provider() is not provider:
        provider.shutdown()
        raise _refused(_FOREIGN)
    _ours.add(provider)


def _sdk_provider(
    reader: PrometheusMetricReader | PushReader, resource: Resource, views: Sequence[View]
) -> MeterProvider:
    try:
        return MeterProvider(metric_readers=[reader], resource=resource, views=views)
    except ValueError:  # the SDK says neither the variable nor what is allowed
        FILTER.text(OTEL_METRICS_EXEMPLAR_FILTER, os.environ.get(OTEL_METRICS_EXEMPLAR_FILTER, ""))
        raise


def _direct_provider(
    reader: DirectReader | DirectPushReader, resource: Resource, *, is_global: bool
) -> DirectMeterProvider:
    """A provider of ours that records for this reader. The global one goes on with it, if it is one.

    Raises:
        ConfigurationError: the global one is another one.
    """
    current = metrics.get_meter_provider() if is_global else None
    if direct.is_provider(current):
        current.reader.shutdown()  # it may be that of the process that this one was forked from
        current.attach(reader, resource)
        _free.discard(current)
        _ours.add(current)
        return current
    if watch_of(current) is not None:
        raise _refused(_OTHERWISE)
    provider = direct.DirectMeterProvider(reader, resource=resource)
    if is_global:
        _set_global(provider)
    return provider


def _global_sdk_provider(
    reader: PrometheusMetricReader | PushReader, resource: Resource, views: Sequence[View]
) -> MeterProvider:
    """The global provider, which gets this reader. There can be only one for each process.

    Raises:
        ConfigurationError: the application has set another one.
    """
    current: Any = metrics.get_meter_provider()
    watch = watch_of(current)
    if direct.is_provider(current):
        raise _refused(_OTHERWISE)
    if watch is None:
        provider = _sdk_provider(reader, resource, views)
        _set_global(provider)
        return provider
    # It may be that of the process that this one was forked from: now, while it can still collect and push
    # what this one recorded with it.
    watch.reader.shutdown()
    _let_go(current, watch.reader)
    _free.discard(current)
    _ours.add(current)
    # The SDK reads these two when an instrument first records for a reader.
    current._sdk_config.views = views
    current._sdk_config.resource = resource
    current.add_metric_reader(reader)
    # add_metric_reader() forgets to do these two. Without them force_flush() and shutdown() do not find the
    # reader, and the reader does not know the provider.
    current._metric_readers = [reader]
    reader._set_meter_provider(current)
    found: MeterProvider = current
    return found
