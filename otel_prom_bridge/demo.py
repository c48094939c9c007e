"""A simulated LLM agent service: no model, no API key, no network.

Four agents work on tasks that come in over HTTP: they call models, use tools and their memory, and sometimes
fail. What they do is recorded under the names of the semantic conventions, by the recorders of
``otel_prom_bridge.genai`` and by plain meters; a profile makes the families, labels and buckets of it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from opentelemetry import metrics, trace

from otel_prom_bridge.genai import AgentRecorder, Execution, LLMRecorder
from otel_prom_bridge.profiles import load_profile
from otel_prom_bridge.testing import Synthetic

PROFILE = "llmdevops"
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

# What nothing in here really does is made up by a description: the sizes of what callers send and get.
_SIZE = {"kind": "histogram", "unit": "By", "rate": 8, "spread": 0.8}
_ROUTE = {"http.request.method": ["POST"], "http.route": ["/tasks/{task_id}"]}
CALLERS = {
    "metrics": [
        {"name": "http.server.request.body.size", "median": 1500, "labels": _ROUTE, **_SIZE},
        {"name": "http.server.response.body.size", "median": 12000, "labels": _ROUTE, **_SIZE},
    ]
}
_CALLS = 0.5  # how often callers are made up, in seconds


class Service:
    """The agents, each in a thread of its own, until they are told to stop.

    ``wait`` lets seconds pass, and ``clock`` says how many have passed: the real ones, if nobody says others.
    """

    def __init__(
        self,
        *,
        meter_provider: metrics.MeterProvider | None = None,
        tracer_provider: trace.TracerProvider | None = None,
        wait: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._clock = clock
        self._tracer = trace.get_tracer("demo", tracer_provider=tracer_provider)
        self._llm = LLMRecorder(meter_provider)
        self._agents = AgentRecorder(meter_provider)
        self._meter = metrics.get_meter("demo", meter_provider=meter_provider)
        self._make_instruments(self._meter)
        works = [lambda agent=agent: self._work(agent) for agent in AGENTS]
        self._threads = [threading.Thread(target=work, daemon=True) for work in (*works, self._call)]

    def _make_instruments(self, meter: metrics.Meter) -> None:
        # What instrumentation of a web framework records.
        self._http_duration = meter.create_histogram("http.server.request.duration", unit="s")
        self._http_active = meter.create_up_down_counter("http.server.active_requests", unit="{request}")
        # What instrumentation of a library for embeddings and search records: tokens, and no costs.
        self._operations = meter.create_histogram("gen_ai.client.operation.duration", unit="s")
        self._tokens = meter.create_histogram("gen_ai.client.token.usage", unit="{token}")
        # The second one is of the server of the tools, which is in this process, too.
        self._mcp = [
            meter.create_histogram(f"mcp.{side}.operation.duration", unit="s")
            for side in ("client", "server")
        ]

    def __enter__(self) -> Service:
        info = load_profile(PROFILE).instruments(self._meter)["llm.model.info"]
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
            self._wait(random.expovariate(4))

    def _call(self) -> None:
        callers = Synthetic(CALLERS)
        while not self._stop.is_set():
            self._wait(_CALLS)
            callers.step(self._meter, _CALLS)

    def _request(self, agent: str) -> None:
        method = {"http.request.method": "POST"}
        self._http_active.add(1, method)
        started, status = self._clock(), 200
        # Whatever is recorded inside of a sampled span gets the span's ids as an exemplar.
        with self._tracer.start_as_current_span("POST /tasks/{task_id}", kind=trace.SpanKind.SERVER):
            try:
                with self._agents.workflow("answer"):
                    self._task(agent)
            except ERRORS as error:
                status = 429 if isinstance(error, RateLimitError) else 502
            route = {**method, "http.route": "/tasks/{task_id}"}
            seconds = self._clock() - started
            self._http_duration.record(seconds, {**route, "http.response.status_code": status})
        self._http_active.add(-1, method)

    def _task(self, agent: str) -> None:
        with (
            self._tracer.start_as_current_span(f"invoke_agent {agent}"),
            self._agents.execution(agent=agent) as run,
        ):
            with run.memory("search_memory"):
                self._pause(0.01)
            self._search(agent)
            with run.step("plan"):
                self._call_model(run)
            for _ in range(random.randint(0, 2)):
                with suppress(ValueError), run.step("act"):
                    self._use_tool(run)
            with run.step("answer"):
                self._call_model(run)
            self._llm.record_guardrail(
                "personal_data", random.choices(("pass", "modify", "block"), (95, 4, 1))[0]
            )
            _, model, _ = random.choice(MODELS)
            if random.random() < 0.1:  # the evaluation itself
                self._llm.record_evaluation("Relevance", error_type=TimeoutError, model=model)
            else:
                score = random.betavariate(8, 2)
                label = "pass" if score > 0.5 else "fail"
                self._llm.record_evaluation("Relevance", score, label=label, model=model)

    def _search(self, agent: str) -> None:
        """Look something up, with embeddings of a model that has a price, and of one that has none."""
        with self._tracer.start_as_current_span("retrieval"):
            for model in ("text-embedding-3-small", "house-embeddings"):
                asked = {"gen_ai.request.model": model, "gen_ai.operation.name": "embeddings"}
                asked |= {"gen_ai.provider.name": "openai"}
                self._tokens.record(random.randint(10, 200), {**asked, "gen_ai.token.type": "input"})
            found: dict[str, str] = {"gen_ai.operation.name": "retrieval", "gen_ai.provider.name": "house"}
            failed = {"error.type": "TimeoutError"} if random.random() < 0.2 else {}
            self._operations.record(random.random(), {**found, **failed})
            # An agent sums up what its calls used. That is in a family of its own, so nothing is added twice.
            whole = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent}
            whole |= {"gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini"}
            self._tokens.record(random.randint(100, 900), {**whole, "gen_ai.token.type": "input"})

    def _use_tool(self, run: Execution) -> None:
        tool, started = random.choice(TOOLS), self._clock()
        call, failed = {"mcp.method.name": "tools/call", "gen_ai.tool.name": tool}, {}
        try:
            with run.tool(tool, type="function"):
                self._pause(0.05)
                if random.random() < 0.1:
                    failed = {"error.type": "tool_error"}
                    raise ValueError("no result")
        finally:
            for duration in self._mcp:
                duration.record(self._clock() - started, {**call, **failed})

    def _call_model(self, run: Execution) -> None:
        run.inference_call()
        provider, model, typical = random.choice(MODELS)
        with (
            self._tracer.start_as_current_span(f"chat {model}", kind=trace.SpanKind.CLIENT),
            self._llm.call(model=model, provider=provider) as call,
        ):
            if random.random() < 0.05:
                call.retry(random.choice(ERRORS))
            chunks = sum(1 for _ in call.stream(self._answer(typical)))
            call.finish_reasons(
                *random.choices(("stop", "tool_calls", "length", "content_filter"), (80, 15, 4, 1))
            )
            call.rate_limits(self._headers())
            given = random.randint(50, 4000)
            call.tokens(input=given, output=20 * chunks, cached=given // 2)
            if model == "o4-mini":
                call.tokens(reasoning=10 * chunks)

    def _headers(self) -> dict[str, str]:
        """What a provider's answer says of its limits."""
        return {
            "x-ratelimit-limit-requests": "600",
            "x-ratelimit-remaining-requests": str(random.randint(300, 600)),
            "x-ratelimit-limit-tokens": "200000",
            "x-ratelimit-remaining-tokens": str(random.randint(90_000, 200_000)),
        }

    def _answer(self, typical: float) -> Iterator[str]:
        """What a model streams; now and then it fails instead."""
        self._pause(typical)
        if random.random() < 0.06:
            raise random.choice(ERRORS)("the model has no answer")
        for _ in range(random.randint(2, 8)):
            yield "some words"
            self._pause(0.03)

    def _pause(self, typical: float) -> None:
        self._wait(min(typical * random.lognormvariate(0, 0.7), 5))
