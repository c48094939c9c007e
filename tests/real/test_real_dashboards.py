"""The demo and the examples of profiles, a real Prometheus, and every query of every panel: all have data."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers import Prometheus, free_port, prometheus, running, wait_for

from otel_prom_bridge.dashboards import Dashboard, Panel, Variable, read_dashboard
from otel_prom_bridge.profiles import load_profile

pytestmark = [pytest.mark.real_server, pytest.mark.timeout(120), pytest.mark.slow]

EXAMPLES = Path(__file__).parents[2] / "examples"
# An example with another profile: its own code, but for one constant.
WITH_PROFILE = (
    f"import sys; sys.path.insert(0, {str(EXAMPLES)!r}); import {{example}} as app;"
    " app.PROFILE = {profile!r}; app.main()"
)
# The profile's common labels, as far as the demo has values for them. Prometheus has its own `instance`.
COMMON = {"service", "exported_instance"}
# What Grafana puts in place of its own variables, with scrapes every second.
GRAFANA = {"$__rate_interval": "60s", "$__range": "60s"}


@dataclass(frozen=True, kw_only=True)
class Job:
    """A process with an example, and how Prometheus calls it.

    ``rows`` are those of the dashboard for which the example records something, or none for all of them.
    """

    name: str
    profile: str
    example: str = "demo"
    port_variable: str = ""  # of what it serves beside its metrics
    present: str = "current"
    rows: tuple[str, ...] = ()


MODELS = ("Calls of models", "Answers", "Agents and tools", "What recorders fill", "Cardinality")
SERVICES = ("HTTP server", "HTTP clients", "Databases", "Processes", "Cardinality")
JOBS = (
    Job(name="llmdevops", profile="llmdevops"),
    Job(name="semconv", profile="semconv", rows=MODELS),
    Job(name="latest", profile="semconv", present="latest", rows=MODELS),
    Job(
        name="services",
        profile="semconv",
        example="tachikoma",
        port_variable="AGENT_PORT",
        rows=SERVICES,
    ),
    Job(name="tachikoma", profile="tachikoma", example="tachikoma", port_variable="AGENT_PORT"),
    Job(
        name="incidents",
        profile="incident_manager",
        example="incident_manager",
        port_variable="INCIDENTS_PORT",
    ),
    Job(name="research", profile="research_api", example="research_api", port_variable="API_PORT"),
)
# Jobs with the panels and variables of their dashboards.
DASHBOARDS: dict[str, Dashboard] = {job.name: read_dashboard(load_profile(job.profile)) for job in JOBS}
SHOWN = [
    (job.name, panel)
    for job in JOBS
    for panel in DASHBOARDS[job.name].panels
    if not job.rows or panel.row in job.rows
]
PANELS = [pytest.param(name, panel, id=f"{name}-{panel.title}") for name, panel in SHOWN]
VARIABLES = [
    pytest.param(name, variable, id=f"{name}-{variable.name}")
    for name, dashboard in DASHBOARDS.items()
    for variable in dashboard.variables
]


@pytest.fixture(scope="module")
def server(real_prometheus: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes all of these processes."""
    folder = tmp_path_factory.mktemp("dashboards")
    targets = {}
    with ExitStack() as stack:
        for job in JOBS:
            port = free_port()
            command = [sys.executable, "-W", "error", *_program(job)]
            environment = {
                "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
                "OTEL_EXPORTER_PROMETHEUS_PORT": str(port),
                "OTEL_PROM_BRIDGE_PRESENT": job.present,
                **({job.port_variable: str(free_port())} if job.port_variable else {}),
            }
            stack.enter_context(running(command, log=folder / f"{job.name}.log", env=environment))
            targets[job.name] = f"127.0.0.1:{port}"
        api = stack.enter_context(prometheus(real_prometheus, folder, targets))
        wait_for(lambda: len(api.query("up == 1")) == len(JOBS), seconds=60, what="scrapes of all of them")
        yield api


