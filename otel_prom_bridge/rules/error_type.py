"""Kinds of errors, whatever they are called: ``openai.RateLimitError``, ``ThrottlingException``, ``429``.

``error.type`` is free text by its convention: the name of an exception (qualified or not), a provider's code
or an HTTP status. A dashboard wants to know whether it is a rate limit or a timeout.

https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/#error-type
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from otel_prom_bridge.rules.rule import OTHER, checked_table, checked_text

# By the words of a name, without "error" and "exception" and in snake case: how Python's clients, gRPC, the
# providers' APIs and HTTP call them.
_KINDS = {
    "rate_limit": "rate_limit rate_limited rate_limit_exceeded too_many_requests throttling throttled 429"
    " resource_exhausted",
    "quota": "insufficient_quota quota_exceeded budget_exceeded payment_required service_quota_exceeded 402",
    "timeout": "timeout timed_out api_timeout read_timeout write_timeout connect_timeout pool_timeout"
    " request_timeout gateway_timeout server_timeout deadline_exceeded model_timeout 408 504",
    "connection": "connection connect api_connection connection_refused connection_reset connection_aborted"
    " connection_closed broken_pipe network read write close protocol remote_protocol dns ssl"
    " endpoint_connection",
    "authentication": "authentication unauthorized unauthenticated invalid_api_key expired_token"
    " unrecognized_client 401",
    "permission": "permission permission_denied forbidden access_denied 403",
    "not_found": "not_found model_not_found resource_not_found 404",
    "invalid_request": "bad_request invalid_request invalid_argument invalid_prompt validation"
    " unprocessable_entity unsupported_params out_of_range failed_precondition 400 405 409 415 422 conflict",
    "too_large": "context_length_exceeded context_window_exceeded request_too_large payload_too_large"
    " length_finish_reason max_tokens 413",
    "content_filter": "content_filter content_filter_finish_reason content_policy_violation safety"
    " guardrail_intervened content_moderation",
    "overloaded": "overloaded service_unavailable unavailable server_overloaded model_not_ready 503 529",
    "server_error": "server internal internal_server api api_status bad_gateway unknown data_loss"
    " api_response_validation service_failure model 500 501 502",
    "cancelled": "cancelled canceled aborted generator_exit keyboard_interrupt client_disconnect 499",
}
_TABLE = {name: kind for kind, names in _KINDS.items() for name in names.split()}
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NOISE = re.compile(r"_?(error|exception|err)$")
_LONGEST = 200  # no name of an exception is longer, and the value may be anything


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorType:
    """One of 13 kinds of errors (``rate_limit``, ``timeout`` …); anything else is ``other``.

    ``kinds`` has further names → kinds, in any case and with or without a module.

    >>> ErrorType()("openai.RateLimitError"), ErrorType()("504"), ErrorType()("KeyError")
    ('rate_limit', 'timeout', 'other')
    """

    kinds: Mapping[str, str] = field(default_factory=dict, hash=False)
    other: str = OTHER

    def __post_init__(self) -> None:
        checked_text("ErrorType.other", self.other)
        given = checked_table("ErrorType.kinds", self.kinds, empty=True)
        object.__setattr__(self, "kinds", {_key(name): kind for name, kind in given.items()})

    @property
    def max_values(self) -> int:
        """The kinds, and ``other``."""
        return len({*_KINDS, *self.kinds.values(), self.other})

    def __call__(self, value: str) -> str:
        """The kind of an error."""
        key = _key(value)
        return self.kinds.get(key) or _TABLE.get(key, self.other)


def _key(name: str) -> str:
    last = re.split(r"[.:/]", name[-_LONGEST:].strip())[-1]
    words = _WORDS.sub("_", last).replace("-", "_").replace(" ", "_").lower()
    return _NOISE.sub("", words) or words
