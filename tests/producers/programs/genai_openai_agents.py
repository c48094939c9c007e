"""OpenTelemetry's instrumentation of openai-agents, beside that of the client."""

import openai_agents
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.instrumentation.genai.openai_agents import OpenAIAgentsInstrumentor


def instrument() -> None:
    OpenAIAgentsInstrumentor().instrument()
    OpenAIInstrumentor().instrument()


work = openai_agents.work
