"""The words of the conventions: attribute keys, values, bucket boundaries, and what a metric is said in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from otel_prom_bridge.instruments import InstrumentKind

Generation = Literal["current", "latest", "any"]
Source = Literal["semconv", "bridge"]

# Attribute keys.
OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
TOKEN_TYPE = "gen_ai.token.type"
TOKEN_MODALITY = "gen_ai.token.modality"
AGENT_NAME = "gen_ai.agent.name"
TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
WORKFLOW_NAME = "gen_ai.workflow.name"
PROMPT_NAME = "gen_ai.prompt.name"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
ERROR_TYPE = "error.type"
SERVICE_TIER = "openai.response.service_tier"
SYSTEM_FINGERPRINT = "openai.response.system_fingerprint"
MCP_METHOD = "mcp.method.name"
MCP_VERSION = "mcp.protocol.version"
MCP_RESOURCE = "mcp.resource.uri"  # unbounded, therefore opt-in
STEP_TYPE = "gen_ai.agent.step.type"  # ours
PRICE_TABLE_VERSION = "price_table.version"  # ours
CURRENCY = "currency"  # ours

# Values of gen_ai.operation.name.
INFERENCE = frozenset({"chat", "generate_content", "text_completion"})
EMBEDDINGS = frozenset({"embeddings"})
MEMORY = frozenset(
    {f"{verb}_memory" for verb in ("search", "create", "update", "upsert", "delete")}
    | {"create_memory_store", "delete_memory_store"}
)
AGENT = frozenset({"create_agent", "invoke_agent", "plan"})
TOOL = frozenset({"execute_tool"})
WORKFLOW = frozenset({"invoke_workflow"})

TOKEN_TYPES = ("input", "output")
# "A fallback error value to be used when the instrumentation doesn't define a custom value."
OTHER_ERROR = "_OTHER"

# Bucket boundaries. Seconds, except for tokens and calls.
SECONDS = tuple(0.01 * 2**step for step in range(14))
TOKENS = tuple(4**step for step in range(14))
AGENT_SECONDS = tuple(0.1 * 2**step for step in range(13))
WORKFLOW_SECONDS = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
CALLS = tuple(2**step for step in range(8))
TIME_PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
FIRST_TOKEN = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08),
    *(0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
MCP_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: what its instrument is created with, and which attributes its points have.

    ``latest_name`` is the name (or the names) that a metric of the current generation has in the latest one,
    for inference; other operations keep the current name.
    """

    name: str
    instrument: InstrumentKind
    unit: str
    description: str
    required: tuple[str, ...] = ()
    conditional: tuple[str, ...] = ()
    recommended: tuple[str, ...] = ()
    opt_in: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    generation: Generation = "any"
    latest_name: tuple[str, ...] = ()
    source: Source = "semconv"

    @property
    def attributes(self) -> tuple[str, ...]:
        """The keys of all attributes that its points may have, the required ones first."""
        return (*self.required, *self.conditional, *self.recommended, *self.opt_in)
