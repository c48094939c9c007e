"""What comes in: streams of points, whoever hands them over.

A stream is one source of points: an instrument as one view shows it. The store keeps a state per stream
and attribute set, so what matters here is *how the points add up*: a delta is added to what was there, a
current value replaces it. The classes of points are protocols: those of the SDK fit as they are.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_prom_bridge.families import Kind


class SourceExemplar(Protocol):
    """What an exemplar is made of: ``opentelemetry.sdk.metrics.export.Exemplar`` has it.

    Ids are integers, None where there was no span; the time is in nanoseconds since the epoch.
    """

    @property
    def filtered_attributes(self) -> Mapping[str, object] | None: ...
    @property
    def value(self) -> float: ...
    @property
    def time_unix_nano(self) -> int: ...
    @property
    def trace_id(self) -> int | None: ...
    @property
    def span_id(self) -> int | None: ...


class SourcePoint(Protocol):
    """What all points have; times are in nanoseconds since the epoch."""

    @property
    def attributes(self) -> Mapping[str, object] | None: ...
    @property
    def start_time_unix_nano(self) -> int | None: ...
    @property
    def time_unix_nano(self) -> int: ...
    @property
    def exemplars(self) -> Sequence[SourceExemplar]: ...


class NumberPoint(SourcePoint, Protocol):
    """A point with one value; ``opentelemetry.sdk.metrics.export.NumberDataPoint`` is one."""

    @property
    def value(self) -> float: ...


class CountedPoint(SourcePoint, Protocol):
    """A histogram of any kind."""

    @property
    def count(self) -> int: ...
    @property
    def sum(self) -> float: ...


class BucketPoint(SourcePoint, Protocol):
    """A histogram with explicit bounds; ``HistogramDataPoint`` of the SDK is one."""

    @property
    def explicit_bounds(self) -> Sequence[float]: ...
    @property
    def bucket_counts(self) -> Sequence[int]: ...
    @property
    def sum(self) -> float: ...


class Buckets(Protocol):
    """One side of an exponential histogram: counts of consecutive buckets, the first with index `offset`."""

    @property
    def offset(self) -> int: ...
    @property
    def bucket_counts(self) -> Sequence[int]: ...


class ExponentialPoint(SourcePoint, Protocol):
    """A histogram with exponential buckets; ``ExponentialHistogramDataPoint`` of the SDK is one."""

    @property
    def scale(self) -> int: ...
    @property
    def zero_count(self) -> int: ...
    @property
    def positive(self) -> Buckets: ...
    @property
    def negative(self) -> Buckets: ...
    @property
    def sum(self) -> float: ...


class Shape(enum.Enum):
    """What the points of a stream look like."""

    NUMBER = "number"
    BUCKETS = "explicit buckets"
    EXPONENTIAL = "exponential buckets"


class Meaning(NamedTuple):
    """What the points of a stream say about its series.

    ``kind``: the type of the family that they become. ``accumulates``: points are deltas to add up, and a
    series without a point is unchanged; otherwise points are current values, and a series without one is
    gone. ``additive``: equal series of several streams add up (sums, histograms); otherwise the newest
    one stands (gauges). ``shape``: what the points look like.
    """

    kind: Kind
    accumulates: bool
    additive: bool
    shape: Shape = Shape.NUMBER


class Stream(NamedTuple):
    """The identity of a source of points; equal streams of two collections are one stream."""

    scope: InstrumentationScope
    name: str
    unit: str
    description: str
    meaning: Meaning
