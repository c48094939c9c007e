"""The table of docs/servers.md: what to write under each server, and what comes of it, as it is run."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError, URLError

import pytest
from instrumented import EXPORTERS, NO_OTHERS
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from servers import Running, free_port, free_ports, get, running, wait_for

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="these servers fork")
ROOT = Path(__file__).parents[2]
PORTS, REQUESTS = 8, 24

# An application that knows nothing of the bridge, in each of the forms that servers want.
SHOP = """
import os
from opentelemetry import metrics

hits = metrics.get_meter("shop").create_counter("hits")

def wsgi(environ, start_response):
    hits.add(1)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    hits.add(1)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""
FILES = {
    "shop.py": SHOP,
    "started.py": "from otel_prom_bridge import start\nstart()\nfrom shop import asgi, wsgi\n",
    "start_in_worker.py": "from otel_prom_bridge import start\ndef post_fork(server, worker):\n    start()\n",
    "inherited.py": (
        "from otel_prom_bridge import serve_inherited\n"
        "def post_fork(server, worker):\n    serve_inherited()\n"
    ),
    "flasked.py": (
        "from flask import Flask\nfrom shop import hits\napp = Flask(__name__)\n"
        "@app.get('/')\ndef index():\n    hits.add(1)\n    return 'ok'\n"
    ),
    "flasked_started.py": "from otel_prom_bridge import start\nstart()\nfrom flasked import app\n",
    "manage.py": (
        "import sys\nfrom django.conf import settings\n"
        "from django.core.management import execute_from_command_line\n"
        "from django.http import HttpResponse\nfrom django.urls import path\nfrom shop import hits\n"
        "def index(request):\n    hits.add(1)\n    return HttpResponse('ok')\n"
        "urlpatterns = [path('', index)]\n"
        "settings.configure(DEBUG=True, ROOT_URLCONF=__name__, ALLOWED_HOSTS=['*'], SECRET_KEY='x')\n"
        "execute_from_command_line(sys.argv)\n"
    ),
}
FILES["tasks.py"] = """
from celery import Celery
from celery.signals import worker_ready
from shop import hits

app = Celery(broker="memory://")

@app.task
def hit():
    hits.add(1)

@worker_ready.connect
def send(**_):
    for _ in range(24):
        hit.delay()
"""
FILES["started_tasks.py"] = """
from celery.signals import worker_process_init
from otel_prom_bridge import start
from tasks import app

@worker_process_init.connect
def measure(**_):
    start()
"""
FILES["inherited_tasks.py"] = """
from celery.signals import worker_process_init
from otel_prom_bridge import serve_inherited, start
from tasks import app

start()

@worker_process_init.connect
def measure(**_):
    serve_inherited()
"""
INSTRUMENT = "opentelemetry-instrument"


@dataclass(frozen=True)
class Row:
    """One row of the table: a command, and where the metrics are then.

    ``workers`` serve what they record, from the ``first`` port after the one that was asked for. ``ready`` is
    what the first port says; 0 is for a port at which nobody answers.
    """

    name: str
    command: str
    workers: int
    first: int = 0
    ready: int = 200
    log: str = ""
    slow: bool = True


