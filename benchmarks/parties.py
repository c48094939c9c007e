"""Whom benchmarks of recording compare, each in processes of its own, whose interpreter may have another SDK.

* ``direct``: ``DirectMeterProvider``;
* ``reader``: the SDK's provider with ``PrometheusMetricReader`` of this package, as ``start()`` makes it;
* ``exporter``: the SDK's provider with ``opentelemetry-exporter-prometheus``;
* ``client``: ``prometheus_client`` by itself, with ``labels()`` for each call;
* ``bound``: the same with children that were asked for before, as few applications have them;
* ``sdk``: the SDK's provider with a reader of deltas that shows nothing: the SDK's part.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

Record = Callable[[float, dict[str, str]], object]
LIMIT = 1_000_000
# The release that frameworks hold on to, with the exporter that goes with it. It is made by pip, and kept.
OLDER = ("opentelemetry-sdk==1.44.0", "opentelemetry-exporter-prometheus==0.65b0")
_OLDER_HOME = Path(".venvs/peer-1.44.0")


class Party:
    """Somebody who records, by its name, and is scraped with this Accept header."""

    def __init__(self, name: str, *, accept: str | None = None) -> None:
        self.name = name
        self.add: Record
        self.record: Record
        self.body: Callable[[], bytes]
        self.serve: Callable[[], int]
        self._accept = accept
        if name in ("client", "bound"):
            self._use_client()
        else:
            self._use_meter(name)

    def adding(self, value: float, attributes: dict[str, str]) -> Callable[[], object]:
        """What adds to a counter, with all that can be done before."""
        return self._call(self.add, value, attributes)

    def recording(self, value: float, attributes: dict[str, str]) -> Callable[[], object]:
        """The same of a histogram."""
        return self._call(self.record, value, attributes)

    def _call(self, method: Any, value: float, attributes: dict[str, str]) -> Callable[[], object]:
        if self.name == "bound":
            return partial(method.of(attributes), value)
        return method.call(value, attributes) if self.name == "client" else partial(method, value, attributes)

    def _use_client(self) -> None:
        import prometheus_client

        self.add = _Labelled(prometheus_client.Counter, "inc")
        self.record = _Labelled(prometheus_client.Histogram, "observe")
        self.body, self.serve = self._exported()

    def _exported(self) -> tuple[Callable[[], bytes], Callable[[], int]]:
        """What writes the registry of prometheus_client, and what serves it."""
        from prometheus_client import REGISTRY, exposition

        generate, _ = exposition.choose_encoder(self._accept or "")

        def serve() -> int:
            server, _ = exposition.start_http_server(0, "127.0.0.1")
            return int(server.server_port)

        return lambda: generate(REGISTRY), serve

    def _use_meter(self, name: str) -> None:
        from opentelemetry.sdk.metrics import MeterProvider

        provider: Any
        if name == "exporter":
            from opentelemetry.exporter.prometheus import PrometheusMetricReader as Exporter

            provider = MeterProvider([Exporter()], views=_without_limit())
            self.body, self.serve = self._exported()
        elif name == "sdk":
            from opentelemetry.sdk.metrics import export

            from otel_prom_bridge.sdk.batches import TEMPORALITY

            collected = export.InMemoryMetricReader(preferred_temporality=dict(TEMPORALITY))
            provider = MeterProvider([collected], views=_without_limit())
            self.body = lambda: b"" if collected.get_metrics_data() is None else b"-"
        else:
            from otel_prom_bridge import PrometheusMetricReader, start_http_server
            from otel_prom_bridge.direct import DirectMeterProvider, DirectReader

            options: Any = {"registry": None, "max_series_per_metric": LIMIT, "max_lines_per_metric": 0}
            options["scrape_timeout"] = 600  # what is shown in time costs less than all of it
            reader: Any
            if name == "direct":
                reader = DirectReader(**options, collect_interval=0)
                provider = DirectMeterProvider(reader)
            else:
                reader = PrometheusMetricReader(**options, collect_interval=0)
                provider = MeterProvider([reader], views=reader.policy.sdk_views())
            self.body = lambda: bytes(reader.expose(self._accept).body)
            self.serve = lambda: start_http_server(reader, port=0, addr="127.0.0.1", cache_ttl=0).port
        meter = provider.get_meter("benchmark")
        self.add = meter.create_counter("c").add
        self.record = meter.create_histogram("h").record

    def scrape(self) -> int:
        """The size of what a scrape gets."""
        return len(self.body())


def _without_limit() -> list[Any]:
    """The Views of an SDK that has a limit; older ones have none."""
    from opentelemetry.sdk.metrics.view import View

    try:
        return [View(instrument_name="*", aggregation_cardinality_limit=LIMIT)]
    except TypeError:
        return []


class _Labelled:
    """Records with a metric of prometheus_client, which has one set of label names each."""

    def __init__(self, kind: Any, method: str) -> None:
        self._kind, self._method = kind, method
        self._metrics: dict[int, Any] = {}

    def _metric(self, attributes: dict[str, str]) -> Any:
        metric = self._metrics.get(len(attributes))
        if metric is None:
            name = f"{self._kind.__name__}_{len(attributes)}"
            metric = self._metrics[len(attributes)] = self._kind(name, "", list(attributes))
        return metric

    def of(self, attributes: dict[str, str]) -> Any:
        """What records with these labels."""
        metric = self._metric(attributes)
        return getattr(metric.labels(*attributes.values()) if attributes else metric, self._method)

    def call(self, value: float, attributes: dict[str, str]) -> Callable[[], object]:
        """What does as an application does: asks for the labels each time."""
        if not attributes:
            return partial(self.of(attributes), value)
        labels, values = self._metric(attributes).labels, tuple(attributes.values())
        if self._method == "inc":
            return lambda: labels(*values).inc(value)
        return lambda: labels(*values).observe(value)

    def __call__(self, value: float, attributes: dict[str, str]) -> None:
        self.of(attributes)(value)


def attributes(number: int) -> dict[str, str]:
    """So many attributes."""
    return {f"attribute_{index}": f"value {index}" for index in range(number)}


def series(count: int) -> list[dict[str, str]]:
    """The attribute sets of so many series, with three attributes each."""
    return [{"method": "GET", "route": f"/things/{number}", "status": "200"} for number in range(count)]


def span(sampled: bool) -> AbstractContextManager[object]:
    """A sampled span around the recordings, or none."""
    if not sampled:
        return nullcontext()
    from opentelemetry.sdk.trace import TracerProvider

    return TracerProvider().get_tracer("benchmark").start_as_current_span("work")


def older_interpreter() -> str:
    """An interpreter with the older SDK, which is made the first time."""
    ready, python = _OLDER_HOME / "ready", _OLDER_HOME / "bin" / "python"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(_OLDER_HOME)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *OLDER], check=True)
        ready.touch()
    return str(python)
