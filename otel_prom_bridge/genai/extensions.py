"""What the recorders emit and the conventions have no metric for, in the conventions' style."""

from __future__ import annotations

from otel_prom_bridge.genai.vocabulary import (
    AGENT_NAME,
    CURRENCY,
    ERROR_TYPE,
    OPERATION,
    PRICE_TABLE_VERSION,
    PROVIDER,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    SECONDS,
    SERVER_ADDRESS,
    SERVER_PORT,
    STEP_TYPE,
    Metric,
)

_REQUEST = (OPERATION, PROVIDER, REQUEST_MODEL)

ACTIVE_REQUESTS = Metric(
    "gen_ai.client.active_requests",
    "up_down_counter",
    "{request}",
    "The number of GenAI client operations in flight.",
    conditional=_REQUEST,
    source="bridge",
)
# What is recorded without a time cannot be in a histogram of times: a made-up one would falsify it. These two
# count it, so that "chunks" is the count of both chunk histograms plus the first of these.
UNTIMED_CHUNKS = Metric(
    "gen_ai.client.untimed_chunks",
    "counter",
    "{chunk}",
    "Streamed chunks that were recorded without a time, and are in no histogram.",
    conditional=_REQUEST,
    source="bridge",
)
UNTIMED_ERRORS = Metric(
    "gen_ai.client.untimed_errors",
    "counter",
    "{error}",
    "Errors that were recorded without a duration, and are in no histogram.",
    required=(ERROR_TYPE,),
    conditional=_REQUEST,
    source="bridge",
)
# The name and unit that openlit and litellm emit. The conventions' own (pull request #443) is not merged.
COST = Metric(
    "gen_ai.usage.cost",
    "counter",
    "USD",
    "What tokens cost, by the price table at the time of the request.",
    conditional=(*_REQUEST, SERVER_PORT),
    recommended=(RESPONSE_MODEL, SERVER_ADDRESS),
    source="bridge",
)
UNPRICED_REQUESTS = Metric(
    "gen_ai.client.unpriced_requests",
    "counter",
    "{request}",
    "Requests whose cost is not known: the price table has no such model, or no tokens were reported.",
    conditional=(REQUEST_MODEL,),
    source="bridge",
)
PRICE_TABLE_INFO = Metric(
    "gen_ai.client.price_table.info",
    "gauge",
    "",
    "The price table in use has the value 1, one that was replaced 0.",
    required=(PRICE_TABLE_VERSION, CURRENCY),
    source="bridge",
)
STEP_DURATION = Metric(
    "gen_ai.agent.step.duration",
    "histogram",
    "s",
    "The duration of one step of an agent.",
    required=(STEP_TYPE,),
    conditional=(AGENT_NAME, ERROR_TYPE),
    buckets=SECONDS,
    source="bridge",
)
ACTIVE_AGENTS = Metric(
    "gen_ai.agent.active",
    "up_down_counter",
    "{agent}",
    "The number of agent executions in progress.",
    conditional=(AGENT_NAME,),
    source="bridge",
)

EXTENSIONS = (
    *(ACTIVE_REQUESTS, UNTIMED_CHUNKS, UNTIMED_ERRORS),
    *(COST, UNPRICED_REQUESTS, PRICE_TABLE_INFO),
    *(STEP_DURATION, ACTIVE_AGENTS),
)
