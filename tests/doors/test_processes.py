"""An application with several processes: each shows what it records, or says that nobody does."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import programs
import pytest
from instrumented import EXPORTERS, NO_OTHERS, with_folder
from servers import free_ports

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

# What every program has: an instrument, a child that is asked to do something, and looks from outside.
HEAD = """
import json, multiprocessing, os, sys, time
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener
from opentelemetry import metrics

PORT = int(os.environ["PORT"])
jobs = metrics.get_meter("app").create_counter("jobs")

def get(port, path="/metrics"):
    try:
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()
    except URLError:
        return 0, ""

def jobs_at(port):
    lines = [line for line in get(port)[1].splitlines() if line.startswith("jobs_total")]
    return float(lines[0].rsplit(" ", 1)[1]) if lines else None

def soon(probe):
    for _ in range(100):
        found = probe()
        if found is not None:
            return found
        time.sleep(0.05)

def in_child(work):
    # What a forked child says; it waits for the end of its input before it ends.
    read, write = os.pipe()
    wait, end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read), os.close(end)
        os.write(write, json.dumps(work()).encode()), os.close(write)
        os.read(wait, 1)
        os._exit(0)
    os.close(write), os.close(wait)
    with open(read) as file:
        said = json.loads(file.read())
    return said, lambda: (os.close(end), os.waitpid(pid, 0))
"""


def run(program: str, folder: Path, *, instrumented: bool = False, **variables: str) -> tuple[Any, list[str]]:
    """What a program says at its end, as JSON, and the lines of its log."""
    path = folder / "program.py"
    path.write_text(HEAD + program)
    port = str(free_ports(5))
    environment = {
        **{**os.environ, "PORT": port},
        **{"OTEL_EXPORTER_PROMETHEUS_PORT": port, "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1"},
        **{**EXPORTERS, **NO_OTHERS, **(with_folder() if instrumented else {}), **variables},
    }
    command = [sys.executable, str(path)]
    result = programs.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout), result.stderr.splitlines()


def test_without_code_a_child_serves_what_it_records(tmp_path: Path) -> None:
    """The parent keeps its port and is not ready; the child has the next one, and the log says where."""
    (before, child, parent, ready, reason), log = run(
        """
before = get(PORT, "/ready")[0]
_, end = in_child(lambda: jobs.add(3))
child = soon(lambda: jobs_at(PORT + 1))
ready = get(PORT, "/ready")
print(json.dumps([before, child, jobs_at(PORT), *ready]))
end()
""",
        tmp_path,
        instrumented=True,
    )
    assert (before, child, parent) == (200, 3, None)
    assert (ready, reason) == (503, "not ready\n")
    (line,) = (line for line in log if "another process" in line)
    assert "is taken, as it looks by another process of this application; process" in line
    assert "have both of them scraped" in line


@pytest.mark.parametrize("recording", ["sdk", "direct"])
def test_a_child_takes_one_port(tmp_path: Path, recording: str) -> None:
    """Also if its parent has recorded nothing, as with gunicorn's ``--preload``."""
    found, _ = run(
        """
_, end = in_child(lambda: jobs.add(3))
child = soon(lambda: jobs_at(PORT + 1))
time.sleep(0.3)
print(json.dumps([child, get(PORT + 2)[0]]))
end()
""",
        tmp_path,
        instrumented=True,
        OTEL_PROM_BRIDGE_RECORDING=recording,
    )
    assert found == [3, 0]


def test_start_beside_the_one_that_needs_no_code(tmp_path: Path) -> None:
    """It is an error that says to leave it out, in the process that is served already."""
    found, _ = run(
        """
from otel_prom_bridge import ConfigurationError, start
try:
    start()
except ConfigurationError as error:
    jobs.add(2)
    print(json.dumps([str(error), jobs_at(PORT)]))
""",
        tmp_path,
        instrumented=True,
    )
    assert "opentelemetry-instrument has started a bridge already; leave start() out" in found[0]
    assert found[1] == 2


