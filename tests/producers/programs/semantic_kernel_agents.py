"""Semantic Kernel, with diagnostics of its own."""

import asyncio
import os

os.environ["SEMANTICKERNEL_EXPERIMENTAL_GENAI_ENABLE_OTEL_DIAGNOSTICS"] = "true"

from openai import AsyncOpenAI
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
from semantic_kernel.functions import kernel_function


def instrument() -> None:
    """Variables turn it on."""


def work(run) -> None:
    class Tools:
        @kernel_function(description="Say the weather.")
        def weather(self, city: str) -> str:
            return run.weather(city)

        @kernel_function(description="Say nothing.")
        def broken(self, city: str) -> str:
            return run.broken(city)

    async def main() -> None:
        client = AsyncOpenAI(base_url=run.url, api_key="none", max_retries=0)
        for text in ("Use weather", "Use broken", "refuse 429"):
            service = OpenAIChatCompletion(ai_model_id="gpt-4o", async_client=client)
            agent = ChatCompletionAgent(service=service, name="meteo", plugins=[Tools()])
            run.agent()
            with run.failing():
                await agent.get_response(messages=text)

    asyncio.run(main())
