"""The profile llmdevops: each metric that its documents name, from what applications record naturally.

The rows are those of `seed_metrics.json` with the seeds 000 and 001, retyped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from bridges import running
from opentelemetry.metrics import Meter, MeterProvider
from opentelemetry.sdk.resources import Resource
from oracles import OPENMETRICS, parse
from prometheus_client import Metric
from servers import get

from otel_prom_bridge.bridge import Bridge
from otel_prom_bridge.genai import AgentRecorder, LLMRecorder
from otel_prom_bridge.profiles import load_profile

COMMON = {
    "service": "assistant",
    "version": "",
    "environment": "prod",
    "region": "",
    "instance": "i-1",
}
RESOURCE = {
    "service.name": "assistant",
    "service.instance.id": "i-1",
    "deployment.environment.name": "prod",
}
COMPONENT = "otel_component_name otel_component_type"
GPT, CLAUDE = "gpt-4o", "claude-sonnet-4-5"
Values = Mapping[tuple[str, ...], float]


@dataclass(frozen=True)
class Row:
    """One row of the seeds: its name there, and the family that it is here.

    ``values`` are those of the samples by the labels, in their order; a histogram's are counts. ``extra`` has
    labels that the row does not, ``common`` says whether it has the common labels; ``because`` is the reason.
    """

    seed: str
    name: str
    type: str
    labels: str
    values: Values | None = None
    family: str = ""
    extra: str = ""
    common: bool = True
    because: str = ""

    def __str__(self) -> str:
        return f"{self.seed}-{self.name}"

    @property
    def shown(self) -> str:
        """The family's name in text 0.0.4."""
        return self.family or self.name


# What is recorded: three calls (one of them streamed, in five chunks) and one that fails, with the tokens
# 3 * 100 and 3 * 20; two executions of an agent, one of which fails, with three steps, two tools, two memory
# operations; four HTTP requests.
REQUESTS = {(GPT, "openai", "chat", "success"): 3, (CLAUDE, "anthropic", "chat", "error"): 1}
DURATIONS = {(GPT, "openai", "chat"): 3, (CLAUDE, "anthropic", "chat"): 1}
TOKENS = {(GPT, "openai", "input"): 300, (GPT, "openai", "output"): 60}
STEPS = {("planner", "plan"): 2, ("planner", "reflect"): 1}
EXECUTIONS = {("planner", "success"): 1, ("planner", "error"): 1}
HTTP = {("GET", "/users/{id}"): 3, ("POST", "/users/{number}/orders"): 1}
HTTP_REQUESTS = {
    ("GET", "/users/{id}", "2xx"): 2,
    ("GET", "/users/{id}", "4xx"): 1,
    ("POST", "/users/{number}/orders", "5xx"): 1,
}
OURS = "a metric of the bridge itself, which has no labels of the resource"
REGISTRY = "a metric of the registry's own collector, with its standard name"

