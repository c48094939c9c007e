"""Which attribute keys are identifiers: those of the conventions, and how applications spell theirs."""

from __future__ import annotations

import importlib
import pkgutil

import opentelemetry.semconv._incubating.attributes as incubating
import opentelemetry.semconv.attributes as stable
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_prom_bridge.rules import is_identifier

# Of the semantic conventions. All others of the installed version are labels.
SEMCONV = {
    "aws.extended_request_id",
    "aws.request_id",
    "az.service_request_id",
    "azure.service.request.id",
    "cicd.pipeline.run.id",
    "cicd.pipeline.task.run.id",
    "enduser.id",
    "enduser.pseudo.id",
    "faas.invocation_id",
    "gen_ai.conversation.id",
    "gen_ai.response.id",
    "gen_ai.tool.call.id",
    "jsonrpc.request.id",
    "mcp.session.id",
    "message.id",
    "messaging.message.conversation_id",
    "messaging.message.id",
    # users and threads of the operating system: the rule does not tell them from the application's
    "process.real_user.id",
    "process.saved_user.id",
    "process.user.id",
    "thread.id",
    "rpc.jsonrpc.request_id",
    "rpc.message.id",
    "session.id",
    "session.previous_id",
    "user.id",
}

SPELLINGS = [
    *("user_id", "userId", "userID", "UserId", "USER_ID", "user-id", "userid", "app.user.id", "end_user_id"),
    *("sessionID", "session_uuid", "session.guid", "previous_session_id", "sessionid", "sessionUUID"),
    *("x-request-id", "http.request.id", "request.id", "HTTPRequestId", "x-amzn-requestid"),
    *("http.request.header.x-request-id", "trace_id", "traceId", "trace.id", "span.id", "parent_span_id"),
    *(
        "event_loop_cycle_id",
        "tool_use_id",
        "toolUseId",
        "tooluseid",
        "run_id",
        "checkpoint_id",
        "message_id",
    ),
    *("batch_id", "file_id", "langgraph.checkpoint.id", "ai.runId"),
    *("tool_call_id", "toolCallId", "toolcallid", "call_id", "response_id", "thread_id", "conversationId"),
    *("X-Request-ID", "langfuse.session.id", "x" * 100_000 + ".user.id"),
]

LABELS = [
    *(
        "gen_ai.agent.id",
        "service.instance.id",
        "host.id",
        "deployment.id",
        "cloud.account.id",
        "customer.id",
    ),
    *(
        "tenant.id",
        "http.request.method",
        "gen_ai.request.model",
        "user.name",
        "user.roles",
        "user_agent.name",
    ),
    *("grid", "valid", "android", "paid", "id", "uuid", "ID", "previous.id", "recall.id", "superuser.id"),
    *(
        "requestidentity",
        "user.identity",
        "user",
        "session",
        "trace",
        "id.user",
        "",
        "._-",
        "größe",
        "\ud800",
    ),
]


def semconv_keys() -> set[str]:
    """Every attribute key of the installed semantic conventions."""
    modules = [
        importlib.import_module(f"{package.__name__}.{module.name}")
        for package in (stable, incubating)
        for module in pkgutil.iter_modules(package.__path__)
    ]
    return {
        value
        for module in modules
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }


def test_semantic_conventions() -> None:
    """Of all attributes of the conventions, exactly these are no labels by default."""
    keys = semconv_keys()
    assert len(keys) > 800
    assert {key for key in keys if is_identifier(key)} == SEMCONV


@pytest.mark.parametrize("key", SPELLINGS, ids=lambda key: key[-40:])
def test_spellings(key: str) -> None:
    """An identifier is found in every usual spelling."""
    assert is_identifier(key)


@pytest.mark.parametrize("key", LABELS)
def test_labels(key: str) -> None:
    """Ids of what there are few of, and words that only end alike, stay labels."""
    assert not is_identifier(key)


@given(st.text())
def test_any_key(key: str) -> None:
    """Every string is a key."""
    assert is_identifier(key) in (True, False)
