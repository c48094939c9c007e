"""How an instrument is recorded for a reader: with which buckets, which attributes and which exemplars.

It follows from the views that select the instrument. Their answers are asked once for each instrument (and
for each attribute key), never when something is recorded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Literal

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.direct.exemplar_filter import ExemplarFilter
from otel_prom_bridge.families import Kind
from otel_prom_bridge.interrupts import raise_interrupt
from otel_prom_bridge.points import Shape, Stream
from otel_prom_bridge.views.buckets import recorded_buckets
from otel_prom_bridge.views.mapping import AttributeMap
from otel_prom_bridge.views.policy import Policy
from otel_prom_bridge.views.tenants import recorded_limit

# Keys of which it is remembered whether somebody needs them. Of more, the views are asked again.
_MOST_KEYS = 1000


class RecordingPlan:
    """How one instrument is recorded.

    ``stream`` is what it makes, with the shape that its points have. ``is_shown`` is False if no view exports
    anything of it. ``limit`` is the number of attribute sets that it may hold between two collections.
    ``samples`` says that exemplars are wanted, and ``samples_all`` that they are not only those of sampled
    spans.
    """

    def __init__(
        self,
        stream: Stream,
        policy: Policy,
        findings: Findings,
        *,
        exemplar_filter: ExemplarFilter,
        own_buckets: Sequence[float] | None = None,
    ) -> None:
        views = [view for view in policy.views_of(stream) if view.name is not None]
        quiet = Findings()
        self._maps: list[AttributeMap] = [policy.attribute_map(view, quiet) for view in views]
        self.needed: dict[str, bool] = {}  # of keys that were asked for
        self.is_shown = bool(views)
        self.limit = recorded_limit(stream, policy.max_series_by_type, policy.sdk_limit)
        wanted = stream.meaning.kind is not Kind.GAUGE and any(map(policy.exemplars_of, views))
        self.samples = wanted and exemplar_filter != "always_off"
        self.samples_all = self.samples and exemplar_filter == "always_on"
        # What completes the attributes of its measurements, if they may be completed.
        self.completing = policy.context.recorded if policy.context.completes(stream.name) else None
        self.buckets: tuple[float, ...] | Literal["exponential"] = ()
        if stream.meaning.kind is Kind.HISTOGRAM:
            self.buckets = recorded_buckets(
                views, own_buckets, stream.unit, findings, seconds=policy.seconds_buckets
            )
        if self.buckets == "exponential":
            stream = stream._replace(meaning=stream.meaning._replace(shape=Shape.EXPONENTIAL))
        self.stream = stream

    def needs(self, key: str) -> bool:
        """Whether anything but exemplars would change if this attribute had not been recorded."""
        found = self.needed.get(key)
        if found is None:
            try:
                found = self._is_needed(key)
            except Exception as error:  # a fault of ours, or a key that is no text
                raise_interrupt(error, self._is_needed, key)
                found = True
            if len(self.needed) < _MOST_KEYS:
                self.needed[key] = found
        return found

    def _is_needed(self, key: str) -> bool:
        return any(each.needs(key) for each in self._maps)


class RecordingPlans:
    """How all instruments of a provider are recorded, for the reader that it has, whose ``policy`` this is.

    ``findings`` hears of what makes no sense in any of them.
    """

    def __init__(self, policy: Policy, *, exemplar_filter: ExemplarFilter) -> None:
        self.policy = policy
        self.findings = Findings()
        self._filter = exemplar_filter
        self._at_next: list[Callable[[], object]] = []

    def of(self, stream: Stream, own_buckets: Sequence[float] | None) -> RecordingPlan:
        """How an instrument is recorded that makes this stream, and advises these buckets."""
        return RecordingPlan(
            stream, self.policy, self.findings, exemplar_filter=self._filter, own_buckets=own_buckets
        )

    def at_next(self, call: Callable[[], object]) -> None:
        """Call ``call`` once, when :meth:`heard` is called next.

        A forked child inherits what its parent has not heard yet, and asks for the same again.
        """
        if call not in self._at_next:
            self._at_next.append(call)

    def heard(self) -> None:
        """Something is recorded that was not found in the fast way."""
        while self._at_next:
            with contextlib.suppress(IndexError):  # another thread took it
                self._at_next.pop()()
