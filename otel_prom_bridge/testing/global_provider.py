"""A probe of the global provider, whoever has set it.

A global provider cannot be taken back, and instruments that modules made keep to it. So one probe stays with
it for as long as the tests run, and each test begins at zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider

from otel_prom_bridge.reader.reader import PrometheusMetricReader
from otel_prom_bridge.sdk.versions import RELEASE
from otel_prom_bridge.testing.probe import ALONE, MetricsProbe


@contextmanager
def global_probe() -> Iterator[MetricsProbe]:
    """Join the global provider if there is one, or else set one.

    Raises:
        RuntimeError: there is one that takes no readers.
    """
    reader = PrometheusMetricReader(**ALONE)
    provider = metrics.get_meter_provider()
    if isinstance(provider, MeterProvider) and hasattr(provider, "add_metric_reader"):  # ours has not
        provider.add_metric_reader(reader)
        try:
            yield MetricsProbe(reader)
        finally:
            provider.remove_metric_reader(reader)
    elif isinstance(provider, metrics.NoOpMeterProvider | MeterProvider) or not _is_unset(provider):
        raise RuntimeError(
            f"the global meter provider is {provider!r} already, and opentelemetry-sdk {RELEASE} cannot give "
            "it another reader; ask for global_metrics before the application sets its own"
        )
    else:
        own = MeterProvider([reader], shutdown_on_exit=False)
        metrics.set_meter_provider(own)
        yield MetricsProbe(reader)
        # It stays the global one, so it is not shut down: what records later records into nothing.


def _is_unset(provider: object) -> bool:
    return type(provider).__name__ == "_ProxyMeterProvider"