UVICORN = "uvicorn --port {port} --timeout-worker-healthcheck 60"
GUNICORN = "gunicorn --bind 127.0.0.1:{port} --no-control-socket"
UVICORN_WORKER = "-k uvicorn.workers.UvicornWorker"
ROWS = (
    Row("gunicorn", f"{INSTRUMENT} {GUNICORN} -w 3 shop:wsgi", 3, 1, 503, "another process", slow=False),
    Row("gunicorn", f"{INSTRUMENT} {GUNICORN} -w 1 shop:wsgi", 1, 1, 503, "another process"),
    Row("gunicorn", f"{GUNICORN} -w 3 started:wsgi", 3, log="another process"),
    Row("gunicorn", f"{GUNICORN} -w 3 -c start_in_worker.py shop:wsgi", 3, log="another process"),
    Row("gunicorn --preload", f"{GUNICORN} --preload -w 3 started:wsgi", 0, 1, 503, "nobody serves"),
    Row("gunicorn --preload", f"{GUNICORN} --preload -w 3 -c inherited.py started:wsgi", 3, 1, 503),
    Row("gunicorn --preload", f"{GUNICORN} --preload -w 3 -c start_in_worker.py started:wsgi", 3, 1, 503),
    Row("gunicorn --preload", f"{INSTRUMENT} {GUNICORN} --preload -w 3 shop:wsgi", 3, 1, 503),
    Row("gunicorn -k gthread", f"{INSTRUMENT} {GUNICORN} -k gthread --threads 4 -w 2 shop:wsgi", 2, 1, 503),
    Row("gunicorn -k gevent", f"{INSTRUMENT} {GUNICORN} -k gevent -w 2 shop:wsgi", 2, 1, 503),
    Row("gunicorn -k gevent", f"{GUNICORN} -k gevent -w 2 -c start_in_worker.py shop:wsgi", 2),
    Row(
        "gunicorn -k uvicorn",
        f"{INSTRUMENT} {GUNICORN} {UVICORN_WORKER} -w 2 shop:asgi",
        2,
        1,
        503,
    ),
    Row("uvicorn", f"{INSTRUMENT} {UVICORN} shop:asgi", 1),
    Row("uvicorn", f"{UVICORN} started:asgi", 1),
    Row("uvicorn --workers", f"{INSTRUMENT} {UVICORN} --workers 3 shop:asgi", 3, 1, 503, "another process"),
    Row("uvicorn --workers", f"{UVICORN} --workers 3 started:asgi", 3, log="another process"),
    Row("uvicorn --reload", f"{INSTRUMENT} {UVICORN} --reload shop:asgi", 1, 1, 503, "another process"),
    Row("uvicorn --reload", f"{UVICORN} --reload started:asgi", 1),
    Row("hypercorn", f"{INSTRUMENT} hypercorn -w 2 -b 127.0.0.1:{{port}} shop:asgi", 2, 1, 503),
    Row("hypercorn", "hypercorn -w 2 -b 127.0.0.1:{port} started:asgi", 2),
    Row("granian", f"{INSTRUMENT} granian --workers 2 --interface asgi --port {{port}} shop:asgi", 2, 1, 503),
    Row("granian", "granian --workers 2 --interface asgi --port {port} started:asgi", 2),
    Row("flask run --debug", f"{INSTRUMENT} flask --app flasked run --debug -p {{port}}", 1, 1, 503),
    Row("flask run --debug", "flask --app flasked_started run --debug -p {port}", 1, 1, 503),
    Row("flask run --debug", f"{INSTRUMENT} flask --app flasked run -p {{port}}", 1),
    Row("manage.py runserver", f"{INSTRUMENT} python manage.py runserver 127.0.0.1:{{port}}", 1, 1, 503),
    Row("manage.py runserver", f"{INSTRUMENT} python manage.py runserver --noreload 127.0.0.1:{{port}}", 1),
    Row("gunicorn -k gthread", f"{GUNICORN} -k gthread --threads 4 -w 1 started:wsgi", 1),
    Row("gunicorn -k uvicorn", f"{GUNICORN} {UVICORN_WORKER} -w 2 started:asgi", 2),
)


def _marked(row: Row) -> object:
    return pytest.param(row, marks=[pytest.mark.slow] if row.slow else [], id=row.command)


def _needs(command: str) -> None:
    for package in ("hypercorn", "granian", "gevent", "celery"):
        if package in command and importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