ROWS = [
    Row("000", "llmdevops_llm_requests_total", "counter", "model provider operation status", REQUESTS),
    Row("000", "llmdevops_llm_request_duration_seconds", "histogram", "model provider operation", DURATIONS),
    Row("000", "llmdevops_llm_tokens_total", "counter", "model provider type", TOKENS),
    Row("000", "llmdevops_llm_input_tokens_total", "counter", "model provider", {(GPT, "openai"): 300}),
    Row("000", "llmdevops_llm_output_tokens_total", "counter", "model provider", {(GPT, "openai"): 60}),
    Row("000", "llmdevops_llm_streaming_chunks_total", "counter", "model provider", {(GPT, "openai"): 5}),
    Row(
        *("000", "llmdevops_llm_errors_total", "counter", "model provider error_type"),
        {(CLAUDE, "anthropic", "rate_limit"): 1},
    ),
    Row("000", "llmdevops_llm_model_info", "gauge", "model provider", {(GPT, "openai"): 1}),
    Row("000", "llmdevops_agent_executions_total", "counter", "agent_type status", EXECUTIONS),
    Row("000", "llmdevops_agent_steps_total", "counter", "agent_type step_type", STEPS),
    Row("000", "llmdevops_agent_step_duration_seconds", "histogram", "agent_type step_type", STEPS),
    Row(
        *("000", "llmdevops_agent_tool_calls_total", "counter", "agent_type tool_name status"),
        {("planner", "search", "success"): 1, ("planner", "search", "error"): 1},
        because="the row says `success?`, and status is how the documents say it everywhere else",
    ),
    Row(
        *("000", "llmdevops_agent_memory_operations_total", "counter", "agent_type operation"),
        {("planner", "search_memory"): 1, ("planner", "create_memory"): 1},
    ),
    Row("000", "llmdevops_agent_active", "gauge", "agent_type", {("planner",): 2}),
    Row("000", "llmdevops_http_requests_total", "counter", "method path status", HTTP_REQUESTS),
    Row("000", "llmdevops_http_request_duration_seconds", "histogram", "method path", HTTP),
    Row("000", "llmdevops_http_request_size_bytes", "histogram", "method path", HTTP),
    Row("000", "llmdevops_http_response_size_bytes", "histogram", "method path", HTTP),
    Row("000", "llmdevops_http_active_requests", "gauge", "", {(): 2}),
    *(
        Row("000", "process_* / llmdevops_process_* (standard)", kind, "", None, name, "", False, REGISTRY)
        for name, kind in (
            ("process_cpu_seconds_total", "counter"),
            ("process_resident_memory_bytes", "gauge"),
            ("process_open_fds", "gauge"),
            ("process_start_time_seconds", "gauge"),
        )
    ),
    *(
        Row(
            *("000", "go_/nodejs_ runtime, GC (Python: python_*/cpython_*)", "counter", "generation", None),
            *(f"python_gc_{what}_total", "", False, REGISTRY),
        )
        for what in ("objects_collected", "objects_uncollectable", "collections")
    ),
    Row(
        *("001", "llmdevops_metrics_scrape_duration[_seconds]", "histogram", "", None),
        *("llmdevops_metrics_scrape_duration_seconds", COMPONENT, False),
        because="otel.sdk.exporter.operation.duration, with the labels that its convention demands",
    ),
    Row("001", "llmdevops_metrics_series_count", "gauge", "", None, "", "", False, OURS),
    Row(
        *("001", "llmdevops_metrics_cardinality_overflow_total", "counter", "metric"),
        {("jobs_total",): 1},
        *("", "", False, OURS),
    ),
    Row(
        "001",
        "llmdevops_llm_requests_total{model,status}",
        "counter",
        "model provider operation status",
        REQUESTS,
        "llmdevops_llm_requests_total",
    ),
    Row(
        "001",
        "llmdevops_llm_request_duration_seconds_bucket",
        "histogram",
        "model provider operation",
        DURATIONS,
        "llmdevops_llm_request_duration_seconds",
    ),
    Row(
        "001",
        "llmdevops_llm_tokens_total{model,type}",
        "counter",
        "model provider type",
        TOKENS,
        "llmdevops_llm_tokens_total",
    ),
    Row("001", "llmdevops_agent_executions_total", "counter", "agent_type status", EXECUTIONS),
    Row(
        *("001", "(cache metrics: `grep cache`)", "gauge", "", None),
        *("llmdevops_metrics_cache_size_bytes", "encoding format", False),
        because="the row gives no name; the size of what is kept for the next scraper, by its format",
    ),
]
# Flag E: made by the Prometheus server of the targets that it scrapes.
EXTERNAL = ("up", "prometheus_target_scrape_pool_exceeded_target_limit")


@dataclass
class Scraped:
    """What a scrape showed: the parsed families by the name in the format, and the lines."""

    families: dict[str, Metric]
    body: str
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lines = self.body.splitlines()


def scraped(url: str, accept: str | None = None) -> Scraped:
    """Scrape an endpoint, as Prometheus does."""
    content_type, body = get(url, accept=accept, timeout=30)
    return Scraped({family.name: family for family in parse(content_type, body)}, body.decode())


def profiled(resource: Mapping[str, str] = RESOURCE, **options: Any) -> AbstractContextManager[Bridge]:
    """A bridge with the profile, nothing cached between two scrapes, and its self-metrics."""
    settings = {"profile": "llmdevops", "cache_ttl": 0, "scrape_timeout": 30, "self_metrics": True, **options}
    return running(resource=Resource(dict(resource)), **settings)


