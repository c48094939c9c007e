"""What the programs of smolagents have in common."""

from smolagents import OpenAIServerModel, Tool, ToolCallingAgent


def work(run) -> None:
    """An agent with a tool, one whose tool fails, one whose model refuses."""

    class Weather(Tool):
        name = "weather"
        description = "Say the weather."
        inputs = {"city": {"type": "string", "description": "where"}}  # noqa: RUF012
        output_type = "string"

        def forward(self, city: str) -> str:
            return run.weather(city)

    class Broken(Weather):
        name = "broken"

        def forward(self, city: str) -> str:
            return run.broken(city)

    model = OpenAIServerModel("gpt-4o", api_base=run.url, api_key="none", client_kwargs={"max_retries": 0})
    for text in ("Use weather", "Use broken", "refuse 500"):
        agent = ToolCallingAgent(
            tools=[Weather(), Broken()], model=model, name="meteo", max_steps=3, verbosity_level=0
        )
        run.agent()
        with run.failing():
            agent.run(text)
            run.did["tools"] += 1  # the answer is given with a tool, too
