"""A simulated LLM agent service and its metrics: no model, no API key, no network.

    pip install otel-prom-bridge
    python examples/demo.py                # until Ctrl-C
    python examples/demo.py --seconds 10   # stops by itself

Four agents work on tasks: they call models, use tools and sometimes fail. What they record goes through plain
OpenTelemetry meters and spans, under the names of the semantic conventions for generative AI; the only line
that knows of Prometheus is `start()`. OTEL_EXPORTER_PROMETHEUS_PORT moves the endpoint from port 9464.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import threading
import time
from contextlib import suppress

from opentelemetry import metrics, trace
from opentelemetry.sdk.trace import TracerProvider

from otel_prom_bridge import Bridge, ConfigurationError, EndpointError, start

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
AGENTS = ("planner", "researcher", "reviewer", "writer")
TOOLS = ("calculator", "code_search", "web_search")
MODELS = (("openai", "gpt-4o-mini", 0.2), ("anthropic", "claude-sonnet-4-5", 0.5))  # and a typical duration
ERRORS = ("rate_limit", "timeout")

tracer = trace.get_tracer("demo")
meter = metrics.get_meter("demo")
# The buckets are those of the conventions. Without an advisory the SDK's would be used, which are made for
# milliseconds: everything up to 5 s would be in one bucket.
call_duration = meter.create_histogram(
    "gen_ai.client.operation.duration",
    unit="s",
    description="Duration of a model call",
    explicit_bucket_boundaries_advisory=[0.01 * 2**step for step in range(14)],
)
token_usage = meter.create_histogram(
    "gen_ai.client.token.usage",
    unit="{token}",
    description="Tokens that a model call took and gave",
    explicit_bucket_boundaries_advisory=[4**step for step in range(14)],
)
agent_duration = meter.create_histogram(
    "gen_ai.invoke_agent.duration",
    unit="s",
    description="Duration of an agent's work on one task",
    explicit_bucket_boundaries_advisory=[0.1 * 2**step for step in range(13)],
)
tool_calls = meter.create_counter("agent.tool_calls", unit="{call}", description="Tools that agents called")
active_agents = meter.create_up_down_counter(
    "agent.active", unit="{agent}", description="Agents that work on a task now"
)

LOOK_AT = """\
Look at:
  gen_ai_client_operation_duration_seconds  model calls by model; those that failed have an error_type
  gen_ai_client_token_usage                 tokens by model, input and output
  gen_ai_invoke_agent_duration_seconds      whole tasks by agent
  agent_tool_calls_total, agent_active      tools that were called, agents at work
  target_info                               the resource: which service this is
"""


class Service:
    """The agents, each in a thread of its own, until they are told to stop."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(agent,), daemon=True) for agent in AGENTS]

    def __enter__(self) -> Service:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=1)

    def _work(self, agent: str) -> None:
        while not self._stop.is_set():
            self._task(agent)
            self._stop.wait(random.expovariate(4))

    def _task(self, agent: str) -> None:
        attributes = {"gen_ai.agent.name": agent}
        active_agents.add(1, attributes)
        started = time.perf_counter()
        # Whatever is recorded inside of a sampled span gets the span's ids as an exemplar.
        with tracer.start_as_current_span(f"invoke_agent {agent}"):
            for _ in range(random.randint(1, 3)):
                self._call_model()
                if random.random() < 0.6:
                    tool_calls.add(1, {**attributes, "gen_ai.tool.name": random.choice(TOOLS)})
            agent_duration.record(time.perf_counter() - started, attributes)
        active_agents.add(-1, attributes)

    def _call_model(self) -> None:
        provider, model, typical = random.choice(MODELS)
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
        }
        with tracer.start_as_current_span(f"chat {model}", kind=trace.SpanKind.CLIENT):
            started = time.perf_counter()
            self._stop.wait(min(typical * random.lognormvariate(0, 0.7), 5))
            duration = time.perf_counter() - started
            if random.random() < 0.05:
                call_duration.record(duration, {**attributes, "error.type": random.choice(ERRORS)})
                return
            call_duration.record(duration, attributes)
            token_usage.record(random.randint(50, 4000), {**attributes, "gen_ai.token.type": "input"})
            token_usage.record(random.randint(5, 800), {**attributes, "gen_ai.token.type": "output"})


def exemplar(bridge: Bridge) -> str:
    """A bucket with an exemplar, as the endpoint shows it; waits a while for the first."""
    for _ in range(50):
        lines = bridge.reader.expose(OPENMETRICS).body.decode().splitlines()
        found = [line for line in lines if line.startswith("gen_ai_client_operation") and "trace_id=" in line]
        if found:
            return found[0]
        time.sleep(0.1)
    return "(none so far: does an OTEL_ variable turn sampling or exemplars off?)"


def run(seconds: float | None) -> None:
    end = None if seconds is None else time.monotonic() + seconds
    with start(resource={"service.name": "demo-agents"}) as bridge, Service():
        url = bridge.server.url
        print(f"A simulated LLM agent service has its metrics at\n\n  {url}\n\n{LOOK_AT}")
        print("With exemplars, which only OpenMetrics has:\n")
        print(f"  curl -sH 'Accept: {OPENMETRICS}' {url} | grep trace_id\n", flush=True)
        print("They lead from a bucket to a trace that is in it. One of them is now\n")
        print(f"  {exemplar(bridge)}\n\nCtrl-C ends it.", flush=True)
        while end is None or time.monotonic() < end:
            time.sleep(0.1)


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
