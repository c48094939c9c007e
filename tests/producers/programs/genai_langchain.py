"""OpenTelemetry's instrumentation of LangChain."""

import langchains
from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor


def instrument() -> None:
    LangChainInstrumentor().instrument()


work = langchains.work