def by_instruments(provider: MeterProvider) -> None:
    """Calls and agents as instrumentations record them, with the names and attributes of the conventions."""
    meter = provider.get_meter("instrumentation")
    seconds = {
        name: meter.create_histogram(f"gen_ai.{name}", unit="s").record
        for name in (
            "client.operation.duration",
            "client.operation.time_to_first_chunk",
            "client.operation.time_per_output_chunk",
            "invoke_agent.duration",
            "execute_tool.duration",
        )
    }
    tokens = meter.create_histogram("gen_ai.client.token.usage", unit="{token}").record
    call = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-2024-08-06",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "server.address": "api.openai.com",
        "server.port": 443,
    }
    for _ in range(3):
        seconds["client.operation.duration"](0.7, call)
        tokens(100, {**call, "gen_ai.token.type": "input"})
        tokens(20, {**call, "gen_ai.token.type": "output"})
    seconds["client.operation.time_to_first_chunk"](0.2, call)
    for _ in range(4):
        seconds["client.operation.time_per_output_chunk"](0.02, call)
    failed = {"gen_ai.operation.name": "chat", "gen_ai.system": "anthropic"}
    failed |= {"gen_ai.request.model": "claude-sonnet-4-5-20250929", "error.type": "anthropic.RateLimitError"}
    seconds["client.operation.duration"](0.1, failed)
    agent = {"gen_ai.agent.name": "planner"}
    seconds["invoke_agent.duration"](3, {**agent, "gen_ai.request.model": "gpt-4o"})
    seconds["invoke_agent.duration"](1, {**agent, "error.type": "ValueError"})
    tool = {**agent, "gen_ai.tool.name": "search", "gen_ai.tool.type": "function"}
    seconds["execute_tool.duration"](0.2, tool)
    seconds["execute_tool.duration"](0.2, {**tool, "error.type": "TimeoutError"})
    for operation in ("search_memory", "create_memory"):
        seconds["client.operation.duration"](0.01, {**agent, "gen_ai.operation.name": operation})
    # What no convention has, through the profile's own instruments.
    own = load_profile("llmdevops").instruments(provider.get_meter("app"), strict=True)
    for step in ("plan", "reflect", "plan"):
        own["agent.step.duration"].record(0.4, {"agent_type": "planner", "step_type": step})
    own["agent.active"].add(2, {"agent_type": "planner"})


def by_recorders(provider: MeterProvider, emit: Any) -> None:
    """The same with the recorders of this package."""
    llm, agents = LLMRecorder(provider, emit=emit), AgentRecorder(provider)
    gpt = {"model": "gpt-4o-2024-08-06", "provider": "openai"}
    for _ in range(2):
        llm.record_request(**gpt, duration=0.7, input_tokens=100, output_tokens=20)
    with llm.call(**gpt) as call:
        assert list(call.stream(range(4))) == [0, 1, 2, 3]
        call.tokens(input=100, output=20)
    llm.record_streaming_chunk(**gpt)
    claude = {"model": "claude-sonnet-4-5-20250929", "provider": "anthropic"}
    llm.record_request(**claude, duration=0.1, error_type="anthropic.RateLimitError")
    with agents.execution(agent="planner", model="gpt-4o") as execution:
        for step in ("plan", "reflect", "plan"):
            with execution.step(step):
                pass
        with execution.tool("search", type="function"):
            pass
        for operation in ("search_memory", "create_memory"):
            with execution.memory(operation):
                pass
    failing = agents.execution(agent="planner")
    with pytest.raises(TimeoutError), failing, failing.tool("search"):
        raise TimeoutError
    agents.set_active_agents("planner", 2)