@contextlib.contextmanager
def served(command: str, folder: Path, metrics_port: int, *, port: int = 0) -> Iterator[Running]:
    """Run a server; its programs are those beside this interpreter."""
    for name, text in FILES.items():
        (folder / name).write_text(text)
    binaries = Path(sys.executable).parent
    words = command.format(port=port).split()
    words = [str(binaries / word) if (binaries / word).is_file() else word for word in words]
    environment = {
        **EXPORTERS,
        **NO_OTHERS,
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(metrics_port),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(folder), str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    script = ["env", "-C", str(folder), *words]
    with running(script, log=folder / "log", env=environment) as server:
        yield server


def answered(url: str) -> bytes | None:
    """What is at a URL, if somebody answers."""
    with contextlib.suppress(URLError, OSError):
        return get(url)[1]
    return None


def status(url: str) -> int:
    """The status that a URL answers with; 0 if nobody does."""
    try:
        get(url)
    except HTTPError as error:
        return error.code
    except (URLError, OSError):
        return 0
    return 200


def hits_at(port: int) -> float | None:
    """What the application has counted, as a port shows it."""
    body = answered(f"http://127.0.0.1:{port}/metrics")
    lines = [line for line in (body or b"").decode().splitlines() if line.startswith("hits_total{")]
    return float(lines[0].rsplit(" ", 1)[1]) if lines else None


def ask_all(port: int, workers: int) -> range:
    """Ask the application until each worker has answered, and often; how often it may have been asked.

    Who asks while a server begins may get no answer, and still be heard later.
    """
    url = f"http://127.0.0.1:{port}/"
    seen: set[bytes] = set()
    answers = attempts = 0
    deadline = time.monotonic() + 90
    while len(seen) < workers or answers < REQUESTS:
        assert time.monotonic() < deadline, seen
        attempts += 1
        answer = answered(url)
        if answer is None:
            time.sleep(0.2)
        else:
            seen.add(answer)
            answers += 1
    return range(answers, attempts + 1)


@pytest.mark.parametrize("row", [_marked(row) for row in ROWS])
def test_row(row: Row, tmp_path: Path) -> None:
    """Together the ports show every request once, and nobody who asks elsewhere is told that all is well."""
    _needs(row.command)
    port, first = free_port(), free_ports(PORTS)
    with served(row.command, tmp_path, first, port=port) as server:
        asked = ask_all(port, row.workers)
        ports = range(first + row.first, first + PORTS)
        expected = asked if row.workers else [0]

        def shown() -> bool:
            return sum(hits_at(number) or 0 for number in ports) in expected

        wait_for(shown, seconds=20, what=f"{expected} hits of {row.command}")
        assert len([number for number in ports if hits_at(number)]) == row.workers
        assert status(f"http://127.0.0.1:{first}/ready") == row.ready
        for number in range(first + row.first, first + row.first + row.workers):
            assert status(f"http://127.0.0.1:{number}/ready") == 200
        assert row.log in server.output
        assert "Traceback" not in server.output
    if not row.log:
        assert "nobody serves" not in server.output


CELERY = "celery -A {module} worker -c 2 --pool prefork --without-mingle --without-gossip"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "first", "ready"),
    [
        (f"{INSTRUMENT} {CELERY.format(module='tasks')}", 1, 503),
        (CELERY.format(module="started_tasks"), 0, 200),
        (CELERY.format(module="inherited_tasks"), 1, 503),
    ],
)
def test_celery(command: str, first: int, ready: int, tmp_path: Path) -> None:
    """Each process of the pool shows the tasks that it has run."""
    _needs(command)
    port = free_ports(PORTS)
    with served(command, tmp_path, port) as worker:
        ports = range(port + first, port + PORTS)
        wait_for(lambda: sum(hits_at(number) or 0 for number in ports) == 24, seconds=60, what=worker.output)
        assert status(f"http://127.0.0.1:{port}/ready") == ready


@pytest.mark.slow
def test_jupyter(tmp_path: Path) -> None:
    """A cell that shuts down what a run of it before has started can be run again; instruments stay good."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    cell = """
from opentelemetry import metrics
from otel_prom_bridge import start
if "bridge" in globals():
    bridge.shutdown()
bridge = start(port=0)
"""
    record = """
if "hits" not in globals():
    hits = metrics.get_meter("shop").create_counter("hits")
hits.add(1)
print([line for line in bridge.reader.expose().body.decode().splitlines() if line.startswith("hits_total")])
"""
    cells = [nbformat.v4.new_code_cell(text) for text in (cell, record, cell, record)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for ran in (notebook.cells[1], notebook.cells[3]):
        assert ran.outputs[0].text.rstrip().endswith("} 1']"), ran.outputs


STREAMLIT = """
import sys
from streamlit.testing.v1 import AppTest

def page():
    import streamlit
    from opentelemetry import metrics
    from otel_prom_bridge import start

    @streamlit.cache_resource
    def measured():
        return start(port=0), metrics.get_meter("shop").create_counter("hits")

    bridge, hits = measured()
    hits.add(1)
    lines = bridge.reader.expose().body.decode().splitlines()
    streamlit.text([line for line in lines if line.startswith("hits_total")][0])

app = AppTest.from_function(page, default_timeout=30)
for _ in range(3):
    app.run()
    assert not app.exception, app.exception
