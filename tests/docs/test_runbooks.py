"""docs/runbooks.md is true: the commands of each heading are run against an endpoint in that state."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import prometheus_client
import pytest
import yaml
from certificates import CA, write_authority, write_pair
from opentelemetry.metrics import Counter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from pages import DOCS, ROOT, Block, anchors, blocks, differs
from servers import Prometheus, free_port, get, prometheus, running, wait_for

from otel_prom_bridge import PrometheusMetricReader, start, start_http_server
from otel_prom_bridge.cli import main
from otel_prom_bridge.dashboards import files_of
from otel_prom_bridge.dashboards.rules import RUNBOOKS
from otel_prom_bridge.endpoint.files.tls import Tls, TlsSettings
from otel_prom_bridge.exposition import Exposition
from otel_prom_bridge.genai import AgentRecorder, LLMRecorder
from otel_prom_bridge.profiles import BUILT_IN, load_profile

PAGE = DOCS / "runbooks.md"
BLOCKS = list(blocks(PAGE))
MANY = 2500  # label values, of which a metric shows 2,000


@dataclass
class Setting:
    """What a state needs: a folder, and what is done at its end."""

    folder: Path
    stack: ExitStack

    def provider(self, **options: object) -> tuple[PrometheusMetricReader, MeterProvider]:
        """A reader and its provider."""
        reader = PrometheusMetricReader(**{"registry": None, **options})  # type: ignore[arg-type]
        provider = MeterProvider([reader], shutdown_on_exit=False)
        self.stack.callback(provider.shutdown)
        return reader, provider

    def served(self, reader: object, **options: object) -> int:
        """The port of an endpoint for it."""
        server = start_http_server(reader, port=0, addr="127.0.0.1", **options)  # type: ignore[arg-type]
        self.stack.enter_context(server)
        return server.port

    def process(self, code: str, *before: str) -> tuple[int, subprocess.Popen[bytes], Path]:
        """A program that has the port in its environment, once it is served; and its output."""
        port, log = free_port(), self.folder / "log"
        (self.folder / "program.py").write_text(code)
        command = [*before, sys.executable, self.folder / "program.py"]
        environment = {
            "OTEL_EXPORTER_PROMETHEUS_PORT": str(port),
            "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
        }
        started = self.stack.enter_context(running(command, log=log, env=environment))
        wait_for(lambda: is_served(port, started.output), seconds=30, what="the endpoint")
        return port, started.process, log


def is_served(port: int, output: str) -> bool:
    """Whether something answers there."""
    assert "Traceback" not in output, output
    try:
        return get(f"http://127.0.0.1:{port}/metrics")[1] != b""
    except OSError:
        return False


# --- the states ---------------------------------------------------------------------------------------------


def slow(setting: Setting) -> int:
    """A callback that takes long."""
    reader, provider = setting.provider()

    def stock(_: object) -> list[Observation]:
        time.sleep(0.4)
        return [Observation(1)]

    provider.get_meter("shop").create_observable_gauge("stock", [stock])
    return setting.served(reader)


def crowded(setting: Setting) -> int:
    """A label with more values than a metric may have series."""
    reader, provider = setting.provider()
    orders = provider.get_meter("shop").create_counter("orders")
    for number in range(MANY):
        orders.add(1, {"path": f"/orders/{number}"})
    return setting.served(reader)


def down(_: Setting) -> int:
    """Nothing listens."""
    return free_port()


class Alternating:
    """Two processes behind one address, of which each scrape meets another one; both count on."""

    is_ready, is_healthy, is_shut_down = True, True, False

    def __init__(self, *workers: tuple[PrometheusMetricReader, Counter]) -> None:
        self._workers = list(workers)
        self.observer = workers[0][0].observer

    def expose(self, *args: object, **options: object) -> Exposition:
        """The next one's."""
        self._workers.reverse()
        reader, orders = self._workers[0]
        orders.add(1)
        return reader.expose(*args, **options)  # type: ignore[arg-type]

    def on_shutdown(self, hook: Callable[[], None]) -> Callable[[], None]:
        """As a reader."""
        return self._workers[0][0].on_shutdown(hook)


