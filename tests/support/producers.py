"""Real instrumentations, recorded under a profile; a script that test_real_producers runs.

`python tests/producers.py conventions|openllmetry PROFILE [direct]` prints JSON: what a scrape showed, and
which spans there are. Two instrumentations of one client cannot be in one process, nor OpenLLMetry's twice:
it keeps recording with the instruments that it had. Everything talks to a server on loopback.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fake_openai import CHAT_MODEL, EMBEDDING_MODEL, fake_openai
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from oracles import OPENMETRICS

from otel_prom_bridge import start

QUESTION = [{"role": "user", "content": "What is a histogram?"}]


def calls(base_url: str, truth: dict[str, Any]) -> None:
    """Two chats, one that streams, an embedding, and two that fail; what came back is the truth."""
    import openai  # here, since each process that runs tests reads all files, and this takes a second

    with openai.OpenAI(
        base_url=base_url,
        api_key="none",
        max_retries=0,
        timeout=5,
        http_client=openai.DefaultHttpxClient(trust_env=False),
    ) as client:
        usages = [
            client.chat.completions.create(model=CHAT_MODEL, messages=QUESTION).usage  # type: ignore[call-overload]
            for _ in range(2)
        ]
        with client.chat.completions.create(  # type: ignore[call-overload]
            model=CHAT_MODEL, messages=QUESTION, stream=True, stream_options={"include_usage": True}
        ) as stream:
            chunks = list(stream)
        usages.append(chunks[-1].usage)
        embedding = client.embeddings.create(model=EMBEDDING_MODEL, input=["a text"], encoding_format="float")
        for status in (429, 500):
            with suppress(openai.APIStatusError):
                client.chat.completions.create(model=f"{CHAT_MODEL}-{status}", messages=QUESTION)  # type: ignore[call-overload]
    truth["input"] = sum(usage.prompt_tokens for usage in usages)
    truth["output"] = sum(usage.completion_tokens for usage in usages)
    truth["embedded"] = embedding.usage.prompt_tokens
    truth["chunks"] = len(chunks)


def conventions(metrics: MeterProvider, tracer: TracerProvider, url: str, truth: dict[str, Any]) -> None:
    """OpenTelemetry's own instrumentation of the client, its handlers of agents, and pydantic-ai."""
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
    from opentelemetry.util.genai.handler import TelemetryHandler

    OpenAIInstrumentor().instrument(meter_provider=metrics, tracer_provider=tracer)
    calls(url, truth)
    handler = TelemetryHandler(meter_provider=metrics, tracer_provider=tracer)
    with handler.workflow("answer"), handler.invoke_local_agent(agent_name="planner"):
        with handler.tool("search", tool_type="function", agent_name="planner"):
            pass
        with suppress(TimeoutError), handler.tool("search", agent_name="planner"):
            raise TimeoutError
    with handler.invoke_remote_agent("openai", agent_name="remote"):
        pass
    pydantic_ai(metrics, tracer)


def pydantic_ai(metrics: MeterProvider, tracer: TracerProvider) -> None:
    """An agent with the test model: one answer after a call of a tool, one that streams."""
    from pydantic_ai import Agent
    from pydantic_ai.models.instrumented import InstrumentationSettings
    from pydantic_ai.models.test import TestModel

    Agent.instrument_all(InstrumentationSettings(meter_provider=metrics, tracer_provider=tracer))
    agent = Agent(TestModel(), name="meteorologist")

    @agent.tool_plain
    def weather(city: str) -> str:
        return f"sunny in {city}"

    agent.run_sync("How is the weather?")

    async def stream() -> None:
        async with agent.run_stream("And now?") as result:
            async for _ in result.stream_text():
                pass

    asyncio.run(stream())
    Agent.instrument_all(False)


def openllmetry(metrics: MeterProvider, tracer: TracerProvider, url: str, truth: dict[str, Any]) -> None:
    """OpenLLMetry's instrumentation of the client."""
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(meter_provider=metrics, tracer_provider=tracer)
    calls(url, truth)


def main(record: Callable[..., None], profile: str, recording: Any = "sdk") -> None:
    """Record under a profile, and print what a scrape shows."""
    spans, truth = InMemorySpanExporter(), {}  # type: ignore[var-annotated]
    tracer = TracerProvider(shutdown_on_exit=False)
    tracer.add_span_processor(SimpleSpanProcessor(spans))
    with (
        fake_openai() as url,
        start(
            profile=profile,
            recording=recording,
            port=0,
            addr="127.0.0.1",
            set_global=False,
            collect_interval=0,
        ) as bridge,
    ):
        record(bridge.meter_provider, tracer, url, truth)
        shown = bridge.reader.expose(OPENMETRICS)
        conflicts = [str(conflict) for conflict in bridge.reader.conflicts()]
    contexts = [span.context for span in spans.get_finished_spans() if span.context is not None]
    result = {
        "content_type": shown.content_type,
        "body": shown.body.decode(),
        "conflicts": conflicts,
        "spans": [(f"{context.trace_id:032x}", f"{context.span_id:016x}") for context in contexts],
        "truth": truth,
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main({"conventions": conventions, "openllmetry": openllmetry}[sys.argv[1]], *sys.argv[2:])
