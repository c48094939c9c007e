"""OpenInference's instrumentation of openai-agents."""

import openai_agents
from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor


def instrument() -> None:
    OpenAIAgentsInstrumentor().instrument()


work = openai_agents.work
