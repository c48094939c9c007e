"""The semantic conventions for generative AI and MCP metrics, as data.

There are two generations. ``current`` is what producers emit today: the names of release 1.41.0, the last one
that the OpenTelemetry semantic conventions published before generative AI moved to a repository of its own.
``latest`` is what that repository (open-telemetry/semantic-conventions-genai, no release so far) has made of
them at :data:`LATEST_COMMIT`: names of their own for inference, and counters for tokens. ``any`` is the same
in both. What the conventions have nothing for has ``source="bridge"``.

A test compares this with the installed ``opentelemetry-semantic-conventions`` and
``opentelemetry-util-genai``.
"""

from __future__ import annotations

from otel_prom_bridge.genai.extensions import EXTENSIONS
from otel_prom_bridge.genai.vocabulary import (
    AGENT_NAME,
    AGENT_SECONDS,
    CALLS,
    ERROR_TYPE,
    FIRST_TOKEN,
    MCP_METHOD,
    MCP_RESOURCE,
    MCP_SECONDS,
    MCP_VERSION,
    OPERATION,
    PROMPT_NAME,
    PROVIDER,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    SECONDS,
    SERVER_ADDRESS,
    SERVER_PORT,
    SERVICE_TIER,
    SYSTEM_FINGERPRINT,
    TIME_PER_TOKEN,
    TOKEN_MODALITY,
    TOKEN_TYPE,
    TOKENS,
    TOOL_NAME,
    TOOL_TYPE,
    WORKFLOW_NAME,
    WORKFLOW_SECONDS,
    Generation,
    Metric,
)

SEMCONV_VERSION = "1.41.0"
SCHEMA_URL = f"https://opentelemetry.io/schemas/{SEMCONV_VERSION}"
LATEST_COMMIT = "066d4a7f356f8600de6f10c42874626ab88692fb"

_MODEL = (REQUEST_MODEL, SERVER_PORT)
_RECOMMENDED = (RESPONSE_MODEL, SERVER_ADDRESS)
_OPENAI = (*_RECOMMENDED, SERVICE_TIER, SYSTEM_FINGERPRINT)
_NETWORK = ("network.protocol.name", "network.protocol.version", "network.transport")
_SERVER = (SERVER_ADDRESS, SERVER_PORT)


def _seconds(
    name: str,
    description: str,
    *latest: str,
    generation: Generation = "any",
    error: bool = False,
    buckets: tuple[float, ...] = SECONDS,
) -> Metric:
    """A time that a client or a server of models measures."""
    return Metric(
        name,
        "histogram",
        "s",
        description,
        required=(OPERATION, PROVIDER),
        conditional=(*_MODEL, ERROR_TYPE) if error else _MODEL,
        recommended=_RECOMMENDED,
        buckets=buckets,
        generation=generation,
        latest_name=latest,
    )


def _tokens(kind: str, description: str) -> Metric:
    """A counter of tokens, new in the latest generation."""
    return Metric(
        f"gen_ai.client.inference.usage.{kind}",
        "counter",
        "{token}",
        description,
        required=(OPERATION, PROVIDER, TOKEN_MODALITY),
        conditional=_MODEL,
        recommended=_OPENAI,
        generation="latest",
    )


def _distribution(kind: str, description: str) -> Metric:
    """A histogram of tokens per operation, new in the latest generation."""
    return Metric(
        f"gen_ai.client.inference.operation.{kind}",
        "histogram",
        "{token}",
        description,
        required=(OPERATION, PROVIDER),
        conditional=(*_MODEL, ERROR_TYPE),
        recommended=_OPENAI,
        buckets=TOKENS,
        generation="latest",
    )


_FIRST_CHUNK = (
    "Time to receive the first chunk, measured from when the client issues the generation request to when "
    "the first chunk is received in the response stream."
)
_PER_CHUNK = (
    "Time per output chunk, recorded for each chunk received after the first one, measured as the time "
    "elapsed from the end of the previous chunk to the end of the current chunk."
)

INPUT_TOKENS = _tokens("input_tokens", "The number of input (prompt) tokens used, including cached tokens.")
OUTPUT_TOKENS = _tokens(
    "output_tokens", "The number of output (completion) tokens used, including reasoning tokens."
)
CACHE_READ_TOKENS = _tokens(
    "cache_read.input_tokens", "The number of input tokens served from a provider-managed cache."
)
CACHE_WRITE_TOKENS = _tokens(
    "cache_write.input_tokens", "The number of input tokens written to a provider-managed cache."
)
REASONING_TOKENS = _tokens("reasoning.output_tokens", "The number of output tokens used for reasoning.")
INPUT_DISTRIBUTION = _distribution(
    "input_tokens", "The number of input (prompt) tokens used per inference operation."
)
OUTPUT_DISTRIBUTION = _distribution(
    "output_tokens", "The number of output (completion) tokens used per inference operation."
)

