"""The requests that a call of a model was made of: how often it was sent again, and what is left of limits.

Clients send a request again by themselves, and their answers have headers. Both are in spans of HTTP clients
inside of that of the call, or in the span of the call itself. A request that goes where one of the same call
has failed before is one more attempt. Others are known by `http.request.resend_count`, or by the header that
the clients of OpenAI and Anthropic send.

https://opentelemetry.io/docs/specs/semconv/registry/attributes/http/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

_METHODS = ("http.request.method", "http.method")
_STATUSES = ("http.response.status_code", "http.status_code")
_URLS = ("url.full", "http.url")
_ORDINAL = "http.request.resend_count"
# Headers that were captured; Python's instrumentations write them with "_".
_RETRY_HEADERS = tuple(f"http.request.header.x{_}stainless{_}retry{_}count" for _ in "-_")
_ANSWERED = "http.response.header."
_LIMIT = "ratelimit"
_TOTALS = (_ORDINAL, "retry_attempts")  # of a span of a whole call: Anthropic's client, botocore
_LITELLM = "hidden_params"  # litellm's default callback has the headers there
_LONGEST = 50_000
_MOST = 100  # times that a call can have been sent again, whatever an attribute says
_ANY = frozenset((*_METHODS, *_TOTALS, _LITELLM))


class SpanRequest(NamedTuple):
    """What a span says of a request. ``again`` is its number among the attempts, ``total`` that of all."""

    url: str | None = None
    failed: str | None = None
    again: int = 0
    total: int = 0
    headers: Mapping[str, str] | None = None

    @property
    def is_remarkable(self) -> bool:
        """Whether it says anything besides that it has succeeded."""
        return bool(self.failed or self.again or self.total or self.headers)


class SpanRequests:
    """What is known of the requests of a span that goes on."""

    __slots__ = ("_failed", "headers", "retries")

    def __init__(self) -> None:
        self._failed: tuple[str | None, str] | None = None  # where, and how
        self.headers: Mapping[str, str] | None = None
        self.retries: dict[str | None, int] = {}  # by the error before

    def add(self, request: SpanRequest) -> None:
        """One of its requests has ended."""
        before = self._failed
        self._failed = None if request.failed is None else (request.url, request.failed)
        if request.headers is not None:
            self.headers = request.headers
        is_again = before is not None and before[0] == request.url
        if request.again or (is_again and not request.total):
            self._count(before[1] if before else None, 1)
        self._count(None, request.total - sum(self.retries.values()))

    def _count(self, reason: str | None, times: int) -> None:
        if times > 0 and len(self.retries) < _MOST:
            self.retries[reason] = self.retries.get(reason, 0) + times


def request_of(span: Any, attributes: Mapping[str, Any], *, is_call: bool) -> SpanRequest | None:
    """What a span says of a request that was sent; None if it is about something else."""
    if _ANY.isdisjoint(attributes):
        return None
    if is_call:
        total = max(_count(attributes.get(key)) for key in _TOTALS)
        headers = _of_litellm(attributes.get(_LITELLM)) or _limits(attributes)
        return SpanRequest(total=total, headers=headers) if total or headers else None
    if getattr(span.kind, "name", "") != "CLIENT" or not any(key in attributes for key in _METHODS):
        return None
    said = (attributes.get(_ORDINAL), *(attributes.get(key) for key in _RETRY_HEADERS))
    return SpanRequest(
        url=next((str(attributes[key]) for key in _URLS if key in attributes), None),
        failed=_failure(span, attributes),
        again=max(map(_count, said)),
        headers=_limits(attributes),
    )


def _failure(span: Any, attributes: Mapping[str, Any]) -> str | None:
    status = next((attributes[key] for key in _STATUSES if key in attributes), None)
    if isinstance(status, int) and not isinstance(status, bool):
        return str(status) if status >= 400 else None
    said = attributes.get("error.type")
    if isinstance(said, str) and said:
        return said
    if getattr(getattr(span.status, "status_code", None), "name", "") != "ERROR":
        return None
    types = [(event.attributes or {}).get("exception.type") for event in span.events or ()]
    return next((kind for kind in reversed(types) if isinstance(kind, str) and kind), "_OTHER")


def _count(value: Any) -> int:
    """A number of attempts: a number, a text, or a list with one; 0 for anything else."""
    if isinstance(value, tuple | list) and value:
        value = value[0]
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 5:
        value = int(value)
    return min(value, _MOST) if isinstance(value, int) and value > 0 else 0


def _limits(attributes: Mapping[str, Any]) -> Mapping[str, str] | None:
    """The headers of an answer about limits, as far as they were captured."""
    found = {}
    for key, value in attributes.items():
        if key.startswith(_ANSWERED) and _LIMIT in key:
            first = value[0] if isinstance(value, tuple | list) and value else value
            found[_header(key.removeprefix(_ANSWERED))] = str(first)
    return found or None


def _header(name: str) -> str:
    """The name of a header: instrumentations in Python write it with "_"."""
    return name.replace("_", "-")


def _of_litellm(text: Any) -> Mapping[str, str] | None:
    if not isinstance(text, str) or _LIMIT not in text or len(text) > _LONGEST:
        return None
    try:
        said = json.loads(text)
        headers = said["additional_headers"]
        items = (
            (str(key).removeprefix("llm_provider-").replace("_", "-"), it) for key, it in headers.items()
        )
        return {key: str(it) for key, it in items if _LIMIT in key and it is not None} or None
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None
