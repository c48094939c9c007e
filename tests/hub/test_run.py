"""``otel-prom-bridge run``: the program is itself in every respect, and its hub outlives it by one scrape."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import programs
import pytest
from servers import free_port, get, wait_for

RUN = [sys.executable, "-m", "otel_prom_bridge", "run"]
PROGRAM = """
import os, signal, sys, time
from opentelemetry.sdk.metrics import MeterProvider
from otel_prom_bridge.push.reader import PushReader
provider = MeterProvider(metric_readers=[PushReader(os.environ["OTEL_PROM_BRIDGE_HUB"], interval=0.2)])
meter = provider.get_meter("shop")
jobs = meter.create_counter("jobs")
meter.create_gauge("temperature").set(20)
jobs.add(1)
print("ready", os.getpid(), flush=True)
for line in sys.stdin:
    if line.startswith("exit"):
        sys.exit(int(line.split()[1]))
    jobs.add(int(line))
"""


@pytest.fixture
def port() -> int:
    """Where the hub serves."""
    return free_port()


@pytest.fixture
def environment(runtime: Path, port: int) -> dict[str, str]:
    """The environment of a program, whose hub has a folder of its own and does not linger for long."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL")}
    return {
        **kept,
        "XDG_RUNTIME_DIR": str(runtime),
        "OTEL_PROM_BRIDGE_PORT": str(port),
        "OTEL_PROM_BRIDGE_LINGER": "1",
        "OTEL_PROM_BRIDGE_CACHE_TTL": "0",
    }


@pytest.fixture(autouse=True)
def nothing_is_left(runtime: Path) -> Iterator[None]:
    """Nothing outlives a program: no process of the hub, no file."""
    yield
    wait_for(lambda: not processes(runtime), seconds=20, what="the end of hubs and guardians")
    wait_for(lambda: not list(runtime.glob("otel-prom-bridge*")), seconds=5, what="the end of the folder")


def processes(folder: Path) -> list[int]:
    """The processes of hubs and guardians whose sockets are in this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in path.read_bytes() and b"--otlp-socket" in path.read_bytes():
                found.append(int(path.parent.name))
    return sorted(found)


@contextlib.contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], *flags: str
) -> Iterator[subprocess.Popen[str]]:
    """A program with a hub, once it says that it is there."""
    with programs.Program(
        [*RUN, *flags, "--", *command],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def ready(program: subprocess.Popen[str]) -> int:
    """The process id that a program says."""
    assert program.stdout is not None
    word, process = program.stdout.readline().split()
    assert word == "ready"
    return int(process)


def tell(program: subprocess.Popen[str], line: str) -> None:
    """Write a line to the program."""
    assert program.stdin is not None
    program.stdin.write(f"{line}\n")
    program.stdin.flush()


def hub_of(folder: Path) -> int:
    """The process of the hub, without its guardian."""
    found = processes(folder)
    [hub] = [one for one in found if b"guardian.py" not in Path(f"/proc/{one}/cmdline").read_bytes()]
    return hub


def text_of(port: int) -> str:
    """What a scrape gets; nothing if nobody answers."""
    with contextlib.suppress(OSError):
        return get(f"http://127.0.0.1:{port}/metrics", timeout=1)[1].decode()
    return ""


def jobs(port: int) -> float:
    """What the hub says; -1 if it says nothing."""
    found = re.search(r"^jobs_total\{.*\} (\S+)$", text_of(port), re.MULTILINE)
    return float(found[1]) if found else -1


def test_the_program_is_itself(environment: dict[str, str], port: int) -> None:
    """It has the launcher's process, its stdin and its exit code, and the last scrape shows everything."""
    with running([sys.executable, "-c", PROGRAM], environment) as program:
        assert ready(program) == program.pid
        tell(program, "41")
        wait_for(lambda: jobs(port) == 42, seconds=10, what="what was recorded")
        tell(program, "8")
        tell(program, "exit 3")
        assert program.wait(10) == 3
        assert jobs(port) == 50
        assert program.stderr is not None
        assert program.stderr.read() == ""  # which ends at once: the hub lets go of it


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_signals_are_the_programs_own(environment: dict[str, str], port: int, number: signal.Signals) -> None:
    """It ends as it would without a hub."""
    with running([sys.executable, "-c", PROGRAM], environment) as program:
        ready(program)
        wait_for(lambda: jobs(port) == 1, seconds=10, what="what was recorded")
        program.send_signal(number)
        assert program.wait(10) == -number
        assert jobs(port) == 1


