"""The lines of the shell in the documentation, run in their order: each does what its page says."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from pages import DOCS, ROOT, Block, blocks
from servers import free_ports, get
from shells import Shell, answers, exported, goes_on, lines_of

from otel_prom_bridge import PrometheusMetricReader, start, start_http_server

# An application for a server, and one that ends after it has looked at itself.
SERVED = """
import otel_prom_bridge
from opentelemetry import metrics

otel_prom_bridge.start()
metrics.get_meter("shop").create_counter("orders").add(1)

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"books"]
"""
ALONE = """
import os
from urllib.request import ProxyHandler, build_opener
from opentelemetry import metrics

metrics.get_meter("shop").create_counter("orders").add(1)
metrics.get_meter("noisy.library").create_counter("noisy.things").add(1)
url = f"http://localhost:{os.environ['OTEL_EXPORTER_PROMETHEUS_PORT']}/metrics"
with build_opener(ProxyHandler({})).open(url, timeout=5) as response:
    print(response.read().decode())
"""


RECORDS = """
from opentelemetry import metrics

metrics.get_meter("shop").create_counter("orders").add(1)

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"books"]
"""


def shell_of(page: Path, heading: str) -> list[Block]:
    """The shell's blocks below a heading."""
    found = [block for block in blocks(page) if (block.heading, block.language) == (heading, "sh")]
    assert found
    return found


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder with applications, whose ports are the test's own."""
    for name in ("app.py", "shop.py"):
        (tmp_path / name).write_text(SERVED)
    places = {"/run/shop/": f"{tmp_path}/", "gunicorn ": "gunicorn --no-control-socket --bind 127.0.0.1:0 "}
    return Shell(tmp_path, places)


# --- commands.md -------------------------------------------------------------------------------------------

# What the commands are called with in a test, in the place of what takes hours.
SHORTER = {
    "--interval 5 --for 3600": "--interval 0.2 --for 1",
    "--for 3600": "--for 60",
    "--seconds 5": "--seconds 8",
    "--port 9464": "--port PORT",
    "--speed 10": "--speed 10 --port PORT",
}
# The exit code and what is printed, of the commands that end.
ENDS = {
    "otel-prom-bridge check localhost:9464": (0, "0 errors"),
    "otel-prom-bridge check metrics.txt --strict --ignore help": (0, "0 errors"),
    "otel-prom-bridge check localhost:9464 --dashboard llm.json --rules llm.rules.yml": (1, "missing-metric"),
    "otel-prom-bridge snapshot localhost:9464 > before.txt": (0, ""),
    "otel-prom-bridge diff before.txt localhost:9464 --no-values": (0, ""),
    "otel-prom-bridge record localhost:9464 --out demo.jsonl.gz --interval 5 --for 3600": (0, ""),
    "otel-prom-bridge replay demo.jsonl.gz --backfill > demo.om": (0, ""),
    "promtool tsdb create-blocks-from openmetrics demo.om data/": (0, "BLOCK ULID"),
    "otel-prom-bridge synth shop.toml --out hour.jsonl.gz --for 3600": (0, ""),
    "pip install '.[top]'    # in a checkout": (0, ""),
    "otel-prom-bridge doctor --url localhost:9464": (0, "ok       endpoint"),
    "otel-prom-bridge doctor --seconds 5 -- opentelemetry-instrument python app.py": (None, "provider"),
    'eval "$(otel-prom-bridge completion bash)"    # in ~/.bashrc': (0, ""),
    'eval "$(otel-prom-bridge completion zsh)"     # in ~/.zshrc, after compinit': (None, ""),
}
# What those that go on serve or show.
GOES_ON = {
    "otel-prom-bridge replay demo.jsonl.gz --speed 10": "orders_total",
    "otel-prom-bridge synth shop.toml --port 9464": "http_server_request_duration_seconds_bucket",
    "otel-prom-bridge top localhost:9464 --match 'llm_*'": "llm_calls",
}


@pytest.fixture
def endpoint() -> Iterator[int]:
    """The port of an application's metrics."""
    reader = PrometheusMetricReader(registry=None)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    meter = provider.get_meter("shop")
    meter.create_counter("orders", description="Orders.").add(1, {"payment": "card"})
    meter.create_counter("llm.calls", description="Calls.").add(1)
    with start_http_server(reader, port=0, addr="127.0.0.1") as server:
        yield server.port
    provider.shutdown()


