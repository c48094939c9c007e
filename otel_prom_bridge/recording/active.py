"""How many operations go on: numbers that are kept here and observed when metrics are collected.

An up-down counter of the SDK would not do. It loses what is added before there is an SDK, and it cannot be
set to a number. The numbers belong to the meter provider, so all recorders of one provider say the same. A
number that has become 0 is still shown, until a hundred others have become 0 after it. A process that was
forked begins with nothing.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import TypeAlias
from weakref import WeakKeyDictionary

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.instruments import Metric
from otel_prom_bridge.recording.operations import settle

Key: TypeAlias = tuple[str, frozenset[tuple[str, AttributeValue]]]
Begun: TypeAlias = tuple[Key, int, Hashable]
"""What an operation that goes on is counted as, in which process it began, and what it is one of."""

_MOST_ZEROS = 100
_order = itertools.count()
_process = 0  # the number of forks that lead from the first process to this one


class _Numbers:
    """The numbers of one provider, or of the global one."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Forget all numbers, and the lock, which another thread may hold in a process that was forked."""
        self._lock = threading.RLock()  # reentrant, because a signal handler of the application may record
        self._running: Counter[Key] = Counter()
        self._within: Counter[tuple[Key, Hashable]] = Counter()
        self._said: dict[Key, tuple[int, float]] = {}  # what was said last has the highest first number
        self._zeros: dict[Key, None] = {}

    def add(self, key: Key, change: int, within: Hashable = None) -> None:
        with self._lock:
            if within is not None:
                before = self._within[key, within]
                self._within[key, within] += change
                if not before + change:
                    del self._within[key, within]
                change = (before + change > 0) - (before > 0)
            self._running[key] += change
            self._tidy(key)

    def say(self, key: Key, number: float) -> None:
        with self._lock:
            self._running[key] += 0
            self._said[key] = next(_order), number
            self._tidy(key)

    def _tidy(self, key: Key) -> None:
        self._zeros.pop(key, None)
        if self._running[key] or self._said.get(key, (0, 0))[1]:
            return
        self._zeros[key] = None
        if len(self._zeros) > _MOST_ZEROS:
            oldest = next(iter(self._zeros))
            del self._zeros[oldest], self._running[oldest]
            self._said.pop(oldest, None)

    def copies(self) -> tuple[Counter[Key], dict[Key, tuple[int, float]]]:
        with self._lock:
            return self._running.copy(), self._said.copy()


_of_global = _Numbers()
_of_others: WeakKeyDictionary[MeterProvider, _Numbers] = WeakKeyDictionary()


class Active:
    """Counts the operations of one metric that go on. Without a ``provider`` they are the global one's."""

    def __init__(self, metric: Metric, provider: MeterProvider | None) -> None:
        self._name = metric.name
        self._provider = provider
        self._numbers = _of_global if provider is None else _of_others.setdefault(provider, _Numbers())

    def begin(self, attributes: Mapping[str, AttributeValue], *, within: Hashable = None) -> Begun:
        """Count one more. Hand the result to :meth:`end`.

        Several that go on ``within`` the same thing, requests on one connection for example, count as one.
        """
        key = self._key(attributes)
        self._numbers.add(key, 1, within)
        return key, _process, within

    def end(self, begun: Begun | None) -> None:
        """Count one less, if it began in this process."""
        if begun is not None and begun[1] == _process:
            self._numbers.add(begun[0], -1, begun[2])

    def say(self, number: float, attributes: Mapping[str, AttributeValue]) -> None:
        """Say how many go on beside those that were begun here. What is said last counts."""
        self._numbers.say(self._key(attributes), number)

    def observe(self, _options: CallbackOptions) -> list[Observation]:
        """The numbers of all recorders of the provider.

        The SDK calls only the callback of the instrument that was created first, so each answers for all.
        """
        settle()
        running: Counter[Key] = Counter()
        said: dict[Key, tuple[int, float]] = {}
        for numbers in self._all():
            more, newer = numbers.copies()
            running.update(more)
            said |= {key: max(value, said.get(key, value)) for key, value in newer.items()}
        return [
            Observation(count + said.get(key, (0, 0))[1], dict(key[1]))
            for key, count in running.items()
            if key[0] == self._name
        ]

    def _all(self) -> list[_Numbers]:
        # One provider may be named by one recorder, and be the global one for another.
        current = metrics.get_meter_provider()
        if self._provider is None:
            other = _of_others.get(current)
            return [_of_global] if other is None else [_of_global, other]
        return [self._numbers, _of_global] if self._provider is current else [self._numbers]

    def _key(self, attributes: Mapping[str, AttributeValue]) -> Key:
        return self._name, frozenset(attributes.items())


def _begin_anew() -> None:
    global _process
    _process += 1
    for numbers in (_of_global, *_of_others.values()):
        numbers.renew()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_begin_anew)
