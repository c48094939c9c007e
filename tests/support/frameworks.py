"""Frameworks for agents, recorded with SpanMetrics; a script that test_real_frameworks runs.

`python frameworks.py NAME URL` runs an agent with one tool against the server at URL, and prints JSON: what a
scrape shows. The agent is called `meteo`, its tool `weather`. It asks the model twice, and the tool once.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from opentelemetry.sdk.trace import TracerProvider

import otel_prom_bridge

MODEL = "gpt-4o"


def strands(url: str) -> None:
    """strands-agents: metrics and spans of its own."""
    from strands import Agent, tool  # type: ignore[import-not-found]
    from strands.models.openai import OpenAIModel  # type: ignore[import-not-found]

    @tool  # type: ignore[untyped-decorator]
    def weather(city: str) -> str:
        """The weather."""
        return f"sunny in {city}"

    model = OpenAIModel(client_args={"api_key": "none", "base_url": url}, model_id=MODEL)
    Agent(model=model, tools=[weather], name="meteo", callback_handler=None)("How is the weather?")


def openai_agents(url: str) -> None:
    """openai-agents, traced by OpenInference."""
    from agents import (  # type: ignore[import-not-found]
        Agent,
        OpenAIChatCompletionsModel,
        Runner,
        function_tool,
        set_tracing_disabled,
    )
    from openai import AsyncOpenAI
    from openinference.instrumentation.openai_agents import (  # type: ignore[import-not-found]
        OpenAIAgentsInstrumentor,
    )

    OpenAIAgentsInstrumentor().instrument()
    set_tracing_disabled(False)

    @function_tool  # type: ignore[untyped-decorator]
    def weather(city: str) -> str:
        """The weather."""
        return f"sunny in {city}"

    model = OpenAIChatCompletionsModel(MODEL, AsyncOpenAI(base_url=url, api_key="none"))
    asyncio.run(Runner.run(Agent(name="meteo", model=model, tools=[weather]), "How is the weather?"))


def langchain(url: str) -> None:
    """An agent of LangGraph, traced by OpenInference."""
    from langchain.agents import create_agent  # type: ignore[import-not-found]
    from langchain_openai import ChatOpenAI  # type: ignore[import-not-found]
    from openinference.instrumentation.langchain import (  # type: ignore[import-not-found]
        LangChainInstrumentor,
    )

    LangChainInstrumentor().instrument()

    def weather(city: str) -> str:
        """The weather."""
        return f"sunny in {city}"

    model = ChatOpenAI(model=MODEL, base_url=url, api_key="none", max_retries=0)
    agent = create_agent(model, [weather], name="meteo")
    agent.invoke({"messages": [{"role": "user", "content": "How is the weather?"}]})


def smolagents(url: str) -> None:
    """An agent of smolagents, traced by OpenInference."""
    from openinference.instrumentation.smolagents import (  # type: ignore[import-not-found]
        SmolagentsInstrumentor,
    )
    from smolagents import OpenAIServerModel, ToolCallingAgent, tool  # type: ignore[import-not-found]

    SmolagentsInstrumentor().instrument()

    @tool  # type: ignore[untyped-decorator]
    def weather(city: str) -> str:
        """The weather.

        Args:
            city: where
        """
        return f"sunny in {city}"

    model = OpenAIServerModel(MODEL, api_base=url, api_key="none")
    ToolCallingAgent(tools=[weather], model=model, name="meteo", max_steps=2, verbosity_level=0).run(
        "Weather?"
    )


FRAMEWORKS = {item.__name__: item for item in (strands, openai_agents, langchain, smolagents)}


def main(name: str, url: str) -> None:
    """Run an agent, and print what a scrape shows."""
    from opentelemetry import trace

    os.environ |= {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": url}
    spans: list[dict[str, Any]] = []
    tracers = TracerProvider(shutdown_on_exit=False)
    trace.set_tracer_provider(tracers)
    tracers.add_span_processor(_Kept(spans))
    with otel_prom_bridge.start(
        port=0, addr="127.0.0.1", profile="llmdevops", span_metrics=True, collect_interval=0
    ) as bridge:
        try:
            FRAMEWORKS[name](url)
            error = ""
        except Exception as reason:
            error = repr(reason)
        body = bridge.reader.expose("application/openmetrics-text; version=1.0.0")
    json.dump(
        {"content_type": body.content_type, "body": body.body.decode(), "spans": spans, "error": error},
        sys.stdout,
    )


class _Kept:
    """Keeps what spans said, for whoever looks for the reason of a failure."""

    def __init__(self, spans: list[dict[str, Any]]) -> None:
        self._spans = spans

    def on_start(self, *_: object, **__: object) -> None: ...

    def _on_ending(self, span: Any) -> None: ...

    def on_end(self, span: Any) -> None:
        values = {key: str(value)[:60] for key, value in span.attributes.items() if len(str(value)) < 200}
        self._spans.append(
            {"name": span.name, "scope": span.instrumentation_scope.name, "attributes": values}
        )

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