def test_a_parent_that_records_is_ready(tmp_path: Path) -> None:
    """What a child records is no reason to doubt a process that records, too."""
    found, _ = run(
        """
jobs.add(1)
_, end = in_child(lambda: jobs.add(3))
child = soon(lambda: jobs_at(PORT + 1))
print(json.dumps([child, jobs_at(PORT), get(PORT, "/ready")[0]]))
end()
""",
        tmp_path,
        instrumented=True,
    )
    assert found == [4, 1, 200]


def test_a_child_that_records_nothing_takes_no_port(tmp_path: Path) -> None:
    """Helpers that fork and record nothing are left alone, and so is whoever asks for the parent."""
    found, log = run(
        """
_, end = in_child(lambda: time.sleep(0.2))
print(json.dumps([get(PORT + 1)[0], get(PORT, "/ready")[0]]))
end()
""",
        tmp_path,
        instrumented=True,
    )
    assert found == [0, 200]
    assert log == []


@pytest.mark.slow
def test_a_strict_endpoint_stays_where_it_is(tmp_path: Path) -> None:
    """Who wants this port and no other is told that a child is not served."""
    found, log = run(
        """
_, end = in_child(lambda: (jobs.add(3), time.sleep(0.5))[1])
print(json.dumps([get(PORT + 1)[0], get(PORT, "/ready")[0]]))
end()
""",
        tmp_path,
        instrumented=True,
        OTEL_PROM_BRIDGE_STRICT="true",
    )
    assert found == [0, 503]
    (line,) = log
    assert "records metrics that nobody serves" in line


@pytest.mark.slow
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_without_code_for_every_start_method(tmp_path: Path, method: str) -> None:
    """Children that are new programs, or forks of one, have ports of their own as those that are forked."""
    found, log = run(
        """
def work(pipe):
    jobs.add(5)
    pipe.send(True)
    pipe.recv()

if __name__ == "__main__":
    context = multiprocessing.get_context(os.environ["METHOD"])
    children = []
    for _ in range(2):
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs,))
        process.start()
        ours.recv()
        children.append((ours, process))
    shown = [soon(lambda: jobs_at(PORT + number)) for number in (1, 2)]
    ready = get(PORT, "/ready")[0]
    for ours, process in children:
        ours.send(None)
        process.join()
    print(json.dumps([shown, jobs_at(PORT), ready]))
""",
        tmp_path,
        instrumented=True,
        METHOD=method,
    )
    assert found == [[5, 5], None, 503]
    assert [line for line in log if "another process of this application" in line]


def test_one_port_for_all_processes(tmp_path: Path) -> None:
    """Who allows no second port is told that the children are not served, and that once."""
    found, log = run(
        """
for _ in range(2):
    _, end = in_child(lambda: (jobs.add(3), time.sleep(0.3))[1])
    end()
print(json.dumps([get(PORT + 1)[0], get(PORT, "/ready")[0]]))
""",
        tmp_path,
        instrumented=True,
        OTEL_PROM_BRIDGE_PROCESS_PORTS="1",
    )
    assert found == [0, 503]
    (line,) = log
    assert "records metrics that nobody serves" in line


@pytest.mark.slow
def test_a_unix_socket_for_each_process(tmp_path: Path) -> None:
    """Where the endpoint is a path, the child's is that path with its number."""
    pid, _ = run(
        """
def work():
    jobs.add(3)
    return os.getpid()
pid, end = in_child(work)
found = soon(lambda: pid if os.path.exists(f"{os.environ['OTEL_PROM_BRIDGE_UNIX_SOCKET']}.{pid}") else None)
print(json.dumps([pid, found]))
end()
""",
        tmp_path,
        instrumented=True,
        OTEL_PROM_BRIDGE_UNIX_SOCKET=str(tmp_path / "metrics.sock"),
        OTEL_EXPORTER_PROMETHEUS_PORT="",
        OTEL_EXPORTER_PROMETHEUS_HOST="",
    )
    assert pid[0] == pid[1]


