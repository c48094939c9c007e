"""What an exposition format has to say about itself, so that an encoder can do the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from otel_prom_bridge.exposition.rendered import Rendered
from otel_prom_bridge.families import Labels, MetricFamily


class WriterOptions(NamedTuple):
    """What the user chose about the formats.

    ``openmetrics_2`` allows OpenMetrics 2.0 for who asks for it.
    ``created`` asks for start times as ``_created`` samples in OpenMetrics. ``native_bounds`` are the upper
    bounds of the buckets that a native histogram gets in a format without native histograms; None stands for
    the limits of its own buckets.
    """

    created: bool = False
    native_bounds: tuple[float, ...] | None = None
    openmetrics_2: bool = False


DEFAULT_OPTIONS = WriterOptions()


class Writer(Protocol):
    """A format.

    What is rendered for a point is kept until the point is another object. So it must not depend on anything
    but the point, its labels and the metadata of the family.
    """

    @property
    def trailer(self) -> bytes:
        """What stands at the end of every body."""
        ...

    def header(self, family: MetricFamily) -> bytes:
        """What stands before a family's points."""
        ...

    def labels(self, labels: Labels) -> Any:
        """The labels of a series in the form that the renderer takes. They are kept longer than a point."""
        ...

    def renderer(self, family: MetricFamily) -> Callable[[Any, Any], bytes]:
        """A function that makes bytes of a point of this family and of its rendered labels."""
        ...

    def page(self, header: bytes, family: MetricFamily, rendered: Rendered) -> Iterable[bytes]:
        """The header and what the points became, put together to what the family is in the body."""
        ...
