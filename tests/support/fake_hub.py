"""A hub for tests of those who push: it reads OTLP with the official messages, and adds up what it gets.

It knows nothing of how we write or read, so it judges. It can answer late, not at all, with an error, or lose
its answers.
"""

from __future__ import annotations

import contextlib
import gzip
import random
import socketserver
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

DELTA, CUMULATIVE = 1, 2
Attributes = tuple[tuple[str, object], ...]


@dataclass
class Push:
    """A request as it came."""

    headers: dict[str, str]
    body: bytes
    request: ExportMetricsServiceRequest

    @property
    def source(self) -> str:
        return self.headers["x-otel-prom-bridge-source"]

    @property
    def pid(self) -> int:
        return int(self.source.partition(";")[2])

    @property
    def number(self) -> int:
        return int(self.headers["x-otel-prom-bridge-number"])

    @property
    def is_goodbye(self) -> bool:
        return self.headers.get("x-otel-prom-bridge-end") == "1"

    @property
    def failing(self) -> str:
        return self.headers.get("x-otel-prom-bridge-failing", "")

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics by their names."""
        return {
            metric.name: metric
            for resource in self.request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    @property
    def resource(self) -> dict[str, object]:
        """The attributes of the resource."""
        (resource,) = self.request.resource_metrics
        return dict(attributes(resource.resource.attributes))


@dataclass
class FakeHub:
    """What was pushed. ``lose``: the share of answers that get lost; ``delay``: seconds before each."""

    address: str
    token: str | None = None
    lose: float = 0.0
    delay: float = 0.0
    status: int = 200
    retry_after: str = ""
    pushes: list[Push] = field(default_factory=list)
    duplicates: int = 0
    requests: int = 0
    totals: Counter[tuple[str, Attributes]] = field(default_factory=Counter)
    counts: Counter[tuple[str, Attributes]] = field(default_factory=Counter)
    levels: dict[str, dict[tuple[str, Attributes], float]] = field(default_factory=lambda: defaultdict(dict))
    gauges: dict[str, dict[tuple[str, Attributes], float]] = field(default_factory=lambda: defaultdict(dict))
    ended: set[str] = field(default_factory=set)
    _numbers: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _random: random.Random = field(default_factory=lambda: random.Random(7))

    def total(self, name: str, **labels: object) -> float:
        """The sum of a counter over all attribute sets that have these."""
        return sum(
            value
            for (found, attributes), value in self.totals.items()
            if found == name and labels.items() <= dict(attributes).items()
        )

    def observations(self, name: str) -> int:
        """How many values all series of a histogram have."""
        return sum(value for (found, _), value in self.counts.items() if found == name)

    def level(self, name: str) -> float:
        """The sum of an up-down counter over the sources that have not ended."""
        return sum(
            value
            for source, levels in self.levels.items()
            if source not in self.ended
            for (found, _), value in levels.items()
            if found == name
        )

    def values(self, name: str) -> list[float]:
        """The values of a gauge in the sources that have not ended."""
        return sorted(
            value
            for source, gauges in self.gauges.items()
            if source not in self.ended
            for (found, _), value in gauges.items()
            if found == name
        )

    def sources(self) -> set[str]:
        """Who has pushed."""
        return {push.source for push in self.pushes}

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Take a push; gives the status of the answer."""
        with self._lock:
            self.requests += 1
            if self.token is not None and headers.get("authorization") != f"Bearer {self.token}":
                return 401
            if self.status != 200:
                return self.status
            if headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            assert headers["content-type"] == "application/x-protobuf"
            push = Push(headers, body, ExportMetricsServiceRequest.FromString(body))
            last = self._numbers.get(push.source, 0)
            if push.is_goodbye:
                self.ended.add(push.source)
            if push.number <= last:
                self.duplicates += 1
                assert push.number == last, f"{push.number} after {last}"
                return 200
            self._numbers[push.source] = push.number
            self.pushes.append(push)
            self._add(push)
            return 200

    def _add(self, push: Push) -> None:
        levels: dict[tuple[str, Attributes], float] = {}
        gauges: dict[tuple[str, Attributes], float] = {}
        for name, metric in push.metrics.items():
            kind = metric.WhichOneof("data")
            data = getattr(metric, kind)
            for point in data.data_points:
                key = name, attributes(point.attributes)
                if kind == "sum" and data.aggregation_temporality == DELTA:
                    self.totals[key] += number(point)
                elif kind == "sum":
                    levels[key] = levels.get(key, 0) + number(point)
                elif kind == "gauge":
                    gauges[key] = number(point)
                else:
                    assert data.aggregation_temporality == DELTA
                    self.totals[key] += point.sum
                    self.counts[key] += point.count
        self.levels[push.source], self.gauges[push.source] = levels, gauges

    def loses_this_answer(self) -> bool:
        """Whether the answer that is to be given now gets lost."""
        return self._random.random() < self.lose


def number(point: Any) -> float:
    """The value of a NumberDataPoint."""
    return float(getattr(point, point.WhichOneof("value")))


def attributes(pairs: Any) -> Attributes:
    """The attributes of a point, sorted."""
    return tuple(sorted((pair.key, getattr(pair.value, pair.value.WhichOneof("value"))) for pair in pairs))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        hub: FakeHub = self.server.hub  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = hub.take({key.lower(): value for key, value in self.headers.items()}, body)
        if hub.delay:
            time.sleep(hub.delay)
        if hub.loses_this_answer():
            self.close_connection = True
            return
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if hub.retry_after:
                self.send_header("Retry-After", hub.retry_after)
            self.end_headers()

    def address_string(self) -> str:
        return ""

    def log_message(self, *_: object) -> None:
        pass


class _Tcp(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads, allow_reuse_address, request_queue_size = True, True, 128

    def handle_error(self, *_: object) -> None:
        pass

    # Connections outlive the listener, which would not be a hub that is down.
    def get_request(self) -> tuple[Any, Any]:
        found, address = super().get_request()
        self.open.append(found)  # type: ignore[attr-defined]
        return found, address


class _Unix(_Tcp):
    address_family = getattr(socketserver.socket, "AF_UNIX", -1)  # type: ignore[attr-defined]


@contextlib.contextmanager
def listening(hub: FakeHub) -> Iterator[None]:
    """Have the hub listen at its address."""
    server: _Tcp
    if hub.address.startswith("unix:"):
        path = Path(hub.address.removeprefix("unix:"))
        path.unlink(missing_ok=True)
        server = _Unix(str(path), _Handler)
    else:
        host, _, port = hub.address.removeprefix("http://").rpartition(":")
        server = _Tcp((host, int(port)), _Handler)
        hub.address = f"http://{host}:{server.server_address[1]}"
    server.hub, server.open = hub, []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        for connection in server.open:  # type: ignore[attr-defined]
            with contextlib.suppress(OSError):
                connection.shutdown(2)
            connection.close()
        thread.join(5)


@contextlib.contextmanager
def fake_hub(folder: Path | None = None, **how: Any) -> Iterator[FakeHub]:
    """A hub at a Unix socket in this folder, or at a free port of 127.0.0.1."""
    hub = FakeHub("http://127.0.0.1:0" if folder is None else f"unix:{folder}/hub.sock", **how)
    with listening(hub):
        yield hub
