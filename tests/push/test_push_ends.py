"""How programs end, and that nothing of what they recorded is lost with them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from fake_hub import fake_hub
from pushing import HEAD, NO_THREADS, Program, run
from servers import wait_for

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="signals as Linux has them")

# It writes how many it has counted after each measurement, so at most one more is in the metrics.
COUNTING = """
import mmap
memory = mmap.mmap(os.open("counted", os.O_RDWR), 8)
def record():
    count = 0
    while True:
        jobs.add(1, {"kind": "x"})
        count += 1
        memory[:] = struct.pack("q", count)
"""


def counted(folder: Path) -> int:
    """What the program above has counted."""
    return int.from_bytes((folder / "counted").read_bytes(), "little")


def terminated(code: str, folder: Path, **variables: str) -> tuple[int, int, int, set[str]]:
    """What the hub has of a program that was told to end while it records, and what the program counted."""
    (folder / "counted").write_bytes(bytes(8))
    with fake_hub(folder) as hub:
        program = Program(COUNTING + code, folder, hub, **variables)
        wait_for(lambda: counted(folder) > 1000, seconds=20, what="the first thousand")
        time.sleep(0.3)
        program.signal(signal.SIGTERM)
        code_, _, log = program.end()
        assert log == ""
        return code_, int(hub.total("jobs")), counted(folder), hub.sources() - hub.ended


@pytest.mark.parametrize("number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 2))])
def test_sigterm_that_nobody_handles(tmp_path: Path, number: int) -> None:
    """It interrupts a recording, and yet the process ends from it, and has pushed all that it recorded."""
    code, total, count, left = terminated("record()", tmp_path)
    assert code == -signal.SIGTERM
    assert total - count in (0, 1)
    assert left == set()


def test_sigterm_that_interrupts_the_start_of_a_thread(tmp_path: Path) -> None:
    """The main thread holds the lock of the list of all threads, in which the one that pushes is to be."""
    program = """
work(5)
with threading._active_limbo_lock:
    signal.raise_signal(signal.SIGTERM)
"""
    with fake_hub(tmp_path) as hub:
        code, _, log = Program(program, tmp_path, hub, OTEL_PROM_BRIDGE_PUSH_INTERVAL="10").end(10)
        assert (code, log) == (-signal.SIGTERM, "")
        assert hub.total("jobs") == 5
        assert hub.ended == hub.sources()


def test_sigterm_that_interrupts_a_fork(tmp_path: Path) -> None:
    """What is collected waits for the fork. And the child that is made meanwhile goes on."""
    program = """
work(5)
from otel_prom_bridge import forks
class Forking(set):
    def add(self, thread):
        super().add(thread)
        signal.raise_signal(signal.SIGTERM)
forks._forking = Forking()
os.fork()
work(4)  # in the child
"""
    with fake_hub(tmp_path) as hub:
        running = Program(program, tmp_path, hub, OTEL_PROM_BRIDGE_PUSH_INTERVAL="10")
        code, _, log = running.end(20)
        assert (code, log) == (-signal.SIGTERM, "")
        wait_for(lambda: hub.total("jobs") == 9, seconds=10, what="what both have recorded")
        wait_for(lambda: hub.ended == hub.sources(), seconds=10, what="the end of both")


def test_pushes_start_no_threads(tmp_path: Path) -> None:
    """Who starts one may take a signal, of which a main thread that waits in the system hears nothing."""
    program = """
def threads():
    return sorted(thread.native_id for thread in threading.enumerate())
bridge.reader.force_flush()
before = threads()
for _ in range(5):
    work(1)
    bridge.reader.force_flush()
say(new=len(set(threads()) - set(before)), before=len(before))
"""
    with fake_hub(tmp_path) as hub:
        found, _ = run(program, tmp_path, hub, OTEL_PROM_BRIDGE_PUSH_INTERVAL="0.01")
        assert found == {
            "new": 0,
            "before": 3,
        }  # the main one, the one that pushes, and the one that says when


def test_sigterm_while_threads_record(tmp_path: Path) -> None:
    """Threads go on while the main thread pushes, so only what they recorded after that is missing."""
    code = """
