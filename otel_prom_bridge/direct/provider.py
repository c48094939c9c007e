"""A ``MeterProvider`` of the OpenTelemetry API whose instruments record for one reader of ours."""

from __future__ import annotations

import atexit
import contextlib
import os
import weakref
from collections.abc import Callable, Mapping
from itertools import chain
from typing import TYPE_CHECKING

from opentelemetry import metrics
from opentelemetry.sdk import resources
from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.direct.attachable import Attachable
from otel_prom_bridge.direct.exemplar_filter import FILTER, ExemplarFilter, filter_of_environment
from otel_prom_bridge.direct.meter import Meter
from otel_prom_bridge.direct.observed import Observed
from otel_prom_bridge.direct.plans import RecordingPlans
from otel_prom_bridge.direct.synchronous import Synchronous
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.forks import renew_in_child, renew_lock
from otel_prom_bridge.native import RLock
from otel_prom_bridge.values.checks import BOOLEAN, instance_of

if TYPE_CHECKING:
    from otel_prom_bridge.direct.push_reader import DirectPushReader
    from otel_prom_bridge.direct.reader import DirectReader

_READER = instance_of(Attachable, "a DirectReader or a DirectPushReader")
_RESOURCE = instance_of(Resource | Mapping, "a Resource, or a mapping of attributes")


class DirectMeterProvider(metrics.MeterProvider):
    """Gives meters whose instruments record straight for ``reader``, without the SDK.

    Args:
        reader: what exposes the metrics, or pushes them. It belongs to this provider alone.
        resource: what ``target_info`` says: a ``Resource``, or attributes to add to the SDK's own.
        exemplar_filter: which measurements become exemplars: ``trace_based``, ``always_on`` or
            ``always_off``; without it ``OTEL_METRICS_EXEMPLAR_FILTER``, else those of sampled spans.
        shutdown_on_exit: shut down when the interpreter ends.

    Raises:
        ConfigurationError: an argument has a value that cannot work.
    """

    def __init__(
        self,
        reader: DirectReader | DirectPushReader,
        *,
        resource: Resource | Mapping[str, AttributeValue] | None = None,
        exemplar_filter: ExemplarFilter | None = None,
        shutdown_on_exit: bool = True,
    ) -> None:
        _READER.value("reader", reader)
        given = FILTER.optional("exemplar_filter", exemplar_filter)
        is_shut_down_at_exit = BOOLEAN.value("shutdown_on_exit", shutdown_on_exit)
        self._plans = RecordingPlans(reader.policy, exemplar_filter=given or filter_of_environment())
        self._is_disabled = os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true"
        self._is_shut_down = False
        self._lock = RLock()
        self._meters: dict[InstrumentationScope, Meter] = {}
        self.attach(reader, resource)
        renew_in_child(self)
        if is_shut_down_at_exit:
            _shut_down_at_exit(self)

    def attach(
        self,
        reader: DirectReader | DirectPushReader,
        resource: Resource | Mapping[str, AttributeValue] | None = None,
    ) -> None:
        """Record for this reader from now on, from nothing. All instruments go on.

        Raises:
            ConfigurationError: the resource is none, or another provider records for the reader.
        """
        _RESOURCE.optional("resource", resource)
        if not reader.is_free_for(self):  # what the other one records would be lost
            raise ConfigurationError("reader", reader, "a reader that no other provider records for")
        if not isinstance(resource, Resource):
            resource = Resource.create(dict(resource or {}))
        self.resource = resource
        self.reader = reader
        self._plans.policy = reader.policy
        self._is_shut_down = False
        with self._lock:
            for meter in list(self._meters.values()):
                meter.begin()
        reader.attached(self)

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
    ) -> metrics.Meter:
        """The meter of a scope. Equal arguments give the same one."""
        if self._is_disabled or self._is_shut_down or not name:
            if not self._is_disabled:
                logger.warning(
                    "a meter records nothing: %s",
                    "its provider was shut down" if name else "its name is empty",
                )
            return metrics.NoOpMeter(name, version=version, schema_url=schema_url)
        scope = InstrumentationScope(name, version, schema_url, attributes)
        with self._lock:
            meter = self._meters.get(scope)
            if meter is None:
                meter = self._meters.setdefault(scope, Meter(scope, self._plans))
            return meter

    @property
    def described(self) -> Mapping[str, AttributeValue]:
        """What ``target_info`` says: nothing where OpenTelemetry is turned off."""
        return {} if self._is_disabled else self.resource.attributes

    @property
    def synchronous(self) -> list[Synchronous]:
        """The instruments so far that record."""
        return list(chain.from_iterable(meter.synchronous for meter in list(self._meters.values())))

    @property
    def observed(self) -> list[Observed]:
        """Those that callbacks observe and views show."""
        return [
            each for meter in list(self._meters.values()) for each in meter.observable if each.plan.is_shown
        ]

    def at_next_recording(self, call: Callable[[], object]) -> None:
        """Call ``call`` once, when something is recorded next, in the thread that records."""
        self._plans.at_next(call)
        for instrument in self.synchronous:
            instrument.forget()

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Have the reader take what was recorded so far. False if that did not succeed in time."""
        return self.reader.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """Shut the reader down. A second call does nothing, and the log says so."""
        with self._lock:
            was_shut_down, self._is_shut_down = self._is_shut_down, True
        if was_shut_down:
            logger.warning("shutdown() can be called once: this meter provider was shut down before")
            return
        self.reader.shutdown()

    def renew(self) -> None:
        """In a forked child: wait for no thread of the parent."""
        renew_lock(self)
        for meter in list(self._meters.values()):
            meter.renew()
        # The number of the process, say. The SDK's provider does the same, and has no public way to it.
        about_process = getattr(resources, "_get_process_dependent_resource", None)
        # It asks in threads, of which there are no new ones while the interpreter ends.
        with contextlib.suppress(Exception):
            if about_process is not None:
                self.resource = self.resource.merge(about_process())


# Libraries ask whether the global provider is one of the SDK's, as LiteLLM does. If it is none, they make one
# of their own, which nobody scrapes.
SdkMeterProvider.register(DirectMeterProvider)


def _shut_down_at_exit(provider: DirectMeterProvider) -> None:
    known = weakref.ref(provider)

    def shut_down() -> None:
        found = known()
        if found is not None and not found._is_shut_down:
            found.shutdown()

    atexit.register(shut_down)
    weakref.finalize(provider, atexit.unregister, shut_down).atexit = False