def of_servers(meter: Meter) -> None:
    """What instrumentations of HTTP servers record, the last request as they did before the conventions."""
    duration = meter.create_histogram("http.server.request.duration", unit="s")
    old_duration = meter.create_histogram("http.server.duration", unit="ms")
    sizes = [
        meter.create_histogram(f"http.server.{which}.body.size", unit="By")
        for which in ("request", "response")
    ]
    for status in (200, 204, 404):
        request = {"http.request.method": "GET", "http.route": "/users/{id}", "url.scheme": "https"}
        duration.record(0.03, {**request, "http.response.status_code": status})
        for size in sizes:
            size.record(500, {**request, "http.response.status_code": status})
    old = {"http.method": "POST", "http.target": "/users/17/orders", "http.status_code": 503}
    old_duration.record(30, old)
    for size in sizes:
        size.record(500, old)
    active = meter.create_up_down_counter("http.server.active_requests", unit="{request}")
    active.add(1, {"http.request.method": "GET", "url.scheme": "https"})
    active.add(1, {"http.request.method": "POST", "url.scheme": "http"})


def beside(provider: MeterProvider) -> None:
    """What no instrumentation of calls records: HTTP, the models in use, and a metric that grows too far."""
    meter = provider.get_meter("app")
    of_servers(meter)
    info = load_profile("llmdevops").instruments(meter, strict=True)["llm.model.info"]
    info.set(1, {"model": "gpt-4o", "provider": "openai"})
    jobs = meter.create_counter("jobs")
    for number in range(1001):
        jobs.add(1, {"job": f"job {number}"})


WAYS: dict[str, Callable[[MeterProvider], None]] = {
    "instruments": by_instruments,
    "recorders": lambda provider: by_recorders(provider, "current"),
    "latest recorders": lambda provider: by_recorders(provider, "latest"),
}


@pytest.fixture(scope="module", params=WAYS)
def formats(request: pytest.FixtureRequest) -> dict[str, Scraped]:
    """One application, recorded in each of the ways, as text 0.0.4 and as OpenMetrics."""
    logging.getLogger("otel_prom_bridge").addFilter(_is_no_overflow)
    with profiled() as bridge:
        WAYS[request.param](bridge.meter_provider)
        beside(bridge.meter_provider)
        url = bridge.server.url
        scraped(url)  # what scrapes say of themselves is in the next one
        result = {"text": scraped(url), "openmetrics": scraped(url, OPENMETRICS)}
        assert bridge.reader.conflicts() == []
    logging.getLogger("otel_prom_bridge").removeFilter(_is_no_overflow)
    return result


def _is_no_overflow(record: logging.LogRecord) -> bool:
    return "max_series_per_metric" not in record.getMessage()


def values(family: Metric, names: tuple[str, ...]) -> dict[tuple[str, ...], float]:
    """The samples by these labels: of counters and gauges themselves, of histograms the counts."""
    return {
        tuple(sample.labels[name] for name in names): sample.value
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_sum"))
    }


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("name", ["text", "openmetrics"])
def test_a_row_of_the_documents_is_there(formats: dict[str, Scraped], name: str, row: Row) -> None:
    """A family has the row's name, type and labels, with exact values, whichever way it was recorded."""
    found = formats[name]
    # OpenMetrics calls the family of a counter by what stands before its _total.
    stem = row.shown.removesuffix("_total") if row.type == "counter" else row.shown
    assert f"# TYPE {stem if name == 'openmetrics' else row.shown} {row.type}" in found.lines
    family = found.families[stem]
    assert family.type == row.type
    assert {sample.name for sample in family.samples} == {
        "counter": {f"{stem}_total"},
        "gauge": {stem},
        "histogram": {f"{stem}_bucket", f"{stem}_count", f"{stem}_sum"},
    }[row.type]
    common = COMMON if row.common else {}
    for sample in family.samples:
        assert sample.labels.keys() - {"le"} == {*row.labels.split(), *row.extra.split(), *common}
        assert common.items() <= sample.labels.items()
    if row.values is not None:
        found_values = values(family, tuple(row.labels.split()))
        # The latest conventions want 0 tokens to be recorded for a call that failed.
        assert {key: value for key, value in found_values.items() if value} == row.values


def test_nothing_is_missing_from_the_table() -> None:
    """The rows are as many as those of the documents, and what is not exactly as there has a reason."""
    assert len({(row.seed, row.name) for row in ROWS if row.seed == "000"}) == 21
    assert len({(row.seed, row.name) for row in ROWS if row.seed == "001"}) + len(EXTERNAL) == 10
    assert all(row.because for row in ROWS if row.extra or not row.common)


