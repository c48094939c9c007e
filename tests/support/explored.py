"""A service for the explorer to look at: metrics of every type, with what goes wrong in one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation
from setups import Setup

from otel_prom_bridge.explorer.answers import Answer, Explorer

Ask = Callable[..., dict[str, Any]]


def shop(setup: Setup, *, orders: int = 12) -> None:
    """What a shop records: a counter with a number in it, a histogram, a gauge, and a callback that fails."""
    meter = setup.provider.get_meter("shop", "1.2")
    counter = meter.create_counter("shop.orders", description="Orders taken")
    for number in range(orders):
        counter.add(number % 3 + 1, {"payment.method": ("card", "cash")[number % 2], "shop.number": number})
    seconds = meter.create_histogram("http.server.request.duration", unit="s")
    for number in range(100):
        seconds.record(number / 100, {"http.route": f"/r{number % 4}"})
    meter.create_observable_gauge("queue.size", [lambda options: [Observation(7, {"queue": "in"})]])

    def broken(options: CallbackOptions) -> list[Observation]:
        raise RuntimeError("no database")

    meter.create_observable_gauge("pool.size", [broken])


def ask_of(explorer: Explorer) -> Ask:
    """A function that asks, and returns the answer."""

    def ask(name: str, query: str = "", status: int = 200) -> dict[str, Any]:
        answer: Answer = explorer.answer(f"/api/v1/{name}", query, metrics_path="/metrics")
        assert answer.status == status, answer.body
        found: dict[str, Any] = json.loads(answer.body)
        return found

    return ask
