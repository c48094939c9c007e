"""Running callbacks one by one, in a thread that may be lost to one that hangs.

Whoever collects waits for that thread. If one callback takes too long, the thread is left to it, and another
one goes on with the next callback. A callback that has not returned is not called again, and what it says in
the end is taken by the next collection. So it costs its own series, and a scrape waits for it once.

The thread stays for a minute, since to start one takes longer than most callbacks do. After a callback that
raised or took too long there is a new one (``hands.py``).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from opentelemetry.metrics import CallbackOptions

from otel_prom_bridge.hands import CALLBACKS_SECONDS, Hands
from otel_prom_bridge.native import Event, Lock

# A callback may take half of the time that is left, and never less than this.
_LEAST_WAIT = 0.1
# How many observations a callback may say. A generator without an end would fill the memory.
MOST_OBSERVATIONS = 1_000_000


class Callback(Protocol):
    """Something to ask."""

    def observe(self, options: CallbackOptions, /) -> tuple[Sequence[Any], BaseException | None]:
        """What it observes, and what it raised after that. Nothing comes out of it."""
        ...


_Callback = TypeVar("_Callback", bound=Callback)


def take_all(observations: Iterable[Any], into: list[Any]) -> None:
    """Put what a callback says into a list, up to where it raises.

    Raises:
        ValueError: there is no end of it.
    """
    into.extend(islice(observations, MOST_OBSERVATIONS + 1))
    if len(into) > MOST_OBSERVATIONS:
        into.clear()
        raise ValueError(f"it says more than {MOST_OBSERVATIONS} observations")


class CallbackAnswer(NamedTuple, Generic[_Callback]):
    """What a callback said. ``error`` is what it raised then, and ``is_late`` that it has not answered."""

    callback: _Callback
    points: Sequence[Any]
    error: BaseException | None = None
    is_late: bool = False


class Callbacks(Generic[_Callback]):
    """Asks callbacks. ``spent`` is how many seconds of the processor they took so far."""

    def __init__(self) -> None:
        self.spent = 0.0
        self._hands = Hands("otel-prom-bridge-callbacks")
        self.renew()

    def renew(self) -> None:
        """Begin anew, as in a forked child, where no thread is left that waits for a callback."""
        self._lock = Lock()
        self._late: dict[_Callback, CallbackAnswer[_Callback] | None] = {}  # with what they said in the end
        self._hands.renew()

    def rest(self) -> None:
        """Have no thread wait for the next run any more."""
        self._hands.rest()

    @property
    def is_here(self) -> bool:
        """Whether this thread calls callbacks."""
        return self._hands.is_here

    def ask(self, callbacks: Iterable[_Callback], seconds: float) -> list[CallbackAnswer[_Callback]]:
        """The answers of all of these, within about so many seconds."""
        deadline = time.monotonic() + seconds
        answers: list[CallbackAnswer[_Callback]] = []
        waiting: list[_Callback] = []
        for callback in callbacks:
            with self._lock:
                answer = self._late.get(callback)
                is_late = callback in self._late
                if answer is not None:
                    del self._late[callback]
            if is_late:
                answers.append(answer or CallbackAnswer(callback, (), is_late=True))
            else:
                waiting.append(callback)
        while waiting:
            run = _Run(waiting, max(deadline - time.monotonic(), _LEAST_WAIT))
            self._hands.do(partial(self._call, run), stays=run.stays, done=run.done.set)
            waiting = self._answered(run, deadline, answers)
        return answers

    def _answered(
        self, run: _Run[_Callback], deadline: float, answers: list[CallbackAnswer[_Callback]]
    ) -> list[_Callback]:
        """Take the answers of a run, and return the callbacks to which it did not come."""
        while True:
            began = run.began
            patience = max((deadline - began) / 2, _LEAST_WAIT)
            is_done = run.done.wait(began + patience - time.monotonic())
            with self._lock:
                if is_done or len(run.answers) == len(run.callbacks):
                    answers += run.answers
                    return []
                if run.began != began:
                    continue
                run.is_given_up = True
                late = run.callbacks[len(run.answers)]
                self._late[late] = None
                answers += run.answers
                answers.append(CallbackAnswer(late, (), is_late=True))
                return run.callbacks[len(run.answers) + 1 :]

    def _call(self, run: _Run[_Callback]) -> None:
        spent = time.thread_time()
        try:
            for callback in run.callbacks:
                options = CallbackOptions(timeout_millis=1000 * run.seconds)
                answer = CallbackAnswer(callback, *callback.observe(options))
                with self._lock:
                    if run.is_given_up:
                        self._late[callback] = answer
                        return
                    run.answers.append(answer)
                    run.began = time.monotonic()
        finally:
            self.spent += time.thread_time() - spent


class _Run(Generic[_Callback]):
    """Callbacks that are called one after the other, until it is given up."""

    def __init__(self, callbacks: list[_Callback], seconds: float) -> None:
        self.callbacks = callbacks
        self.seconds = seconds
        self.answers: list[CallbackAnswer[_Callback]] = []
        self.began = time.monotonic()  # when the callback was called for which it waits
        self.is_given_up = False
        self.done = Event()

    def stays(self) -> float:
        """How many seconds old its thread may become; 0 if one has not answered in time, or raised."""
        is_whole = len(self.answers) == len(self.callbacks) and not self.is_given_up
        went_well = is_whole and all(answer.error is None for answer in self.answers)
        return CALLBACKS_SECONDS if went_well else 0.0
