"""How many operations go on: numbers that are kept here and observed when metrics are collected.

An up-down counter of the SDK would not do. It loses what is added before there is an SDK, and it cannot be
set to a number. The numbers belong to the meter provider, so all recorders of one provider say the same. A
number that has become 0 is still shown, until a hundred others have become 0 after it. A process that was
forked begins with nothing.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import TypeAlias
from weakref import WeakKeyDictionary

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.instruments import Metric
from otel_prom_bridge.recording.operations import settle
from otel_prom_bridge.recording.reports import report

OperationKey: TypeAlias = tuple[str, frozenset[tuple[str, AttributeValue]]]
"""What operations are counted as: the name of the metric and the attributes."""

_MOST_ZEROS = 100
_MOST_KNOWN = 1000
_order = itertools.count()


Count: TypeAlias = tuple[OperationKey, Hashable]
"""What an operation is counted as, and within what: of several within the same thing one counts, or all for
None."""


class Begun:
    """An operation that goes on, and what it is counted as."""

    __slots__ = ("counts",)

    def __init__(self, counts: tuple[Count, ...]) -> None:
        self.counts = counts


class _Numbers:
    """What goes on for one provider, or for the global one.

    There is no lock. What goes on is a set of objects, which begin and end with one step of the interpreter
    each, and is counted when metrics are collected. So a signal handler may come in between, and a process
    that was forked has no lock to wait for.
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Forget everything, in a process that was forked. What began before it is unknown here."""
        self._running: dict[Begun, None] = {}
        # What was said last has the highest first number.
        self._said: dict[OperationKey, tuple[int, float]] = {}
        # What is shown though it is 0. What became 0 last comes last.
        self._known: dict[OperationKey, None] = {}

    def begin(self, begun: Begun) -> None:
        for key, _ in begun.counts:
            self._known[key] = None
        self._running[begun] = None

    def end(self, begun: Begun) -> None:
        if self._running.pop(begun, begun) is None:
            known = self._known
            for key, _ in begun.counts:
                known.pop(key, None)
                known[key] = None
            if len(known) > _MOST_KNOWN:  # nobody collects
                self._tidy(self._counted())

    def say(self, key: OperationKey, number: float) -> None:
        self._said[key] = next(_order), number
        self._known.pop(key, None)
        self._known[key] = None

    def copies(self) -> tuple[Counter[OperationKey], dict[OperationKey, tuple[int, float]]]:
        """How many go on, and what was said last."""
        running = self._counted()
        self._tidy(running)
        for key in list(self._known):
            running[key] += 0
        return running, self._said.copy()

    def _counted(self) -> Counter[OperationKey]:
        running: Counter[OperationKey] = Counter()
        seen: set[Count] = set()
        for begun in list(self._running):
            for count in begun.counts:
                key, within = count
                if within is None or count not in seen:
                    running[key] += 1
                    seen.add(count)
        return running

    def _tidy(self, running: Counter[OperationKey]) -> None:
        """Forget what became 0 before a hundred others did."""
        zeros = [key for key in list(self._known) if not running[key] and not self._said.get(key, (0, 0))[1]]
        for key in zeros[:-_MOST_ZEROS]:
            self._known.pop(key, None)
            self._said.pop(key, None)


_of_global = _Numbers()
_of_others: WeakKeyDictionary[MeterProvider, _Numbers] = WeakKeyDictionary()


class Active:
    """Counts the operations of one metric that go on. Without a ``provider`` they are the global one's."""

    def __init__(self, metric: Metric, provider: MeterProvider | None) -> None:
        self._name = metric.name
        self._provider = provider
        self._numbers = _of_global if provider is None else _of_others.setdefault(provider, _Numbers())

    def begin(self, attributes: Mapping[str, AttributeValue]) -> Begun:
        """Count one more. Hand the result to :meth:`end`."""
        return self.begin_as((self.key(attributes), None))

    def begin_as(self, *counts: Count) -> Begun:
        """The same with the :meth:`key` of the attributes, for whoever has few of them and begins often.

        One operation may count in several metrics of the provider. Several that go on within the same thing,
        requests on one connection for example, count as one.
        """
        begun = Begun(counts)
        self._numbers.begin(begun)
        return begun

    def end(self, begun: Begun | None) -> None:
        """Count one less, if it began in this process."""
        if begun is not None:
            self._numbers.end(begun)

    def say(self, number: float, attributes: Mapping[str, AttributeValue]) -> None:
        """Say how many go on beside those that were begun here. What is said last counts."""
        # What is too large for a float would fail whenever metrics are collected.
        if isinstance(number, int | float) and 0 <= number <= sys.float_info.max:
            self._numbers.say(self.key(attributes), number)
        else:
            report(("value", self._name), "%s: %r is not recorded", self._name, number)

    def observe(self, _options: CallbackOptions) -> list[Observation]:
        """The numbers of all recorders of the provider.

        The SDK calls only the callback of the instrument that was created first, so each answers for all.
        """
        settle()
        running: Counter[OperationKey] = Counter()
        said: dict[OperationKey, tuple[int, float]] = {}
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

    def key(self, attributes: Mapping[str, AttributeValue]) -> OperationKey:
        """What operations with these attributes are counted as."""
        return self._name, frozenset(attributes.items())


def _begin_anew() -> None:
    for numbers in (_of_global, *_of_others.values()):
        numbers.renew()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_begin_anew)
