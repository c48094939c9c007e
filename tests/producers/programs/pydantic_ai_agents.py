"""pydantic-ai, with instrumentation of its own."""

from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


def instrument() -> None:
    Agent.instrument_all()


def work(run) -> None:
    for text in ("Use weather", "Use broken", "refuse 429", "What is a cached histogram?"):
        client = AsyncOpenAI(base_url=run.url, api_key="none", max_retries=0)
        tools = () if "histogram" in text else (run.weather, run.broken)
        model = OpenAIChatModel("gpt-4o", provider=OpenAIProvider(openai_client=client))
        agent = Agent(model, name="meteo", tools=tools)
        run.agent()
        with run.failing():
            agent.run_sync(text)
