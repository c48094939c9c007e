"""What our readers of direct recording have in common: the provider that records for them, and their end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from otel_prom_bridge.once import Shutdown
from otel_prom_bridge.provider_reader import ProviderReader

if TYPE_CHECKING:
    from otel_prom_bridge.direct.provider import DirectMeterProvider


class Attachable(ProviderReader):
    """A reader that one :class:`DirectMeterProvider` records for. ``shutdown`` is its end."""

    def __init__(self, *, shutdown: Shutdown | None = None) -> None:
        self._provider: DirectMeterProvider | None = None
        self._shutdown = shutdown or Shutdown()

    def is_free_for(self, provider: DirectMeterProvider) -> bool:
        """Whether no other provider records for it."""
        return self._provider in (None, provider)

    def attached(self, provider: DirectMeterProvider) -> None:
        """This is the provider that records for it."""
        self._provider = provider

    @property
    def is_attached(self) -> bool:
        """A provider records for this reader, or did when it was shut down."""
        provider = self._provider
        return provider is not None and provider.reader is self

    def shutdown(self) -> None:
        """End everything that there is for this reader. A second call does nothing."""
        self._shutdown.begin()

    def at_next_recording(self, call: Callable[[], object]) -> bool:
        """Call ``call`` once, when something is recorded next. False if nothing records for this reader."""
        provider = self._provider
        if provider is None:
            return False
        provider.at_next_recording(call)
        return True