print(app.text[0].value)
"""


@pytest.mark.slow
def test_streamlit(tmp_path: Path) -> None:
    """A page is a script that runs again and again; what is started in a cached resource is started once."""
    if importlib.util.find_spec("streamlit") is None:
        pytest.skip("streamlit is not installed")
    (tmp_path / "page.py").write_text(STREAMLIT)
    with running([sys.executable, tmp_path / "page.py"], log=tmp_path / "log") as page:
        assert page.wait(60) == 0, page.output
        assert page.output.rstrip().endswith("} 3")


# What Amazon runs in a function: its runtime client, which asks the runtime's HTTP interface for events.
FUNCTION = """
from opentelemetry import metrics
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

provider = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())])
metrics.set_meter_provider(provider)
hits = metrics.get_meter("shop").create_counter("hits")

def answer(event, context):
    hits.add(event["count"])
    provider.force_flush()  # Nothing of the function runs between two events.
    return "sent"
"""
FUNCTION_THAT_STARTS = """
from opentelemetry import metrics
from otel_prom_bridge import start

bridge = start(port=0)
hits = metrics.get_meter("shop").create_counter("hits")

def answer(event, context):
    hits.add(event["count"])
    lines = bridge.reader.expose().body.decode().splitlines()
    return [line for line in lines if line.startswith("hits_total")][0]
"""


class Lambda(ThreadingHTTPServer):
    """The HTTP interface that a function asks for its events, and a collector that takes OTLP."""

    def __init__(self, events: list[dict[str, int]]) -> None:
        super().__init__(("127.0.0.1", 0), _LambdaHandler)
        self.events, self.answers, self.collected = iter(enumerate(events)), list[str](), list[bytes]()


class _LambdaHandler(BaseHTTPRequestHandler):
    server: Lambda
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        number, event = next(self.server.events, (None, None))
        while number is None:  # No event comes any more; the function waits until it is stopped.
            time.sleep(60)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Lambda-Runtime-Aws-Request-Id", f"event-{number}")
        self.send_header("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0")
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:1:function:shop")
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + 30) * 1000)))
        self._end(json.dumps(event).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/metrics":
            self.server.collected.append(body)
            self.send_response(200)
        else:
            self.server.answers.append(f"{self.path.rpartition('/')[2]} {body.decode()}")
            self.send_response(202)
        self._end(b"")

    def _end(self, body: bytes) -> None:
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def function(program: str, folder: Path, events: list[dict[str, int]]) -> Iterator[Lambda]:
    """A function that is given these events."""
    (folder / "shop.py").write_text(program)
    with Lambda(events) as service:
        Thread(target=service.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{service.server_port}"
        environment = {
            "AWS_LAMBDA_RUNTIME_API": host,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{host}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "PYTHONPATH": os.pathsep.join((str(folder), *filter(None, [os.environ.get("PYTHONPATH")]))),
        }
        command = [sys.executable, "-m", "awslambdaric", "shop.answer"]
        with running(command, log=folder / "log", env=environment):
            wait_for(lambda: len(service.answers) == len(events), seconds=60, what="its answers")
            yield service
        service.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("program", ["otlp", "started"])
def test_a_function_of_aws_lambda(program: str, tmp_path: Path) -> None:
    """What it records leaves it with OTLP; ``start()`` does a function no harm, and nobody can scrape it."""
    pytest.importorskip("awslambdaric")
    source = FUNCTION if program == "otlp" else FUNCTION_THAT_STARTS
    with function(source, tmp_path, [{"count": 1}, {"count": 2}]) as service:
        if program == "otlp":
            assert service.answers == ['response "sent"'] * 2
            sums = [
                point.as_int
                for body in service.collected
                for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
                if metric.name == "hits"
                for point in metric.sum.data_points
            ]
            assert sums == [1, 3]
        else:
            assert [line.rpartition(" ")[2] for line in service.answers] == ['1"', '3"']


def test_each_row_of_the_page_is_run() -> None:
    """The servers of the table are those that are run here."""
    text = (ROOT / "docs" / "servers.md").read_text()
    named = set(re.findall(r"^\| `([^`]+)`", text, re.MULTILINE))
    by_hand = {"celery worker", "Jupyter", "Streamlit", "multiprocessing", "AWS Lambda"}
    assert named == {row.name for row in ROWS} | by_hand