def test_what_prometheus_makes_itself_is_not_made_here(formats: dict[str, Scraped]) -> None:
    """Its server adds these to every target that it scrapes."""
    assert not {*EXTERNAL} & formats["text"].families.keys()


BUCKETS = {
    "llmdevops_llm_request_duration_seconds": [0.01 * 2**step for step in range(14)],
    "llmdevops_llm_time_to_first_chunk_seconds": [0.01 * 2**step for step in range(14)],
    "llmdevops_agent_step_duration_seconds": [0.01 * 2**step for step in range(14)],
    "llmdevops_agent_tool_call_duration_seconds": [0.01 * 2**step for step in range(14)],
    "llmdevops_agent_execution_duration_seconds": [0.1 * 2**step for step in range(13)],
    "llmdevops_http_request_duration_seconds": [
        *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
        *(1, 2.5, 5, 7.5, 10),
    ],
    "llmdevops_http_request_size_bytes": [10**power for power in range(2, 8)],
    "llmdevops_http_response_size_bytes": [10**power for power in range(2, 8)],
    "llmdevops_llm_request_input_tokens": [4**power for power in range(14)],
    "llmdevops_llm_request_output_tokens": [4**power for power in range(14)],
}


@pytest.mark.parametrize("name", BUCKETS)
def test_buckets_are_those_of_the_profile(formats: dict[str, Scraped], name: str) -> None:
    """Whoever records gives none here, or those of the conventions; shown are the profile's."""
    family = formats["openmetrics"].families[name]
    series: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for sample in family.samples:
        if sample.name.endswith("_bucket"):
            key = tuple(sorted((key, value) for key, value in sample.labels.items() if key != "le"))
            series.setdefault(key, []).append((float(sample.labels["le"]), sample.value))
    assert series
    for buckets in series.values():
        bounds, counts = zip(*buckets, strict=True)
        assert bounds[:-1] == pytest.approx(BUCKETS[name])
        assert list(counts) == sorted(counts)
        assert counts[-1] > counts[0] or counts[0] > 0


def test_a_duration_in_milliseconds_is_shown_in_seconds(formats: dict[str, Scraped]) -> None:
    """What was recorded as 30 ms, by an instrumentation from before the conventions, is 0.03 s."""
    family = formats["openmetrics"].families["llmdevops_http_request_duration_seconds"]
    sums = [s.value for s in family.samples if s.name.endswith("_sum") and s.labels["method"] == "POST"]
    assert sums == pytest.approx([0.03])
    assert family.unit == "seconds"


def test_units_are_said_in_openmetrics(formats: dict[str, Scraped]) -> None:
    """UNIT is where the name has one, and nowhere else."""
    families = formats["openmetrics"].families
    units = {name: family.unit for name, family in families.items() if name.startswith("llmdevops_")}
    assert {name for name, unit in units.items() if unit} == {
        name for name in units if name.endswith(("_seconds", "_bytes"))
    }


def test_cost_is_shown_where_it_is_recorded() -> None:
    """The recorders' cost is a counter in USD, and what has no price is counted by its model."""
    with profiled() as bridge:
        by_recorders(bridge.meter_provider, "current")
        recorder = LLMRecorder(bridge.meter_provider)
        recorder.record_request(model="homemade-7b", provider="us", duration=1, input_tokens=1)
        families = scraped(bridge.server.url).families
    cost = values(families["llmdevops_llm_cost_usd"], ("model", "provider"))
    assert cost == {(GPT, "openai"): pytest.approx((300 * 2.5 + 60 * 10) / 1e6)}
    assert values(families["llmdevops_llm_unpriced_requests"], ("model",)) == {("homemade-7b",): 1}


IDS = (
    *("user.id", "enduser.id", "session.id", "gen_ai.conversation.id", "gen_ai.response.id", "request.id"),
    *("http.request.id", "trace_id", "thread.id", "userId", "x-request-id"),
)


