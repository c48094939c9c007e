"""Who pushes: the processes that are there, and when each of them has ended.

What ended processes counted stays in the sums, and what they said of the present must go with them. So a
process has to be known for as long as it lives, and its end has to be noticed soon. There are three signs of
it, and the first one that comes counts:

=========== =====================================================================================
goodbye     it says so with its last push
connection  its connection is closed, and the process at the other end is gone (so also at SIGKILL)
timeout     it has been silent for three of its intervals, and for ten seconds at least
=========== =====================================================================================

Each process has the lowest number that is free, for a label. So there are as many numbers as processes at a
time. A process id would be another one for each process that ever was.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import selectors
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeVar

from otel_prom_bridge.clocks import monotonic
from otel_prom_bridge.configuration.options import DEFAULT_MAX_SOURCES
from otel_prom_bridge.endpoint.messages import Link
from otel_prom_bridge.hub.baselines import Baselines
from otel_prom_bridge.native import DefaultSelector, Empty, RLock, SimpleQueue, Thread, socket_pair
from otel_prom_bridge.points import Source
from otel_prom_bridge.report.facts import WorkerState

End: TypeAlias = Literal["goodbye", "connection", "timeout"]

_Value = TypeVar("_Value")

LEAST_TIMEOUT = 10.0
_MISSED = 3
# Of clients that do not say how often they push: what exporters of OpenTelemetry do unless they are told.
_USUAL_INTERVAL = 60.0
# Of so many that have ended the last push is remembered, in case it comes again, and of so many that only
# were silent what they have said.
_REMEMBERED, _RESTING = 4096, 256
# What a process that is gone has sent may still have to be read.
_GRACE_SECONDS = 2.0
_PAUSE_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class Pusher:
    """A process that pushes. ``last`` is when it did so last, by the monotonic clock.

    ``pushed`` and ``dropped`` are the numbers of its last push and of the points that it has dropped.
    ``resource`` is what it said of itself last.
    """

    key: Hashable
    source: Source
    baselines: Baselines
    last: float
    interval: float | None = None
    pushed: int | None = None
    dropped: int = 0
    resource: Mapping[str, object] | None = None
    links: set[Link] = field(default_factory=set)
    process: int | None = None
    gone_since: float | None = None


class Pushers:
    """All processes that push, by what tells them apart.

    Whoever calls it holds ``lock``. ``ended`` is called with each that has ended, under the lock. ``timeout``
    is for how many seconds one may be silent; None for three of its intervals. At most ``most`` of them are
    there at a time.
    """

    def __init__(
        self,
        ended: Callable[[Pusher, End], object],
        *,
        lock: RLock,
        most: int = DEFAULT_MAX_SOURCES,
        timeout: float | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._ended = ended
        self.lock = lock
        self._most = most
        self._timeout = timeout
        self._clock = clock
        self._began = time.time_ns()
        self._live: dict[Hashable, Pusher] = {}
        self._free: list[int] = []
        self._pushed: dict[Hashable, int | None] = {}  # of those that have ended
        self._resting: dict[Hashable, Baselines] = {}

    def __len__(self) -> int:
        return len(self._live)

    @property
    def oldest(self) -> float:
        """How many seconds ago the last push came of the one that has been silent for longest."""
        with self.lock:
            first = min((pusher.last for pusher in self._live.values()), default=None)
        return 0.0 if first is None else self._clock() - first

    def states(self) -> list[WorkerState]:
        """How each of them is doing."""
        with self.lock:
            return [
                WorkerState(
                    pusher.source.worker,
                    pusher.process,
                    str((pusher.resource or {}).get("service.name", "")),
                    self._clock() - pusher.last,
                    pusher.interval,
                    pusher.dropped,
                )
                for pusher in self._live.values()
            ]

    def find(self, key: Hashable, *, link: Link | None, interval: float | None = None) -> Pusher | None:
        """The one that pushes now under this key; None if there is no room for a new one."""
        now = self._clock()
        pusher = self._live.get(key)
        if pusher is None:
            if len(self._live) >= self._most:
                return None
            pusher = self._live[key] = self._new(key, now)
        elif interval is None:  # it does not say it, but it shows
            pusher.interval = max(now - pusher.last, (pusher.interval or 0.0) / 2)
        if interval is not None:
            pusher.interval = interval
        pusher.last = now
        if link is not None:
            pusher.links.add(link)
            if link.pid is not None:
                pusher.process = link.pid
        return pusher

    def unnamed(self, link: Link | None, resource: Mapping[str, object]) -> Hashable:
        """The key of somebody who does not say who it is: its connection, or one that it had before."""
        for pusher in self._live.values():
            is_like_it = isinstance(pusher.key, _Unnamed) and pusher.resource is resource
            if is_like_it and (link in pusher.links or not pusher.links):
                return pusher.key
        return _Unnamed()

    def _new(self, key: Hashable, now: float) -> Pusher:
        number = heapq.heappop(self._free) if self._free else len(self._live) + 1
        baselines = self._resting.pop(key, None) or Baselines(began=self._began)
        return Pusher(key, Source(worker=number), baselines, now, pushed=self._pushed.pop(key, None))

    def left(self, link: Link) -> None:
        """A connection has ended."""
        for pusher in list(self._live.values()):
            if link in pusher.links:
                pusher.links.discard(link)
                if not pusher.links and pusher.gone_since is not None:
                    self.end(pusher, "connection")

    def process_gone(self, process: int) -> None:
        """A process has ended."""
        for pusher in list(self._live.values()):
            if pusher.process == process:
                pusher.gone_since = pusher.gone_since or self._clock()
                if not pusher.links:
                    self.end(pusher, "connection")

    def end_late(self) -> None:
        """Let those end that have been silent for too long."""
        now = self._clock()
        for pusher in list(self._live.values()):
            if pusher.gone_since is not None and now - pusher.gone_since >= _GRACE_SECONDS:
                self.end(pusher, "connection")
            elif now - pusher.last >= self._patience(pusher):
                self.end(pusher, "timeout")

    def _patience(self, pusher: Pusher) -> float:
        if self._timeout is not None:
            return self._timeout
        interval = _USUAL_INTERVAL if pusher.interval is None else pusher.interval
        return max(LEAST_TIMEOUT, _MISSED * interval)

    def end(self, pusher: Pusher, how: End) -> None:
        """It has ended."""
        if self._live.get(pusher.key) is not pusher:
            return
        del self._live[pusher.key]
        assert pusher.source.worker is not None
        heapq.heappush(self._free, pusher.source.worker)
        # A push may be sent again whose answer did not arrive. And who was silent may come back, with totals.
        _remember(self._pushed, pusher.key, pusher.pushed, _REMEMBERED)
        if how == "timeout" and not pusher.baselines.is_empty:
            _remember(self._resting, pusher.key, pusher.baselines, _RESTING)
        self._ended(pusher, how)

    @property
    def are_connected(self) -> bool:
        """Whether one of them has a connection, or is a process that has not ended."""
        return bool(self.processes) or any(pusher.links for pusher in self._live.values())

    @property
    def processes(self) -> set[int]:
        """The processes of those that are there, as far as they are known and have not ended."""
        return {
            pusher.process
            for pusher in self._live.values()
            if pusher.process is not None and pusher.gone_since is None
        }


def _remember(memory: dict[Hashable, _Value], key: Hashable, value: _Value, most: int) -> None:
    while len(memory) >= most:
        del memory[next(iter(memory))]
    memory[key] = value


class _Unnamed:
    """The key of somebody who does not say who it is."""


class EndWatch:
    """A thread that notices ends: of connections, of processes, and of patience.

    The loop of a server tells it of connections, and never waits for it.
    """

    def __init__(self, pushers: Pushers) -> None:
        self._pushers = pushers
        self._selector = DefaultSelector()
        self._waker, self._wakened = socket_pair()
        for end in (self._waker, self._wakened):
            end.setblocking(False)
        self._selector.register(self._wakened, selectors.EVENT_READ, None)
        self._watched: dict[int, int] = {}  # the descriptor of each process
        self._left: SimpleQueue[Link] = SimpleQueue()
        self._is_over = False
        self._thread = Thread(self._run, name="otel-prom-bridge-sources")

    def start(self) -> None:
        """Watch from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._is_over = True
        self._wake()

    def left(self, link: Link) -> None:
        """A connection has ended."""
        self._left.put(link)
        self._wake()

    def look(self) -> None:
        """There may be a new process."""
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full, which wakes as well; or closed
            self._waker.send(b"\0")

    def _run(self) -> None:
        while not self._is_over:
            events = self._selector.select(_PAUSE_SECONDS)
            gone = [key.data for key, _ in events if key.data is not None]
            with contextlib.suppress(BlockingIOError):
                self._wakened.recv(4096)
            with self._pushers.lock:
                for process in gone:
                    self._pushers.process_gone(process)
                with contextlib.suppress(Empty):
                    while True:
                        self._pushers.left(self._left.get_nowait())
                self._pushers.end_late()
                wanted = self._pushers.processes
            self._follow(wanted)
        for process in list(self._watched):
            self._unwatch(process)
        for end in (self._selector, self._waker, self._wakened):
            end.close()

    def _follow(self, wanted: set[int]) -> None:
        for process in self._watched.keys() - wanted:
            self._unwatch(process)
        for process in wanted - self._watched.keys():
            self._watch(process)

    def _watch(self, process: int) -> None:
        try:
            descriptor = os.pidfd_open(process)
        except ProcessLookupError:
            with self._pushers.lock:
                self._pushers.process_gone(process)
        except (AttributeError, OSError):  # not on Linux, or too many files are open: a timeout says it
            pass
        else:
            self._watched[process] = descriptor
            self._selector.register(descriptor, selectors.EVENT_READ, process)

    def _unwatch(self, process: int) -> None:
        descriptor = self._watched.pop(process)
        with contextlib.suppress(KeyError, ValueError, OSError):
            self._selector.unregister(descriptor)
        os.close(descriptor)
