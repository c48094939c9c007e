"""The interpreter's own threads and sockets, whatever is patched and whenever."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from servers import free_port, get, running, wait_for

from otel_prom_bridge import native

pytest.importorskip("gevent")

# Where a program patches: at its very beginning, or after the bridge serves.
FIRST, LATER = "first", "later"
PATCH = "from gevent import monkey; monkey.patch_all()\n"

# Scrapes its own endpoint again and again, from greenlets, while greenlets record and a callback sleeps.
BUSY = """
import logging, sys, threading, time, urllib.request
logging.basicConfig()
{first}
from opentelemetry import metrics
import otel_prom_bridge
bridge = otel_prom_bridge.start(port=0, cache_ttl=0, recording=sys.argv[1])
server = bridge.server
{later}
import gevent
meter = metrics.get_meter("m")
counter = meter.create_counter("work")
meter.create_observable_gauge("slow", [lambda _: time.sleep(0.05) or [metrics.Observation(1)]])
recorded, going, codes = [0], [True], []
def record():
    while going[0]:
        counter.add(1)
        recorded[0] += 1
        gevent.sleep(0)
def scrape(path):
    for _ in range(10):
        with urllib.request.urlopen(server.url.replace("/metrics", path), timeout=5) as response:
            codes.append(response.status)
            body = response.read().decode()
    return body
greenlets = [gevent.spawn(record) for _ in range(3)]
scrapes = [gevent.spawn(scrape, path) for path in ("/metrics", "/metrics", "/ready", "/health")]
gevent.joinall(scrapes, timeout=30, raise_error=True)
going[0] = False
gevent.joinall(greenlets, timeout=5)
lines = scrape("/metrics").splitlines()
(shown,) = [float(line.split()[-1]) for line in lines if line.startswith("work_total")]
print(codes == [200] * len(codes) and len(codes) == 50, shown == recorded[0], flush=True)
server.close()
print(server.is_serving)
"""


@pytest.mark.parametrize("recording", ["sdk", pytest.param("direct", marks=pytest.mark.slow)])
@pytest.mark.parametrize("when", [FIRST, pytest.param(LATER, marks=pytest.mark.slow)])
def test_a_process_of_greenlets_is_scraped(when: str, recording: str) -> None:
    """Every scrape is answered, sums are exact, the endpoint closes, and nothing is said on stderr."""
    program = BUSY.format(first=PATCH * (when == FIRST), later=PATCH * (when == LATER))
    command = [sys.executable, "-c", program, recording]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (found.stdout, found.returncode) == ("True True\nFalse\n", 0), found.stderr
    assert "Traceback" not in found.stderr
    assert "otel_prom_bridge" not in found.stderr


# A WSGI server of the application's own asks for the metrics while a collection takes a second.
WSGI = (
    PATCH
    + """
import time
from gevent.pywsgi import WSGIServer
import gevent, urllib.request
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from otel_prom_bridge import PrometheusMetricReader, make_wsgi_app
reader = PrometheusMetricReader()
meter = MeterProvider(metric_readers=[reader]).get_meter("m")
meter.create_observable_gauge("slow", [lambda _: time.sleep(1) or [Observation(1)]])
server = WSGIServer(("127.0.0.1", 0), make_wsgi_app(reader), log=None)
server.start()
ticks = [0]
def tick():
    while True:
        gevent.sleep(0.01)
        ticks[0] += 1
gevent.spawn(tick)
body = urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=10).read()
print(b"slow" in body, ticks[0] > 30)
"""
)


def test_greenlets_go_on_while_one_waits_for_a_collection() -> None:
    """A greenlet that waits for work of ours does not stop the others."""
    found = subprocess.run([sys.executable, "-c", WSGI], capture_output=True, text=True, timeout=60)
    assert found.stdout == "True True\n", found.stderr


GUNICORN = """
bind = "127.0.0.1:{port}"
worker_tmp_dir = "/dev/shm"
control_socket_disable = True
def post_fork(server, worker):
    import otel_prom_bridge
    otel_prom_bridge.start(port={metrics})