def test_ids_never_become_labels() -> None:
    """Ids of users and requests are no labels of any family, of the profile's or another one."""
    ids = {key: f"secret {number}" for number, key in enumerate(IDS)}
    with profiled() as bridge:
        llm = LLMRecorder(bridge.meter_provider)
        llm.record_request(model="gpt-4o", provider="openai", duration=1, input_tokens=1, attributes=ids)
        agents = AgentRecorder(bridge.meter_provider)
        agents.record_execution(agent="planner", duration=1, tool_calls=3, attributes=ids)
        meter = bridge.meter_provider.get_meter("app")
        meter.create_histogram("http.server.request.duration", unit="s").record(1, {"http.route": "/", **ids})
        meter.create_counter("jobs").add(1, {"kind": "nightly", **ids})
        bodies = [scraped(bridge.server.url, accept) for accept in (None, OPENMETRICS)]
    for found in bodies:
        assert "jobs" in found.families
        assert not [line for line in found.lines if "secret" in line.partition(" # ")[0]]


def flood(provider: MeterProvider) -> None:
    """Names and codes without end, in everything that has some."""
    meter = provider.get_meter("flood")
    duration = meter.create_histogram("gen_ai.client.operation.duration", unit="s")
    agents = meter.create_histogram("gen_ai.invoke_agent.duration", unit="s")
    tools = meter.create_histogram("gen_ai.execute_tool.duration", unit="s")
    http = meter.create_histogram("http.server.request.duration", unit="s")
    for number in range(700):
        call = {"gen_ai.request.model": f"model {number}", "gen_ai.provider.name": f"p{number % 40}"}
        duration.record(1, {**call, "gen_ai.operation.name": f"op{number % 60}"})
        duration.record(1, {"gen_ai.provider.name": "openai", "error.type": f"app.Error{number}"})
        duration.record(1, {"gen_ai.provider.name": "openai", "error.type": str(number)})
        agents.record(1, {"gen_ai.agent.name": f"agent {number}"})
        tools.record(1, {"gen_ai.tool.name": f"tool {number}", "gen_ai.agent.name": f"agent {number}"})
        http.record(
            1,
            {
                "http.request.method": f"M{number % 30}",
                "http.route": f"/shop/{number}/{'x' * (number % 30)}",
                "http.response.status_code": number,
            },
        )


def test_a_flood_of_names_stays_within_the_table_of_cardinality() -> None:
    """50 models, 100 agents, 20 kinds of errors, the classes of statuses; no observation is lost."""
    with profiled(self_metrics=False) as bridge:
        flood(bridge.meter_provider)
        families = scraped(bridge.server.url).families
        assert bridge.reader.conflicts() == []

    def seen(name: str, label: str) -> set[str]:
        return {s.labels[label] for s in families[f"llmdevops_{name}"].samples if label in s.labels}

    assert len(seen("llm_requests", "model")) == 51  # without a model it is "", which is one of the 50
    assert seen("llm_requests", "model") == seen("llm_request_duration_seconds", "model")
    assert len(seen("llm_requests", "provider")) <= 21
    assert len(seen("agent_executions", "agent_type")) == 101
    assert len(seen("agent_tool_calls", "tool_name")) == 101
    assert len(seen("llm_errors", "error_type")) <= 20
    assert seen("http_requests", "status") == {"1xx", "2xx", "3xx", "4xx", "5xx", "other"}
    assert len(seen("http_requests", "path")) <= 101
    assert seen("http_requests", "method") == {"other"}
    assert {"other"} < seen("llm_requests", "model")
    totals = {
        name: sum(sample.value for sample in families[f"llmdevops_{name}"].samples)
        for name in ("llm_requests", "llm_errors", "agent_executions", "agent_tool_calls", "http_requests")
    }
    assert totals == {
        "llm_requests": 2100,
        "llm_errors": 1400,
        "agent_executions": 700,
        "agent_tool_calls": 700,
        "http_requests": 700,
    }


