"""What pushes what was recorded to a hub, once a second, and loses nothing of it.

One thread does it all for one push: it sends what the hub has not taken yet, collects, encodes, and sends
that. So a batch is always either where it was recorded or among the unsent ones, and whoever flushes
meanwhile waits for the push that is going on and for the next one. Nobody waits for longer than they want to,
and whoever records waits for nothing. The thread stays from push to push: one that starts another may take a
signal away from the main thread (``sigterm.py``).

Counters and histograms go as deltas, which the hub adds up for all processes. What is a level (up-down
counters, gauges) goes as it is, so that a hub that was started anew knows it with the next push.

There are two readers that push: ``reader.py`` has what the SDK records, and ``direct/push_reader.py`` what is
recorded without it.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import os
import threading
import time
import weakref
from abc import abstractmethod
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from types import CodeType, FrameType
from typing import Any, ClassVar

from otel_prom_bridge.callbacks import Callbacks
from otel_prom_bridge.diagnostics import Findings, logger
from otel_prom_bridge.errors import CollectionError, CollectionTimeoutError
from otel_prom_bridge.interrupts import is_over, is_within, outermost, postponed
from otel_prom_bridge.native import Event, sleep
from otel_prom_bridge.once import Coalesced, Shutdown
from otel_prom_bridge.pipeline.background import background
from otel_prom_bridge.points import SourcePoint, Stream
from otel_prom_bridge.provider_reader import ProviderReader
from otel_prom_bridge.push import ends, sigterm
from otel_prom_bridge.push.elsewhere import Elsewhere
from otel_prom_bridge.push.encoding import OtlpEncoder
from otel_prom_bridge.push.hub_connection import HubAnswer, HubConnection
from otel_prom_bridge.push.unsent import Unsent, UnsentBatch
from otel_prom_bridge.push.wire import (
    DEFAULT_INTERVAL,
    DROPPED,
    END,
    FAILING,
    HUB,
    INTERVAL,
    NUMBER,
    SOURCE,
    TOKEN,
    HubAddress,
    SourceName,
    failing_text,
)
from otel_prom_bridge.values.checks import BOOLEAN, SECONDS, check_fields, instance_of
from otel_prom_bridge.views.policy import Policy

# A push may cost the process one part in 50 of its time. If it costs more, the next one comes later.
_PARTS, _LONGEST_INTERVAL = 50, 10.0
# How long a hub may take to answer, and how long the end of a process waits for it.
_ANSWER_SECONDS, LAST_SECONDS = 10.0, 2.0
# Between two pushes, and for how long so, when the process has been told to end and decides itself when.
_HURRY_PAUSE, _HURRY_SECONDS = 0.02, 30.0
# Between two attempts at the end; between two of them where the hub does not know us.
_AGAIN_SECONDS, _REFUSED_SECONDS = 0.02, 10.0
# In a forked child: how long to wait for callbacks to say what the parent has counted.
_CALLBACK_SECONDS = 0.1
# How long all callbacks may take. What does not answer in time is pushed later, and the rest without it.
_CALLBACKS_SECONDS = 2.0
# A push that has been going on for so long is late.
_LATE_SECONDS = 30.0
_TOLD_SECONDS = 60.0  # between two lines of the log about a hub that does not answer
_OK, _REFUSED, _AGAIN = range(200, 300), {401, 403}, {408, 429, *range(500, 600)}


_CHECKS = {
    "hub": HUB,
    "token": TOKEN,
    "policy": instance_of(Policy, "the policy of a reader"),
    "interval": SECONDS,
    "flush_on_sigterm": BOOLEAN,
}


@dataclass(frozen=True, slots=True, eq=False)
class PushOptions:
    """The options of ``PushReader``, which says what they mean.

    Raises:
        ConfigurationError: an option has a value that cannot work.
    """

    hub: str | HubAddress
    _: KW_ONLY
    token: str | None = None
    policy: Policy | None = None
    interval: float = DEFAULT_INTERVAL
    flush_on_sigterm: bool = True

    def __post_init__(self) -> None:
        check_fields(self, _CHECKS)


class Pushed(Elsewhere, ProviderReader):
    """Pushes what :meth:`_take` takes from where it was recorded, at its time, and until all has arrived.

    What stands beside it in a reader knows the provider that records for the reader, and how it ends.
    """

    # The functions that record, and those of them that may have a lock which a push needs.
    _RECORDS: ClassVar[Container[CodeType]]
    _LOCKS: ClassVar[Container[CodeType]]

    def _begin_pushing(self, options: PushOptions) -> None:
        """To be called by the constructor, when everything else is there."""
        address: Any = options.hub
        self._address: HubAddress = address
        self.hub = str(address)
        self._token = options.token
        self._policy: Policy = options.policy or Policy()
        self._interval = options.interval
        self._flush_on_sigterm = options.flush_on_sigterm
        self._findings = Findings()
        self._encoder = OtlpEncoder(self._findings)
        self._callbacks = Callbacks[Any]()
        self._pushes = Coalesced(
            self._push, name="otel-prom-bridge-push", too_long=_LATE_SECONDS, stays=lambda: math.inf
        )
        self._notice = Coalesced(self._say_late, name="otel-prom-bridge-log")
        self._interrupted: FrameType | None = None  # the recording that the shutdown came into
        self._last = Coalesced(self._end_later, name="otel-prom-bridge-last")
        self._over = Shutdown()
        self._over.add(self._rest)
        self._cost = 0.0
        self._succeeded: bool | None = None
        self._told_at = -math.inf
        self._is_inherited = False  # from the process that this one was forked from
        self._begin()
        self._shutdown.add(self._close)
        _readers.add(self)
        ends.watch(self)
        if self._flush_on_sigterm:
            sigterm.watch(self)
            if sigterm.has_come():
                self._hurry_until = time.monotonic() + _HURRY_SECONDS

    def _begin(self) -> None:
        """In this process: nothing is unsent, and nobody knows it yet."""
        self._source = SourceName()
        self._unsent = Unsent()
        self._connection = HubConnection(self._address, self._token)
        self._collected = Event()
        self._until: float | None = None  # when the end of the process waits no longer
        self._goodbye: UnsentBatch | None = None
        self._has_said_goodbye = False
        self._is_out = False  # the hub does not answer
        self._hurry_until = self._not_before = -math.inf
        self._ended = self._started = time.monotonic()
        # Last: in a forked child a thread may be there already that pushes, and does nothing before this.
        self._process = os.getpid()

    @property
    def policy(self) -> Policy:
        """What is exported; ``policy.sdk_views()`` is for a ``MeterProvider`` of one's own."""
        return self._policy

    @property
    def is_healthy(self) -> bool:
        """The hub took the last push, and none takes too long."""
        return self._succeeded is True and not self._pushes.is_late

    # When it pushes.

    @property
    def due(self) -> float:
        """When the next push is to begin, by ``time.monotonic()``."""
        if self._hurry_until > time.monotonic():
            return self._ended + _HURRY_PAUSE
        return max(self._started + self._pause(), self._not_before)

    def _pause(self) -> float:
        return max(self._interval, min(_PARTS * self._cost, _LONGEST_INTERVAL))

    def on_end(self, hook: Callable[[], None]) -> None:
        """Call ``hook`` when nothing more is to be taken, which may be some time after the shutdown."""
        self._over.add(hook)

    def go_on_from(self, before: Pushed) -> None:
        """Push in the place of this reader of the same provider, which has ended.

        Asynchronous counters go on from what they have said there.
        """
        before._end_interrupted(LAST_SECONDS)
        self._encoder = before._encoder

    def start(self) -> None:
        """See that a push is going on."""
        if self._process != os.getpid():  # a forked child, which is about to begin anew
            return
        self._pushes.start()
        if self._pushes.is_late:  # a log handler may hold up whoever says so
            self._notice.start()

    def hurry(self) -> None:
        """Push again and again, because the process is about to end, and nobody will say when."""
        self._hurry_until = time.monotonic() + _HURRY_SECONDS
        background.add(self)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Push what was recorded so far. False if the hub did not take it in time; then it is kept.

        So does who asks in the middle of a recording of its own thread, at once.
        """
        # Neither a callback nor a recording must wait for the push that waits for it.
        is_awaited = self._callbacks.is_here or is_within(self._LOCKS)
        return self.is_ready and not is_awaited and self._pushes.wait(timeout_millis / 1000, fresh=True)

    def end(self, seconds: float = LAST_SECONDS, *, here: bool = False) -> None:
        """Push what is left, and say goodbye. ``here``: in a signal handler."""
        if self._process == os.getpid() and not self._over.has_begun:
            self._end(seconds, here=here)

    def _end(self, seconds: float, *, here: bool = False) -> None:
        until = time.monotonic() + seconds
        interruption: SystemExit | None = None
        while interruption is None or time.monotonic() < until:
            try:
                background.discard(self)
                self._until = until
                self._pushes.wait(max(0.0, until - time.monotonic()), fresh=True, here=here)
                break
            except SystemExit as error:  # of a signal handler: the process is to end, as it does here
                interruption = error
        if interruption is not None:
            raise interruption

    def _close(self) -> None:
        # In a child that let go of the reader it inherited, there is nobody to say goodbye.
        is_known = self.is_attached or self._unsent.has_begun
        if self._process == os.getpid() and is_known:
            # What a handler raises may get out of all that follows. And after a recording that the shutdown
            # came into there is another push, be it because the process ends.
            atexit.register(self.end)
            self._interrupted = outermost(self._RECORDS)
            if not is_within(self._LOCKS):
                self._end(LAST_SECONDS)
            if self._interrupted is not None:
                self._last.start()
                return
            atexit.unregister(self.end)
        self._over.begin()

    def _end_later(self) -> bool:
        if is_within(self._RECORDS):  # there can be no more threads, so this is the one that records
            return False
        recording, until = self._interrupted, time.monotonic() + _HURRY_SECONDS
        while recording is not None and not is_over(recording) and time.monotonic() < until:
            sleep(_AGAIN_SECONDS)
        self._end_interrupted(_HURRY_SECONDS)
        return True

    def _end_interrupted(self, seconds: float) -> None:
        """Push what the recording has left that the shutdown came into, unless that was done."""
        if self._interrupted is None:
            return
        self._end(seconds)
        if self._unsent.first is None and self._has_said_goodbye:
            self._interrupted = None
            atexit.unregister(self.end)
            self._over.begin()

    def _rest(self) -> None:
        self._pushes.rest()
        self._callbacks.rest()
        self._connection.close()

    def _say_late(self) -> bool:
        age = round(self._pushes.age, 1)
        self._findings.report("late", "%s", CollectionTimeoutError("a push to the hub", age))
        return True

    # One push.

    def _push(self) -> bool:
        if self._process != os.getpid():
            return False
        self._started, spent = time.monotonic(), self._spent()
        done, is_last = False, self._until is not None
        try:
            with postponed(ours=True):
                done = self._deliver()
                if done:
                    done = False
                    self._collect_now()
                    self._goodbye = self._unsent.last if is_last else None
                    done = self._deliver()
        except BaseException as error:
            # Not even SystemExit is meant for a thread of ours. But where there can be no more threads, this
            # is the main one, and that is of a signal handler.
            if isinstance(error, SystemExit) and threading.current_thread() is threading.main_thread():
                raise
            self._findings.report(("push", type(error)), "%s", CollectionError(error))
        finally:
            self._collected.set()
            self._see_to_sigterm()
            self._cost = self._spent() - spent
            self._ended = time.monotonic()
            self._succeeded = done
        return done

    def _spent(self) -> float:
        """Seconds of the processor that this thread and callbacks took so far."""
        return time.thread_time() + self._callbacks.spent

    def _see_to_sigterm(self) -> None:
        # A server may have replaced our handler, as uvicorn does in a worker of gunicorn. Only the main
        # thread can put it back, and often it is the one that records.
        if self._flush_on_sigterm and self.is_ready and not sigterm.is_in_place():
            self.at_next_recording(sigterm.install)

    def _collect_now(self) -> None:
        if self.is_attached:
            self._take()
        elif not self._has_said_goodbye:  # the provider has let go of it; there is still the goodbye to say
            self._unsent.append(b"", 0)
        self._collected.set()

    @abstractmethod
    def _take(self) -> None:
        """Take what was recorded since the last time, and :meth:`_keep` it."""

    def _keep(
        self,
        resource: Mapping[str, Any],
        streams: Iterable[tuple[Stream, Iterable[SourcePoint]]],
        failing: frozenset[str],
        *,
        schema_url: str = "",
    ) -> None:
        """Put what was taken among the unsent batches. ``failing`` instruments have not said all."""
        if "process.pid" in resource:  # perhaps of the process that this one was forked from
            resource = {**resource, "process.pid": self._process}
        body, points = self._encoder.request(resource, streams, failing, schema_url=schema_url)
        # A second end of a process has no more to say than what was recorded since the first. And a forked
        # child that has nothing need not make itself known to say goodbye: it may have a reader of its own.
        is_unknown = self._is_inherited and self._until is not None and not self._unsent.has_begun
        if self._encoder.has_news if self._has_said_goodbye else body or not is_unknown:
            self._unsent.append(body, points, failing)

    def _patience(self) -> float:
        """How many seconds callbacks may take: less than all that is left at the end of the process."""
        until = self._until
        if until is None:
            return _CALLBACKS_SECONDS
        return min(_CALLBACKS_SECONDS, max(0.0, (until - time.monotonic()) / 2))

    # What the hub says.

    def _deliver(self) -> bool:
        """Send what is unsent; whether nothing is now."""
        while (batch := self._unsent.first) is not None:
            if not self._send(batch):
                return False
        return True

    def _send(self, batch: UnsentBatch) -> bool:
        """Send a batch; whether it is done with. At the end of the process it is tried again and again."""
        while True:
            left = _ANSWER_SECONDS if self._until is None else self._until - time.monotonic()
            if left <= 0:
                return False
            pause = _AGAIN_SECONDS
            try:
                answer = self._connection.post(batch.body, self._headers(batch), min(left, _ANSWER_SECONDS))
            except OSError as error:
                self._tell(error)
            else:
                if self._settle(batch, answer):
                    return True
                pause = answer.retry_after or pause
            if self._until is None:
                return False
            sleep(max(0.0, min(pause, self._until - time.monotonic())))

    def _settle(self, batch: UnsentBatch, answer: HubAnswer) -> bool:
        """Do what the answer says; whether the batch is done with."""
        status = answer.status
        if status in _OK:
            self._unsent.remove(batch)
            self._has_said_goodbye = self._has_said_goodbye or batch is self._goodbye
            self._tell(None)
            return True
        if status in _AGAIN:
            self._not_before = time.monotonic() + (answer.retry_after or 0.0)
            self._tell(f"it answers {status}")
            return False
        if status in _REFUSED:
            self._not_before = time.monotonic() + _REFUSED_SECONDS
            self._findings.report("refused", _NOT_LET_IN, self._address, status)
            return False
        self._unsent.drop(batch)
        self._findings.report(("status", status), _NOT_TAKEN, self._address, batch.points, status)
        return True

    def _headers(self, batch: UnsentBatch) -> dict[str, str]:
        headers = {
            SOURCE: str(self._source),
            NUMBER: str(batch.number),
            INTERVAL: f"{self._pause():.3f}",
        }
        if batch.failing:
            headers[FAILING] = failing_text(batch.failing)
        if self._unsent.dropped:
            headers[DROPPED] = str(self._unsent.dropped)
        if batch is self._goodbye:
            headers[END] = "1"
        return headers

    def _tell(self, problem: object) -> None:
        """Say in the log that the hub does not answer, and that it does again; not every time."""
        was_out, self._is_out = self._is_out, problem is not None
        if was_out and problem is None:
            _log(logging.INFO, "the hub at %s takes metrics again", self._address)
        elif problem is not None and not was_out and time.monotonic() - self._told_at > _TOLD_SECONDS:
            self._told_at = time.monotonic()
            _log(logging.WARNING, _NO_HUB, self._address, problem)

    # Forks.

    def renew(self) -> None:
        """In a forked child: what the parent recorded is sent by the parent. Begin with nothing."""
        self._connection.close()
        if self.is_shut_down:
            return
        self._is_inherited = True
        self._callbacks.renew()
        self._encoder.begin_anew()
        is_observed = self._begin_anew()
        self._begin()
        ends.watch(self)
        if is_observed:
            # Asynchronous counters go on from what they say now. Only callbacks can tell, and they may wait
            # for something that another thread of the parent held. So a thread asks them.
            self._pushes.start()
            self._collected.wait_here(_CALLBACK_SECONDS)

    @abstractmethod
    def _begin_anew(self) -> bool:
        """In a forked child: forget what the parent will push. True if there are callbacks to ask."""


_NO_HUB = "the hub at %s does not take metrics (%s); they are kept, and sent when it does"
_NOT_LET_IN = (
    "the hub at %s does not let this process in (%d); metrics are kept. Set OTEL_PROM_BRIDGE_HUB_TOKEN to "
    "what the hub expects"
)
_NOT_TAKEN = "the hub at %s will never take a batch of %d points (%d); it is dropped"

_readers: weakref.WeakSet[Pushed] = weakref.WeakSet()


def _log(level: int, message: str, *args: object) -> None:
    with contextlib.suppress(Exception):  # a handler of the application's
        logger.log(level, message, *args)


def _after_fork() -> None:
    for reader in list(_readers):
        reader.renew()


if hasattr(os, "register_at_fork"):  # not on Windows
    # After the hooks of forks.py, which is imported above, so that the locks are new by now.
    os.register_at_fork(after_in_child=_after_fork)