def wrong(setting: Setting) -> int:
    """Two workers behind one port, and two metrics that want one name."""
    workers = []
    for worker in (1, 1000):
        reader, provider = setting.provider(collect_interval=0)
        orders = provider.get_meter("shop").create_counter("orders")
        orders.add(worker)
        provider.get_meter("shop").create_gauge("orders.total").set(1)
        workers.append((reader, orders))
    return setting.served(Alternating(*workers), cache_ttl=0)


def growing(setting: Setting) -> int:
    """A process with its own metrics, and more series from scrape to scrape."""
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=registry)
    reader, provider = setting.provider(registry=registry)
    orders, ends = provider.get_meter("shop").create_counter("orders"), threading.Event()

    def record() -> None:
        number = 0
        while not ends.wait(0.2):
            number += 1
            orders.add(1, {"number": number})

    thread = threading.Thread(target=record)
    setting.stack.callback(thread.join, 5)
    setting.stack.callback(ends.set)
    thread.start()
    return setting.served(reader)


WORKERS = """
import os, signal, time
from multiprocessing import Barrier, Process
from opentelemetry import metrics
import otel_prom_bridge

def work(pushed, parent):
    bridge = otel_prom_bridge.start()
    metrics.get_meter("shop").create_counter("orders").add(1)
    bridge.reader.force_flush()
    pushed.wait()
    while os.getppid() == parent:
        time.sleep(0.2)

if __name__ == "__main__":
    pushed = Barrier(3)
    workers = [Process(target=work, args=(pushed, os.getpid()), daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    pushed.wait()
    os.kill(workers[0].pid, signal.SIGKILL)
    time.sleep(600)
"""


def killed(setting: Setting) -> int:
    """A hub, two workers, and one of them is killed."""
    port, _, log = setting.process(WORKERS, sys.executable, "-m", "otel_prom_bridge", "run", "--")

    def ended() -> bool:
        body = get(f"http://127.0.0.1:{port}/metrics")[1].decode()
        return 'how="connection"} 1' in body and "otel_prom_bridge_sources 1" in body

    wait_for(ended, seconds=20, what=f"the killed worker, {log}")
    return port


def without_exemplars(setting: Setting) -> int:
    """Recordings after the end of their spans."""
    reader, provider = setting.provider()
    with TracerProvider(shutdown_on_exit=False).get_tracer("shop").start_as_current_span("order"):
        pass
    provider.get_meter("shop").create_counter("orders").add(1)
    return setting.served(reader)


def ending(setting: Setting) -> int:
    """A certificate that ends in five days."""
    soon = datetime.now(UTC) + timedelta(days=5)
    cert, key = write_pair(setting.folder, CA.issue_cert("localhost", not_after=soon))
    write_authority(setting.folder)
    tls = Tls(TlsSettings(cert_file=cert, key_file=key))
    return setting.served(setting.provider()[0], tls=tls)


CALLBACKS = """
import faulthandler, signal, time
from opentelemetry import metrics
from opentelemetry.metrics import Counter, Observation
import otel_prom_bridge

def failing(_):
    raise RuntimeError("no database")

def hanging(_):
    if time.monotonic() > START + 2:
        time.sleep(600)
    return [Observation(1)]

START = time.monotonic()
faulthandler.register(signal.SIGUSR1)
otel_prom_bridge.start(scrape_timeout=0.5, collect_interval=0.5)
meter = metrics.get_meter("shop")
meter.create_observable_gauge("stock", [failing])
meter.create_observable_gauge("queue", [hanging])
time.sleep(600)
"""


def callbacks(setting: Setting) -> int:
    """One callback that raises, and one that hangs; ``PID`` is for the page."""
    port, process, _ = setting.process(CALLBACKS)
    (setting.folder / "pid").write_text(str(process.pid))
    return port


class RateLimitError(Exception):
    """What a client library raises."""


