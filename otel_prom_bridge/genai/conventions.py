"""The metrics that the recorders record: those of the semantic conventions for generative AI, then ours.

The conventions have two generations. The current one is what producers emit today: the names of release
1.41.0, which is the last one before generative AI moved to a repository of its own. The latest one is what
that repository has made of them since: names of their own for inference, and counters for tokens. It has had
no release yet; what stands here is commit 066d4a7f356f of open-telemetry/semantic-conventions-genai.

A test compares this with ``opentelemetry-semantic-conventions`` and ``opentelemetry-util-genai``.
"""

from __future__ import annotations

from otel_prom_bridge.genai.vocabulary import (
    AGENT_SECONDS,
    CALLS,
    MCP_SECONDS,
    SCORES,
    SECONDS,
    TOKEN_SECONDS,
    TOKENS,
    WORKFLOW_SECONDS,
)
from otel_prom_bridge.instruments import Metric

SCOPE = "otel_prom_bridge.genai"
# That of tokens whose cost is not recorded beside them. A bridge shows it, as it does of any other scope.
UNPAID_SCOPE = "otel_prom_bridge.genai.tokens"
SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"

_FIRST_CHUNK = (
    "Time to receive the first chunk, measured from when the client issues the generation request to when "
    "the first chunk is received in the response stream."
)
_PER_CHUNK = (
    "Time per output chunk, recorded for each chunk received after the first one, measured as the time "
    "elapsed from the end of the previous chunk to the end of the current chunk."
)


def _seconds(name: str, description: str, buckets: tuple[float, ...] = SECONDS) -> Metric:
    return Metric(name, "histogram", "s", description, buckets)


def _tokens(kind: str, description: str) -> Metric:
    return Metric(f"gen_ai.client.inference.usage.{kind}", "counter", "{token}", description)


def _tokens_per_operation(kind: str, description: str) -> Metric:
    name = f"gen_ai.client.inference.operation.{kind}"
    return Metric(name, "histogram", "{token}", description, TOKENS)


# Requests to models, in the current generation.
OPERATION_DURATION = _seconds("gen_ai.client.operation.duration", "GenAI operation duration.")
TIME_TO_FIRST_CHUNK = _seconds("gen_ai.client.operation.time_to_first_chunk", _FIRST_CHUNK)
TIME_PER_OUTPUT_CHUNK = _seconds("gen_ai.client.operation.time_per_output_chunk", _PER_CHUNK)
TOKEN_USAGE = Metric(
    "gen_ai.client.token.usage", "histogram", "{token}", "Number of input and output tokens used.", TOKENS
)

# The same in the latest generation.
INFERENCE_DURATION = _seconds("gen_ai.client.inference.duration", "GenAI inference duration.")
INFERENCE_FIRST_CHUNK = _seconds("gen_ai.client.inference.time_to_first_chunk", _FIRST_CHUNK)
INFERENCE_PER_CHUNK = _seconds("gen_ai.client.inference.time_per_output_chunk", _PER_CHUNK)
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
INPUT_DISTRIBUTION = _tokens_per_operation(
    "input_tokens", "The number of input (prompt) tokens used per inference operation."
)
OUTPUT_DISTRIBUTION = _tokens_per_operation(
    "output_tokens", "The number of output (completion) tokens used per inference operation."
)

# Agents, the same in both generations.
INVOKE_AGENT_DURATION = _seconds(
    "gen_ai.invoke_agent.duration", "The end-to-end duration of a single agent invocation.", AGENT_SECONDS
)
INFERENCE_CALLS = Metric(
    "gen_ai.invoke_agent.inference_calls",
    "histogram",
    "{inference_call}",
    "The number of inference calls of a single agent invocation.",
    CALLS,
)
TOOL_CALLS = Metric(
    "gen_ai.invoke_agent.tool_calls",
    "histogram",
    "{tool_call}",
    "The number of tool calls of a single agent invocation.",
    CALLS,
)
WORKFLOW_DURATION = _seconds(
    "gen_ai.invoke_workflow.duration", "The duration of a workflow execution.", WORKFLOW_SECONDS
)
TOOL_DURATION = _seconds("gen_ai.execute_tool.duration", "The duration of a single tool execution.")

MCP_CLIENT_DURATION = _seconds(
    "mcp.client.operation.duration",
    "The duration of the MCP request or notification as observed on the sender from the time it was sent"
    " until the response or ack is received.",
    MCP_SECONDS,
)
MCP_SERVER_DURATION = _seconds(
    "mcp.server.operation.duration",
    "MCP request or notification duration as observed on the receiver from the time it was received until the"
    " result or ack is sent.",
    MCP_SECONDS,
)

