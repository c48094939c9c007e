"""Kinds of errors, whatever they are called: ``openai.RateLimitError``, ``ThrottlingException``, ``429``.

By its convention ``error.type`` is free text: the name of an exception with or without its module, a code of
the provider, or an HTTP status. A dashboard wants to know whether it was a rate limit or a timeout.

https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/#error-type
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from otel_prom_bridge.rules.rule import ANY_TABLE, OTHER
from otel_prom_bridge.rules.spelling import snake_case
from otel_prom_bridge.values.checks import TEXT, check_fields

# The kinds, and the names that Python's clients, gRPC, the providers' APIs and HTTP have for them. The names
# are in snake case and without "error" and "exception".
_KINDS = {
    "rate_limit": "rate_limit rate_limited rate_limit_exceeded too_many_requests throttling throttled 429"
    " resource_exhausted request_throttled ec2_throttled slow_down request_limit_exceeded"
    " bandwidth_limit_exceeded concurrency_limit_exceeded provisioned_throughput_exceeded"
    " prior_request_not_complete rate_limit_reached rate_limit_error_basic",
    "quota": "insufficient_quota quota_exceeded budget_exceeded payment_required service_quota_exceeded 402"
    " billing billing_hard_limit_reached billing_not_active limit_exceeded usage_limit_exceeded"
    " spend_limit_reached insufficient_balance insufficient_credits lm_billing",
    "timeout": "timeout timed_out api_timeout read_timeout write_timeout connect_timeout pool_timeout"
    " request_timeout gateway_timeout server_timeout deadline_exceeded model_timeout connection_timeout"
    " socket_timeout service_request_timeout service_response_timeout timeout_expired 408 504 522 524",
    "connection": "connection connect api_connection connection_refused connection_reset connection_aborted"
    " connection_closed broken_pipe network read write close protocol remote_protocol local_protocol dns ssl"
    " ssl_cert_verification endpoint_connection transport proxy proxy_connection http_client gai"
    " name_resolution new_connection max_retry chunked_encoding incomplete_read client_connection"
    " client_connector client_connector_certificate client_connector_dns client_connector_ssl client_os"
    " client_payload client_http_proxy client_proxy_connection client_ssl server_connection"
    " server_disconnected remote_disconnected service_request service_response response_streaming"
    " end_of_stream broken_resource web_socket_connection_closed ws_server_handshake 521 523 525 526"
    " stream_disconnected lm_transport",
    "authentication": "authentication unauthorized unauthenticated invalid_api_key expired_token"
    " invalid_token unrecognized_client client_authentication no_credentials partial_credentials"
    " default_credentials credential_retrieval token_retrieval unauthorized_sso_token refresh o_auth"
    " invalid_signature incomplete_signature signature_does_not_match missing_authentication_token"
    " invalid_client_token_id request_expired account_deactivated invalid_auth"
    " no_auth_token 401 407 511"
    " auth authentication_required missing_api_key missing_credential access_token",
    "permission": "permission permission_denied forbidden access_denied not_authorized opt_in_required"
    " authorization insufficient_scope"
    " access_denied_proxy access_denied_http insufficient_permissions authorization_failed gated_repo"
    " access_terminated unsupported_country_region_territory 403 451",
    "not_found": "not_found model_not_found resource_not_found deployment_not_found unknown_model 404 410",
    "invalid_request": "bad_request invalid_request invalid_argument invalid_prompt validation"
    " param_validation http_validation json_schema_validation unprocessable_entity unsupported_params"
    " unsupported_protocol out_of_range request_range_not_satisfiable failed_precondition precondition_failed"
    " already_exists conflict length_required method_not_allowed rejected_request invalid_url"
    " request_rejected malformed_request_field",
    "context": "context_length_exceeded context_window_exceeded context_window_overflow context_overflow"
    " prompt_too_long context_length context_window",
    "too_large": "request_too_large payload_too_large request_entity_too_large length_finish_reason"
    " max_tokens max_tokens_reached token_limit_exceeded"
    " tokens_limit_reached content_too_large incomplete_output incomplete_tool_call 413 414 431",
    "content_filter": "content_filter content_filter_finish_reason content_policy_violation safety"
    " content_moderation blocked_prompt blocked_pii_entity stop_candidate refusal"
    " content_filter_ai responsible_ai_policy_violation response_blocked",
    "guardrail": "guardrail_intervened guardrail_raised guardrail_tripwire_triggered guardrail_triggered"
    " guardrail_violation guardrail_failed tripwire_triggered"
    " guardrail_blocked guardrail guard_denied pii_detection input_check output_check"
    " guardrail_intervention_normal_string",
    "turns": "max_turns_exceeded max_turns max_steps max_steps_exceeded max_iterations"
    " max_iterations_exceeded graph_recursion recursion_limit_exceeded"
    " max_iterations_reached max_turns_reached max_steps_reached max_rounds_exceeded rounds_exceeded"
    " calls_limit_exceeded call_limit_exceeded tool_usage_limit_exceeded agentic_loop_limit"
    " workflow_convergence max_component_runs",
    "overloaded": "overloaded service_unavailable unavailable server_overloaded overloaded_proxy"
    " model_not_ready 503 529",
    "server_error": "server internal internal_server internal_failure api api_status bad_gateway unknown"
    " data_loss api_response_validation invalid_response service_failure model model_api model_error mcp"
    " model_stream_error unimplemented not_implemented method_not_implemented",
    "cancelled": "cancelled canceled cancellation aborted cancelled_by_user generator_exit"
    " keyboard_interrupt client_disconnect client_closed_request 499",
}
# The kinds of HTTP statuses that are not among these, by their first digit.
_CLASSES = {"4": "invalid_request", "5": "server_error"}
_TABLE = {name: kind for kind, names in _KINDS.items() for name in names.split()}
# These words say what kind it is, also at the end of a longer name: ModelThrottledException. Other single
# words do not, as what stands before them may be anything: ChatClientModelError.
_TELLING = frozenset(
    {
        *("throttling", "throttled", "timeout", "connection", "authentication", "unauthorized"),
        *("unauthenticated", "permission", "forbidden", "overloaded", "unavailable", "server", "api"),
        *("cancelled", "canceled", "cancellation", "refusal", "auth"),
    }
)
# What Python itself raises is of a kind only if the table has its whole name: a file is no model.
_OF_PYTHON = frozenset(name for name in dir(builtins) if isinstance(getattr(builtins, name), type))
# A name that several libraries have. Google's says that the status was 4xx. Those of these two say nothing.
_CLIENT_ERROR = re.compile(r"(?!(?:.*\.)?(?:botocore|aiohttp)\.)(.*[.:/])?ClientError")
_NOISE = re.compile(r"_?(error|exception|err)$")
# No name of an exception is longer than this, and the value may be anything.
_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorType:
    """One of 16 kinds of errors, such as ``rate_limit`` or ``timeout``. Anything else is ``other``.

    ``kinds`` is a mapping of further names to kinds; ``{"": ""}`` says nothing where there is no error. Case
    does not matter, nor does the module of a name. Nor does what a vendor puts before a name:
    ``OpenAIRateLimitError`` ends with the name of a kind.

    >>> ErrorType()("openai.RateLimitError"), ErrorType()("504"), ErrorType()("KeyError")
    ('rate_limit', 'timeout', 'other')
    """

    kinds: Mapping[str, str] = field(default_factory=dict, hash=False)
    other: str = OTHER

    def __post_init__(self) -> None:
        check_fields(self, {"kinds": ANY_TABLE, "other": TEXT}, title="ErrorType.")
        object.__setattr__(self, "kinds", {_key(name): kind for name, kind in self.kinds.items()})

    @property
    def max_values(self) -> int:
        """The kinds, and ``other``."""
        return len({*_KINDS, *self.kinds.values(), self.other})

    def __call__(self, value: str) -> str:
        """The kind of an error."""
        key = _key(value)
        own = self.kinds.get(key)
        if own is not None and (key or not value.strip()):  # the text of an error may end with a dot
            return own
        found = _TABLE.get(key) or _of_status(key)
        return found or _of_tail(key, value) or self.other


def _of_tail(key: str, name: str) -> str | None:
    """The kind that the last words of a name say: ``chat_client_content_filter``."""
    if _CLIENT_ERROR.fullmatch(name[-_LONGEST:].strip()):
        return "invalid_request"
    if _last(name) in _OF_PYTHON:
        return None
    words = key.split("_")
    for first in range(1, len(words)):
        tail = "_".join(words[first:])
        if tail in _TABLE and (first < len(words) - 1 or tail in _TELLING):
            return _TABLE[tail]
    return None


def _of_status(key: str) -> str | None:
    is_status = len(key) == 3 and key.isascii() and key.isdigit()
    return _CLASSES.get(key[0]) if is_status else None


def _last(name: str) -> str:
    return re.split(r"[.:/]", name[-_LONGEST:].strip())[-1]


def _key(name: str) -> str:
    last = _last(name).replace("OpenAI", "Openai")  # or OpenAIAPIError would be of an "AIAPI"
    words = snake_case(last)
    return _NOISE.sub("", words) or words
