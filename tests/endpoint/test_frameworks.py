"""The examples inside of real frameworks on real servers, by real requests."""

from __future__ import annotations

import gzip
import random
import re
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from oracles import OPENMETRICS, samples
from promtool import promtool_complaint
from servers import free_port, running, wait_for
from wire import SOON, Answer, ask

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SECONDS = 20  # for a start, on a machine that is busy with something else
TEXT = "text/plain; version=0.0.4; charset=utf-8"


def answers(port: int, path: str = "/metrics") -> Answer | None:
    """What a path says; None while nobody listens."""
    try:
        return ask(port, path)
    except OSError:
        return None


def orders(answer: Answer, item: str) -> float | None:
    """How many orders of an item a scrape shows."""
    for (name, labels), value in answer.samples.items():
        if name == "orders_total" and ("item", item) in labels:
            return value
    return None


@dataclass(frozen=True)
class Site:
    """An example that is served."""

    port: int
    health: str

    def order(self, item: str) -> None:
        """The application does what it is there for."""
        answer = ask(self.port, f"/orders/{item}", method="POST")
        assert (answer.status // 100, b"books" in answer.body) == (2, item == "books"), answer

    def waits_for(self, item: str, expected: float) -> None:
        """Scrape until an order is there: the last answer may be given again for a second."""
        wait_for(
            lambda: orders(ask(self.port, "/metrics"), item) == expected, seconds=5, what=f"{expected} {item}"
        )


UVICORN = ["uvicorn", "--app-dir", str(EXAMPLES), "--host", "127.0.0.1", "--port", "{port}"]
GUNICORN = ["gunicorn", "--no-control-socket", "--chdir", str(EXAMPLES), "--bind", "127.0.0.1:{port}"]
SYNC, GTHREAD = ["--worker-class", "sync"], ["--worker-class", "gthread", "--threads", "4"]
SITES = {
    "fastapi": ([*UVICORN, "fastapi_app:app"], "/metrics/health"),
    "starlette": ([*UVICORN, "starlette_app:app"], "/metrics/health"),
    "litestar": ([*UVICORN, "litestar_app:app"], "/health"),
    "flask-sync": ([*GUNICORN, *SYNC, "flask_app:app"], "/metrics/health"),
    "flask-gthread": ([*GUNICORN, *GTHREAD, "flask_app:app"], "/metrics/health"),
    "django-sync": ([*GUNICORN, *SYNC, "django_app:application"], "/metrics/health"),
    "django-gthread": ([*GUNICORN, *GTHREAD, "django_app:application"], "/metrics/health"),
}


@contextmanager
def served_by(command: list[str], log: Path) -> Iterator[int]:
    """Run a server until it answers; it must have nothing to complain about until its end."""
    port = free_port()
    words = [word.format(port=port) for word in command]
    with running([sys.executable, "-m", *words], log=log) as process:

        def started() -> bool:
            assert process.process.poll() is None, process.output
            # Not the metrics: that answer would be kept for a second, and the tests would have to wait.
            # A worker of gunicorn that is told to end while it is forked does not hear it.
            booted = "--workers" not in words or process.output.count("Booting worker") == 2
            return booted and answers(port, "/nothing") is not None

        wait_for(started, seconds=SECONDS, what=f"an answer of {words}")
        yield port
    for complaint in ("Traceback", "Warning", "[ERROR]", "ERROR:"):
        assert complaint not in process.output, process.output
    assert process.process.returncode in (0, -15), process.output


@pytest.fixture(scope="module", params=SITES)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Each example on its server, once for all tests."""
    command, health = SITES[request.param]
    with served_by(command, tmp_path_factory.mktemp("site") / "log") as port:
        yield Site(port, health)


def test_what_the_application_records_is_scraped(site: Site) -> None:
    """A request to the application shows in the next scrape; the exposition is well-formed."""
    site.order("books")
    site.order("books")
    site.waits_for("books", 2)
    answer = ask(site.port, "/metrics")
    assert answer.headers["Content-Type"] == TEXT
    assert promtool_complaint(answer.body) is None
    assert ("otel_prom_bridge_metric_series", frozenset({("metric", "orders_total")})) in answer.samples
    assert any(
        name == "target_info" and ("service_name", "shop") in labels for name, labels in answer.samples
    )


def test_negotiation_and_gzip(site: Site) -> None:
    """The Accept headers get through the framework, and the answer's headers back."""
    accept = "application/openmetrics-text;version=1.0.0"
    answer = ask(site.port, "/metrics", accept=accept)
    assert answer.headers["Content-Type"].startswith(OPENMETRICS)
    assert answer.body.endswith(b"# EOF\n")
    assert answer.samples
    compressed = ask(site.port, "/metrics", accept_encoding="gzip")
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert int(compressed.headers["Content-Length"]) == len(compressed.body)
    assert samples(TEXT, gzip.decompress(compressed.body))
    only = ask(site.port, "/metrics?name[]=target_info")
    assert {name for name, _ in only.samples} == {"target_info"}


def test_head(site: Site) -> None:
    """HEAD has a length and no body; POST learns what there is."""
    answer = ask(site.port, "/metrics", method="HEAD")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, b"", TEXT)
    assert int(answer.headers["Content-Length"]) > 1000
    refused = ask(site.port, "/metrics", method="POST")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