def _program(job: Job) -> list[str]:
    if job.example == "demo":
        return ["-m", "otel_prom_bridge", "demo", "--profile", job.profile]
    file = EXAMPLES / f"{job.example}.py"
    if re.search(f'^PROFILE = "{job.profile}"$', file.read_text(), re.MULTILINE):
        return [str(file), "--visitors"]
    return ["-c", WITH_PROFILE.format(example=job.example, profile=job.profile), "--visitors"]


def filled(expression: str, job: str) -> str:
    """A query as Grafana sends it, where all of every variable is chosen, but of one job."""
    for variable, value in {**GRAFANA, "$job": job}.items():
        expression = expression.replace(variable, value)
    expression = re.sub(r"\$(service|model)\b", ".*", expression)
    assert "$" not in expression
    return expression


@pytest.mark.parametrize(("job", "panel"), PANELS)
def test_every_panel_has_data(server: Prometheus, job: str, panel: Panel) -> None:
    """Each query gives numbers, of series that have the labels that its legend names."""
    for query in panel.queries:
        expression = filled(query.expr, job)
        labels = set(re.findall(r"\{\{(\w+)\}\}", query.legend))

        def shown(expression: str = expression, labels: set[str] = labels) -> bool:
            found = [
                series["metric"]
                for series in server.query(expression)
                if math.isfinite(float(series["value"][1]))
            ]
            # A label may come later than the first number, as error types do. What stands in for nothing, as
            # `or vector(0)` does, has no labels.
            return found == [{}] or (bool(found) and labels <= {name for metric in found for name in metric})

        wait_for(shown, seconds=45, what=f"{expression} with {query.legend}")


EXEMPLARS = [
    pytest.param(name, panel, id=f"{name}-{panel.title}") for name, panel in SHOWN if panel.exemplars
]


@pytest.mark.parametrize(("job", "panel"), EXEMPLARS)
def test_panels_with_exemplars_have_some(server: Prometheus, job: str, panel: Panel) -> None:
    """Where Grafana asks for exemplars, Prometheus has some, with ids of traces."""
    expression = filled(panel.queries[0].expr, job)
    found = wait_for(lambda: server.query_exemplars(expression), seconds=45, what=f"exemplars: {expression}")
    exemplars = [exemplar for series in found for exemplar in series["exemplars"]]
    assert exemplars
    assert all(re.fullmatch("[0-9a-f]{32}", exemplar["labels"]["trace_id"]) for exemplar in exemplars)


@pytest.mark.parametrize(("job", "variable"), VARIABLES)
def test_variables_have_values(server: Prometheus, job: str, variable: Variable) -> None:
    """What a user may choose above the panels is there."""
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", filled(variable.query, job), re.DOTALL)
    assert found is not None
    selector, label = found.groups()
    expression = f"count by ({label}) ({selector})"
    values = wait_for(lambda: server.values(expression, label), seconds=45, what=expression)
    jobs = {(each.name,) for each in JOBS if each.profile != "llmdevops"}
    models = {("gpt-4o",)} if job == "services" else {("gpt-4o-mini",)}
    expected = {"service": {("demo-agents",)}, "job": jobs | {("llmdevops",)} & {*values}}
    assert values.keys() >= expected.get(variable.name, models)


def test_the_demo_has_every_family(server: Prometheus) -> None:
    """Nothing that the profile has is without data in the demo, so there is something to learn from it."""
    for family in load_profile("llmdevops").shown():
        sample = f"{family.name}_count" if family.type == "histogram" else family.name
        name = f'{sample}{{job="llmdevops"}}'
        found = wait_for(lambda name=name: server.query(name), seconds=45, what=name)  # type: ignore[misc]
        labels = [frozenset(series["metric"]) - {"__name__", "job", "instance"} for series in found]
        # Not each series has each of them: what a call cost as a whole has no type of tokens.
        assert frozenset[str]().union(*labels) == {label.name for label in family.labels or ()} | COMMON, name
