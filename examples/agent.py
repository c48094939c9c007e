"""An agent that records its executions, steps, tools, model calls, tokens and cost. No model, no network.

    pip install .
    python examples/agent.py

The recorders are on the OpenTelemetry API alone; `start()` is what makes them a Prometheus endpoint here, and
any other exporter would do. It ends by itself, and prints what a scrape shows of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

from otel_prom_bridge import start
from otel_prom_bridge.genai import AgentRecorder, Call, LLMRecorder

llm = LLMRecorder()
agents = AgentRecorder()

SHOWN = (
    "gen_ai_client_operation_duration_seconds_count",
    "gen_ai_client_operation_time_to_first_chunk_seconds_count",
    "gen_ai_client_token_usage_sum",
    "gen_ai_usage_cost_",
    "gen_ai_client_active_requests",
    "gen_ai_invoke_agent_duration_seconds_count",
    "gen_ai_invoke_agent_tool_calls_sum",
    "gen_ai_agent_step_duration_seconds_count",
    "gen_ai_execute_tool_duration_seconds_count",
)


def model(question: str) -> Iterator[dict[str, object]]:
    """A stand-in for the stream of a real client; usage comes with the last chunk."""
    for word in ("A", "histogram", "counts."):
        time.sleep(0.05)
        yield {"text": word}
    yield {"text": "", "usage": {"prompt": 40 * len(question), "completion": 30}}


def usage(call: Call, chunk: dict[str, dict[str, int]]) -> None:
    if "usage" in chunk:
        call.tokens(input=chunk["usage"]["prompt"], output=chunk["usage"]["completion"])


def ask(question: str) -> str:
    # The lambda sends the request, so that one that fails is recorded, too. The call ends with the stream,
    # however that ends; a `with` block around several things does the same.
    call = llm.call(model="gpt-4o-2024-08-06", provider="openai", observe=usage)
    return " ".join(str(chunk["text"]) for chunk in call.stream(lambda: model(question)))


@agents.tool("calculator", agent="planner", type="function")
def divide(left: int, right: int) -> float:
    return left / right


def work(task: str) -> str:
    with agents.execution(agent="planner") as run:
        with run.step("think"):
            run.inference_call()
            answer = ask(task)
        with run.step("act"):
            for right in (2, 0):
                run.tool_call()
                with suppress(ZeroDivisionError):  # it is recorded, with its type
                    divide(1, right)
        return answer


def main() -> None:
    with start(resource={"service.name": "agent"}) as bridge:
        for task in ("What is a histogram?", "And a gauge?"):
            print(work(task))
        lines = bridge.reader.expose().body.decode().splitlines()
        print("\n".join(line for line in lines if line.startswith(SHOWN)))


if __name__ == "__main__":
    main()
