"""What the programs of LangChain have in common: an agent with tools, and calls."""

from langchain.agents import create_agent
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI


def model(run) -> ChatOpenAI:
    """The client of LangChain."""
    return ChatOpenAI(model="gpt-4o", base_url=run.url, api_key="none", max_retries=0, stream_usage=True)


def work(run) -> None:
    """A call, a streamed one, one that is refused; an agent with a tool, and one whose tool fails."""
    client = model(run)
    client.invoke("What is a histogram?")
    client.invoke("What is a cached histogram?")
    assert list(client.stream("What is a stream?"))
    with run.failing():
        client.invoke("refuse 429")

    def weather(city: str) -> str:
        """Say the weather."""
        return run.weather(city)

    def broken(city: str) -> str:
        """Say nothing."""
        return run.broken(city)

    tools = [StructuredTool.from_function(tool) for tool in (weather, broken)]
    for name in ("weather", "broken"):
        run.agent()
        with run.failing():
            agent = create_agent(client, tools, name="meteo")
            agent.invoke({"messages": [{"role": "user", "content": f"Use {name}"}]})
