"""Asks the callbacks of a provider of ours, and says which of them failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from otel_prom_bridge.callbacks import CallbackAnswer, Callbacks
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.direct.cells import Number
from otel_prom_bridge.direct.observed import Observed, ObservedCallback
from otel_prom_bridge.points import Stream

# What has failed where a callback does not return.
_TIMEOUT = "timeout"


class Observing:
    """Asks ``callbacks``. ``findings`` hears of those that fail, each once for each reason.

    ``failed`` is called each time, with the name of the instrument and the reason.
    """

    def __init__(
        self,
        callbacks: Callbacks[ObservedCallback],
        findings: Findings,
        failed: Callable[[str, str], object] = lambda name, reason: None,
    ) -> None:
        self._callbacks = callbacks
        self._findings = findings
        self._failed = failed

    def ask(
        self, observed: Sequence[Observed], seconds: float
    ) -> tuple[list[tuple[Observed, Sequence[Number]]], set[Stream]]:
        """What the callbacks of these instruments say within so many seconds, and which have not said all."""
        callbacks = [each for instrument in observed for each in instrument.callbacks]
        answers = self._callbacks.ask(callbacks, seconds)
        failing = {answer.callback.instrument.stream for answer in answers if self._has_failed(answer)}
        return list(_by_instrument(answers)), failing

    def _has_failed(self, answer: CallbackAnswer[ObservedCallback]) -> bool:
        """Whether the callback has not said everything. Says so once, and counts each time."""
        stream, error = answer.callback.instrument.stream, answer.error
        about = (stream.name, stream.scope.name)
        if answer.is_late:
            message = (
                "a callback of instrument %r of scope %r has not returned in time. Its series show what it"
                " said last, and it is not called again before it returns"
            )
            self._findings.report(("late", stream), message, *about)
            self._failed(stream.name, _TIMEOUT)
        elif error is not None:
            message = "a callback of instrument %r of scope %r failed, its series show what it said last: %s"
            self._findings.report(("raised", stream, type(error)), message, *about, _reason(error))
            self._failed(stream.name, type(error).__qualname__)
        return answer.is_late or error is not None


def _by_instrument(
    answers: Sequence[CallbackAnswer[ObservedCallback]],
) -> Iterator[tuple[Observed, Sequence[Number]]]:
    found: dict[Observed, list[Number]] = {}
    for answer in answers:
        found.setdefault(answer.callback.instrument, []).extend(answer.points)
    for instrument, points in found.items():
        if points:
            yield instrument, instrument.together(points)


def _reason(error: BaseException) -> str:
    """What was raised, and where."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    where = "" if last is None else f" ({last.tb_frame.f_code.co_filename}, line {last.tb_lineno})"
    return f"{error!r}{where}"
