"""The time limit of a host, an ``Exception``, that comes while something is recorded and means the thread."""

from __future__ import annotations

import ctypes
import itertools
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context

from otel_prom_bridge import ExportView
from otel_prom_bridge.direct import DirectMeterProvider, DirectReader
from otel_prom_bridge.testing.probe import ALONE

_LIMIT = signal.SIGALRM if hasattr(signal, "SIGALRM") else signal.SIGINT
Reach = Callable[[], None]


class TimeLimitError(Exception):
    """What a task queue raises when a task takes too long."""


class _Attributes(dict[str, Any]):
    """Attributes that the limit comes upon when they are read."""

    def __init__(self, reach: Reach, **values: Any) -> None:
        super().__init__(values)
        self.reach = reach

    def values(self) -> Any:
        self.reach()
        return super().values()


class _Slow(Mapping[str, Any]):
    """The same, in a mapping that is no dictionary."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def __iter__(self) -> Iterator[str]:
        self._reach()
        return iter(("k",))

    def __getitem__(self, key: str) -> Any:
        return "v"

    def __len__(self) -> int:
        return 1


class _Text:
    """A value whose text takes its time."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def __str__(self) -> str:
        self._reach()
        return "v"


class _Number:
    """An amount of a class of its own."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def __float__(self) -> float:
        self._reach()
        return 1.0


class _Span(trace.NonRecordingSpan):
    """A span that takes its time."""

    def __init__(self, reach: Reach) -> None:
        super().__init__(trace.SpanContext(1, 2, is_remote=False, trace_flags=trace.TraceFlags(1)))
        self._reach = reach

    def get_span_context(self) -> trace.SpanContext:
        self._reach()
        return super().get_span_context()


def _in_span(reach: Reach) -> tuple[Any, Any, Context]:
    return 1, {"k": "v"}, trace.set_span_in_context(_Span(reach))


ARGUMENTS: dict[str, Callable[[Reach], tuple[Any, ...]]] = {
    "attributes": lambda reach: (1, _Attributes(reach, k="v")),
    "attributes with a list": lambda reach: (1, _Attributes(reach, k=["v"])),
    "a mapping": lambda reach: (1, _Slow(reach)),
    "a value": lambda reach: (1, {"k": _Text(reach)}),
    "a value in a list": lambda reach: (1, {"k": [_Text(reach)]}),
    "the amount": lambda reach: (_Number(reach), {"k": "v"}),
    "the span": _in_span,
}


class _Host:
    """Records, and has a signal handler that raises when some line is reached for the nth time."""

    def __init__(self) -> None:
        self.reader = DirectReader(**ALONE, views=[ExportView(instrument_name="c")])
        self._provider = DirectMeterProvider(self.reader, shutdown_on_exit=False)
        self.counter = self._provider.get_meter("t").create_counter("c")
        self._left = 0

    def reach(self) -> None:
        self._left -= 1
        if not self._left:
            signal.raise_signal(_LIMIT)

    def is_told(self, make: Callable[[Reach], tuple[Any, ...]], nth: int) -> bool:
        """Whether a limit that comes at that line gets out; False if the line is not reached so often."""
        self._left = 0
        arguments = make(self.reach)
        self._left = nth
        try:
            self.counter.add(*arguments)
        except TimeLimitError:
            return True
        assert self._left > 0, "the limit came, and nobody was told"
        return False

    def series(self) -> set[str]:
        lines = self.reader.expose().body.decode().splitlines()
        return {line.rsplit(" ", 1)[0] for line in lines if line.startswith("c_total")}


@pytest.fixture
def host() -> Iterator[_Host]:
    """A host with such a handler."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise TimeLimitError

    before = signal.signal(_LIMIT, handle)
    made = _Host()
    yield made
    signal.signal(_LIMIT, before)
    made.reader.shutdown()


@pytest.mark.parametrize("make", ARGUMENTS.values(), ids=ARGUMENTS)
def test_a_time_limit_gets_out(
    make: Callable[[Reach], tuple[Any, ...]], host: _Host, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever it comes, whoever records is told, nobody finds fault with the arguments, no series is odd."""
    with caplog.at_level(logging.WARNING):
        told = list(itertools.takewhile(bool, (host.is_told(make, nth) for nth in itertools.count(1))))
    assert told
    assert not caplog.records
    assert len(host.series()) == 1


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="others have no such function")
def test_a_time_limit_of_another_thread_gets_out(host: _Host) -> None:
    """Some task queues have a timer thread that sets the exception."""
    called: list[bool] = []
    main = ctypes.c_ulong(threading.get_ident())

    def reach() -> None:
        if called:
            return
        called.append(True)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(main, ctypes.py_object(TimeLimitError))

    with pytest.raises(TimeLimitError):
        host.counter.add(1, _Attributes(reach, k="v"))


class _Changing(dict[str, Any]):
    """Another thread changes it while its values are read."""

    def values(self) -> Any:
        return map(self._read, super().values())

    def _read(self, value: Any) -> Any:
        self.setdefault("k2", "v")
        return value


def test_a_dictionary_that_changes_meanwhile_interrupts_nobody(host: _Host) -> None:
    """The interpreter finds fault with it once. That is no time limit."""
    host.counter.add(1, _Changing(k="v"))
    assert len(host.series()) == 1


class _Once(dict[str, Any]):
    """Raises once when its values are read."""

    def __init__(self, error: Exception) -> None:
        super().__init__(k="v")
        self._error: Exception | None = error

    def values(self) -> Any:
        error, self._error = self._error, None
        if error is not None:
            raise error
        return super().values()


@pytest.mark.parametrize("error", [TimeoutError(), Exception("time is up"), TimeLimitError()])
def test_what_hosts_raise_gets_out(host: _Host, error: Exception) -> None:
    """As if a handler had raised it there."""
    with pytest.raises(type(error)) as raised:
        host.counter.add(1, _Once(error))
    assert raised.value is error


@pytest.mark.parametrize(
    "error", [RuntimeError("changed size"), KeyError("k"), ValueError(), OSError(), AttributeError()]
)
def test_a_fault_that_comes_once_interrupts_nobody(host: _Host, error: Exception) -> None:
    """Attributes of a class of the application's, which another thread changes meanwhile."""
    host.counter.add(1, _Once(error))
    assert len(host.series()) == 1
