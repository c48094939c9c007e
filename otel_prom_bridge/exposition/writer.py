"""What an exposition format has to say, for an encoder to do the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from otel_prom_bridge.families import Labels, MetricFamily


class Options(NamedTuple):
    """Choices of the user about what is written.

    ``created``: start times as ``_created`` samples in OpenMetrics. ``native_bounds``: the explicit bounds
    of a native histogram in a format that has no native ones; None for the limits of its own buckets.
    """

    created: bool = False
    native_bounds: tuple[float, ...] | None = None


DEFAULT_OPTIONS = Options()


class Writer(Protocol):
    """A format.

    What is rendered per point must depend on the point, its labels and the family's metadata only: it is
    kept until the point is another object.
    """

    @property
    def trailer(self) -> bytes:
        """What ends every body."""
        ...

    def header(self, family: MetricFamily) -> bytes:
        """What stands before a family's points."""
        ...

    def labels(self, labels: Labels) -> Any:
        """The labels of a series in the form that the renderer takes; kept longer than the point."""
        ...

    def renderer(self, family: MetricFamily) -> Callable[[Any, Any], bytes]:
        """A function from a point of this family and its rendered labels to bytes."""
        ...

    def page(self, header: bytes, points: Sequence[bytes]) -> Iterable[bytes]:
        """Header and points put together to what the family is in the body."""
        ...
