"""The histograms of the semantic conventions for generative AI and MCP, as their documents have them.

It is copied by hand from release 1.41.0 and from open-telemetry/semantic-conventions-genai at 066d4a7f356f.
It knows nothing of the product.
"""

from __future__ import annotations

from typing import NamedTuple

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
AGENT_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6)
WORKFLOW_SECONDS = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
CALLS = (1, 2, 4, 8, 16, 32, 64, 128)
PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
FIRST_TOKEN = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08),
    *(0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
MCP_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)


class Histogram(NamedTuple):
    """One histogram of the conventions."""

    name: str
    unit: str
    buckets: tuple[float, ...]


HISTOGRAMS = (
    Histogram("gen_ai.client.operation.duration", "s", SECONDS),
    Histogram("gen_ai.client.operation.time_to_first_chunk", "s", SECONDS),
    Histogram("gen_ai.client.operation.time_per_output_chunk", "s", SECONDS),
    Histogram("gen_ai.client.token.usage", "{token}", TOKENS),
    Histogram("gen_ai.client.inference.duration", "s", SECONDS),
    Histogram("gen_ai.client.inference.time_to_first_chunk", "s", SECONDS),
    Histogram("gen_ai.client.inference.time_per_output_chunk", "s", SECONDS),
    Histogram("gen_ai.client.inference.operation.input_tokens", "{token}", TOKENS),
    Histogram("gen_ai.client.inference.operation.output_tokens", "{token}", TOKENS),
    Histogram("gen_ai.server.request.duration", "s", SECONDS),
    Histogram("gen_ai.server.time_per_output_token", "s", PER_TOKEN),
    Histogram("gen_ai.server.time_to_first_token", "s", FIRST_TOKEN),
    Histogram("gen_ai.invoke_agent.duration", "s", AGENT_SECONDS),
    Histogram("gen_ai.invoke_agent.inference_calls", "{inference_call}", CALLS),
    Histogram("gen_ai.invoke_agent.tool_calls", "{tool_call}", CALLS),
    Histogram("gen_ai.invoke_workflow.duration", "s", WORKFLOW_SECONDS),
    Histogram("gen_ai.execute_tool.duration", "s", SECONDS),
    Histogram("mcp.client.operation.duration", "s", MCP_SECONDS),
    Histogram("mcp.server.operation.duration", "s", MCP_SECONDS),
    Histogram("mcp.client.session.duration", "s", MCP_SECONDS),
    Histogram("mcp.server.session.duration", "s", MCP_SECONDS),
)
BY_NAME = {histogram.name: histogram for histogram in HISTOGRAMS}