def test_of_children_that_nobody_serves_the_log_tells_once(tmp_path: Path) -> None:
    """With `start()` in the parent, the first recording in a child is an error in the log, with a cure."""
    found, log = run(
        """
from otel_prom_bridge import start
with start():
    for _ in range(3):
        _, end = in_child(lambda: (jobs.add(3), time.sleep(0.3))[1])
        end()
    print(json.dumps([get(PORT + 1)[0], get(PORT, "/ready")[0]]))
""",
        tmp_path,
    )
    assert found == [0, 503]
    (line,) = log
    assert "records metrics that nobody serves: it was forked" in line
    assert "call otel_prom_bridge.serve_inherited() or start() (gunicorn: in post_fork, celery" in line


@pytest.mark.parametrize("instrumented", [True, False])
def test_serve_inherited(tmp_path: Path, instrumented: bool) -> None:
    """It serves the totals of the parent and what the child adds; called again, it is the same endpoint."""
    found, log = run(
        """
from otel_prom_bridge import serve_inherited, start
bridge = None if "--instrumented" in os.environ["WAY"] else start()
jobs.add(1)
def work():
    server = serve_inherited(port=0)
    again = serve_inherited()
    jobs.add(3)
    return [server.port, again is server, server.is_serving]
(port, is_same, is_serving), end = in_child(work)
parent = serve_inherited()
print(json.dumps([jobs_at(port), jobs_at(PORT), is_same, is_serving, parent.port == PORT]))
end()
""",
        tmp_path,
        instrumented=instrumented,
        WAY="--instrumented" if instrumented else "",
    )
    assert found == [4, 1, True, True, True]
    assert log == []


def test_serve_inherited_takes_the_next_port(tmp_path: Path) -> None:
    """Without a port it is the first one of that address that is free; a port that is taken is an error."""
    found, _ = run(
        """
from otel_prom_bridge import EndpointError, serve_inherited, start
start()
def work():
    try:
        serve_inherited(port=PORT)
    except EndpointError as error:
        refused = str(error)
    return [refused, serve_inherited(addr="127.0.0.1").port - PORT]
found, end = in_child(work)
print(json.dumps(found))
end()
""",
        tmp_path,
    )
    assert "Address already in use" in found[0]
    assert found[1] == 1


def test_serve_inherited_without_a_bridge(tmp_path: Path) -> None:
    """It is an error that says what to call instead."""
    found, _ = run(
        """
from otel_prom_bridge import EndpointError, serve_inherited
try:
    serve_inherited()
except EndpointError as error:
    print(json.dumps(str(error)))
""",
        tmp_path,
    )
    assert found.endswith("no bridge was started before this process was forked; call start() instead")


@pytest.mark.parametrize("instrumented", [True, False])
def test_start_in_a_child(tmp_path: Path, instrumented: bool) -> None:
    """As in `post_fork`: what the child records is at its own port and begins with nothing."""
    found, log = run(
        """
from otel_prom_bridge import start
bridge = None if "--instrumented" in os.environ["WAY"] else start()
jobs.add(1)
def work():
    bridge = start(port=0)
    jobs.add(3)
    return bridge.server.port
port, end = in_child(work)
jobs.add(1)
print(json.dumps([jobs_at(port), jobs_at(PORT)]))
end()
""",
        tmp_path,
        instrumented=instrumented,
        WAY="--instrumented" if instrumented else "",
    )
    assert found == [3, 2]
    assert log == []


SPAWNED = """
from otel_prom_bridge import EndpointError, start
def work(pipe, options):
    try:
        bridge = start(**options)
        jobs.add(5)
        pipe.send([bridge.server.port - PORT, bridge.server.is_serving])
    except EndpointError as error:
        pipe.send(str(error))
    pipe.recv()

if __name__ == "__main__":
    context = multiprocessing.get_context(os.environ["METHOD"])
    ends, found = [], []
    for options in json.loads(os.environ["OPTIONS"]):
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, options))
        process.start()
        found.append(ours.recv())
        ends.append((ours, process))
    shown = [jobs_at(PORT + number) for number in range(len(found))]
    for ours, process in ends:
        ours.send(None)
        process.join()
    print(json.dumps([found, shown]))
"""


