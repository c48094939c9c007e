"""What comes in: streams of points, whoever hands them over.

A stream is one source of points: an instrument as a view of the SDK shows it. The store keeps a state for
each stream and attribute set, so what matters here is *how the points add up*: a delta is added to what was
there, and a current value replaces it. The classes of points are protocols, which those of the SDK fit as
they are.
"""

from __future__ import annotations

import enum
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from time import time_ns
from typing import Any, NamedTuple, Protocol

from opentelemetry.context import Context
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN, SpanContext, TraceFlags, get_current_span, propagation

from otel_prom_bridge.families import Kind, made

# The attribute of a gauge's points that says which worker they come from, by its number. What is shown of it
# is up to the view (``ExportView.workers``).
WORKER = "otel_prom_bridge.worker"

# The name of the span in a context. To ask an abstract class whether that is a span, as `get_current_span`
# does, takes as long as all the rest of an exemplar.
_SPAN: str | None = getattr(propagation, "_SPAN_KEY", None)
_SAMPLED = int(TraceFlags.SAMPLED)


class Source:
    """Somebody who hands points over: the reader in the process, or a worker that pushes. It is itself only.

    ``worker`` is its number among the workers of one application; the reader in the process has none.
    """

    __slots__ = ("__weakref__", "worker")

    def __init__(self, *, worker: int | None = None) -> None:
        self.worker = worker

    def __repr__(self) -> str:
        return f"Source(worker={self.worker})"


# Values of these types stand in the key of an attribute set as they are (together with types: 1 == True).
PLAIN_TYPES = frozenset({str, bool, int, bytes, type(None)})
_TEXT = frozenset({str})


def plain_key(names: Iterable[str], values: Sequence[object]) -> tuple[object, ...] | None:
    """The names, then the values and, unless these are all texts, the types of the values.

    None if some value cannot stand in a key as it is; ``store.keys`` has the keys of such attributes.
    """
    if _TEXT.issuperset(map(type, values)):
        return (*names, *values)
    kinds = (*map(type, values),)
    return (*names, *values, *kinds) if PLAIN_TYPES.issuperset(kinds) else None


class AttributeSet(Mapping[str, object]):
    """Attributes that are nothing but the key by which they are found.

    ``key`` is their :func:`plain_key`. So one tuple is a point's attributes, and the place of its series in
    every table. Nobody changes it.
    """

    __slots__ = ("key",)

    def __init__(self, key: tuple[object, ...]) -> None:
        self.key = key

    @classmethod
    def of(cls, names: Iterable[str], values: tuple[object, ...]) -> AttributeSet | None:
        """Attributes with these names and values; None if some value cannot stand in a key as it is."""
        key = plain_key(names, values)
        return None if key is None else cls(key)

    def parts(self) -> tuple[tuple[str, ...], tuple[object, ...]]:
        """Names, and values in the same order."""
        key = self.key
        size = len(key) // (2 if key and type(key[-1]) is str else 3)  # as __len__ has it, without a call
        return key[:size], key[size : 2 * size]  # type: ignore[return-value]

    def plain(self) -> dict[str, object]:
        """The same as a dictionary."""
        return dict(zip(*self.parts(), strict=True))

    def items(self) -> ItemsView[str, object]:
        """Names and values."""
        return self.plain().items()

    def values(self) -> ValuesView[object]:
        """The values."""
        return self.plain().values()

    def __getitem__(self, name: str) -> object:
        key, size = self.key, len(self)
        try:
            return key[size + key.index(name, 0, size)]
        except ValueError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.key[: len(self)])  # type: ignore[arg-type]

    def __len__(self) -> int:
        key = self.key
        return len(key) // (2 if key and type(key[-1]) is str else 3)

    def __repr__(self) -> str:
        return f"AttributeSet({self.plain()!r})"


def plain(attributes: Mapping[str, object] | None) -> Mapping[str, object]:
    """The attributes in a form of which everything can be asked at no cost."""
    return attributes.plain() if type(attributes) is AttributeSet else attributes or {}


class SourceExemplar(Protocol):
    """What an exemplar is made of; ``opentelemetry.sdk.metrics.export.Exemplar`` is one.

    Ids are integers, or None where there was no span. The time is in nanoseconds since the epoch.
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


class Sampled(NamedTuple):
    """A measurement that is to be an exemplar, since it stands for the others of its series.

    ``filtered_attributes`` are those with which it was recorded and its series was not.
    """

    value: float
    time_unix_nano: int
    trace_id: int | None
    span_id: int | None
    filtered_attributes: Mapping[str, object] | None = None


def sampled(
    value: float,
    context: Context | None,
    *,
    always: bool,
    left_out: Mapping[str, object] | None,
    when: int | None = None,
) -> Sampled | None:
    """The exemplar of a measurement in this context, if it is to be one: in a sampled span, or ``always``.

    ``when`` is the time of the measurement, if that is not now.
    """
    span: Any = get_current_span(context) if context is None or _SPAN is None else context.get(_SPAN)
    if span is None or span is INVALID_SPAN or not hasattr(span, "get_span_context"):
        return Sampled(value, when or time_ns(), None, None, left_out) if always else None
    about = span.get_span_context()
    if type(about) is SpanContext:  # at once, as each of its properties is a call
        trace_id, span_id, _, flags, _, _ = about
    else:
        trace_id, span_id, flags = about.trace_id, about.span_id, about.trace_flags
    if not always and not flags & _SAMPLED:
        return None
    return made(Sampled, (value, when or time_ns(), trace_id, span_id, left_out))


class SourcePoint(Protocol):
    """What all points have. Times are in nanoseconds since the epoch."""

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
    """One side of an exponential histogram.

    ``bucket_counts`` are those of consecutive buckets, of which the first has the index ``offset``.
    """

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

    ``kind`` is the type of the family that they become, and ``shape`` is what the points look like. If the
    stream ``accumulates``, its points say what is new, and a series without a point is unchanged. Otherwise
    its points are current values, and a series without one is gone. If it is ``additive``, equal series of
    several streams add up, as sums and histograms do, and what is new is a delta. Otherwise the newest one
    stands, as with gauges, and points come in the order in which they were set.
    """

    kind: Kind
    accumulates: bool
    additive: bool
    shape: Shape = Shape.NUMBER


class Stream(NamedTuple):
    """The identity of a source of points. Equal streams of two collections are one stream."""

    scope: InstrumentationScope
    name: str
    unit: str
    description: str
    meaning: Meaning
