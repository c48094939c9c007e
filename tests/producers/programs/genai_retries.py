"""OpenTelemetry's instrumentation of OpenAI's client, beside that of its client for HTTP, which retries."""

import openai
from clients import retried_call
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor


def instrument() -> None:
    OpenAIInstrumentor().instrument()
    HTTPX2ClientInstrumentor().instrument()


def work(run) -> None:
    retried_call(run, openai)