threading.Thread(target=record, daemon=True).start()
threading.Thread(target=lambda: [sizes.record(1) for _ in iter(int, 1)], daemon=True).start()
time.sleep(60)
"""
    code_, total, _, left = terminated(code, tmp_path)
    assert code_ == -signal.SIGTERM
    assert total > 1000
    assert left == set()


@pytest.mark.parametrize(
    ("handler", "code"),
    [
        ("lambda *_: sys.exit(3)", 3),
        ("lambda *_: (work(5), sys.exit(0))", 0),
    ],
)
def test_sigterm_that_the_application_handles(tmp_path: Path, handler: str, code: int) -> None:
    """Its handler decides, whether it was there before us or came later."""
    for order in ("before", "after"):
        install = f"signal.signal(signal.SIGTERM, {handler})\n"
        head = HEAD.replace("bridge = start()", install + "bridge = start()") if order == "before" else HEAD
        program = (install if order == "after" else "") + "work(7); say(ready=1)\nsignal.pause()"
        with fake_hub(tmp_path) as hub:
            running = Program(program, tmp_path, hub, head=head)
            assert running.line() == {"ready": 1}
            running.signal(signal.SIGTERM)
            code_, _, log = running.end()
            assert (code_, log) == (code, "")
            assert hub.total("jobs") == (12 if "work" in handler else 7)
            assert hub.ended == hub.sources()


def test_a_handler_that_lets_the_process_die_later(tmp_path: Path) -> None:
    """As uvicorn's: it dies from the same signal when its requests are done, and nothing runs at its end."""
    program = """
is_told = False
def handle(*_):
    global is_told
    is_told = True
signal.signal(signal.SIGTERM, handle)
from otel_prom_bridge.push import sigterm
sigterm.watch(bridge.reader)
say(ready=1)
while not is_told:
    time.sleep(0.01)
work(20)
time.sleep(0.5)  # it polls for open connections
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.raise_signal(signal.SIGTERM)
"""
    with fake_hub(tmp_path) as hub:
        running = Program(program, tmp_path, hub)
        running.line()
        running.signal(signal.SIGTERM)
        code, _, _ = running.end()
        assert code == -signal.SIGTERM
        assert hub.total("jobs") == 20


@pytest.mark.parametrize("recording", ["sdk", "direct"])
def test_a_signal_that_came_before_ours_was_there(tmp_path: Path, recording: str) -> None:
    """As in a worker of uvicorn that is told to end while it imports the application."""
    server = """
import signal
class Server:
    should_exit = False
    def handle_exit(self, *_):
        self.should_exit = True
server = Server()
signal.signal(signal.SIGTERM, server.handle_exit)
signal.raise_signal(signal.SIGTERM)
"""
    program = """
work(5)
time.sleep(0.5)  # it does so, a little shorter, when it stops the server
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.raise_signal(signal.SIGTERM)
"""
    with fake_hub(tmp_path) as hub:
        running = Program(program, tmp_path, hub, head=server + HEAD, OTEL_PROM_BRIDGE_RECORDING=recording)
        code, _, log = running.end()
        assert (code, log) == (-signal.SIGTERM, "")
        assert hub.total("jobs") == 5


@pytest.mark.slow
def test_a_handler_that_calls_ours(tmp_path: Path) -> None:
    """Who calls what was there before decides alone when the process ends."""
    program = """
before = signal.getsignal(signal.SIGTERM)
def handle(*arguments):
    if callable(before):
        before(*arguments)
    work(3)
    sys.exit(0)
signal.signal(signal.SIGTERM, handle)
say(ready=1)
signal.pause()
"""
    with fake_hub(tmp_path) as hub:
        running = Program(program, tmp_path, hub)
        running.line()
        running.signal(signal.SIGTERM)
        assert running.end()[0] == 0
        assert hub.total("jobs") == 3


@pytest.mark.slow
def test_without_a_handler_of_ours(tmp_path: Path) -> None:
    """`flush_on_sigterm=False` leaves the signal alone."""
    program = "say(is_default=signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    with fake_hub(tmp_path) as hub:
        for value in ("true", "false"):
            found, _ = run(program, tmp_path, hub, OTEL_PROM_BRIDGE_FLUSH_ON_SIGTERM=value)
            assert found == {"is_default": value == "false"}


