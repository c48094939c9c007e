"""A simulated LLM agent service and its metrics: no model, no API key, no network.

    pip install .
    python examples/demo.py                # until Ctrl-C
    python examples/demo.py --seconds 10   # stops by itself

Four agents work on tasks that come in over HTTP: they call models, use tools and their memory, and sometimes
fail. What they do is recorded under the names of the semantic conventions, by the recorders of
`otel_prom_bridge.genai` and by plain meters; the only line that knows of Prometheus is `start()`, and its
profile makes the families, labels and buckets of it. OTEL_EXPORTER_PROMETHEUS_PORT moves the endpoint from
port 9464.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from opentelemetry import metrics, trace
from opentelemetry.sdk.trace import TracerProvider

from otel_prom_bridge import Bridge, ConfigurationError, EndpointError, start
from otel_prom_bridge.genai import AgentRecorder, Execution, LLMRecorder
from otel_prom_bridge.profiles import load_profile
from otel_prom_bridge.testing import Synthetic

PROFILE = "llmdevops"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
AGENTS = ("planner", "researcher", "reviewer", "writer")
TOOLS = ("calculator", "code_search", "web_search")
# Provider, model, and its typical time to the first chunk. The last one is in no price table.
MODELS = (
    ("openai", "gpt-4o-mini", 0.2),
    ("openai", "o4-mini", 0.4),
    ("anthropic", "claude-sonnet-4-5", 0.3),
    ("ollama", "llama3.3", 0.1),
)


class RateLimitError(Exception):
    """What a client library raises."""


class InternalServerError(Exception):
    """Another one."""


ERRORS = (RateLimitError, InternalServerError, TimeoutError)

tracer = trace.get_tracer("demo")
meter = metrics.get_meter("demo")
llm = LLMRecorder()
agents = AgentRecorder()
# What instrumentation of a web framework records.
http_duration = meter.create_histogram("http.server.request.duration", unit="s")
http_active = meter.create_up_down_counter("http.server.active_requests", unit="{request}")

# What nothing in here really does is made up by a description: the sizes of what callers send and get.
_SIZE = {"kind": "histogram", "unit": "By", "rate": 8, "spread": 0.8}
_ROUTE = {"http.request.method": ["POST"], "http.route": ["/tasks/{task_id}"]}
callers = Synthetic(
    {
        "metrics": [
            {"name": "http.server.request.body.size", "median": 1500, "labels": _ROUTE, **_SIZE},
            {"name": "http.server.response.body.size", "median": 12000, "labels": _ROUTE, **_SIZE},
        ]
    }
)

LOOK_AT = """\
Look at:
  llmdevops_llm_requests_total            model calls by model, provider and status
  llmdevops_llm_request_duration_seconds  how long they take, with exemplars
  llmdevops_llm_tokens_total              tokens, input and output
  llmdevops_llm_cost_usd_total            what they cost
  llmdevops_llm_errors_total              what went wrong, by error_type
  llmdevops_agent_executions_total        agents at work
  llmdevops_http_requests_total           the service as its callers see it

Ask a Prometheus that scrapes it:
  sum by (model) (rate(llmdevops_llm_tokens_total[1m]))
  histogram_quantile(0.95, sum by (le, model) (rate(llmdevops_llm_request_duration_seconds_bucket[1m])))

Or have all of it drawn, with alerts:
  .venv/bin/pip install '.[dashboards]'
  .venv/bin/otel-prom-bridge dashboards --profile llmdevops --out monitoring
