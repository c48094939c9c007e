"""Microsoft's Agent Framework, with telemetry of its own."""

import asyncio

from agent_framework import Agent, tool
from agent_framework.observability import enable_instrumentation
from agent_framework.openai import OpenAIChatCompletionClient
from openai import AsyncOpenAI


def instrument() -> None:
    enable_instrumentation()


def work(run) -> None:
    @tool
    def weather(city: str) -> str:
        """Say the weather."""
        return run.weather(city)

    @tool
    def broken(city: str) -> str:
        """Say nothing."""
        return run.broken(city)

    async def main() -> None:
        openai = AsyncOpenAI(base_url=run.url, api_key="none", max_retries=0)
        for text in ("Use weather", "Use broken", "refuse 429"):
            client = OpenAIChatCompletionClient(model="gpt-4o", async_client=openai)
            run.agent()
            with run.failing():
                await Agent(client=client, name="meteo", tools=[weather, broken]).run(text)

    asyncio.run(main())