@pytest.mark.slow
def test_sigterm_when_the_hub_is_stuck(tmp_path: Path) -> None:
    """The end takes two seconds and a bit, and not for ever; so it does where a callback hangs."""
    program = """
from opentelemetry.metrics import Observation
if os.environ["HANGS"]:
    meter.create_observable_gauge("stuck", [lambda _: [Observation(time.sleep(60) or 1)]])
work(5)
say(ready=1)
while True:
    work(10)
"""
    for hangs, delay in (("", 60.0), ("yes", 0.0)):
        with fake_hub(tmp_path, delay=delay) as hub:
            running = Program(program, tmp_path, hub, HANGS=hangs, OTEL_PROM_BRIDGE_PUSH_INTERVAL="0.1")
            running.line()
            time.sleep(0.5)
            began = time.monotonic()
            running.signal(signal.SIGTERM)
            assert running.end()[0] == -signal.SIGTERM
            assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    ("program", "code", "total"),
    [
        ("work(5)", 0, 5),
        ("work(5)\nraise ValueError('wrong')", 1, 5),
        ("work(5)\nsys.exit(3)", 3, 5),
        ("atexit.register(work, 3)\nwork(5)", 0, 8),
        ("threading.Thread(target=lambda: (time.sleep(0.2), work(4))).start()\nwork(1)", 0, 5),
        ("work(5)\nbridge.shutdown()\nwork(5)", 0, 5),
        ("work(5)\nbridge.meter_provider.shutdown()", 0, 5),
        (
            "signal.signal(signal.SIGALRM, lambda *_: work(1))\n"
            "signal.setitimer(signal.ITIMER_REAL, 0.001)\nwork(2000)\nwhile signal.getitimer(0)[0]: pass",
            0,
            2001,
        ),
        ("work(2)\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(5)", -signal.SIGINT, 2),
    ],
)
def test_how_a_program_ends(tmp_path: Path, program: str, code: int, total: int) -> None:
    """By itself, with an error, with a code, with Ctrl-C: all is pushed, and the hub hears goodbye."""
    with fake_hub(tmp_path) as hub:
        found, _, log = Program(program, tmp_path, hub).end()
        assert found == code, log
        assert hub.total("jobs") == total
        assert hub.ended == hub.sources()
        assert len({push.source for push in hub.pushes if push.is_goodbye}) == 1
        assert sum(push.is_goodbye for push in hub.pushes) == 1


def test_a_signal_handler_that_flushes(tmp_path: Path) -> None:
    """Signals may come faster than the hub answers. What is recorded counts, and handlers do not pile up."""
    program = """
total = deepest = depth = 0
def handle(*_):
    global total, deepest, depth
    depth += 1
    deepest = max(deepest, depth)
    jobs.add(1)
    total += 1
    bridge.meter_provider.force_flush(2000)
    depth -= 1
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
until = time.monotonic() + 1
while time.monotonic() < until:
    done = work(5)  # not in the line below: what handlers add meanwhile would be lost
    total += done
    bridge.meter_provider.force_flush(2000)
signal.setitimer(signal.ITIMER_REAL, 0)
say(total=total, deepest=deepest)
"""
    with fake_hub(tmp_path, delay=0.2) as hub:
        found, log = run(program, tmp_path, hub)
        assert hub.total("jobs") == found["total"], log
        assert found["deepest"] < 40


@pytest.mark.parametrize("set_global", [False, True])
@pytest.mark.parametrize("recording", ["sdk", "direct"])
def test_a_signal_handler_that_shuts_down(tmp_path: Path, recording: str, *, set_global: bool) -> None:
    """The recording that it has interrupted is pushed, too, wherever that was."""
    program = """
bridge.shutdown()
total = 0
for number in range(40):
    labels = {"team": "app.team"}
    one = start(set_global=SET_GLOBAL, flush_on_sigterm=False, push_interval=60, context_labels=labels)
    meter = one.meter_provider.get_meter("shop")
    about = ["", "gen_ai."][number // 2 % 2]  # the context completes the latter
    counter, histogram = meter.create_counter(about + "jobs"), meter.create_histogram(about + "sizes")
    record = counter.add if number % 2 else histogram.record
    is_down = False
    def handle(*_):
        global is_down
        one.shutdown()
        is_down = True
    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.01 + number * 0.0000017)
    while True:
        if is_down:
            break  # here, since a handler may come in after the condition of a loop
        record(1, {"kind": "one"})
        total += 1
say(total=total)
"""
    with fake_hub(tmp_path) as hub:
        program = program.replace("SET_GLOBAL", repr(set_global))
        found, log = run(program, tmp_path, hub, OTEL_PROM_BRIDGE_RECORDING=recording)
        assert sum(map(hub.total, ("jobs", "sizes", "gen_ai.jobs", "gen_ai.sizes"))) == found["total"], log
        assert hub.ended == hub.sources()


