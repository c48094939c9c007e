"""Kinds of errors: the names that clients, providers and protocols really give them."""

from __future__ import annotations

import http
import importlib
import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.rules import ErrorType

# Bases and faults of the caller's own program say nothing of a kind.
_NO_KIND = {
    *("OpenAIError", "WebSocketQueueFullError", "InvalidWebhookSignatureError"),
    *("_AmbiguousModuleClientUsageError", "HTTPError", "HTTPStatusError", "RequestError", "StreamError"),
    *("CookieConflict", "DecodingError", "TooManyRedirects"),
    *("RequestNotRead", "ResponseNotRead", "ResponseClosed", "StreamClosed", "StreamConsumed"),
}

# Kind → names as they are in `error.type`: qualified by genai-openai, not by OpenLLMetry, codes of APIs.
# The exceptions of the releases in tests/producers/producers.toml, as they are in `error.type` there.
OF_LIBRARIES = {
    "agent_framework._workflows._runner_context.WorkflowConvergenceException": "turns",
    "agno.exceptions.InputCheckError": "guardrail",
    "anthropic.ContentTooLargeError": "too_large",
    "anthropic.types.EnforcedSpendLimitReachedError": "quota",
    "crewai.ToolUsageLimitExceededError": "turns",
    "dspy.ContextLengthError": "context",
    "dspy.LMAuthError": "authentication",
    "dspy.LMBillingError": "quota",
    "google.adk.agents.invocation_context.LlmCallsLimitExceededError": "turns",
    "guardrails.errors.GuardrailException": "guardrail",
    "instructor.exceptions.IncompleteOutputException": "too_large",
    "langchain.agents.middleware.model_call_limit.ModelCallLimitExceededError": "turns",
    "langchain.agents.middleware.pii.PIIDetectionError": "guardrail",
    "litellm.proxy._types.OverloadedProxyException": "overloaded",
    "litellm.ToolLoopMaxRoundsExceeded": "turns",
    "litellm.types.router.RouterRateLimitErrorBasic": "rate_limit",
    "mistralai.MCPAuthException": "authentication",
    "openlit.guard.GuardDeniedError": "guardrail",
    "pydantic_ai.exceptions.IncompleteToolCall": "too_large",
    "semantic_kernel.connectors.ai.open_ai.exceptions.ContentFilterAIException": "content_filter",
    "workflows.errors.WorkflowCancelledByUser": "cancelled",
    "RateLimitReached": "rate_limit",  # codes of Azure
    "ResponsibleAIPolicyViolation": "content_filter",
    "tokens_limit_reached": "too_large",
    "agent_framework.exceptions.ChatClientInvalidAuthException": "authentication",
    "agent_framework.exceptions.AgentInvalidRequestException": "invalid_request",
    "agent_framework.exceptions.AgentInvalidResponseException": "server_error",
    "agent_framework.exceptions.IntegrationContentFilterException": "content_filter",
    "agents.exceptions.InputGuardrailTripwireTriggered": "guardrail",
    "agents.exceptions.MCPToolCancellationError": "cancelled",
    "agents.exceptions.MaxTurnsExceeded": "turns",
    "agents.exceptions.ModelBehaviorError": "other",
    "agents.exceptions.ModelRefusalError": "content_filter",
    "agents.exceptions.ToolOutputGuardrailTripwireTriggered": "guardrail",
    "agents.exceptions.ToolTimeoutError": "timeout",
    "aiohttp.client_exceptions.ClientHttpProxyError": "connection",
    "aiohttp.client_exceptions.ServerTimeoutError": "timeout",
    "anthropic.OverloadedError": "overloaded",
    "anthropic.RequestTooLargeError": "too_large",
    "botocore.exceptions.NoAuthTokenError": "authentication",
    "botocore.exceptions.UnknownServiceError": "other",
    "fastmcp.exceptions.AuthorizationError": "permission",
    "fastmcp.exceptions.InsufficientScopeError": "permission",
    "fastmcp.exceptions.ToolError": "other",
    "google.adk.errors.InvocationNotFoundError": "not_found",
    "google.genai.errors.ClientError": "invalid_request",
    "google.genai.errors.ServerError": "server_error",
    "langchain_core.exceptions.ContextOverflowError": "context",
    "langchain_core.exceptions.ModelAuthenticationError": "authentication",
    "langchain_core.exceptions.OutputParserException": "other",
    "langchain_openai.chat_models.base.OpenAIAPIContextOverflowError": "context",
    "langchain_openai.chat_models.base.OpenAIPermissionDeniedError": "permission",
    "langchain_openai.chat_models.base.OpenAIRefusalError": "content_filter",
    "langgraph.errors.GraphRecursionError": "turns",
    "langgraph.errors.NodeCancelledError": "cancelled",
    "langgraph.errors.NodeTimeoutError": "timeout",
    "litellm.exceptions.BlockedPiiEntityError": "content_filter",
    "litellm.exceptions.BudgetExceededError": "quota",
    "litellm.exceptions.GuardrailInterventionNormalStringError": "guardrail",
    "litellm.exceptions.GuardrailRaisedException": "guardrail",
    "vertexai.generative_models.ResponseBlockedError": "content_filter",
    "litellm.exceptions.MalformedRequestFieldError": "invalid_request",
    "litellm.exceptions.UnsupportedParamsError": "invalid_request",
    "mcp.shared.exceptions.MCPError": "server_error",
    "mcp.shared.exceptions.McpError": "server_error",
    "pydantic_ai.exceptions.ConcurrencyLimitExceeded": "rate_limit",
    "pydantic_ai.exceptions.ContentFilterError": "content_filter",
    "pydantic_ai.exceptions.ModelContextWindowExceededError": "context",
    "pydantic_ai.exceptions.ModelHTTPError": "other",
    "pydantic_ai.exceptions.ModelOverloadedError": "overloaded",
    "pydantic_ai.exceptions.ModelRequestRejectedError": "invalid_request",
    "pydantic_ai.exceptions.OutputTokenLimitExceeded": "too_large",
    "pydantic_ai.exceptions.RunTimedOut": "timeout",
    "semantic_kernel.exceptions.service_exceptions.ServiceContentFilterException": "content_filter",
    "semantic_kernel.exceptions.service_exceptions.ServiceInvalidAuthError": "authentication",
    "smolagents.utils.AgentGenerationError": "other",
    "smolagents.utils.AgentMaxStepsError": "turns",
    "strands.types.exceptions.ContextWindowOverflowException": "context",
    "strands.types.exceptions.MaxTokensReachedException": "too_large",
    "strands.types.exceptions.ModelThrottledException": "rate_limit",
}


