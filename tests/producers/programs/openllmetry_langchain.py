"""OpenLLMetry's instrumentation of LangChain."""

import langchains
from opentelemetry.instrumentation.langchain import LangchainInstrumentor


def instrument() -> None:
    LangchainInstrumentor().instrument()


work = langchains.work
