"""Which callbacks of asynchronous instruments fail.

The SDK catches what a callback raises, logs "Callback failed for instrument …" with the traceback, and
collects the rest. It tells nobody else, so a filter on its logger is the only public seam. The filter sees
each failure as it happens, in the thread that collects. A failure counts for a reader if that reader is
collecting in this very thread; so several readers of one provider do not count each other's. Records always
pass, because how often the SDK repeats its traceback is for the host to decide.

What a callback that failed would have said is not gone. The store is told which instruments those are, and
keeps their last values. Nothing is known of them where the SDK's logger makes no record. That is so if the
logger is disabled (``logging.config`` disables existing loggers unless told otherwise), if its level is
above ERROR, or if a filter before ours rejects the record.

What is no ``Exception``, such as ``SystemExit`` or ``CancelledError``, the SDK does not catch: one callback
that raises it would end every collection before anything is handed over, and freeze all metrics of the
provider. So before a collection, callbacks that are new are put into a guard, out of which only Exceptions
come.

The SDK calls callbacks in the middle of a collection, so one that never returns would end all collections.
Who must not wait for it asks all of them before, with a bound (``callbacks.py``). The SDK then gets what they
have said.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation

from otel_prom_bridge.callbacks import CallbackAnswer, Callbacks, take_all
from otel_prom_bridge.interrupts import keep

_LOGGER = "opentelemetry.sdk.metrics._internal.instrument"
_MESSAGE = "Callback failed for instrument "


class CallbackFailures:
    """Knows the instruments of which a callback raises in this thread within a ``with`` statement.

    ``failed`` is called with the name of each. The logger is watched until :meth:`close`, or until nobody
    has a reference to this object any more.
    """

    def __init__(self, failed: Callable[[str], None]) -> None:
        self._here = _Here()
        watch = _Watch(failed, self._here)
        logger = logging.getLogger(_LOGGER)
        logger.addFilter(watch)
        # The logger lives as long as the process; a reader that is never shut down must not.
        self._remove = weakref.finalize(self, logger.removeFilter, watch)

    def __enter__(self) -> None:
        self._here.names = set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._here.names = None

    @property
    def names(self) -> frozenset[str] | None:
        """The instruments with a callback that raised since the ``with`` began; None outside of one."""
        names = self._here.names
        return None if names is None else frozenset(names)

    def close(self) -> None:
        """Watch no longer. A second call does nothing."""
        self._remove()


class CallbackGuards:
    """Guards the callbacks of a provider, whose part that collects is ``consumer``.

    The names ``_async_instruments`` and ``_callbacks`` are private to the SDK. Where one of them is missing,
    callbacks stay as they are.
    """

    def __init__(self, consumer: object) -> None:
        found = getattr(consumer, "_async_instruments", None)
        self._knows = found is not None
        self._instruments: list[Any] = [] if found is None else found
        self._guarded = 0  # how many of them are guarded

    @property
    def are_needed(self) -> bool:
        """Whether there is a callback, as far as we know."""
        return not self._knows or bool(self._instruments)

    @property
    def raised(self) -> bool:
        """Whether one of them has raised in this thread since the last :meth:`renew`, as far as we know."""
        return _asked.raised

    def renew(self) -> None:
        """Guard the callbacks of instruments that were made since the last time."""
        _asked.raised = False
        for instrument in self._instruments[self._guarded :]:
            callbacks = getattr(instrument, "_callbacks", None)
            if isinstance(callbacks, list):
                callbacks[:] = [
                    item if isinstance(item, Guarded) else Guarded(item, str(getattr(instrument, "name", "")))
                    for item in callbacks
                ]
            self._guarded += 1

    @contextmanager
    def asked(self, callbacks: Callbacks[Guarded], seconds: float) -> Iterator[frozenset[str]]:
        """Ask all of them now, in about so many seconds, and let a collection within have their answers.

        What comes out names the instruments of which a callback has not answered.
        """
        answers = {answer.callback: answer for answer in callbacks.ask(self._enabled(), seconds)}
        _asked.answers = answers
        try:
            yield frozenset(guard.name for guard, answer in answers.items() if answer.is_late)
        finally:
            _asked.answers = {}

    def _enabled(self) -> Iterator[Guarded]:
        for instrument in self._instruments[: self._guarded]:
            if getattr(instrument, "_is_enabled", lambda: True)():
                yield from (item for item in instrument._callbacks if isinstance(item, Guarded))


class Guarded:
    """A callback out of which only Exceptions come, after what it observed before.

    ``name`` is that of its instrument.
    """

    __slots__ = ("_callback", "name")

    def __init__(self, callback: Callable[[CallbackOptions], Iterable[Observation]], name: str) -> None:
        self._callback = callback
        self.name = name

    def observe(self, options: CallbackOptions) -> tuple[Sequence[Observation], BaseException | None]:
        """What it observes, and what it raised after that."""
        observed: list[Observation] = []
        try:
            take_all(self._callback(options), observed)
        except BaseException as error:
            return observed, error
        return observed, None

    def __call__(self, options: CallbackOptions) -> Iterator[Observation]:
        """What the SDK gets: what it observes now, or has answered already."""
        answer = _asked.answers.get(self)
        observed, failure = self.observe(options) if answer is None else (answer.points, answer.error)
        _asked.raised = _asked.raised or failure is not None
        yield from observed
        if isinstance(failure, Exception):
            raise failure
        if failure is not None:
            keep(failure)  # in a thread of the application's it is not for us to hold it back
            raise RuntimeError(f"the callback raised {failure!r}") from failure


class _Asked(threading.local):
    """What callbacks have answered, in a thread that has asked them, and whether one has raised."""

    answers: Mapping[Guarded, CallbackAnswer[Guarded]] = {}
    raised = False


_asked = _Asked()


class _Here(threading.local):
    names: set[str] | None = None  # None outside of a collection of ours


class _Watch(logging.Filter):
    def __init__(self, failed: Callable[[str], None], here: _Here) -> None:
        super().__init__()
        self._failed = failed
        self._here = here

    def filter(self, record: logging.LogRecord) -> bool:
        # What is raised here would end the SDK's collection, instead of one callback.
        with contextlib.suppress(Exception):
            names = self._here.names
            if names is not None and str(record.msg).startswith(_MESSAGE):
                name = _instrument(record)
                names.add(name)
                self._failed(name)
        return True


def _instrument(record: logging.LogRecord) -> str:
    # From the arguments: a name may end with a full stop, as the message does.
    return str(record.args[0]) if isinstance(record.args, tuple) else ""
