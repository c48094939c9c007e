"""A metric reader that pushes what the SDK records to a hub (``pushed.py``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry.sdk.metrics import Counter, Histogram
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.forks import whole
from otel_prom_bridge.interrupts import is_within
from otel_prom_bridge.native import RLock
from otel_prom_bridge.pipeline.background import background
from otel_prom_bridge.pipeline.options import takes
from otel_prom_bridge.push.pushed import Pushed, PushOptions
from otel_prom_bridge.sdk.base_reader import BridgeReader
from otel_prom_bridge.sdk.batches import streams_of
from otel_prom_bridge.sdk.failures import CallbackFailures, CallbackGuards
from otel_prom_bridge.sdk.inherited import forget, has_callbacks
from otel_prom_bridge.sdk.locks import LOCKS, RECORDS
from otel_prom_bridge.sdk.meanings import INSTRUMENTS
from otel_prom_bridge.sdk.versions import PUSHES, reader_options
from otel_prom_bridge.views.policy import Policy
from otel_prom_bridge.views.tenants import sdk_limits

TEMPORALITY: dict[type, AggregationTemporality] = {
    **dict.fromkeys(INSTRUMENTS, AggregationTemporality.CUMULATIVE),
    Counter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}
_HANGS = (
    "a callback of instrument %r has not returned in time. Its series show what it said last, and it is not "
    "called again before it returns"
)


class PushReader(Pushed, BridgeReader):
    """Pushes what a ``MeterProvider`` records to the hub of ``otel-prom-bridge run``.

    Args:
        hub: where the hub listens, ``unix:/run/shop/hub.sock`` or ``http://127.0.0.1:4318``.
        token: what the hub wants to be told by those who push over TCP.
        policy: what is exported, as far as the SDK can leave it out (:attr:`policy`).
        interval: seconds between two pushes. More if one costs more than a fiftieth of that.
        flush_on_sigterm: where nothing handles SIGTERM, push the rest before the process ends from it.

    Raises:
        ConfigurationError: an argument has a value that cannot work.
    """

    _RECORDS, _LOCKS = RECORDS, LOCKS

    @takes(PushOptions)
    def __init__(self, options: PushOptions) -> None:
        policy = options.policy or Policy()
        super().__init__(
            completing=policy.context.recorded if policy.context else None,
            preferred_temporality=TEMPORALITY,
            preferred_aggregation={**policy.preferred_aggregations(Findings())},
            **reader_options(sdk_limits(policy.max_series_by_type, policy.sdk_limit), PUSHES),
        )
        self._failures = CallbackFailures(lambda _: None)  # the SDK logs it
        self._begin_pushing(options)
        self._shutdown.add(self._failures.close)

    def _begin(self) -> None:
        # The order of collections. A signal handler may collect while its thread does.
        self._order = RLock()
        super()._begin()

    def _take(self) -> None:
        with whole():
            self.collect()

    def _ordered(self, collect: Callable[..., Any]) -> Callable[..., Any]:
        guards = CallbackGuards(getattr(collect, "__self__", None))

        def collect_in_order(*args: Any, **kwargs: Any) -> None:
            if is_within(LOCKS):  # what pushes may be waiting for a lock of this recording
                return
            # What is taken from the SDK is among the unsent batches before anybody else can take the next.
            # So the SDK finds nothing left to hand over.
            with self._order:
                guards.renew()
                with guards.asked(self._callbacks, self._patience()) as late, self._failures:
                    data: MetricsData | None = collect(*args, **kwargs)
                    failing = (self._failures.names or frozenset()) | late
                self._say_which_hang(late)
                self._encode(data, failing)

        return collect_in_order

    def _say_which_hang(self, late: Iterable[str]) -> None:
        for name in sorted(late):
            self._findings.report(("hangs", name), _HANGS, name)

    def _encode(self, data: MetricsData | None, failing: frozenset[str]) -> None:
        """Keep what the SDK has handed over, which has one resource, that of the provider."""
        found = data.resource_metrics[0] if data is not None and data.resource_metrics else None
        if found is None:
            self._keep({}, (), failing)
            return
        streams = streams_of(found, self._findings)
        self._keep(found.resource.attributes, streams, failing, schema_url=found.schema_url)

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        """Never called: see ``collect_in_order``."""

    def _set_collect_callback(self, func: Callable[..., Any] | None) -> None:  # type: ignore[misc]
        super()._set_collect_callback(func)
        if func is not None:
            background.add(self)

    def _begin_anew(self) -> bool:
        forget(self._consumer, self)
        return self.is_attached and has_callbacks(self._consumer)