def test_health_and_what_is_the_frameworks(site: Site) -> None:
    """Health and readiness are beside the metrics; any other path is answered by the framework."""
    assert ask(site.port, site.health).body.startswith(b"alive since ")
    assert ask(site.port, site.health.replace("health", "ready")).body == b"ready\n"
    missing = ask(site.port, "/nothing")
    assert missing.status == 404
    assert b"nothing at this path" not in missing.body


def test_clients_that_do_not_wait_harm_nobody(site: Site) -> None:
    """Scrapers that reset their connections leave a server that answers, and no traceback (see ``serve``)."""
    for path in (b"/metrics", site.health.encode()) * 5:
        with socket.create_connection(("127.0.0.1", site.port), timeout=5) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
            time.sleep(0.002)
    started = time.monotonic()
    assert ask(site.port, "/metrics").status == 200
    assert time.monotonic() - started < SOON


@pytest.mark.parametrize("app", ["flask_app:app", "django_app:application"])
def test_gunicorn_with_two_workers_that_were_forked_after_the_import(app: str, tmp_path: Path) -> None:
    """With --preload the reader is made in the master; the workers answer scrapes with copies of it."""
    command = [*GUNICORN, *SYNC, "--workers", "2", "--preload", app]
    with served_by(command, tmp_path / "log") as port:
        assert ask(port, "/orders/books", method="POST").status == 200

        def the_order() -> bool:
            return orders(ask(port, "/metrics"), "books") == 1

        # Each has metrics of its own, so only one of the two knows of the order.
        wait_for(the_order, seconds=10, what="the order")


APPLICATION = """
from opentelemetry import metrics
counter = metrics.get_meter("shop").create_counter("orders")

def app(environ, start_response):
    counter.add(1, {"item": "books"})
    start_response("200 OK", [])
    return [b"books"]
"""


def documented(first_line: str) -> str:
    """The block of the page on workers that begins with this line."""
    page = (ROOT / "docs" / "workers.md").read_text()
    found = re.search(rf"^```python\n({re.escape(first_line)}\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found is not None, first_line
    return found[1]


def neighbouring_ports(number: int) -> range:
    """Free ports, one after the other, from below those that the system gives to whoever wants any."""
    for _ in range(100):
        first = random.randrange(20000, 32000)
        found = range(first, first + number)
        with ExitStack() as stack, suppress(OSError):
            for port in found:
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return found
    raise AssertionError(f"no {number} free ports")


@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["import-in-worker", "preload"])
def test_an_endpoint_for_each_worker(preload: list[str], tmp_path: Path) -> None:
    """The documented gunicorn.conf.py: each worker has a port, and together they know of every request."""
    ports = neighbouring_ports(4)
    config = documented("# gunicorn.conf.py").replace("9464", str(ports[0]))
    (tmp_path / "gunicorn.conf.py").write_text(config)
    (tmp_path / "shop.py").write_text(APPLICATION)
    port = free_port()
    command = [
        *[sys.executable, "-m", "gunicorn", "--no-control-socket", "--config", tmp_path / "gunicorn.conf.py"],
        *["--chdir", tmp_path, "--bind", f"127.0.0.1:{port}", "--workers", "2", *preload, "shop:app"],
    ]
    with running(command, log=tmp_path / "log") as process:

        def endpoints() -> list[Answer]:
            assert process.process.poll() is None, process.output
            return [answer for number in ports if (answer := answers(number))]

        wait_for(lambda: len(endpoints()) == 2, seconds=SECONDS, what="two endpoints")
        for _ in range(6):
            assert ask(port, "/").status == 200

        def total() -> float:
            return sum(orders(answer, "books") or 0 for answer in endpoints())

        wait_for(lambda: total() == 6, seconds=5, what="six orders in both together")
    assert "Traceback" not in process.output, process.output
