"""pydantic-ai, beside the instrumentation of its client for HTTP: the client retries."""

from openai import AsyncOpenAI
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


def instrument() -> None:
    Agent.instrument_all()
    HTTPX2ClientInstrumentor().instrument()


def work(run) -> None:
    client = AsyncOpenAI(base_url=run.url, api_key="none", max_retries=2)
    model = OpenAIChatModel("gpt-4o", provider=OpenAIProvider(openai_client=client))
    run.agent()
    Agent(model, name="meteo").run_sync("Be busy twice")