OPERATION_DURATION = Metric(
    "gen_ai.client.operation.duration",
    "histogram",
    "s",
    "GenAI operation duration.",
    required=(OPERATION,),
    conditional=(PROVIDER, *_MODEL, ERROR_TYPE),
    recommended=_OPENAI,
    buckets=SECONDS,
    generation="current",
    latest_name=("gen_ai.client.inference.duration",),
)
INFERENCE_DURATION = Metric(
    "gen_ai.client.inference.duration",
    "histogram",
    "s",
    "GenAI inference duration.",
    required=(OPERATION, PROVIDER),
    conditional=(*_MODEL, ERROR_TYPE),
    recommended=_OPENAI,
    buckets=SECONDS,
    generation="latest",
)
TOKEN_USAGE = Metric(
    "gen_ai.client.token.usage",
    "histogram",
    "{token}",
    "Number of input and output tokens used.",
    required=(OPERATION, PROVIDER, TOKEN_TYPE),
    conditional=_MODEL,
    recommended=_OPENAI,
    buckets=TOKENS,
    generation="current",
    latest_name=tuple(
        metric.name for metric in (INPUT_TOKENS, OUTPUT_TOKENS, INPUT_DISTRIBUTION, OUTPUT_DISTRIBUTION)
    ),
)
TIME_TO_FIRST_CHUNK = _seconds(
    "gen_ai.client.operation.time_to_first_chunk",
    _FIRST_CHUNK,
    "gen_ai.client.inference.time_to_first_chunk",
    generation="current",
)
TIME_PER_OUTPUT_CHUNK = _seconds(
    "gen_ai.client.operation.time_per_output_chunk",
    _PER_CHUNK,
    "gen_ai.client.inference.time_per_output_chunk",
    generation="current",
)
INFERENCE_FIRST_CHUNK = _seconds(
    "gen_ai.client.inference.time_to_first_chunk", _FIRST_CHUNK, generation="latest"
)
INFERENCE_PER_CHUNK = _seconds(
    "gen_ai.client.inference.time_per_output_chunk", _PER_CHUNK, generation="latest"
)
SERVER_DURATION = _seconds(
    "gen_ai.server.request.duration",
    "Generative AI server request duration such as time-to-last byte or last output token.",
    error=True,
)
SERVER_PER_TOKEN = _seconds(
    "gen_ai.server.time_per_output_token",
    "Time per output token generated after the first token for successful responses.",
    buckets=TIME_PER_TOKEN,
)
SERVER_FIRST_TOKEN = _seconds(
    "gen_ai.server.time_to_first_token",
    "Time to generate first token for successful responses.",
    buckets=FIRST_TOKEN,
)

INVOKE_AGENT_DURATION = Metric(
    "gen_ai.invoke_agent.duration",
    "histogram",
    "s",
    "The end-to-end duration of a single agent invocation.",
    conditional=(AGENT_NAME, ERROR_TYPE),
    recommended=(REQUEST_MODEL,),  # of agents with a single model
    buckets=AGENT_SECONDS,
)
INFERENCE_CALLS = Metric(
    "gen_ai.invoke_agent.inference_calls",
    "histogram",
    "{inference_call}",
    "The number of inference calls of a single agent invocation.",
    recommended=(AGENT_NAME,),
    buckets=CALLS,
)
TOOL_CALLS = Metric(
    "gen_ai.invoke_agent.tool_calls",
    "histogram",
    "{tool_call}",
    "The number of tool calls of a single agent invocation.",
    recommended=(AGENT_NAME,),
    buckets=CALLS,
)
WORKFLOW_DURATION = Metric(
    "gen_ai.invoke_workflow.duration",
    "histogram",
    "s",
    "The duration of a workflow execution.",
    conditional=(WORKFLOW_NAME, ERROR_TYPE),
    buckets=WORKFLOW_SECONDS,
)
TOOL_DURATION = Metric(
    "gen_ai.execute_tool.duration",
    "histogram",
    "s",
    "The duration of a single tool execution.",
    required=(TOOL_NAME,),
    conditional=(AGENT_NAME, ERROR_TYPE),
    recommended=(TOOL_TYPE,),
    buckets=SECONDS,
)


def _mcp(name: str, description: str) -> Metric:
    operation = name.endswith(".operation.duration")
    conditional = (ERROR_TYPE, TOOL_NAME, PROMPT_NAME, "rpc.response.status_code")
    recommended = (OPERATION, MCP_VERSION, "jsonrpc.protocol.version", *_NETWORK)
    return Metric(
        name,
        "histogram",
        "s",
        description,
        required=(MCP_METHOD,) if operation else (),
        conditional=conditional if operation else (ERROR_TYPE,),
        recommended=(
            *(recommended if operation else (MCP_VERSION, *_NETWORK)),
            *(_SERVER if name.startswith("mcp.client.") else ()),
        ),
        opt_in=(MCP_RESOURCE,) if operation else (),
        buckets=MCP_SECONDS,
    )


_MCP = (
    _mcp(
        "mcp.client.operation.duration",
        "The duration of the MCP request or notification as observed on the sender from the time it was sent "
        "until the response or ack is received.",
    ),
    _mcp(
        "mcp.server.operation.duration",
        "MCP request or notification duration as observed on the receiver from the time it was received "
        "until the result or ack is sent.",
    ),
    _mcp("mcp.client.session.duration", "The duration of the MCP session as observed on the MCP client."),
    _mcp("mcp.server.session.duration", "The duration of the MCP session as observed on the MCP server."),
)

_SEMCONV = (
    *(OPERATION_DURATION, TOKEN_USAGE, TIME_TO_FIRST_CHUNK, TIME_PER_OUTPUT_CHUNK),
    *(INFERENCE_DURATION, INFERENCE_FIRST_CHUNK, INFERENCE_PER_CHUNK),
    *(INPUT_TOKENS, OUTPUT_TOKENS, CACHE_READ_TOKENS, CACHE_WRITE_TOKENS, REASONING_TOKENS),
    *(INPUT_DISTRIBUTION, OUTPUT_DISTRIBUTION),
    *(SERVER_DURATION, SERVER_PER_TOKEN, SERVER_FIRST_TOKEN),
    *(INVOKE_AGENT_DURATION, INFERENCE_CALLS, TOOL_CALLS, WORKFLOW_DURATION, TOOL_DURATION),
    *_MCP,
)
METRICS = {metric.name: metric for metric in (*_SEMCONV, *EXTENSIONS)}
"""Every metric by its name: those of the conventions, then ours."""