# What the conventions have no metric for, in their style.
ACTIVE_REQUESTS = Metric(
    "gen_ai.client.active_requests",
    "up_down_counter",
    "{request}",
    "The number of GenAI client operations in flight.",
)
# What is recorded without a time cannot be in a histogram of times, because a made-up time would falsify it.
# The next two count such records: the number of chunks is the count of both chunk histograms plus the first.
UNTIMED_CHUNKS = Metric(
    "gen_ai.client.untimed_chunks",
    "counter",
    "{chunk}",
    "Streamed chunks that were recorded without a time, and are in no histogram.",
)
UNTIMED_ERRORS = Metric(
    "gen_ai.client.untimed_errors",
    "counter",
    "{error}",
    "Errors that were recorded without a duration, and are in no histogram.",
)
# This is the name and the unit that openlit and litellm emit. The conventions' own metric (pull request #443)
# is not merged.
COST = Metric(
    "gen_ai.usage.cost", "counter", "USD", "What tokens cost, by the price table at the time of the request."
)
UNPRICED_REQUESTS = Metric(
    "gen_ai.client.unpriced_requests",
    "counter",
    "{request}",
    "Requests whose cost is not known: the price table has no such model, or no tokens were reported.",
)
_REPRICED = "Tokens that a library counts, and of which only its spans say that they have another price."
REPRICED_CACHE_READ = Metric(
    "gen_ai.client.repriced.cache_read.input_tokens", "counter", "{token}", _REPRICED
)
REPRICED_CACHE_WRITE = Metric(
    "gen_ai.client.repriced.cache_write.input_tokens", "counter", "{token}", _REPRICED
)
REPRICED_REASONING = Metric("gen_ai.client.repriced.reasoning.output_tokens", "counter", "{token}", _REPRICED)
REPRICED_COST = Metric(
    "gen_ai.client.repriced.cost",
    "counter",
    "USD",
    "What calls with a long input cost more than their tokens, which are shown by the price of short ones.",
)
PRICE_TABLE_INFO = Metric(
    "gen_ai.client.price_table.info",
    "gauge",
    "",
    "The price table in use has the value 1, one that was replaced 0.",
)
# OpenLLMetry's name, with a unit that the conventions would give it.
CHOICES = Metric(
    "gen_ai.client.generation.choices",
    "counter",
    "{choice}",
    "Answers of models, by the reason for which they ended.",
)
RETRIES = Metric(
    "gen_ai.client.retries", "counter", "{retry}", "Requests that were sent again, by the error before."
)
# The sibling of gen_ai.server.time_per_output_token, which a client cannot measure.
TIME_PER_OUTPUT_TOKEN = _seconds(
    "gen_ai.client.operation.time_per_output_token",
    "Time per output token: after the first chunk of a streamed response, otherwise of the whole response.",
    TOKEN_SECONDS,
)
RATE_LIMIT_REMAINING = Metric(
    "gen_ai.client.rate_limit.remaining",
    "gauge",
    "",
    "What is left of a rate limit of the provider, by its last answer.",
)
RATE_LIMIT = Metric(
    "gen_ai.client.rate_limit.limit", "gauge", "", "A rate limit of the provider, by its last answer."
)
GUARDRAIL_RESULTS = Metric(
    "gen_ai.guardrail.results", "counter", "{result}", "Checks of guardrails, by what came of them."
)
EVALUATION_SCORE = Metric(
    "gen_ai.evaluation.score", "histogram", "", "Scores that evaluations gave, by evaluation.", SCORES
)
EVALUATIONS = Metric(
    "gen_ai.evaluation.results", "counter", "{result}", "Results of evaluations, by label and error."
)
STEPS = Metric(
    "gen_ai.invoke_agent.steps",
    "histogram",
    "{step}",
    "The number of steps of a single agent invocation.",
    CALLS,
)
TOOL_CALLS_BY_STEP = Metric(
    "gen_ai.agent.step.tool_calls",
    "counter",
    "{tool_call}",
    "Calls of tools, by the number of the step in which the agent made them.",
)
STEP_DURATION = _seconds("gen_ai.agent.step.duration", "The duration of one step of an agent.")
ACTIVE_AGENTS = Metric(
    "gen_ai.agent.active", "up_down_counter", "{agent}", "The number of agent executions in progress."
)
