"""Which exemplars a series keeps, and what their labels say.

An exemplar stands for the other measurements of its bucket, so which one is kept decides what one finds when
one follows it: the newest, the slowest, or one that failed. A slow or failed one is held for some minutes
against what comes later, not for ever: its trace will be gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

from otel_prom_bridge.arithmetic.histograms import by_time
from otel_prom_bridge.families import Exemplar
from otel_prom_bridge.values.checks import KEY_PATTERNS, Check, check_fields, is_number, one_of
from otel_prom_bridge.values.patterns import glob

Keep: TypeAlias = Literal["newest", "slowest", "error"]
Order: TypeAlias = Callable[[Exemplar], tuple[float, ...]]


def _above_zero(value: object) -> float:
    if not (is_number(value) and value > 0):
        raise ValueError
    return value


_ABOVE_ZERO = Check(allowed="a number above zero", check=_above_zero)
_CHECKS = {
    "keep": one_of("newest", "slowest", "error"),
    "hold": _ABOVE_ZERO,
    "per_minute": _ABOVE_ZERO,
    "labels": KEY_PATTERNS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemplars:
    """How a series keeps exemplars.

    Args:
        keep: which one a bucket shows: the ``newest``, the ``slowest`` (largest value), or one whose
            measurement says ``error.type`` or an HTTP status of 500 and above (``error``), before others.
        hold: seconds for which the slowest or failed one is kept against later ones.
        per_minute: how many new ones a series takes in a minute: for each it waits for a share of the minute
            before it takes another; a histogram takes those of several buckets at once, and waits for all.
            A failed one (``error``) does not wait for one that is not, nor a slower one (``slowest``) for
            one of the same collection. None for no such limit.
        labels: patterns of the attributes which are not labels of the series, and come along as labels of
            its exemplars as far as they fit into 128 characters. None for all of them.

    Raises:
        ConfigurationError: a value that cannot work.
    """

    keep: Keep = "newest"
    hold: float = 300
    per_minute: float | None = None
    labels: Sequence[str] | None = None

    def __post_init__(self) -> None:
        check_fields(self, _CHECKS, title="exemplars.")

    @property
    def interval(self) -> float:
        """Seconds for which a series waits after each exemplar that it takes."""
        return 60 / self.per_minute if self.per_minute else 0.0

    @property
    def at_once(self) -> int:
        """How many of one point a series takes, where there is a limit."""
        return max(1, int(min(self.per_minute or 1, 1000)))

    def may_pass(self, together: bool) -> bool:
        """Whether a better one need not wait: one of the same collection, or a failed one after others.

        Several attribute sets become one series, and which of them comes first says nothing.
        """
        return self.keep == "error" or (self.keep == "slowest" and together)

    def chosen(self, attributes: Mapping[str, object]) -> Mapping[str, object]:
        """Those of these attributes that come along as labels of an exemplar."""
        if self.labels is None:
            return attributes
        expression = _expression(tuple(self.labels))
        return {key: value for key, value in attributes.items() if expression.fullmatch(key)}

    def order(self, now: float) -> Order:
        """How exemplars compare at this time, in seconds since the epoch; the highest one is kept."""
        if self.keep == "newest":
            return by_time
        rank = self.rank(now)
        return lambda item: (*rank(item), item.timestamp or 0)

    def rank(self, now: float) -> Order:
        """What makes one better than another, whenever they were."""
        held_since = now - self.hold
        if self.keep == "slowest":
            return lambda item: (_fresh(item, held_since), item.value)
        if self.keep == "error":
            return lambda item: (_fresh(item, held_since) and item.failed,)
        return lambda item: ()


_expression = cache(glob)  # as many as there are policies


def _fresh(item: Exemplar, since: float) -> bool:
    return (item.timestamp or 0) >= since
