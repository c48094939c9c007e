"""OpenInference's instrumentation of smolagents."""

import smolagent
from openinference.instrumentation.smolagents import SmolagentsInstrumentor


def instrument() -> None:
    SmolagentsInstrumentor().instrument()


work = smolagent.work