@pytest.mark.parametrize(
    ("shutdown", "before"),
    [("", ""), ("bridge.shutdown()", ""), ("", NO_THREADS)],
    ids=["exit", "call", "alone"],
)
@pytest.mark.parametrize("recording", ["sdk", "direct"])
def test_signals_that_come_again_while_the_rest_is_pushed(
    tmp_path: Path, recording: str, shutdown: str, before: str
) -> None:
    """A supervisor may send more than one, and each raises SystemExit. None of them gets in between."""
    program = f"""{before}
def handle(*_):
    {shutdown}
    sys.exit()
signal.signal(signal.SIGTERM, handle)
total = work(5)
say(total=total)
def send():
    for _ in range(3):
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=send, daemon=True).start()
time.sleep(5)
"""
    with fake_hub(tmp_path) as hub:
        hub.status = 503
        running = Program(program, tmp_path, hub, OTEL_PROM_BRIDGE_RECORDING=recording)
        total = running.line()["total"]
        time.sleep(0.6)
        hub.status = 200
        code, _, log = running.end()
        assert code == 0
        assert hub.total("jobs") == total, log
        assert hub.ended == hub.sources()


def test_a_signal_handler_that_records(tmp_path: Path) -> None:
    """It may interrupt anything, also whoever waits for a push."""
    program = """
total = 0
def handle(*_):
    global total
    jobs.add(1); level.add(1); sizes.record(1)
    total += 1
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
until = time.monotonic() + 1.5
count = 0
while time.monotonic() < until:
    count += work(20)
    bridge.meter_provider.force_flush(2000)
signal.setitimer(signal.ITIMER_REAL, 0)
say(total=count + total)
"""
    with fake_hub(tmp_path) as hub:
        found, log = run(program, tmp_path, hub)
        assert hub.total("jobs") == found["total"], log
        assert hub.observations("sizes") == found["total"]


def test_gevent(tmp_path: Path) -> None:
    """A patched process pushes with the interpreter's own threads, and its greenlets go on."""
    pytest.importorskip("gevent")
    program = """
import gevent
def tick():
    for _ in range(20):
        work(5)
        gevent.sleep(0.01)
greenlets = [gevent.spawn(tick) for _ in range(5)]
gevent.sleep(0.05)
ticks = 0
def count():
    global ticks
    while True:
        ticks += 1
        gevent.sleep(0.001)
counting = gevent.spawn(count)
flushed = bridge.reader.force_flush()
gevent.joinall(greenlets)
pid = os.fork()
if pid == 0:
    work(11)
    bridge.reader.force_flush()
    os._exit(0)
os.waitpid(pid, 0)
say(total=511, flushed=flushed)
while True:
    gevent.sleep(0.01)
"""
    with fake_hub(tmp_path) as hub:
        running = Program(
            program, tmp_path, hub, head="from gevent import monkey; monkey.patch_all()\n" + HEAD
        )
        assert running.line() == {"total": 511, "flushed": True}
        running.signal(signal.SIGTERM)
        code, _, log = running.end()
        assert (code, log) == (-signal.SIGTERM, "")
        assert hub.total("jobs") == 511


def test_handlers_that_are_replaced_in_a_child(tmp_path: Path) -> None:
    """As uvicorn does in a worker of gunicorn. The next recording of the main thread puts ours in front."""
    program = """
pid = os.fork()
if pid == 0:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    is_told = []
    before = signal.signal(signal.SIGTERM, lambda *_: is_told.append(1))
    time.sleep(0.2)
    work(5)
    say(ready=1)
    while not is_told:
        time.sleep(0.01)
    work(20)
    time.sleep(0.5)
    signal.signal(signal.SIGTERM, before)
    signal.raise_signal(signal.SIGTERM)
ended = os.waitpid(pid, 0)[1]
say(code=os.waitstatus_to_exitcode(ended))
"""
    with fake_hub(tmp_path) as hub:
        running = Program(program, tmp_path, hub, OTEL_PROM_BRIDGE_PUSH_INTERVAL="0.05")
        assert running.line() == {"ready": 1}
        (child,) = {push.pid for push in hub.pushes} - {running.pid}
        os.kill(child, signal.SIGTERM)
        _, said, _ = running.end()
        assert said == {"code": -signal.SIGTERM}
        assert hub.total("jobs") == 25
