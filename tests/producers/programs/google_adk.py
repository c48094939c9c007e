"""Google's Agent Development Kit, with telemetry of its own."""

import asyncio
import os

from google.adk.agents import Agent
from google.adk.runners import InMemoryRunner
from google.genai import types


def instrument() -> None:
    """It records with the global providers as it is."""


def work(run) -> None:
    os.environ["GOOGLE_GEMINI_BASE_URL"] = run.root

    def weather(city: str) -> str:
        """Say the weather."""
        return run.weather(city)

    def broken(city: str) -> str:
        """Say nothing."""
        return run.broken(city)

    async def main() -> None:
        for text in ("Use weather", "Use broken", "refuse 400"):
            agent = Agent(name="meteo", model="gemini-2.5-flash", tools=[weather, broken])
            runner = InMemoryRunner(agent=agent, app_name="app")
            session = await runner.session_service.create_session(app_name="app", user_id="u")
            message = types.Content(role="user", parts=[types.Part(text=text)])
            run.agent()
            with run.failing():
                async for _ in runner.run_async(user_id="u", session_id=session.id, new_message=message):
                    pass

    asyncio.run(main())
