"""What every reader of ours is: something that a meter provider records for, until it is shut down."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from otel_prom_bridge.once import Shutdown


class ProviderReader:
    """A reader, from the provider that uses it to its end, which is ``_shutdown``."""

    _shutdown: Shutdown

    @property
    @abstractmethod
    def is_attached(self) -> bool:
        """A provider records for this reader, or did when it was shut down."""

    @property
    def is_ready(self) -> bool:
        """A provider records for this reader, and it was not shut down."""
        return self.is_attached and not self.is_shut_down

    @property
    def is_shut_down(self) -> bool:
        """:meth:`shutdown` was called."""
        return self._shutdown.has_begun

    def on_shutdown(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Call ``hook`` when this reader shuts down, at once if it has; the result takes that back."""
        return self._shutdown.add(hook)

    def on_end(self, hook: Callable[[], None]) -> None:
        """Call ``hook`` when nothing more is to be taken for this reader: when it shuts down."""
        self._shutdown.add(hook)

    @abstractmethod
    def at_next_recording(self, call: Callable[[], object]) -> bool:
        """Call ``call`` once, when something is recorded next. False if that cannot be."""