@pytest.mark.slow
def test_a_flood_of_series_ends_at_ten_thousand(caplog: pytest.LogCaptureFixture) -> None:
    """However many metrics have however many series, there are no more than 10,000 in all, 1000 of each."""
    caplog.set_level(logging.ERROR, "otel_prom_bridge")
    with profiled() as bridge:
        flood(bridge.meter_provider)
        meter = bridge.meter_provider.get_meter("app")
        for metric in range(12):
            counter = meter.create_counter(f"flood.{metric}")
            for number in range(1200):
                counter.add(1, {"number": number})
        families = scraped(bridge.server.url).families
    (count,) = families["llmdevops_metrics_series_count"].samples
    metrics = {s.labels["metric"]: s.value for s in families["otel_prom_bridge_metric_series"].samples}
    overflows = {
        name
        for name, family in families.items()
        for sample in family.samples
        if sample.labels.get("otel_metric_overflow")
    }
    assert 10_000 <= count.value <= 10_000 + len(overflows)
    assert max(metrics.values()) <= 1001
    assert sum(s.value for n, f in families.items() if n.startswith("flood_") for s in f.samples) == 14_400


@pytest.mark.parametrize("operation", ["invoke_agent", "search_memory", "execute_tool", "retrieval"])
def test_tokens_are_those_of_requests(operation: str) -> None:
    """What is no request of a model has no tokens and no errors there either: the families go together."""
    with profiled(self_metrics=False) as bridge:
        meter = bridge.meter_provider.get_meter("app")
        duration = meter.create_histogram("gen_ai.client.operation.duration", unit="s")
        tokens = meter.create_histogram("gen_ai.client.token.usage", unit="{token}")
        for name in ("chat", operation):
            call = {"gen_ai.operation.name": name, "gen_ai.request.model": "gpt-4o"}
            duration.record(1, {**call, "error.type": "timeout"})
            for kind in ("input", "output"):
                tokens.record(10, {**call, "gen_ai.token.type": kind})
            LLMRecorder(bridge.meter_provider).record_error(
                model="gpt-4o", provider=None, error_type="timeout", operation=name
            )
        families = scraped(bridge.server.url).families
    totals = {
        name: sum(s.value for s in families[f"llmdevops_llm_{name}"].samples if s.name.endswith(end))
        for name, end in (
            *(("requests", "_total"), ("errors", "_total"), ("tokens", "_total")),
            *(("input_tokens", "_total"), ("output_tokens", "_total")),
            *(("request_input_tokens", "_count"), ("request_output_tokens", "_count")),
        )
    }
    assert totals == {
        **{"requests": 1, "errors": 2, "tokens": 20, "input_tokens": 10, "output_tokens": 10},
        **{"request_input_tokens": 1, "request_output_tokens": 1},
    }


def test_uuids_in_names_are_one_value() -> None:
    """Agents, steps, tools and workflows that are named after one run each are told apart by their kind."""
    with profiled(self_metrics=False) as bridge:
        agents = AgentRecorder(bridge.meter_provider)
        for _ in range(3):
            agents.record_execution(agent=f"planner-{uuid4()}", duration=1)
            run = agents.execution(agent="planner")
            with run.step(f"Plan {uuid4()}"), run.tool(f"search_{uuid4().hex}"):
                pass
            with agents.workflow(str(uuid4()).upper()):
                pass
        families = scraped(bridge.server.url).families

    def seen(name: str, label: str) -> set[str]:
        return {s.labels[label] for s in families[f"llmdevops_agent_{name}"].samples if label in s.labels}

    assert seen("executions", "agent_type") == {"planner-{uuid}"}
    assert seen("steps", "step_type") == {"Plan {uuid}"}
    assert seen("tool_calls", "tool_name") == {"search_{uuid}"}
    assert seen("workflows", "workflow") == {"{uuid}"}


def test_labels_of_a_resource_that_says_nothing_are_empty() -> None:
    """An empty string, rather than a missing label; older names of attributes are understood, too."""
    with profiled({}, self_metrics=False) as bridge:
        bridge.meter_provider.get_meter("app").create_counter("jobs").add(1)
        (jobs,) = scraped(bridge.server.url).families["jobs"].samples
    assert jobs.labels == dict.fromkeys(COMMON, "")
    resource = {"deployment.environment": "dev", "cloud.region": "eu-west-1", "service.version": "1.2"}
    with profiled(resource, self_metrics=False) as bridge:
        bridge.meter_provider.get_meter("app").create_counter("jobs").add(1)
        (jobs,) = scraped(bridge.server.url).families["jobs"].samples
    assert jobs.labels == {
        **dict.fromkeys(COMMON, ""),
        "environment": "dev",
        "region": "eu-west-1",
        "version": "1.2",
    }
