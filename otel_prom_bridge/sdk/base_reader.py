"""What our metric readers have in common: the provider that uses them, its locks, and their end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.metrics.export import MetricReader

from otel_prom_bridge.attribution import FromContext
from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.once import Shutdown
from otel_prom_bridge.provider_reader import ProviderReader
from otel_prom_bridge.sdk.completing import complete_measurements
from otel_prom_bridge.sdk.locks import Locks
from otel_prom_bridge.sdk.next_recording import at_next_recording
from otel_prom_bridge.sdk.versions import RELEASE

_NO_CONTEXT = "context_labels do nothing: opentelemetry-sdk %s hands over measurements in another way"


class BridgeReader(ProviderReader, MetricReader):
    """A reader of ours. ``options`` are those of a ``MetricReader``, and ``shutdown`` is its end.

    ``completing`` completes the attributes of what is recorded for it.
    """

    _consumer: object = None  # what the SDK hands measurements to, of the provider that uses this reader
    _locks: Locks | None = None

    def __init__(
        self, *, shutdown: Shutdown | None = None, completing: FromContext | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self._completing = completing
        self._shutdown = shutdown or Shutdown()

    @property
    def is_attached(self) -> bool:
        """A provider records for this reader, or did when it was shut down."""
        return self._collect is not None

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """End everything that there is for this reader. A second call does nothing."""
        self._shutdown.begin()

    def at_next_recording(self, call: Callable[[], object]) -> bool:
        """Call ``call`` once, when something is recorded next. False if this SDK does not let us."""
        return at_next_recording(self._consumer, self, call)

    @abstractmethod
    def _ordered(self, collect: Callable[..., Any]) -> Callable[..., Any]:
        """The SDK's function that collects, in one that keeps collections apart and guards callbacks."""

    def _set_collect_callback(self, func: Callable[..., Any] | None) -> None:  # type: ignore[misc]
        # Final in the SDK; but nothing else says that a provider took this reader in, or let it go.
        super()._set_collect_callback(None if func is None else self._ordered(func))
        self._consumer = getattr(func, "__self__", None)
        self._locks = Locks(self, self._consumer) if func is not None else None
        if func is None or self._completing is None:
            return
        if not complete_measurements(self._consumer, self, self._completing):
            logger.warning(_NO_CONTEXT, RELEASE)

    def _set_meter_provider(self, meter_provider: Any) -> None:
        super()._set_meter_provider(meter_provider)
        if self._locks is not None:
            self._locks.add(meter_provider)
