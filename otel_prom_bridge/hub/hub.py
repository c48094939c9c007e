"""The hub: what is pushed to it becomes one exposition, which an endpoint serves like that of a reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from otel_prom_bridge.configuration.options import DEFAULT_MAX_SERVICES
from otel_prom_bridge.diagnostics import Conflict
from otel_prom_bridge.exposition import Exposition
from otel_prom_bridge.hub.receiver import Receiver
from otel_prom_bridge.pipeline.inside import Inside
from otel_prom_bridge.pipeline.options import PipelineOptions
from otel_prom_bridge.pipeline.pipeline import Collected, Pipeline
from otel_prom_bridge.report.cardinality import CardinalityReport
from otel_prom_bridge.report.self_metrics import SelfMetrics, State


def _collected(seconds: float) -> Collected:
    """Nothing is collected here: it was pushed before."""
    return Collected(None, whole=True)


class Hub:
    """Shows what others push. ``options`` are those of a reader, and ``receiving`` those of the receiver.

    Past ``max_services``, services are shown together.

    Raises:
        ConfigurationError: an option has a value that cannot work.
    """

    def __init__(
        self, options: Mapping[str, Any], *, max_services: int = DEFAULT_MAX_SERVICES, **receiving: Any
    ) -> None:
        self._pipeline = Pipeline(PipelineOptions(**options), max_services=max_services)
        # Not the collectors of this process: its memory and its processor time are not the application's.
        self._pipeline.join(None, lambda: self._pipeline.families(self._pipeline.scrape_timeout))
        self.receiver = Receiver(self._pipeline, **receiving)
        self._pipeline.shutdown.add(self.receiver.stop)
        self.receiver.start()
        self.scrapes = 0

    @property
    def is_ready(self) -> bool:
        """It can be pushed to."""
        return not self.is_shut_down

    @property
    def is_shut_down(self) -> bool:
        """:meth:`shutdown` was called."""
        return self._pipeline.shutdown.has_begun

    @property
    def is_healthy(self) -> bool:
        """Nothing is collected here, so nothing can hang."""
        return True

    @property
    def observer(self) -> SelfMetrics:
        """What an endpoint tells about the scrapes that it answers."""
        return self._pipeline.self_metrics

    def expose(
        self, accept: str | None = None, *, names: Iterable[str] = (), timeout: float | None = None
    ) -> Exposition:
        """What a scrape with this Accept header is answered with: what was pushed until now."""
        self.scrapes += 1
        return self._pipeline.expose(
            accept,
            names=names,
            timeout=timeout,
            collect=_collected,
            state=self._state,
        )

    @property
    def inside(self) -> Inside:
        """What the explorer asks."""
        return Inside(self._pipeline, _collected, state=self._state, workers=self.receiver.pushers.states)

    def _state(self, state: State) -> State:
        pushers = self.receiver.pushers
        return state._replace(sources=len(pushers), push_age=pushers.oldest)

    def cardinality(self) -> CardinalityReport:
        """How many series each metric has, and which labels make them."""
        return self._pipeline.cardinality(self._pipeline.families(self._pipeline.scrape_timeout))

    def conflicts(self) -> list[Conflict]:
        """What scrapes so far left out or merged because of conflicting names."""
        return self._pipeline.findings.conflicts

    def shutdown(self) -> None:
        """Close what serves this hub. A second call does nothing."""
        self._pipeline.shutdown.begin()

    def on_shutdown(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Call ``hook`` when this hub shuts down, at once if it has; the result takes that back."""
        return self._pipeline.shutdown.add(hook)
