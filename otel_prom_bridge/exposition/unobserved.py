"""Who hears of scrapes where nobody keeps anything of them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext


class Unobserved:
    """Hears of scrapes, and keeps nothing of them. An endpoint tells it what it tells any ``Observer``."""

    def scrape(self, status: int, seconds: float) -> None:
        """Forget it."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Measure nothing."""
        return nullcontext()

    def size(self, content_type: str, size: int, *, encoding: str) -> None:
        """Forget it."""

    def reloaded(self, successful: bool) -> None:
        """Forget it."""

    def certificate(self, ends: float) -> None:
        """Forget it."""
