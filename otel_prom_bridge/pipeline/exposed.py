"""What an application and an endpoint may ask of something that collects points and exposes them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Literal

from otel_prom_bridge.diagnostics import Conflict
from otel_prom_bridge.exposition import Exposition
from otel_prom_bridge.families import MetricFamily
from otel_prom_bridge.pipeline.collection import Collections
from otel_prom_bridge.pipeline.inside import Inside
from otel_prom_bridge.pipeline.pipeline import Collected, Pipeline
from otel_prom_bridge.prices import PriceTable
from otel_prom_bridge.provider_reader import ProviderReader
from otel_prom_bridge.report.cardinality import CardinalityReport
from otel_prom_bridge.report.self_metrics import SelfMetrics
from otel_prom_bridge.views.policy import Policy
from otel_prom_bridge.views.written import PRICES


class Exposed(ProviderReader):
    """Collects by ``_collections`` into ``_pipeline`` when somebody asks, and exposes what is there."""

    _pipeline: Pipeline
    _collections: Collections

    @property
    def policy(self) -> Policy:
        """What is exported; ``policy.sdk_views()`` is for a ``MeterProvider`` of one's own."""
        return self._pipeline.policy

    @property
    def prices(self) -> PriceTable | None:
        """The table by which tokens are shown as costs; None for no costs.

        Another one counts from then on, for all that was not collected before. What was shown stays, so that
        no counter falls.
        """
        return self.policy.pricing.table

    @prices.setter
    def prices(self, table: PriceTable | str | os.PathLike[str] | Literal[False] | None) -> None:
        self.policy.pricing.table = None if table is None else PRICES.value("prices", table) or None

    def expose(
        self, accept: str | None = None, *, names: Iterable[str] = (), timeout: float | None = None
    ) -> Exposition:
        """Collect, and return what a scrape with this Accept header is answered with.

        Args:
            accept: an Accept header; without one the answer is Prometheus text 0.0.4.
            names: only the families that these names mention (as a family or as one of its samples).
            timeout: how many seconds to wait for callbacks and collectors, if less than ``scrape_timeout``.

        Beside the metrics of the provider there are those of the registry's other collectors. After
        :meth:`shutdown` and before a provider uses this reader, nothing is collected and the last known
        state is shown. Never raises because of a metric, a callback or a collector: what failed is logged
        once, and shows what it said last, as does what does not answer in time.
        """
        return self._pipeline.expose(accept, names=names, timeout=timeout, collect=self._collected)

    def _collected(self, seconds: float) -> Collected:
        if not self.is_ready:
            return Collected(None, whole=False)
        successful = self._collections.run(seconds)
        return Collected(successful, whole=successful and self._collections.is_whole)

    def families(self) -> tuple[MetricFamily, ...]:
        """Collect, and return the families of this reader as they are now, without those about itself.

        This is also what the registry's collector gives: several readers may share a registry.
        """
        deadline = time.monotonic() + self._pipeline.scrape_timeout
        self._collected(self._pipeline.scrape_timeout)
        return self._pipeline.families(deadline - time.monotonic())

    def cardinality(self) -> CardinalityReport:
        """Collect, and say of each metric how many series it has, and which labels make them.

        ``str()`` of it is a table, the biggest metric first. The maximum of a metric follows from the rules
        of its views and its limit.
        """
        return self._pipeline.cardinality(self.families())

    @property
    def is_healthy(self) -> bool:
        """The last collection succeeded, and none takes longer than a scrape waited, or would wait."""
        return self._collections.is_healthy

    @property
    def observer(self) -> SelfMetrics:
        """What an endpoint tells about the scrapes that it answers."""
        return self._pipeline.self_metrics

    @property
    def inside(self) -> Inside:
        """What the explorer asks."""
        return Inside(self._pipeline, self._collected, collections=self._collections)

    def conflicts(self) -> list[Conflict]:
        """What scrapes so far left out or merged because of conflicting names: types, comments, escaping.

        Each was logged once, when it was found. Collects nothing.
        """
        return self._pipeline.findings.conflicts

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Collect now, so that nothing recorded so far waits to be collected. Exposes nothing.

        ``timeout_millis`` bounds the wait; the collection goes on. False if it did not succeed in time.
        """
        return self.is_ready and self._collections.run(timeout_millis / 1000, fresh=True)
