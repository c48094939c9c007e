"""AutoGen, with traces of its own, and the instrumentation of the client, of whose calls it has none."""

import asyncio

from autogen_agentchat.agents import AssistantAgent
from autogen_ext.models.openai import OpenAIChatCompletionClient
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor


def instrument() -> None:
    OpenAIInstrumentor().instrument()


def work(run) -> None:
    def weather(city: str) -> str:
        """Say the weather."""
        return run.weather(city)

    def broken(city: str) -> str:
        """Say nothing."""
        return run.broken(city)

    async def main() -> None:
        for text in ("Use weather", "Use broken", "refuse 429"):
            client = OpenAIChatCompletionClient(
                model="gpt-4o", base_url=run.url, api_key="none", max_retries=0
            )
            agent = AssistantAgent(
                "meteo", model_client=client, tools=[weather, broken], reflect_on_tool_use=True
            )
            run.agent()
            with run.failing():
                await agent.run(task=text)

    asyncio.run(main())