"""
APPLICATION = """
from opentelemetry import metrics
counter = metrics.get_meter("app").create_counter("requests")
def app(environ, start_response):
    counter.add(1)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
"""


def test_gunicorn_patches_after_the_bridge_has_started(tmp_path: Path) -> None:
    """``gunicorn -k gevent`` patches after ``post_fork``, where applications start the bridge."""
    port, metrics = free_port(), free_port()
    (tmp_path / "conf.py").write_text(GUNICORN.format(port=port, metrics=metrics))
    (tmp_path / "application.py").write_text(APPLICATION)
    command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-c", tmp_path / "conf.py"]
    command += ["--chdir", tmp_path, "application:app"]
    path = os.pathsep.join(
        filter(None, (str(Path(native.__file__).parents[1]), os.environ.get("PYTHONPATH")))
    )
    with running(command, log=tmp_path / "log", env={"PYTHONPATH": path}) as process:

        def answers() -> bool:
            try:
                return get(f"http://127.0.0.1:{port}/")[1] == b"ok"
            except OSError:
                return False

        wait_for(answers, seconds=20, what="the application")
        for number in range(2, 6):
            get(f"http://127.0.0.1:{port}/")
            time.sleep(1.1)  # what was answered before is kept for a second
            body = get(f"http://127.0.0.1:{metrics}/metrics")[1].decode()
            (line,) = [line for line in body.splitlines() if line.startswith("requests_total")]
            assert float(line.split()[-1]) >= number
            assert get(f"http://127.0.0.1:{metrics}/ready")[1] == b"ready\n"
        assert "Traceback" not in process.output


# --- the parts -----------------------------------------------------------------------------------------


def test_a_thread_is_seen_while_it_runs() -> None:
    """It has its name where debuggers look, can be joined there, and leaves nothing behind."""
    release = native.Event()
    thread = native.Thread(lambda: release.wait(10), name="native-test")
    assert not thread.is_alive()
    thread.start()
    (shown,) = [each for each in threading.enumerate() if each.name == "native-test"]
    assert thread.is_alive()
    assert not thread.is_current
    shown.join(0.05)
    assert shown.is_alive()
    release.set()
    shown.join(5)
    assert not thread.is_alive()
    assert shown not in threading.enumerate()


def test_an_event_wakes_all_who_wait() -> None:
    """However many wait, and however often it is set; who comes later does not wait at all."""
    event, woken = native.Event(), native.SimpleQueue[bool]()
    threads = [native.Thread(lambda: woken.put(event.wait(10)), name="native-test") for _ in range(20)]
    for thread in threads:
        thread.start()
    assert not event.wait(0.05)
    for _ in range(3):
        event.set()
    assert [woken.get(timeout=5) for _ in threads] == [True] * 20
    assert event.wait(0)


def test_room_is_bounded() -> None:
    """Nobody waits for a place; who leaves makes one."""
    room = native.Capacity(2)
    assert [room.enter() for _ in range(3)] == [True, True, False]
    room.leave()
    assert [room.enter() for _ in range(2)] == [True, False]


def test_in_a_forked_child_a_thread_is_not_alive() -> None:
    """Only the thread that forks goes on in the child."""
    release = native.Event()
    thread = native.Thread(lambda: release.wait(10), name="native-test")
    thread.start()
    if (child := os.fork()) == 0:
        os._exit(thread.is_alive())
    release.set()
    assert os.waitpid(child, 0)[1] == 0


def test_names_are_the_interpreters_own() -> None:
    """Also in a program that was patched before it imported anything else."""
    program = (
        PATCH
        + """
import _thread, time
from otel_prom_bridge import native
print(native.is_patched(), type(_thread.allocate_lock()).__module__, type(native.Lock()).__module__,
      native.DefaultSelector.__name__, type(native.sleep).__name__, type(time.sleep).__name__)
"""
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert found.stdout.split() == [
        *("True", "gevent.thread", "_thread"),
        *(type(native.DefaultSelector()).__name__, "builtin_function_or_method", "function"),
    ], found.stderr
    assert not native.is_patched()
