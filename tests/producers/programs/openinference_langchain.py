"""OpenInference's instrumentation of LangChain."""

import langchains
from openinference.instrumentation.langchain import LangChainInstrumentor


def instrument() -> None:
    LangChainInstrumentor().instrument()


work = langchains.work