@pytest.mark.parametrize(
    "method",
    [
        # Where there are forks, new programs start as those of a server of forks do, and take longer.
        pytest.param(method, marks=[pytest.mark.slow] if method == "spawn" and hasattr(os, "fork") else [])
        for method in multiprocessing.get_all_start_methods()
    ],
)
def test_start_in_each_of_several_workers(tmp_path: Path, method: str) -> None:
    """As `uvicorn --workers` imports an application: the second worker is not killed by its metrics."""
    (found, shown), log = run(SPAWNED, tmp_path, METHOD=method, OPTIONS="[{}, {}, {}]")
    assert found == [[0, True], [1, True], [2, True]]
    assert shown == [5, 5, 5]
    assert len([line for line in log if "another process of this application" in line]) == 2


def test_a_worker_that_is_strict(tmp_path: Path) -> None:
    """Who says that it has to be this port gets the error."""
    (found, _), _ = run(SPAWNED, tmp_path, METHOD="spawn", OPTIONS='[{}, {"strict": true}]')
    assert found[0] == [0, True]
    assert "Address already in use" in found[1]


@pytest.mark.slow
def test_more_workers_than_ports(tmp_path: Path) -> None:
    """The one that finds no port goes on without metrics, and says so."""
    options = '[{}, {"process_ports": 2}, {"process_ports": 2}]'
    (found, shown), log = run(SPAWNED, tmp_path, METHOD="spawn", OPTIONS=options)
    assert found[:2] == [[0, True], [1, True]]
    assert found[2][1] is False
    assert shown == [5, 5, None]
    assert [line for line in log if "recorded but not served" in line and "Address already in use" in line]


def test_a_stranger_at_the_port(tmp_path: Path) -> None:
    """A process that is no other's worker does not take another port than it was told."""
    found, _ = run(
        """
import socket
from otel_prom_bridge import EndpointError, start
with socket.create_server(("127.0.0.1", PORT)):
    try:
        start()
    except EndpointError as error:
        print(json.dumps([str(error), "_OTEL_PROM_BRIDGE_PROCESS" in os.environ]))
""",
        tmp_path,
    )
    assert "Address already in use" in found[0]
    assert found[1] is False


@pytest.mark.parametrize(("is_linux", "ready"), [(True, 503), (False, 200)])
def test_a_program_that_a_served_process_starts(tmp_path: Path, is_linux: bool, ready: int) -> None:
    """As a reloader does: the child is a new program, has the next port, and its parent is not ready.

    Elsewhere than on Linux the child cannot tell its parent.
    """
    found, log = run(
        """
import subprocess
if "--other" in os.environ["SYSTEM"]:
    del os.memfd_create
from otel_prom_bridge import start
if len(sys.argv) > 1:
    start()
    jobs.add(3)
    print("recorded", flush=True)
    sys.stdin.read()
else:
    with start() as bridge:
        child = subprocess.Popen([sys.executable, __file__, "child"], stdin=-1, stdout=-1, text=True)
        child.stdout.readline()
        found = [jobs_at(PORT), jobs_at(PORT + 1), get(PORT, "/ready")[0]]
        child.communicate("")
    print(json.dumps([*found, "_OTEL_PROM_BRIDGE_PROCESS" in os.environ]))
""",
        tmp_path,
        SYSTEM="" if is_linux else "--other",
    )
    assert found == [None, 3, ready, False]
    assert len(log) == 1


def test_no_memory_for_what_processes_tell_each_other(tmp_path: Path) -> None:
    """Then nobody is told anything, and everything else goes on."""
    found, _ = run(
        """
import mmap
def refuse(*_):
    raise OSError(12, "Cannot allocate memory")
mmap.mmap = refuse
from otel_prom_bridge import start
for _ in range(2):
    with start():
        jobs.add(2)
        shown = jobs_at(PORT)
_, end = in_child(lambda: jobs.add(3))
print(json.dumps(shown))
end()
""",
        tmp_path,
    )
    assert found == 2
