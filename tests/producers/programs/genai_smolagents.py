"""OpenTelemetry's instrumentation of smolagents."""

import smolagent
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.instrumentation.genai.smolagents import SmolagentsInstrumentor


def instrument() -> None:
    SmolagentsInstrumentor().instrument()
    OpenAIInstrumentor().instrument()


work = smolagent.work