def test_ctrl_c_in_a_terminal(environment: dict[str, str], port: int) -> None:
    """The terminal tells it to the program, which is in front, and not to the hub."""
    program, terminal = pty.fork()
    if program == 0:
        os.execve(sys.executable, [*RUN, "--", sys.executable, "-c", PROGRAM], environment)
    try:
        said = b""
        while b"ready" not in said:
            said += os.read(terminal, 1000)
        wait_for(lambda: jobs(port) == 1, seconds=10, what="what was recorded")
        os.write(terminal, b"\x03")
        with contextlib.suppress(OSError):  # its other end is closed
            while os.read(terminal, 1000):
                pass
        _, status = os.waitpid(program, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 1, status
        assert jobs(port) == 1
    finally:
        os.close(terminal)


def test_a_pipe_that_closes_ends_the_program(environment: dict[str, str]) -> None:
    """Python ignores SIGPIPE, and whoever is executed by Python would, too."""
    command = f"{' '.join(RUN)} -- yes | head -1; echo ${{PIPESTATUS[0]}}"
    result = programs.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60
    )
    assert result.stdout == "y\n141\n"  # 128 and SIGPIPE


def test_a_killed_hub_comes_back(environment: dict[str, str], port: int, runtime: Path) -> None:
    """Its guardian starts another one, to which the program pushes; levels are there, totals begin anew."""
    with running([sys.executable, "-c", PROGRAM], environment) as program:
        ready(program)
        wait_for(lambda: jobs(port) == 1, seconds=10, what="what was recorded")
        os.kill(hub_of(runtime), signal.SIGKILL)
        wait_for(lambda: jobs(port) == -1, seconds=10, what="the end of the hub")
        tell(program, "5")
        wait_for(lambda: jobs(port) == 5, seconds=20, what="another hub")
        assert "temperature{" in get(f"http://127.0.0.1:{port}/metrics")[1].decode()
        tell(program, "exit 0")
        assert program.wait(10) == 0


def test_what_cannot_be_run(environment: dict[str, str], tmp_path: Path) -> None:
    """One line says so, with the exit codes of shells, and no hub is started."""
    plain = tmp_path / "plain.txt"
    plain.write_text("no program")
    for command, code, says in (
        (["no-such-command-anywhere"], 127, "there is no such command"),
        ([str(tmp_path / "nothing")], 127, "there is no such command"),
        ([str(plain)], 126, "cannot be executed"),
        ([], 2, "there is no COMMAND"),
    ):
        result = programs.run(
            [*RUN, "--", *command], env=environment, capture_output=True, text=True, timeout=60
        )
        assert result.returncode == code, result
        assert says in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "variables", "says"),
    [
        (["--port", "70000"], {}, "--port: '70000' is not allowed, expected a whole number"),
        (["--prot", "9000"], {}, "--prot (did you mean --port?)"),
        (["--max-sources", "0"], {}, "--max-sources: '0' is not allowed"),
        ([], {"OTEL_PROM_BRIDGE_LINGER": "long"}, "OTEL_PROM_BRIDGE_LINGER: 'long' is not allowed"),
        ([], {"OTEL_PROM_BRIDGE_PORT": "x"}, "OTEL_PROM_BRIDGE_PORT: 'x' is not allowed"),
        (["--config", "/nothing.toml"], {}, "/nothing.toml"),
        (["--otlp-users", "nobody-at-all"], {}, "nobody-at-all"),
    ],
)
def test_wrong_options(
    environment: dict[str, str], flags: list[str], variables: dict[str, str], says: str
) -> None:
    """The key, the value and what is allowed are said before the program starts."""
    command = [*RUN, *flags, "--", "echo", "started"]
    result = programs.run(
        command, env={**environment, **variables}, capture_output=True, text=True, timeout=60
    )
    assert says in result.stderr, result
    assert result.returncode == 2
    assert result.stdout == ""


def test_a_taken_port_is_said_before_the_program_starts(environment: dict[str, str], port: int) -> None:
    """Nobody would look for its metrics elsewhere."""
    with socket.create_server(("127.0.0.1", port)):
        result = programs.run(
            [*RUN, "--", "echo", "started"], env=environment, capture_output=True, text=True, timeout=60
        )
    assert result.returncode == 2
    assert f"port {port}" in result.stderr
    assert result.stdout == ""


@pytest.mark.slow
def test_a_program_that_is_started_again_has_its_port(environment: dict[str, str], port: int) -> None:
    """A hub that only waits for a last scrape makes way for the next one; one that is in use does not."""
    environment = {**environment, "OTEL_PROM_BRIDGE_LINGER": "100"}
    for _ in range(2):
        with running([sys.executable, "-c", PROGRAM], environment) as program:
            ready(program)
            wait_for(lambda: jobs(port) == 1, seconds=10, what="what was recorded")
            other = programs.run(
                [*RUN, "--", "true"], env=environment, capture_output=True, text=True, timeout=60
            )
            assert other.returncode == 2
            tell(program, "exit 0")
            assert program.wait(10) == 0
    result = programs.run([*RUN, "--linger", "0", "--", "true"], env=environment, timeout=60)
    assert result.returncode == 0


