"""The loop: one daemon thread that owns all sockets. It waits for all of them at once, and never for one.

No code of the user runs in it, not even a log handler. Whatever a client does or does not do has a deadline,
and connections, requests in flight and bytes in memory have a bound (``limits``).

Each turn serves what is ready before it looks at deadlines. So when the process was stopped for a while,
those who were waiting with a complete request are answered and not timed out.

After a fork, the child closes its copies of the descriptors. It touches nothing that it shares with the
parent: it shuts no connection down, and it unregisters nothing from the shared epoll. The interpreter never
waits for the thread at its end.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import time
from collections.abc import Callable, Sequence

from otel_prom_bridge.diagnostics import endpoint_logger
from otel_prom_bridge.endpoint.files.tls import Certificates
from otel_prom_bridge.endpoint.messages import Handler
from otel_prom_bridge.endpoint.server.conversations import HEALTH_ROOM, Conversations
from otel_prom_bridge.endpoint.server.door import Door
from otel_prom_bridge.endpoint.server.limits import ServerLimits
from otel_prom_bridge.endpoint.server.listeners import Listener
from otel_prom_bridge.endpoint.server.log import MOST_WRITING, RateLimitedLog
from otel_prom_bridge.endpoint.server.threads import Threads
from otel_prom_bridge.native import DefaultSelector, Thread, sleep, socket_pair

_STOP_SECONDS, _POLL_SECONDS, _JOIN_SECONDS = 2.0, 0.002, 0.1


class Loop:
    """Serves some listening sockets. It owns them from the start on, and closes them at the end.

    ``handler`` makes the responses, and ``tls`` has the certificates. ``accepts`` says which IP addresses may
    connect at all; it must not block. ``on_end`` is called by the thread of the loop when everything is
    closed.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        handler: Handler,
        *,
        tls: Certificates | None = None,
        accepts: Callable[[str | None], bool] | None = None,
        limits: ServerLimits | None = None,
        on_end: Callable[[], object] = lambda: None,
    ) -> None:
        limits = limits or ServerLimits()
        self._listeners = listeners
        self._on_end = on_end
        self._is_awake = False
        self._is_stopping = False
        self._has_ended = False
        self._selector = DefaultSelector()
        try:
            self._waker, self._wakened = socket_pair()
        except OSError:
            self._selector.close()
            raise
        most = limits.max_in_flight + HEALTH_ROOM + MOST_WRITING
        self._workers = Threads(most, idle_timeout=limits.worker_idle_timeout)
        log = RateLimitedLog(self._workers.run)
        self._conversations = Conversations(
            self._selector, handler, self._workers, log, limits=limits, wake=self._wake, tls=tls
        )
        self._door = Door(
            listeners,
            self._selector,
            self._conversations,
            log,
            most=limits.most_connections,
            tls=tls,
            accepts=accepts,
        )
        self._thread = Thread(self._run, name="otel-prom-bridge-server")

    @property
    def is_running(self) -> bool:
        """It serves, in this process."""
        return self._thread.is_alive() and not self._is_stopping

    def start(self) -> None:
        """Serve from now on.

        Raises:
            RuntimeError: there can be no more threads. Nothing is left open but the listeners.
        """
        for sock in (self._waker, self._wakened):
            sock.setblocking(False)
        self._selector.register(self._wakened, selectors.EVENT_READ, self._is_woken)
        self._door.open()
        _running.add(self)
        try:
            self._thread.start()
        except RuntimeError:
            self._close_descriptors()
            raise

    def stop(self) -> None:
        """Close everything. It returns when that is done, and after two seconds in any case.

        It may be called from any thread, any number of times, and from a signal handler: it takes no lock,
        and the thread of the loop does the work.
        """
        self._is_stopping = True
        self._wake(force=True)
        if self._thread.is_current or not self._thread.is_alive():
            return
        # join() alone would not do: a signal handler that interrupts a join() waits in vain for its lock.
        deadline = time.monotonic() + _STOP_SECONDS
        while not self._has_ended and time.monotonic() < deadline:
            sleep(_POLL_SECONDS)
        self._thread.join(_JOIN_SECONDS)

    def abandon(self) -> None:
        """In a forked child: close the descriptors that came along, and nothing else."""
        self._is_stopping = True
        for listener in self._listeners:
            listener.abandon()
        self._conversations.abandon()
        self._close_descriptors()

    def _run(self) -> None:
        try:
            while not self._is_stopping:
                self._turn()
        except BaseException:
            if not self._is_stopping:
                endpoint_logger.exception("the endpoint stopped; this is a fault of the bridge")
        self._is_stopping = True
        with contextlib.suppress(KeyError, ValueError, OSError):  # gevent forks the greenlet as well
            self._door.close()  # first: gevent does not close what a selector knows
        for listener in self._listeners:
            listener.close()
        self._conversations.end()
        self._close_descriptors()
        self._workers.stop()
        self._on_end()
        self._has_ended = True

    def _turn(self) -> None:
        # A process that was stopped may at first hear of nothing but the time that has passed. What came
        # meanwhile is in the second answer, and it must be looked at before the deadlines.
        for key, mask in self._selector.select(self._patience()) or self._selector.select(0):
            key.data(mask)
        self._conversations.go_on()
        self._conversations.give_up()
        self._door.open_after_pause()

    def _patience(self) -> float | None:
        if self._conversations.has_more:
            return 0
        moments = (self._conversations.next_deadline, self._door.opens_at)
        soonest = min((moment for moment in moments if moment is not None), default=None)
        return None if soonest is None else max(0.0, soonest - time.monotonic())

    def _wake(self, *, force: bool = False) -> None:
        if force or not self._is_awake:
            self._is_awake = True
            with contextlib.suppress(OSError):  # full, which wakes as well; or closed
                self._waker.send(b"\0")

    def _is_woken(self, _: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wakened.recv(4096)
        self._is_awake = False  # before looking for work, so that who comes later wakes us again

    def _close_descriptors(self) -> None:
        _running.discard(self)
        for end in (self._selector, self._waker, self._wakened):
            with contextlib.suppress(OSError):
                end.close()


_running: set[Loop] = set()


def _after_fork() -> None:
    for loop in tuple(_running):
        loop.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
