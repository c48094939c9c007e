"""What the programs of openai-agents have in common: agents, a tool, a guardrail."""

import asyncio

from agents import Agent, GuardrailFunctionOutput, InputGuardrail, OpenAIResponsesModel, Runner, function_tool
from openai import AsyncOpenAI


def work(run) -> None:
    """An agent with a tool, one whose tool fails, one whose model refuses, and one that a guardrail stops."""

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

        def harmless(_context, _agent, text) -> GuardrailFunctionOutput:
            run.checked()
            return GuardrailFunctionOutput("looked at", tripwire_triggered="forbidden" in str(text))

        guardrail = InputGuardrail(harmless, run_in_parallel=False)
        for text in ("Use weather", "Use broken", "refuse 429", "Say what is forbidden"):
            agent = Agent(
                name="meteo",
                model=OpenAIResponsesModel("gpt-4o", client),
                tools=[weather, broken],
                input_guardrails=[guardrail],
            )
            run.agent()
            with run.failing():
                await Runner.run(agent, text)
        await client.close()

    asyncio.run(main())
