"""OpenTelemetry's instrumentation of Google's client."""

from google import genai
from google.genai import types
from opentelemetry.instrumentation.google_genai import GoogleGenAiSdkInstrumentor

MODEL = "gemini-2.5-flash"


def instrument() -> None:
    GoogleGenAiSdkInstrumentor().instrument()


def work(run) -> None:
    client = genai.Client(
        api_key="none",
        http_options=types.HttpOptions(base_url=run.root, retry_options=types.HttpRetryOptions(attempts=1)),
    )
    ask = client.models.generate_content
    ask(model=MODEL, contents="What is a histogram?")
    ask(model=MODEL, contents="What is a cached histogram?")
    assert list(client.models.generate_content_stream(model=MODEL, contents="What is a stream?"))

    # The client calls tools itself, and the instrumentation wraps them.
    def weather(city: str) -> str:
        """Say the weather."""
        return run.weather(city)

    ask(
        model=MODEL,
        contents="Use weather",
        config=types.GenerateContentConfig(tools=[weather]),
    )
    for status in (429, 500):
        with run.failing():
            ask(model=MODEL, contents=f"refuse {status}")
