"""An endpoint for each tenant of one service, with a token of its own; copy what you need.

    pip install .
    mkdir tokens; for tenant in acme globex; do openssl rand -hex 32 > tokens/$tenant; done
    python examples/tenants/app.py tokens

    curl -H "Authorization: Bearer $(cat tokens/acme)" localhost:9464/metrics
    curl -H "Authorization: Bearer $(cat tokens/globex)" localhost:9465/metrics

Each tenant has a reader, which shows what has its name and nothing else. The service records once, for all.
"""

from __future__ import annotations

import random
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource

from otel_prom_bridge import ExportView, Guards, MetricsServer, PrometheusMetricReader, start_http_server

FIRST_PORT = 9464


def reader_of(tenant: str) -> PrometheusMetricReader:
    own = ExportView(instrument_name="*", where={"tenant.id": tenant}, drop=["tenant.id"])
    return PrometheusMetricReader(views=[own], registry=None, self_metrics=False)


def serve(reader: PrometheusMetricReader, token: Path, port: int) -> MetricsServer:
    guards = Guards(bearer_tokens_file=token, health_open=False)
    return start_http_server(reader, port=port, guards=guards)


def main(folder: Path, first_port: int = FIRST_PORT) -> None:
    tokens = sorted(folder.iterdir())  # a file for each tenant, by its name
    readers = [reader_of(token.name) for token in tokens]
    provider = MeterProvider(readers, resource=Resource.create({"service.name": "shop"}))
    orders = provider.get_meter("shop").create_counter("orders")
    with ExitStack() as stack:
        for number, (reader, token) in enumerate(zip(readers, tokens, strict=True)):
            server = stack.enter_context(serve(reader, token, first_port + number))
            print(f"{token.name}: {server.url}", flush=True)
        while True:
            orders.add(1, {"tenant.id": random.choice(tokens).name})
            time.sleep(0.1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
