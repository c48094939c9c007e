"""Work that runs at most once at a time, in a daemon thread, for everybody who asks meanwhile.

Callbacks and collectors are the application's own code and may take for ever. Whoever waits for them waits
outside of the thread that runs them, and only as long as it can. What hangs costs one thread, however often
it is asked for. It is a daemon thread, so it does not keep the process from ending. The threads of
``concurrent.futures`` and ``asyncio.to_thread`` would do that, because they are joined at exit.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import islice

from otel_prom_bridge.forks import renew_in_child
from otel_prom_bridge.hands import Hands
from otel_prom_bridge.interrupts import outwards
from otel_prom_bridge.native import Event, Lock, RLock, get_ident
from otel_prom_bridge.values.checks import LONGEST_WAIT

# How long to wait for a run that somebody has waited for in vain.
_LATE_SECONDS = 0.1
# How often a thread may wait within its own wait.
_DEEPEST = 4


class _Run:
    """One run of the work, and whether it succeeded."""

    def __init__(self) -> None:
        self.done = Event()
        self.succeeded = False
        self.began = time.monotonic()
        self.late = False
        self.thread: int | None = None
        self.beginner: int | None = get_ident()  # who has yet to begin it
        self._turn = Lock()

    @property
    def is_taken(self) -> bool:
        """Whether somebody performs it, or has."""
        return self._turn.locked()

    def take(self) -> bool:
        """Perform it; False if somebody else does."""
        return self._turn.acquire(blocking=False)


class Coalesced:
    """Runs ``work``, which says whether it succeeded and must not raise.

    ``stays`` is asked after each run that was not late, in its thread: how many seconds old that may become
    with further runs (``hands.py``).

    A run is late when somebody waited for it in vain and it is older than ``patience`` seconds, because
    somebody who has no time must not keep the others from waiting. When it is older than ``too_long``
    seconds it is late even if nobody waits.
    """

    def __init__(
        self,
        work: Callable[[], bool],
        *,
        name: str,
        patience: float = 0.0,
        too_long: float = math.inf,
        stays: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._work = work
        self._patience = patience
        self._too_long = too_long
        self._stays = stays
        self._lock = RLock()
        self._last: _Run | None = None
        self._hands = Hands(name)
        renew_in_child(self)

    @property
    def _going_on(self) -> _Run | None:
        run = self._last
        return None if run is None or run.done.is_set else run

    @property
    def is_late(self) -> bool:
        """Whether somebody waited in vain for the run that is going on, or it takes too long."""
        run = self._going_on
        return run is not None and self._is_late(run)

    @property
    def is_running(self) -> bool:
        """Whether a run is going on."""
        return self._going_on is not None

    @property
    def age(self) -> float:
        """For how many seconds the present run has been going on; 0 if there is none."""
        run = self._going_on
        return 0.0 if run is None else time.monotonic() - run.began

    def start(self) -> None:
        """See that a run is going on."""
        self._current()

    def wait(self, seconds: float, *, fresh: bool = False, here: bool = False) -> bool:
        """Run the work, or share the run that is going on; False if that failed or did not end in time.

        With ``fresh``, a run that began before this call is not shared. ``here`` stops all greenlets of this
        thread meanwhile: a signal handler may be in the one that must not wait.

        Whoever asks from within the work itself gets False at once, as does what the garbage collector calls
        in the thread that does it. So does a signal handler that interrupts a handler that waits, and so on,
        since signals may come faster than runs end.
        """
        deadline = time.monotonic() + min(seconds, LONGEST_WAIT)
        if self._hands.is_here or _is_too_deep():
            return False
        while True:
            run, shared = self._current()
            remaining = max(0, deadline - time.monotonic())
            hopeless = not fresh and self._is_late(run)
            wait = run.done.wait_here if here else run.done.wait
            if not wait(min(remaining, _LATE_SECONDS) if hopeless else remaining):
                run.late = run.late or time.monotonic() - run.began >= self._patience
                return False
            if not (shared and fresh):
                return run.succeeded
            fresh = False  # the next one begins after this call, whoever starts it

    def give_up(self) -> None:
        """Let nobody wait any longer for the run that is going on. For them it has failed."""
        run = self._going_on
        if run is not None:
            run.done.set()

    def rest(self) -> None:
        """Have no thread wait for the next run any more."""
        self._hands.rest()

    def _current(self) -> tuple[_Run, bool]:
        """The run that is going on (started, if there is none), and whether somebody else started it."""
        new = _Run()  # outside of the lock: a signal handler may come in here, and the garbage collector
        try:
            with self._lock:
                run = self._last
                if run is None or run.done.is_set:
                    run = self._last = new
            # It may also be that of a frame that this one interrupts, and that has not come to begin it.
            if run.beginner == get_ident() and not run.is_taken:
                self._begin(run)
        except BaseException:
            self._drop_unbegun()
            raise
        return run, run is not new

    def _begin(self, run: _Run) -> None:
        stays, done = partial(self._may_stay, run), partial(self._end, run)
        self._hands.do(partial(self._perform, run), stays=stays, done=done)
        run.beginner = None  # so that no other greenlet of this thread begins it again

    def _drop_unbegun(self) -> None:
        """Have nobody wait for a run that a signal handler has kept this thread from beginning."""
        run = self._last
        if run is not None and run.beginner == get_ident() and run.take():
            run.done.set()

    def _is_late(self, run: _Run) -> bool:
        return run.late or time.monotonic() - run.began >= self._too_long

    def _perform(self, run: _Run) -> None:
        if run.take():  # it may be begun twice
            run.thread = get_ident()
            run.succeeded = self._work()

    def _may_stay(self, run: _Run) -> float:
        is_lost = run.thread != get_ident() or run.done.is_set or self._is_late(run)
        return 0.0 if is_lost else self._stays()

    def _end(self, run: _Run) -> None:
        if run.thread == get_ident():  # it is the one that has performed it
            run.thread = None
            run.done.set()

    def renew(self) -> None:
        """Begin anew in a forked child, where the thread of a run is missing and the lock may stay taken."""
        self._lock = RLock()
        self._last = None
        self._hands.renew()


def _is_too_deep() -> bool:
    """Whether this call of ``wait`` interrupts others. Each greenlet has frames of its own."""
    waits = (frame for frame in outwards(sys._getframe(1)) if frame.f_code is Coalesced.wait.__code__)
    return next(islice(waits, _DEEPEST, None), None) is not None


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
