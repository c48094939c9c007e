"""Servers with workers under a hub: what is shown is what the client counted, whatever ends workers."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import programs
import pytest
from servers import free_port, get, wait_for

RUN = [sys.executable, "-m", "otel_prom_bridge", "run", "--"]
GUNICORN = [sys.executable, "-m", "gunicorn", "-w", "3", "--no-control-socket"]
WSGI = """
import os
import otel_prom_bridge
from opentelemetry import metrics

otel_prom_bridge.start(resource={"service.name": "shop"})
meter = metrics.get_meter("shop")
orders = meter.create_counter("orders")
latency = meter.create_histogram("latency", unit="s")
busy = meter.create_up_down_counter("busy")
meter.create_gauge("limit").set(7)
meter.create_counter("begun").add(1)
meter.create_up_down_counter("level").add(3)


def record():
    busy.add(1)
    orders.add(1)
    latency.record(0.2)
    busy.add(-1)


def app(environ, start_response):
    record()
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    record()
    with open(os.environ["DONE"], "ab", buffering=0) as file:
        file.write(b".")
    await send({"type": "http.response.start", "status": 200, "headers": []})  # or to nobody any more
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""


class Program:
    """A server under a hub, and how many of a client's requests it has answered."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        (folder / "shop.py").write_text(WSGI)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL")}
        self.environment = {
            **kept,
            "XDG_RUNTIME_DIR": str(runtime),
            "PYTHONPATH": os.pathsep.join((str(folder), *sys.path)),
            "OTEL_PROM_BRIDGE_PORT": str(self.metrics_port),
            "OTEL_PROM_BRIDGE_LINGER": "2",
            "OTEL_PROM_BRIDGE_CACHE_TTL": "0",
            "DONE": str(folder / "done"),
        }
        self._done = folder / "done"
        self.answered = 0
        self.worker = 0  # that has answered last
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def running(self, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
        """The program, from the time when it answers."""
        with programs.Program(command, env=self.environment, stderr=subprocess.PIPE) as program:
            threading.Thread(target=lambda: program.stderr and program.stderr.read(), daemon=True).start()
            try:
                wait_for(lambda: self.ask() or program.poll() is not None, seconds=30, what="an answer")
                yield program
            finally:
                program.kill()

    def ask(self) -> bool:
        """Ask once; whether there was an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/")
            response = connection.getresponse()
            worker = int(response.read())
            with self._lock:
                self.worker = worker
                self.answered += response.status == 200
            return True
        return False

    def a_worker(self) -> int:
        """One that is there."""
        assert self.ask()
        return self.worker

    def load(self, requests: int) -> None:
        """Ask so often, four at a time."""
        threads = [
            threading.Thread(target=lambda: [self.ask() for _ in range(requests // 4)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def shown(self, name: str) -> list[float]:
        """The values of all samples of this name."""
        with contextlib.suppress(OSError):
            text = get(f"http://127.0.0.1:{self.metrics_port}/metrics")[1].decode()
            return [float(value) for value in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)]
        return []

    @property
    def done(self) -> int:
        """How often something was done, as the application has written it down."""
        return self._done.stat().st_size if self._done.exists() else 0

    def check(self, *, missing: int = 0) -> None:
        """What is shown is what was answered, but for so many."""
        wait_for(
            lambda: self.answered - missing <= sum(self.shown("orders_total")) <= self.answered,
            seconds=10,
            what=f"{self.answered} requests, and not {self.shown('orders_total')}",
        )
        assert self.shown("latency_seconds_count") == self.shown("orders_total")
        assert sum(self.shown("busy")) == 0


@pytest.fixture
def program(tmp_path: Path, runtime: Path) -> Program:
    """The program of these tests."""
    return Program(tmp_path, runtime)


def gunicorn(program: Program, *flags: str) -> list[str]:
    """A command."""
    return [*GUNICORN, "-b", f"127.0.0.1:{program.port}", *flags, "shop:app"]


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(["--max-requests", "20"], marks=pytest.mark.slow),
        pytest.param(["--preload"], marks=pytest.mark.slow),
        ["-k", "gthread", "--threads", "4"],
        pytest.param(["-k", "gevent"], marks=pytest.mark.slow),
        pytest.param(["--preload", "--max-requests", "20"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_gunicorn(program: Program, flags: list[str]) -> None:
    """The sum of all workers that ever were; gauges of those that are there; the last of it at the end."""
    with program.running([*RUN, *gunicorn(program, *flags)]) as running:
        program.load(240)
        program.check()
        assert len(program.shown("limit")) <= 4  # the master is one, with --preload
        if "--preload" in flags:  # what was recorded before the fork counts once
            assert (program.shown("begun_total"), program.shown("level")) == ([1], [3])
        program.load(60)
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0
        program.check()
        assert program.shown("limit") == []


@pytest.mark.slow
def test_workers_that_are_killed_or_told_to_end(program: Program) -> None:
    """A reload and SIGTERM lose nothing. SIGKILL loses what was not pushed yet; here that is nothing."""
    with program.running([*RUN, *gunicorn(program)]) as running:
        program.load(120)
        running.send_signal(signal.SIGHUP)
        program.load(120)
        program.check()
        os.kill(program.a_worker(), signal.SIGTERM)
        program.load(40)
        program.check()
        worker = program.a_worker()
        time.sleep(1.5)  # an interval, so that everything is pushed
        before = program.shown("limit")
        os.kill(worker, signal.SIGKILL)
        program.load(40)
        program.check(missing=0)
        assert len(program.shown("limit")) <= len(before) + 1
        running.send_signal(signal.SIGTERM)
        running.wait(20)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--preload"]], ids=" ".join)
def test_gunicorn_with_its_own_command(program: Program, flags: list[str]) -> None:
    """The configuration of gunicorn starts the hub as well."""
    command = gunicorn(program, "-c", "python:otel_prom_bridge.gunicorn", *flags)
    with program.running(command) as running:
        program.load(80)
        program.check()
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0
        program.check()


@pytest.mark.slow
def test_gunicorn_does_not_start_without_its_hub(program: Program) -> None:
    """A taken port is an error, and says so."""
    with socket.create_server(("127.0.0.1", program.metrics_port)):
        command = gunicorn(program, "-c", "python:otel_prom_bridge.gunicorn")
        result = programs.run(command, env=program.environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert f"port {program.metrics_port}" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "uvicorn", "--workers", "3", "--port", "PORT", "shop:asgi"],
        pytest.param(["-m", "uvicorn", "--port", "PORT", "shop:asgi"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_uvicorn(program: Program, command: list[str]) -> None:
    """Its workers are processes that multiprocessing spawns."""
    command = [str(program.port) if word == "PORT" else word for word in command]
    with program.running([*RUN, sys.executable, *command]) as running:
        program.load(120)
        program.check()
        program.load(40)
        running.send_signal(signal.SIGTERM)
        running.wait(20)
        program.check()


@pytest.mark.slow
def test_uvicorn_with_recycled_workers(program: Program) -> None:
    """What the application has done counts. The client may have fewer answers.

    Requests wait for the next worker, which also runs those whose client has given up meanwhile.
    """
    command = ["-m", "uvicorn", "--workers", "2", "--limit-max-requests", "30", "--port", str(program.port)]
    with program.running([*RUN, sys.executable, *command, "shop:asgi"]) as running:
        program.load(120)
        running.send_signal(signal.SIGTERM)
        running.wait(30)
        wait_for(
            lambda: sum(program.shown("orders_total")) == program.done, seconds=10, what="all that is done"
        )
        assert program.answered <= program.done


TASKS = 40
CELERY = """
import os
from celery import Celery
from celery.signals import worker_process_init, worker_ready
from opentelemetry import metrics
from otel_prom_bridge import start

app = Celery(broker="memory://")
meter = metrics.get_meter("shop")
orders, level = meter.create_counter("orders"), meter.create_up_down_counter("level")

def measure(**_):
    start(resource={"service.name": "shop"})

if os.environ["WHERE"] == "import":
    measure()
    level.add(3)
else:
    worker_process_init.connect(measure)

@app.task
def job():
    orders.add(1)
    with open(os.environ["DONE"], "ab", buffering=0) as file:
        file.write(b".")

@worker_ready.connect
def send(**_):
    for _ in range(40):
        job.delay()
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["import", "worker_process_init"])
@pytest.mark.parametrize("recycled", [True, False])
def test_celery(program: Program, tmp_path: Path, where: str, recycled: bool) -> None:
    """Children that stay and that are recycled, with a provider of the parent or their own."""
    (tmp_path / "tasks.py").write_text(CELERY)
    program.environment["WHERE"] = where
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-c", "2", "--without-mingle"]
    command += ["--without-gossip", *(["--max-tasks-per-child", "5"] if recycled else [])]
    with programs.Program([*RUN, *command], env=program.environment, stderr=subprocess.DEVNULL) as running:
        wait_for(lambda: program.done >= TASKS, seconds=60, what="all tasks")
        wait_for(lambda: program.shown("orders_total") == [TASKS], seconds=10, what="all of them in the hub")
        assert program.shown("level") == ([3] if where == "import" else [])
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
    assert program.shown("orders_total") == [program.done] == [TASKS]
    assert program.shown("level") == []


POOLS = """
import multiprocessing
from opentelemetry import metrics
from otel_prom_bridge import start

bridge = start(resource={"service.name": "shop"})
meter = metrics.get_meter("shop")
orders, level = meter.create_counter("orders"), meter.create_up_down_counter("level")

def job(_):
    orders.add(1)

if __name__ == "__main__":
    orders.add(1)
    level.add(3)
    context = multiprocessing.get_context("fork")
    with context.Pool(3) as pool:  # which is terminated
        pool.map(job, range(50))
    pool = context.Pool(2, maxtasksperchild=5)
    pool.map(job, range(30), chunksize=1)
    pool.close()
    pool.join()
    print("ready", flush=True)
    input()
"""


@pytest.mark.slow
def test_pools(program: Program, tmp_path: Path) -> None:
    """Pools that are closed and terminated; what was recorded before counts once."""
    (tmp_path / "pools.py").write_text(POOLS)
    with programs.Program(
        [*RUN, sys.executable, str(tmp_path / "pools.py")],
        env=program.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        wait_for(lambda: program.shown("orders_total") == [81], seconds=10, what="81 jobs")
        assert program.shown("level") == [3]
        running.communicate("\n", timeout=20)
    assert program.shown("orders_total") == [81]


INSTRUMENTED = """
import sys
from opentelemetry import metrics
metrics.get_meter("shop").create_counter("orders").add(3)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.parametrize("is_behind", [False, True], ids=["in front", "behind"])
def test_opentelemetry_instrument(program: Program, is_behind: bool) -> None:
    """The application's code knows nothing, and it does not matter which of the two commands comes first."""
    instrument = [str(Path(sys.executable).with_name("opentelemetry-instrument"))]
    python = [sys.executable, "-c", INSTRUMENTED]
    command = [*instrument, *RUN, *python] if is_behind else [*RUN, *instrument, *python]
    environment = {
        **program.environment,
        "OTEL_METRICS_EXPORTER": "prometheus_bridge",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    with programs.Program(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        wait_for(lambda: program.shown("orders_total") == [3], seconds=10, what="what was recorded")
        assert program.shown("otel_prom_bridge_sources") == [1]
        running.communicate(timeout=20)
        assert running.returncode == 0
    assert program.shown("orders_total") == [3]
