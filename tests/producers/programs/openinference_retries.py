"""OpenInference's instrumentation of LangChain, beside that of the client for HTTP: its client retries."""

from langchain_openai import ChatOpenAI
from openinference.instrumentation.langchain import LangChainInstrumentor
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor


def instrument() -> None:
    LangChainInstrumentor().instrument()
    HTTPX2ClientInstrumentor().instrument()


def work(run) -> None:
    ChatOpenAI(model="gpt-4o", base_url=run.url, api_key="none", max_retries=2).invoke("Be busy twice")