@pytest.mark.parametrize("name", OF_LIBRARIES)
def test_exceptions_of_libraries(name: str) -> None:
    """Those that installed clients and frameworks have; what says no kind is `other`."""
    assert ErrorType()(name) == OF_LIBRARIES[name]


KINDS = {
    "rate_limit": [
        *("openai.RateLimitError", "RateLimitError", "anthropic.RateLimitError", "rate_limit_error"),
        *("litellm.exceptions.RateLimitError", "rate_limit_exceeded", "429", "RESOURCE_EXHAUSTED"),
        *("ThrottlingException", "TooManyRequestsException", "ProvisionedThroughputExceededException"),
        *("langchain_openai.chat_models.base.OpenAIRateLimitError", "ModelThrottledException"),
        *("RequestThrottledException", "EC2ThrottledException", "SlowDown", "PriorRequestNotComplete"),
        *("google.api_core.exceptions.ResourceExhausted", "google.api_core.exceptions.TooManyRequests"),
        "cohere.errors.too_many_requests_error.TooManyRequestsError",
    ],
    "quota": [
        *("insufficient_quota", "billing_error", "billing_hard_limit_reached", "402"),
        *("ServiceQuotaExceededException", "LimitExceededException", "litellm.BudgetExceededError"),
        "pydantic_ai.exceptions.UsageLimitExceeded",
    ],
    "timeout": [
        *("openai.APITimeoutError", "anthropic.APITimeoutError", "anthropic.DeadlineExceededError"),
        *("TimeoutError", "asyncio.exceptions.TimeoutError", "socket.timeout", "httpx.ReadTimeout"),
        *("aiohttp.ConnectionTimeoutError", "aiohttp.client_exceptions.SocketTimeoutError"),
        *("botocore.exceptions.ReadTimeoutError", "botocore.exceptions.ConnectTimeoutError"),
        *("ModelTimeoutException", "RequestTimeout", "RequestTimeoutException"),
        *("google.api_core.exceptions.DeadlineExceeded", "DEADLINE_EXCEEDED", "408", "504", "524"),
        "azure.core.exceptions.ServiceResponseTimeoutError",
    ],
    "connection": [
        *("openai.APIConnectionError", "anthropic.APIConnectionError", "ConnectionError"),
        *("ConnectionResetError", "builtins.BrokenPipeError", "ssl.SSLCertVerificationError"),
        *("socket.gaierror", "urllib3.exceptions.NameResolutionError", "urllib3.exceptions.MaxRetryError"),
        *(
            "aiohttp.ClientConnectorError",
            "aiohttp.ClientConnectorDNSError",
            "aiohttp.ServerDisconnectedError",
        ),
        *("requests.exceptions.ProxyError", "requests.exceptions.ChunkedEncodingError"),
        *("botocore.exceptions.EndpointConnectionError", "botocore.exceptions.ConnectionClosedError"),
        *("botocore.exceptions.HTTPClientError", "google.auth.exceptions.TransportError"),
        *("http.client.RemoteDisconnected", "azure.core.exceptions.ServiceRequestError"),
    ],
    "authentication": [
        *("openai.AuthenticationError", "anthropic.AuthenticationError", "authentication_error"),
        *("invalid_api_key", "401", "407", "UNAUTHENTICATED", "google.api_core.exceptions.Unauthenticated"),
        *("botocore.exceptions.NoCredentialsError", "ExpiredTokenException", "UnrecognizedClientException"),
        *("google.auth.exceptions.DefaultCredentialsError", "google.auth.exceptions.RefreshError"),
        *("InvalidSignatureException", "azure.core.exceptions.ClientAuthenticationError"),
    ],
    "permission": [
        *("openai.PermissionDeniedError", "anthropic.PermissionDeniedError", "permission_error"),
        *("AccessDeniedException", "google.api_core.exceptions.Forbidden", "PERMISSION_DENIED", "403"),
    ],
    "not_found": [
        *("openai.NotFoundError", "anthropic.NotFoundError", "model_not_found", "DeploymentNotFound"),
        *("ResourceNotFoundException", "google.api_core.exceptions.NotFound", "NOT_FOUND", "404", "410"),
    ],
    "invalid_request": [
        *("openai.BadRequestError", "anthropic.BadRequestError", "openai.UnprocessableEntityError"),
        *("openai.ConflictError", "invalid_request_error", "ValidationException", "ConflictException"),
        *("botocore.exceptions.ParamValidationError", "google.api_core.exceptions.InvalidArgument"),
        *("google.genai.errors.ClientError", "ClientError"),
        *("INVALID_ARGUMENT", "ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE"),
        *("400", "405", "409", "422", "418"),
    ],
    "too_large": [
        *("openai.LengthFinishReasonError", "anthropic.RequestTooLargeError", "413", "431"),
        *("RequestEntityTooLargeException", "strands.types.exceptions.MaxTokensReachedException"),
    ],
    "context": [
        *("context_length_exceeded", "litellm.exceptions.ContextWindowExceededError"),
        "strands.types.exceptions.ContextWindowOverflowException",
    ],
    "content_filter": [
        *("openai.ContentFilterFinishReasonError", "content_filter", "content_policy_violation"),
        "litellm.exceptions.ContentPolicyViolationError",
        *("BlockedPromptException", "pydantic_ai.exceptions.ContentFilterError"),
        "agent_framework.exceptions.ChatClientContentFilterException",
    ],
    "guardrail": [
        *("GuardrailRaisedException", "guardrail_intervened", "agents.InputGuardrailTripwireTriggered"),
        *("OutputGuardrailTripwireTriggered", "ToolInputGuardrailTripwireTriggered"),
    ],
    "turns": [
        "agents.exceptions.MaxTurnsExceeded",
        "langgraph.errors.GraphRecursionError",
        "AgentMaxStepsError",
    ],
    "overloaded": [
        *("anthropic.OverloadedError", "overloaded_error", "529", "503", "UNAVAILABLE"),
        *("anthropic.ServiceUnavailableError", "ServiceUnavailableException", "ModelNotReadyException"),
        *("google.api_core.exceptions.ServiceUnavailable", "StatusCode.UNAVAILABLE"),
    ],
    "server_error": [
        *("openai.InternalServerError", "InternalServerError", "anthropic.InternalServerError", "api_error"),
        *("openai.APIError", "openai.APIStatusError", "InternalServerException", "InternalFailure"),
        *("langchain_openai.chat_models.base.OpenAIAPIError", "mcp.shared.exceptions.McpError"),
        *("ModelErrorException", "ModelStreamErrorException", "google.genai.errors.ServerError"),
        *("google.api_core.exceptions.Unknown", "INTERNAL", "UNKNOWN", "DATA_LOSS", "UNIMPLEMENTED"),
        *("500", "501", "502", "520", "599"),
    ],
    "cancelled": [
        *("asyncio.exceptions.CancelledError", "trio.Cancelled", "GeneratorExit", "KeyboardInterrupt"),
        *("CANCELLED", "ABORTED", "499"),
        "cohere.errors.client_closed_request_error.ClientClosedRequestError",
    ],
    "other": [
        *("_OTHER", "", "ValueError", "json.decoder.JSONDecodeError", "app.OutOfCheese", "200", "60", "4٢9"),
        *("FileNotFoundError", "builtins.ModuleNotFoundError"),
        *("ToolError", "agent_framework.exceptions.ChatClientException", "app.CartModelError"),
        *("botocore.exceptions.ClientError", "aiohttp.ClientError", "grpc.aio.AioRpcError"),
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_real_name_has_its_kind(kind: str) -> None:
    """What libraries, providers, gRPC and HTTP say becomes one of the kinds."""
    assert {name: ErrorType()(name) for name in KINDS[kind]} == dict.fromkeys(KINDS[kind], kind)


@pytest.mark.parametrize("name", ["openai", "httpx"])
def test_no_error_of_an_installed_client_is_forgotten(name: str) -> None:
    """Each exception that the client has gets a kind, but for bases and faults of the caller's program."""
    module = importlib.import_module(name)
    rule = ErrorType()
    errors = [
        found
        for found in list(vars(module).values())
        if inspect.isclass(found) and issubclass(found, Exception)
    ]
    assert len(errors) > 15
    for error in errors:
        name = f"{error.__module__}.{error.__qualname__}"
        assert (rule(name) == "other") == (error.__qualname__ in _NO_KIND), name


def test_every_http_status_of_an_error_has_a_kind() -> None:
    """Of statuses, those of errors have kinds, as a client's request or the server is to blame."""
    rule = ErrorType()
    kinds = {status: rule(str(status.value)) for status in http.HTTPStatus}
    assert {kind == "other" for status, kind in kinds.items() if status >= 400} == {False}
    assert {kind for status, kind in kinds.items() if status < 400} == {"other"}


@given(
    st.text(max_size=50)
    | st.from_regex(r"([a-z_]{1,9}\.){0,3}[A-Za-z]{1,30}(Error|Exception)?", fullmatch=True)
)
def test_whatever_is_said_is_one_of_few_kinds(name: str) -> None:
    """The number of kinds is bounded, and far below the 20 that a dialect of metrics allows."""
    rule = ErrorType()
    assert rule(name) in KINDS
    assert rule.max_values == len(KINDS) <= 20


@given(
    st.sampled_from([name for names in KINDS.values() for name in names if not name[:1].isdigit() and name])
)
def test_modules_and_spaces_change_nothing(name: str) -> None:
    """A name has the same kind with a module before it, another one, or spaces around it."""
    rule = ErrorType()
    assert rule(f"vendored.{name}") == rule(f"  {name} ") == rule(name)


def test_names_of_ones_own_come_first() -> None:
    """Further names may be given in any spelling; they may make further kinds, and win over ours."""
    rule = ErrorType(kinds={"app.OutOfCheeseError": "cheese", "RateLimitError": "quota"}, other="rest")
    assert rule("OutOfCheeseException") == rule("out_of_cheese") == "cheese"
    assert rule("openai.RateLimitError") == "quota"
    assert rule("KeyError") == "rest"
    assert rule.max_values == len(KINDS) + 1


@pytest.mark.parametrize(("options", "key"), [({"other": 3}, "other"), ({"kinds": ["a"]}, "kinds")])
def test_what_cannot_work_is_refused(options: dict[str, object], key: str) -> None:
    """The error names the argument."""
    with pytest.raises(ConfigurationError, match=rf"ErrorType\.{key}"):
        ErrorType(**options)  # type: ignore[arg-type]


def test_no_error_can_be_shown_as_none() -> None:
    """By default a label of errors says `other` of nothing; who has results without errors says it so."""
    assert ErrorType(kinds={"": ""})("") == ""
    assert ErrorType(kinds={"": ""})("  ") == ""
    assert ErrorType(kinds={"": ""})("TimeoutError") == "timeout"


@pytest.mark.parametrize("text", ["a/", "It did not work.", "failed: ", "."])
def test_a_text_that_ends_with_a_mark_is_an_error(text: str) -> None:
    """Who says nothing of nothing still sees each error."""
    assert ErrorType(kinds={"": ""})(text) == "other"
