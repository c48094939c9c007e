"""What the programs of openai-agents have in common."""

import asyncio

from agents import Agent, OpenAIResponsesModel, Runner, function_tool
from openai import AsyncOpenAI


def work(run) -> None:
    """An agent with a tool, one whose tool fails, one whose model refuses."""

    async def main() -> None:
        client = AsyncOpenAI(base_url=run.url, api_key="none", max_retries=0)

        @function_tool
        def weather(city: str) -> str:
            """Say the weather."""
            return run.weather(city)

        @function_tool(failure_error_function=None)
        def broken(city: str) -> str:
            """Say nothing."""
            return run.broken(city)

        for text in ("Use weather", "Use broken", "refuse 429"):
            agent = Agent(name="meteo", model=OpenAIResponsesModel("gpt-4o", client), tools=[weather, broken])
            run.agent()
            with run.failing():
                await Runner.run(agent, text)
        await client.close()

    asyncio.run(main())
