"""Which callbacks of asynchronous instruments fail: the SDK tells nobody but its log.

It catches what a callback raises, logs "Callback failed for instrument …" with the traceback, and collects
the rest. A filter on its logger is the only public seam, and it sees each failure as it happens, in the
thread that collects: a failure counts for a reader if that reader is collecting in this very thread, so
several readers of one provider do not count each other's. Records always pass: how often the SDK repeats its
traceback is the host's to decide.

Nothing is counted where the SDK's logger makes no record: if it is disabled (``logging.config`` disables
existing loggers unless told otherwise), set above ERROR, or has a filter before ours that rejects the record.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Callable, Iterator

_LOGGER = "opentelemetry.sdk.metrics._internal.instrument"
_MESSAGE = "Callback failed for instrument "


class CallbackFailures:
    """Calls ``failed`` with an instrument's name when a callback of it raises within :meth:`collecting`.

    Watches from its creation until :meth:`close`, or until nobody has a reference to it any more.
    """

    def __init__(self, failed: Callable[[str], None]) -> None:
        self._threads: set[int] = set()
        watch = _Watch(failed, self._threads)
        logger = logging.getLogger(_LOGGER)
        logger.addFilter(watch)
        # The logger lives as long as the process; a reader that is never shut down must not.
        self._remove = weakref.finalize(self, logger.removeFilter, watch)

    @contextlib.contextmanager
    def collecting(self) -> Iterator[None]:
        """Failures in this thread count while this runs."""
        thread = threading.get_ident()
        self._threads.add(thread)
        try:
            yield
        finally:
            self._threads.discard(thread)

    def close(self) -> None:
        """Watch no longer. A second call does nothing."""
        self._remove()


class _Watch(logging.Filter):
    def __init__(self, failed: Callable[[str], None], threads: set[int]) -> None:
        super().__init__()
        self._failed = failed
        self._threads = threads

    def filter(self, record: logging.LogRecord) -> bool:
        # What is raised here would end the SDK's collection, instead of one callback.
        with contextlib.suppress(Exception):
            if threading.get_ident() in self._threads and str(record.msg).startswith(_MESSAGE):
                self._failed(_instrument(record))
        return True


def _instrument(record: logging.LogRecord) -> str:
    # From the arguments: a name may end with a full stop, as the message does.
    return str(record.args[0]) if isinstance(record.args, tuple) else ""