"""


class Service:
    """The agents, each in a thread of its own, until they are told to stop."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(agent,), daemon=True) for agent in AGENTS]

    def __enter__(self) -> Service:
        info = load_profile("llmdevops").instruments(meter)["llm.model.info"]
        for provider, model, _ in MODELS:
            info.record(1, {"model": model, "provider": provider})
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=1)

    def _work(self, agent: str) -> None:
        while not self._stop.is_set():
            self._request(agent)
            self._stop.wait(random.expovariate(4))

    def _request(self, agent: str) -> None:
        method = {"http.request.method": "POST"}
        http_active.add(1, method)
        started, status = time.perf_counter(), 200
        # Whatever is recorded inside of a sampled span gets the span's ids as an exemplar.
        with tracer.start_as_current_span("POST /tasks/{task_id}", kind=trace.SpanKind.SERVER):
            try:
                with agents.workflow("answer"):
                    self._task(agent)
            except ERRORS as error:
                status = 429 if isinstance(error, RateLimitError) else 502
            route = {**method, "http.route": "/tasks/{task_id}"}
            seconds = time.perf_counter() - started
            http_duration.record(seconds, {**route, "http.response.status_code": status})
        http_active.add(-1, method)

    def _task(self, agent: str) -> None:
        with tracer.start_as_current_span(f"invoke_agent {agent}"), agents.execution(agent=agent) as run:
            with run.memory("search_memory"):
                self._pause(0.01)
            with run.step("plan"):
                self._call_model(run)
            for _ in range(random.randint(0, 2)):
                with suppress(ValueError), run.step("act"):
                    self._use_tool(run)
            with run.step("answer"):
                self._call_model(run)
            with run.memory("create_memory"):
                self._pause(0.02)

    def _use_tool(self, run: Execution) -> None:
        with run.tool(random.choice(TOOLS), type="function"):
            self._pause(0.05)
            if random.random() < 0.1:
                raise ValueError("no result")

    def _call_model(self, run: Execution) -> None:
        run.inference_call()
        provider, model, typical = random.choice(MODELS)
        with (
            tracer.start_as_current_span(f"chat {model}", kind=trace.SpanKind.CLIENT),
            llm.call(model=model, provider=provider) as call,
        ):
            chunks = sum(1 for _ in call.stream(self._answer(typical)))
            given = random.randint(50, 4000)
            call.tokens(input=given, output=20 * chunks, cached=given // 2)
            if model == "o4-mini":
                call.tokens(reasoning=10 * chunks)

    def _answer(self, typical: float) -> Iterator[str]:
        """What a model streams; now and then it fails instead."""
        self._pause(typical)
        if random.random() < 0.06:
            raise random.choice(ERRORS)("the model has no answer")
        for _ in range(random.randint(2, 8)):
            yield "some words"
            self._pause(0.03)

    def _pause(self, typical: float) -> None:
        self._stop.wait(min(typical * random.lognormvariate(0, 0.7), 5))


def exemplar(bridge: Bridge) -> str:
    """A bucket with an exemplar, as the endpoint shows it; waits a while for the first."""
    for _ in range(50):
        lines = bridge.reader.expose(OPENMETRICS).body.decode().splitlines()
        found = [line for line in lines if "_llm_request_duration_" in line and "trace_id=" in line]
        if found:
            return found[0]
        time.sleep(0.1)
    return "(none so far: does an OTEL_ variable turn sampling or exemplars off?)"


def run(seconds: float | None) -> None:
    end = None if seconds is None else time.monotonic() + seconds
    with start(profile=PROFILE, resource={"service.name": "demo-agents"}) as bridge, Service():
        url = bridge.server.url
        print(f"A simulated LLM agent service has its metrics at\n\n  {url}\n\n{LOOK_AT}")
        print("With exemplars, which only OpenMetrics has:\n")
        print(f"  curl -sH 'Accept: {OPENMETRICS}' {url} | grep trace_id\n", flush=True)
        print("They lead from a bucket to a trace that is in it. One of them is now\n")
        print(f"  {exemplar(bridge)}\n\nCtrl-C ends it.", flush=True)
        while end is None or time.monotonic() < end:
            time.sleep(0.1)
            callers.step(meter, 0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description="a simulated LLM agent service and its metrics")
    parser.add_argument("--seconds", type=float, help="stop by itself after this time")
    seconds = parser.parse_args().seconds
    # No exporter: the demo only needs spans to have ids. They are sampled, as exemplars require.
    trace.set_tracer_provider(TracerProvider())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            run(seconds)
    except (ConfigurationError, EndpointError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