def service(setting: Setting) -> int:
    """A service of `llmdevops` whose calls fail, whose agent runs in circles, with a trace for all of it."""
    bridge = setting.stack.enter_context(
        start(profile="llmdevops", set_global=False, port=0, addr="127.0.0.1")
    )
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("shop")
    llm, agents = LLMRecorder(bridge.meter_provider), AgentRecorder(bridge.meter_provider)
    meter = bridge.meter_provider.get_meter("shop")
    requests = meter.create_histogram("http.server.request.duration", unit="s")
    queries = meter.create_histogram("db.client.operation.duration", unit="s")
    ends = threading.Event()

    def work() -> None:
        with llm.call(model="gpt-4o-mini", provider="openai") as call:
            call.tokens(input=1000, output=100)
        with suppress(RateLimitError), llm.call(model="gpt-4o-mini", provider="openai"):
            raise RateLimitError
        with agents.execution("planner") as execution:
            with execution.step("plan"):
                pass
            with suppress(TimeoutError), execution.tool("web_search"):
                raise TimeoutError
        route = {"http.request.method": "POST", "http.route": "/orders"}
        requests.record(0.2, {**route, "http.response.status_code": 503})
        queries.record(0.3, {"db.operation.name": "SELECT", "db.system.name": "postgresql"})

    def always() -> None:
        while not ends.wait(0.3):
            with tracer.start_as_current_span("order"):
                work()

    thread = threading.Thread(target=always)
    setting.stack.callback(thread.join, 5)
    setting.stack.callback(ends.set)
    thread.start()
    return bridge.server.port


STATES: dict[str, Callable[[Setting], int]] = {
    "Scrapes are slow": slow,
    "Too many series": crowded,
    "The endpoint is down": down,
    "Values are wrong": wrong,
    "Memory grows": growing,
    "Workers are missing": killed,
    "Exemplars are missing": without_exemplars,
    "A certificate is about to end": ending,
    "A callback fails or hangs": callbacks,
    "The application": service,
}


# --- the commands -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    """All states, each with its port and its folder, and the Prometheus that scrapes them."""

    ports: dict[str, int]
    folders: dict[str, Path]
    prometheus: Prometheus

    def run(self, heading: str, command: str) -> str:
        """What the page's command prints, with its own ports and job in it."""
        state, port = STATES[heading].__name__, self.ports[heading]
        for shown, real in (
            ("http://localhost:9090", self.prometheus.url),
            ("localhost:9464", f"localhost:{port}"),
            (":9464", f":{port}"),
            ('job="shop"', f'job="{state}"'),
            ('job=\\"shop\\"', f'job=\\"{state}\\"'),
            ('job == "shop"', f'job == "{state}"'),
        ):
            command = command.replace(shown, real)
        folder = self.folders[heading]
        pid = folder / "pid"
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_proxy")}
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment["PYTHONPATH"] = str(ROOT)
        if pid.exists():
            environment["PID"] = pid.read_text()
        return (
            subprocess.run(
                ["bash", "-uc", command],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
                check=False,
            )
            .stdout.replace(f"port {port}", "port 9464")
            .replace(f":{port}", ":9464")
        )