@pytest.mark.slow
@pytest.mark.real_server
@pytest.mark.usefixtures("real_prometheus")
def test_commands(endpoint: int, tmp_path: Path) -> None:
    """Every line of commands.md, in order."""
    shell = Shell(tmp_path, SHORTER, port=endpoint)
    (description,) = (block.text for block in blocks(DOCS / "commands.md") if block.language == "toml")
    (tmp_path / "shop.toml").write_text(description)
    (tmp_path / "app.py").write_text(f"{RECORDS}\nimport time\ntime.sleep(60)\n")
    (tmp_path / "metrics.txt").write_bytes(get(f"http://127.0.0.1:{endpoint}/metrics")[1])
    shell.run("otel-prom-bridge dashboards --profile llmdevops --out .")
    for kind in ("json", "rules.yml"):
        (tmp_path / f"llmdevops.{kind}").rename(tmp_path / f"llm.{kind}")
    run: set[str] = set()
    for block in (block for block in blocks(DOCS / "commands.md") if block.language == "sh"):
        for line in lines_of(block):
            run.add(line)
            if goes_on(line):
                going_on(line, tmp_path, endpoint)
            else:
                ending(line, shell)
    assert run == {*ENDS, *GOES_ON}  # each is known, and what is known is there


def ending(line: str, shell: Shell) -> None:
    """Run one that ends."""
    code, printed = ENDS[line]
    if "zsh" in line:
        script = shell.run("otel-prom-bridge completion zsh")
        assert "bashcompinit" in script
        if shutil.which("zsh") is None:
            return
        line = f"zsh -c 'autoload -U compinit && compinit -u; {line.partition('#')[0]}'"
    if "opentelemetry-instrument" in line:
        # Its metrics are not exported by the bridge unless told, so the doctor has something to say.
        shell.variables["OTEL_METRICS_EXPORTER"] = "prometheus_bridge"
        shell.variables["OTEL_TRACES_EXPORTER"] = shell.variables["OTEL_LOGS_EXPORTER"] = "none"
        assert printed in shell.run(f"{line} || true")
        return
    assert printed in shell.run(line, code=code or 0)


def going_on(line: str, folder: Path, endpoint: int) -> None:
    """Run one that serves, on a port of its own, or one that shows something."""
    (folder / line.split()[1]).mkdir()
    served = Shell(folder / line.split()[1], SHORTER, port=endpoint)
    for file in folder.iterdir():
        if file.is_file():
            shutil.copy(file, served.folder)
    if " top " in line:  # it shows something to a terminal only
        served.variables["TERM"] = "xterm"
        line, shown = f'script --quiet --return --command "{line}" /dev/null', GOES_ON[line]
        assert shown in served.serve(line, lambda process: shown in process.output)
        return
    own = Shell.__dataclass_fields__["port"].default_factory()  # type: ignore[misc]
    served.replaced = {shown: real.replace("PORT", str(own)) for shown, real in SHORTER.items()}
    served.serve(line, answers(own, GOES_ON[line]))


# --- servers, hubs, one process ----------------------------------------------------------------------------

HUBS = [
    (ROOT / "README.md", "Start"),
    (DOCS / "hub.md", "A hub: one endpoint for all processes"),
    (DOCS / "workers.md", "One endpoint for all of them"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "heading"), HUBS, ids=lambda value: getattr(value, "name", ""))
def test_run_in_front_of_a_server(page: Path, heading: str, shell: Shell) -> None:
    """The sum of four workers is at the endpoint."""
    (block,) = (block for block in shell_of(page, heading) if "otel-prom-bridge run" in block.text)
    for line in lines_of(block):
        if line.startswith("pip"):
            shell.run(line)
        elif goes_on(line):
            shell.serve(line, answers(shell.port, "} 4\n", "otel_prom_bridge_sources 4"))
        else:
            assert line == "curl http://localhost:9464/metrics"  # what `answers` asks


@pytest.mark.slow
def test_gunicorn_starts_the_hub(shell: Shell) -> None:
    """With the configuration that the page names, and nothing in front."""
    block = shell_of(DOCS / "hub.md", "Where the command cannot be changed")[0]
    (line,) = lines_of(block)
    shell.serve(line, answers(shell.port, "} 4\n", "otel_prom_bridge_sources 4"))


@pytest.mark.slow
def test_a_hub_of_its_own(shell: Shell) -> None:
    """A hub that serves until a signal ends it, and a server that pushes to it."""
    block = shell_of(DOCS / "hub.md", "Where the command cannot be changed")[1]
    hub, server = lines_of(block)
    (shell.folder / "server").mkdir()
    beside = Shell(shell.folder / "server", shell.replaced, port=shell.port)
    (beside.folder / "shop.py").write_text(SERVED)

    def both(process: object) -> bool:
        beside.serve(server, answers(shell.port, "} 4\n"))
        return True

    shell.serve(hub, both)


ALONE_PAGES = [(ROOT / "README.md", "Start"), (DOCS / "mounting.md", "No call at all")]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "heading"), ALONE_PAGES, ids=lambda value: getattr(value, "name", ""))
def test_without_a_call(page: Path, heading: str, shell: Shell) -> None:
    """An application that knows nothing of the bridge is served."""
    (shell.folder / "app.py").write_text(ALONE)
    (block,) = (block for block in shell_of(page, heading) if "opentelemetry-instrument" in block.text)
    assert "orders_total{" in shell.run(block.text)


