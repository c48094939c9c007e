"""Which exemplars a series keeps, and what their labels say.

An exemplar stands for the other measurements of its bucket. Which one is kept decides what one finds when one
follows it: the newest, the slowest, or one that failed. A slow or failed exemplar is held for some minutes
against later ones. It is not held for ever, because its trace will be deleted one day.
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
        keep: which exemplar a bucket shows. ``newest`` is the last one, ``slowest`` the one with the largest
            value. With ``error``, exemplars whose measurement has an ``error.type`` or an HTTP status of 500
            or above come before others.
        hold: for how many seconds the slowest or a failed exemplar is kept against later ones.
        per_minute: how many new exemplars a series takes in a minute. After each one it waits for its share
            of the minute. A histogram takes those of several buckets at once, and waits for all of them. With
            ``error``, a failed exemplar does not wait because of one that did not fail. With ``slowest``, a
            slower one does not wait because of one of the same collection. None means no limit.
        labels: patterns of attributes. Attributes that are not labels of the series become labels of its
            exemplars if they match, as far as they fit into 128 characters. None means all of them.

    Raises:
        ConfigurationError: a value is not allowed.
    """

    keep: Keep = "newest"
    hold: float = 300
    per_minute: float | None = None
    labels: Sequence[str] | None = None

    def __post_init__(self) -> None:
        check_fields(self, _CHECKS, title="exemplars.")

    @property
    def interval(self) -> float:
        """For how many seconds a series waits after each exemplar that it takes."""
        return 60 / self.per_minute if self.per_minute else 0.0

    @property
    def at_once(self) -> int:
        """How many exemplars of one point a series takes if there is a limit."""
        return max(1, int(min(self.per_minute or 1, 1000)))

    def may_pass(self, together: bool) -> bool:
        """Whether a better exemplar need not wait.

        ``together`` says that it is of the same collection as the last one. Several attribute sets can become
        one series, and which of them comes first means nothing.
        """
        return self.keep == "error" or (self.keep == "slowest" and together)

    def chosen(self, attributes: Mapping[str, object]) -> Mapping[str, object]:
        """The attributes among these that become labels of an exemplar."""
        if self.labels is None:
            return attributes
        expression = _expression(tuple(self.labels))
        return {key: value for key, value in attributes.items() if expression.fullmatch(key)}

    def order(self, now: float) -> Order:
        """The key by which exemplars compare at a time, in seconds since the epoch. The highest is kept."""
        if self.keep == "newest":
            return by_time
        rank = self.rank(now)
        return lambda item: (*rank(item), *by_time(item))

    def rank(self, now: float) -> Order:
        """The key by which one exemplar is better than another, without regard to which is newer."""
        held_since = now - self.hold
        if self.keep == "slowest":
            return lambda item: (_fresh(item, held_since), item.value)
        if self.keep == "error":
            return lambda item: (_fresh(item, held_since) and item.failed,)
        return lambda item: ()


_expression = cache(glob)  # there are as many as there are policies


def _fresh(item: Exemplar, since: float) -> bool:
    return by_time(item)[0] >= since
