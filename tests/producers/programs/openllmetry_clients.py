"""OpenLLMetry's instrumentations of the clients of OpenAI and Anthropic."""

import anthropic
import openai
from clients import anthropic_calls, openai_calls
from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor
from opentelemetry.instrumentation.openai import OpenAIInstrumentor


def instrument() -> None:
    OpenAIInstrumentor().instrument()
    AnthropicInstrumentor().instrument()


def work(run) -> None:
    openai_calls(run, openai)
    anthropic_calls(run, anthropic)
