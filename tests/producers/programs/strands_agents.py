"""strands-agents, with telemetry of its own."""

from strands import Agent, tool
from strands.models.openai import OpenAIModel


def instrument() -> None:
    """It records with the global providers as it is."""


def work(run) -> None:
    @tool
    def weather(city: str) -> str:
        """Say the weather."""
        return run.weather(city)

    @tool
    def broken(city: str) -> str:
        """Say nothing."""
        return run.broken(city)

    for text in ("Use weather", "Use broken", "refuse 500"):
        client = {"api_key": "none", "base_url": run.url, "max_retries": 0}
        model = OpenAIModel(client_args=client, model_id="gpt-4o")
        run.agent()
        with run.failing():
            Agent(model=model, tools=[weather, broken], name="meteo", callback_handler=None)(text)