@pytest.mark.slow
def test_without_a_call_under_gunicorn(shell: Shell) -> None:
    """The lines of servers.md: each worker that records has a port, one of those after the master's."""
    shell.port = free_ports(10)
    (shell.folder / "app.py").write_text(RECORDS)
    (block,) = shell_of(DOCS / "servers.md", "Server by server")
    *variables, server = lines_of(block)
    shell.variables |= exported(variables)
    served = [answers(port, "orders_total{") for port in range(shell.port, shell.port + 10)]
    shell.serve(server, lambda process: sum(asked(process) for asked in served) == 4)


@pytest.mark.slow
def test_a_view_without_touching_the_code(shell: Shell) -> None:
    """The block of views.md writes a file, and what it leaves out is gone."""
    (shell.folder / "app.py").write_text(ALONE)
    shell.variables |= {f"OTEL_{kind}_EXPORTER": "none" for kind in ("TRACES", "LOGS")}
    shell.variables["OTEL_METRICS_EXPORTER"] = "prometheus_bridge"
    (block,) = shell_of(DOCS / "views.md", "Without touching the code")
    shown = shell.run(block.text)
    assert "orders_total{" in shown
    assert "noisy_things" not in shown


# --- single lines ------------------------------------------------------------------------------------------


def test_cardinality(endpoint: int, tmp_path: Path) -> None:
    """Both lines of limits.md show a table."""
    shell = Shell(tmp_path, port=endpoint)
    (tmp_path / "metrics.txt").write_text('# TYPE http_a gauge\nhttp_a{k="v"} 1\n# TYPE b gauge\nb 1\n')
    first, second = lines_of(shell_of(DOCS / "limits.md", "Which label is it?")[0])
    assert "orders_total" in shell.run(first)
    shown = shell.run(second)
    assert "http_a" in shown
    assert not re.search(r"^b\b", shown, re.MULTILINE)


def test_dashboards(tmp_path: Path) -> None:
    """The line of profiles.md writes both files."""
    shell = Shell(tmp_path)
    for line in lines_of(shell_of(DOCS / "profiles.md", "The dashboard")[0]):
        shell.run(line)
    names = {path.name for path in (tmp_path / "monitoring").iterdir()}
    assert names == {"llmdevops.json", "llmdevops.rules.yml"}


def test_an_empty_panel_and_missing_costs(tmp_path: Path) -> None:
    """The commands of troubleshooting.md name the empty panel, and the model without a price."""
    page = DOCS / "troubleshooting.md"
    with start(profile="llmdevops", port=0, set_global=False) as bridge:
        meter = bridge.meter_provider.get_meter("some.instrumentation")
        tokens = meter.create_histogram("gen_ai.client.token.usage")
        for model in ("gpt-4o", "house-model"):
            tokens.record(100, {"gen_ai.request.model": model, "gen_ai.token.type": "input"})
        shell = Shell(tmp_path, port=bridge.server.port)
        write, check = lines_of(shell_of(page, "A panel is empty")[0])
        shell.run(write)
        shown = shell.run(check, code=1)
        (costs,) = lines_of(shell_of(page, "Costs are missing")[0])
        found = shell.run(costs)
    assert re.search(
        r"llmdevops_llm_errors_total: .*LLM errors by type asks for it.* \[missing-metric\]", shown
    )
    assert "error: llmdevops_llm_tokens_total: " not in shown
    assert re.search(r"^llmdevops_llm_cost_usd_total{.*model=\"gpt-4o\"", found, re.MULTILINE)
    assert re.search(r"^llmdevops_llm_unpriced_tokens_total{.*model=\"house-model\"", found, re.MULTILINE)


def test_installing(tmp_path: Path) -> None:
    """What is to be installed is this project, with extras that it has; a misspelt one would be noticed."""
    shell = Shell(tmp_path)
    lines = [
        line
        for page in (ROOT / "README.md", *DOCS.glob("*.md"))
        for block in blocks(page)
        if block.language == "sh"
        for line in lines_of(block)
        if line.startswith("pip install")
    ]
    assert len(lines) > 5
    for line in lines:
        shell.run(line.replace("path/to/checkout", "."))
    shell.run("pip install '.[hubs]'", code=1)


def test_the_host_of_a_container(shell: Shell) -> None:
    """With the variable, the endpoint is on all networks."""
    (block,) = shell_of(DOCS / "production.md", "In a container")
    shell.variables |= exported(lines_of(block))
    code = "import otel_prom_bridge; print(otel_prom_bridge.start(port=0).server.address)"
    assert shell.run(f"python -c '{code}'").strip() == "0.0.0.0"