@pytest.fixture(scope="module")
def scene(real_prometheus: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """All of it at once: each takes some seconds, which they can wait for together."""
    with ExitStack() as stack:
        folders = {heading: tmp_path_factory.mktemp(state.__name__) for heading, state in STATES.items()}
        ports = {heading: state(Setting(folders[heading], stack)) for heading, state in STATES.items()}
        targets = {STATES[heading].__name__: f"127.0.0.1:{port}" for heading, port in ports.items()}
        folder = tmp_path_factory.mktemp("prometheus")
        ca = str(folders["A certificate is about to end"] / "ca.pem")
        over_tls = {"scheme": "https", "tls_config": {"ca_file": ca, "server_name": "localhost"}}
        settings = {ending.__name__: over_tls}
        api = stack.enter_context(prometheus(real_prometheus, folder, targets, interval=2, settings=settings))
        wait_for(
            lambda: len(api.query("count_over_time(up[1m]) > 3")) == len(targets), seconds=40, what="scrapes"
        )
        yield Scene(ports, folders, api)


def of_heading(heading: str) -> Iterator[tuple[Block, Block]]:
    """The commands of a heading, and of those below it, with what they show."""
    top = ""
    for block, shown in zip(BLOCKS, [*BLOCKS[1:], None], strict=True):
        top = block.heading if block.heading in STATES else top
        if top == heading and block.language == "sh":
            assert shown is not None
            assert shown.language == "text", block
            yield block, shown


def test_every_command_is_of_a_state() -> None:
    """No block of commands stands where no state is made for it."""
    found = [block for heading in STATES for block, _ in of_heading(heading)]
    assert found == [block for block in BLOCKS if block.language == "sh"]


@pytest.mark.slow  # ten endpoints, some of them processes, and a Prometheus
@pytest.mark.real_server
@pytest.mark.parametrize("heading", STATES)
def test_commands(heading: str, scene: Scene) -> None:
    """Each prints what the page shows."""
    found = list(of_heading(heading))
    assert found
    problems = []
    for block, shown in found:
        printed = scene.run(heading, block.text)
        if block.text.startswith("kill"):
            log = scene.folders[heading] / "log"
            wait_for(lambda log=log: "in hanging" in log.read_text(), seconds=5, what="the stack")  # type: ignore[misc]
            printed = log.read_text()
        problems.append(differs(shown.text, printed))
    assert not any(problems), "\n".join(filter(None, problems))


# --- alerts -------------------------------------------------------------------------------------------------


def shipped() -> list[tuple[str, dict[str, str]]]:
    """Each alert that comes with the bridge, in profiles and in the documentation, and its annotations."""
    texts = [
        text
        for name in BUILT_IN
        for file, text in files_of(load_profile(name)).items()
        if file.endswith(".yml")
    ]
    texts += [path.read_text() for path in (ROOT / "examples").rglob("*rules.yml")]
    texts += [block.text for block in blocks(DOCS / "production.md") if block.text.startswith("groups:")]
    rules = [rule for text in texts for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    return [(rule["alert"], rule["annotations"]) for rule in rules if "alert" in rule]


def test_every_alert_has_its_section() -> None:
    """Each links to a heading of the page, which names it."""
    found = shipped()
    assert len(found) > 60
    text = PAGE.read_text()
    for name, told in found:
        page, _, anchor = told["runbook_url"].partition("#")
        assert page == RUNBOOKS, name
        assert anchor in anchors(PAGE), name
        under_application = anchor in text.partition("## The application")[2].lower().replace(" ", "-")
        assert under_application or f"`{name}`" in text, name


def test_the_alerts_that_are_named_exist() -> None:
    """The page names no other alerts."""
    table = PAGE.read_text().partition("| heading | alerts |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) <= {name for name, _ in shipped()}


def test_the_address_is_that_of_the_documentation() -> None:
    """Alerts link to where the project says that its documentation is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"{project['urls']['Documentation']}runbooks/" == RUNBOOKS


def test_a_page_of_one_s_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--runbooks` changes where the alerts link to; a profile's alert may name any URL, or none."""
    profile = tmp_path / "mine.toml"
    alert = '[[dashboard.alerts]]\nalert = "{}"\nexpr = "up == 0"\nseverity = "info"\n'
    alert += 'summary = "s"\ndescription = "d"\n'
    url = "https://wiki.example.com/a#b"
    mine = alert.format("Mine") + f'runbook = "{url}"\n' + alert.format("Bare")
    profile.write_text(f'extends = "semconv"\n{mine}')
    wiki = "https://wiki.example.com/runbooks"
    assert main(["dashboards", "--profile", str(profile), "--out", str(tmp_path), "--runbooks", wiki]) == 0
    groups = yaml.safe_load((tmp_path / "mine.rules.yml").read_text())["groups"]
    found = {
        rule["alert"]: rule["annotations"].get("runbook_url")
        for group in groups
        for rule in group["rules"]
        if "alert" in rule
    }
    assert (found.pop("Mine"), found.pop("Bare")) == (url, None)
    assert {link.partition("#")[0] for link in found.values()} == {wiki}
    with pytest.raises(SystemExit):
        main(["dashboards", "--profile", "semconv", "--runbooks", "runbooks.md"])
    assert "'runbooks.md' is not a URL" in capsys.readouterr().err
