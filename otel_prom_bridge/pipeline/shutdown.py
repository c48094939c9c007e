"""The end of a reader or of a hub, and who hears of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

from otel_prom_bridge.native import RLock


class Shutdown:
    """Happens once, and calls the hooks that were added before, in that order."""

    def __init__(self) -> None:
        self._lock = RLock()  # re-entrant, as a signal handler may shut down what it interrupts
        self._hooks: list[Callable[[], None]] = []
        self.has_begun = False

    def add(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Call ``hook`` at the shutdown, or now if it has begun. The result takes that back."""
        with self._lock:
            self._hooks.append(hook)
        if self.has_begun:
            self._call()
        return partial(self._forget, hook)

    def begin(self) -> None:
        """Call all hooks. A second call does nothing."""
        with self._lock:
            if self.has_begun:
                return
            self.has_begun = True
        self._call()

    def _call(self) -> None:
        with self._lock:
            hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook()

    def _forget(self, hook: Callable[[], None]) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._hooks.remove(hook)