def test_exporters_of_opentelemetry_are_led_to_the_hub(environment: dict[str, str]) -> None:
    """With ``--otlp``, by the variables that nobody has set."""
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    environment = {**environment, "OTEL_METRIC_EXPORT_INTERVAL": "5000"}
    result = programs.run(
        [*RUN, "--otlp", "--", sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    found = json.loads(result.stdout)
    assert re.fullmatch(r"http://127.0.0.1:\d+/v1/metrics", found["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"])
    assert found["OTEL_EXPORTER_OTLP_METRICS_HEADERS"].startswith("authorization=Bearer%20")
    assert found["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"] == "http/protobuf"
    assert found["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"] == "delta"
    assert found["OTEL_METRIC_EXPORT_INTERVAL"] == "5000"


def test_as_the_first_process_of_a_container(environment: dict[str, str]) -> None:
    """It has the number 1 there, and its exit code is the container's."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if programs.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces for this user")
    result = programs.run(
        [*unshare, *RUN, "--", sys.executable, "-c", PROGRAM],
        env=environment,
        input="2\nexit 4\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.stdout == "ready 1\n"
    assert result.returncode == 4
    # It is gone with its namespace, before it could tidy up.
    for left in Path(environment["XDG_RUNTIME_DIR"]).glob("*/*.sock"):
        left.unlink()
        left.parent.rmdir()


def test_a_hub_on_its_own(environment: dict[str, str], runtime: Path, port: int) -> None:
    """It says where it is, and a signal ends it."""
    path = runtime / "own.sock"
    with programs.Program(
        [*RUN[:-1], "hub", "--otlp-socket", str(path)], env=environment, stderr=subprocess.PIPE, text=True
    ) as hub:
        assert hub.stderr is not None
        said = hub.stderr.readline() + hub.stderr.readline()
        assert f":{port}/metrics" in said
        assert f"unix:{path}" in said
        environment = {**environment, "OTEL_PROM_BRIDGE_HUB": f"unix:{path}"}
        programs.run([sys.executable, "-c", PROGRAM], env=environment, input="6\n", text=True, timeout=30)
        assert jobs(port) == 7
        hub.send_signal(signal.SIGTERM)
        assert hub.wait(10) == 0
    assert not path.exists()


def test_a_port_for_pushes_needs_a_token(environment: dict[str, str]) -> None:
    """Anybody on the machine could push otherwise."""
    result = programs.run(
        [*RUN[:-1], "hub", "--otlp-port", "0"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2
    assert "otlp_token_file" in result.stderr


def test_closed_descriptors(environment: dict[str, str]) -> None:
    """What is started without stdin and the rest stays without, and finds nothing of the hub there."""
    script = "ls /proc/self/fd > " + environment["XDG_RUNTIME_DIR"] + "/found; exit 6"
    command = f"exec {' '.join(RUN)} -- sh -c '{script}' <&- >&- 2>&-"
    assert programs.run(["bash", "-c", command], env=environment, timeout=60).returncode == 6
    found = Path(environment["XDG_RUNTIME_DIR"], "found").read_text().split()
    assert len(found) <= 4  # its output, what ls reads, and nothing else


ACTIVATED = """
import json, os, socket, sys, time
pid = os.environ["LISTEN_PID"] == str(os.getpid())
print(json.dumps([pid, os.environ["LISTEN_FDS"], socket.socket(fileno=3).getsockname()[1]]), flush=True)
sys.stdin.read()
"""
ACTIVATING = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_sockets_of_systemd(environment: dict[str, str], runtime: Path) -> None:
    """The hub takes them for its endpoint, also a second hub. The program finds them as without a hub."""
    command = [*RUN, "--addr", "systemd", "--", sys.executable, "-c", ACTIVATED]
    with programs.Program(
        [sys.executable, "-c", ACTIVATING, *command],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        is_its_own, count, port = json.loads(program.stdout.readline())
        assert (is_its_own, count) == (True, "1")
        assert "otel_prom_bridge_sources 0" in get(f"http://127.0.0.1:{port}/metrics")[1].decode()
        os.kill(hub_of(runtime), signal.SIGKILL)
        wait_for(lambda: "sources 0" in text_of(port), seconds=20, what="another hub")
        program.communicate(timeout=20)
        assert program.returncode == 0


def test_what_the_program_holds_is_not_held_by_the_hub(environment: dict[str, str], tmp_path: Path) -> None:
    """A lock or the end of a pipe that a script has handed to the program is free when that has ended."""
    environment = {**environment, "OTEL_PROM_BRIDGE_LINGER": "5"}
    lock = tmp_path / "lock"
    command = f"exec 9>{lock}; flock -n 9; {' '.join(RUN)} -- sh -c 'flock -n 9'"
    programs.run(["bash", "-c", command], env=environment, timeout=60, check=True)
    programs.run(["flock", "-n", str(lock), "true"], timeout=10, check=True)
    assert processes(Path(environment["XDG_RUNTIME_DIR"])) != []


@pytest.mark.slow
def test_in_the_background_of_a_terminal(environment: dict[str, str], port: int) -> None:
    """It has the shell's job control, and what happens in the foreground does not reach it or its hub."""
    shell, terminal = pty.fork()
    if shell == 0:
        os.execve("/bin/bash", ["bash", "--norc", "-im"], {**environment, "PS1": "", "HISTFILE": ""})
    try:
        script = Path(environment["XDG_RUNTIME_DIR"], "program.py")
        script.write_text(PROGRAM.replace("for line in sys.stdin", "time.sleep(60)\nfor line in ()"))
        os.write(terminal, f"{' '.join(RUN)} -- {sys.executable} {script} &\n".encode())
        wait_for(lambda: jobs(port) == 1, seconds=20, what="what was recorded")
        os.write(terminal, b"sleep 50\n")
        time.sleep(0.3)
        os.write(terminal, b"\x03")
        time.sleep(0.3)
        assert jobs(port) == 1
        os.write(terminal, b"kill %1; wait %1; echo code=$?; exit\n")
        said = b""
        with contextlib.suppress(OSError):  # its other end is closed
            while piece := os.read(terminal, 1000):
                said += piece
        assert b"code=143" in said
        assert jobs(port) == 1
        script.unlink()
    finally:
        os.close(terminal)
        os.waitpid(shell, 0)


WITH_FORKSERVER = """
import multiprocessing, os, signal, sys, time
from opentelemetry import metrics
from otel_prom_bridge import start

bridge = start()
jobs = metrics.get_meter("shop").create_counter("jobs")

def child(number):
    jobs.add(1)
    open(f"{sys.argv[0]}.{number}", "w").close()
    time.sleep(2)

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    children = [context.Process(target=child, args=(number,)) for number in range(2)]
    for process in children:
        process.start()
    from multiprocessing import forkserver
    while not all(os.path.exists(f"{sys.argv[0]}.{number}") for number in range(2)):
        time.sleep(0.01)
    print("ready", forkserver._forkserver._forkserver_pid, flush=True)
    if sys.argv[1] == "end":
        sys.exit()
    time.sleep(60)
"""


@pytest.mark.parametrize(
    "end",
    [*(pytest.param(end, marks=pytest.mark.slow) for end in ("end", "SIGTERM", "forkserver")), "SIGKILL"],
)
def test_nothing_outlives_the_program(environment: dict[str, str], tmp_path: Path, end: str) -> None:
    """Its server of forks and their children push, too. However it ends, they and the hub end soon after."""
    script = tmp_path / "program.py"
    script.write_text(WITH_FORKSERVER)
    environment = {**environment, "PROGRAM_MARK": f"mark-{tmp_path}"}

    def left() -> list[str]:
        return marked(environment["PROGRAM_MARK"])

    with running([sys.executable, str(script), end], environment) as program:
        server = ready(program)
        assert len(left()) >= 6  # itself, the server, two children, the guardian and the hub
        if end == "forkserver":  # which has a handler of ours
            os.kill(server, signal.SIGTERM)
            state = Path(f"/proc/{server}/stat")
            wait_for(lambda: ") Z " in state.read_text(), seconds=5, what="the end of the server")
            program.kill()
        elif end != "end":
            program.send_signal(getattr(signal, end))
        program.wait(10)
    wait_for(lambda: not left(), seconds=15, what=f"the end of {left()}")


def marked(mark: str) -> list[str]:
    """The command lines of processes that have this in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is not ours
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


DAEMON = """
import os, sys, time
if os.fork():
    sys.exit(0)
os.setsid()
nothing = os.open(os.devnull, os.O_RDWR)
for number in (0, 1, 2):
    os.dup2(nothing, number)
from opentelemetry.sdk.metrics import MeterProvider
from otel_prom_bridge.push.reader import PushReader
provider = MeterProvider(metric_readers=[PushReader(os.environ["OTEL_PROM_BRIDGE_HUB"], interval=0.2)])
provider.get_meter("shop").create_counter("jobs").add(2)
time.sleep(8)
"""


@pytest.mark.slow
def test_a_program_that_goes_into_the_background(environment: dict[str, str], port: int) -> None:
    """The process that was started ends at once; the hub stays for those that push."""
    environment = {**environment, "OTEL_PROM_BRIDGE_LINGER": "4"}
    programs.run([*RUN, "--", sys.executable, "-c", DAEMON], env=environment, timeout=60, check=True)
    wait_for(lambda: jobs(port) == 2, seconds=10, what="what was recorded")
    time.sleep(5)
    assert jobs(port) == 2
