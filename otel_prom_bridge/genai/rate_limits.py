"""How much of a provider's rate limit is left, as the headers of its answers say it.

The last answer is what is known. Until its limit is renewed, what it said is shown; after that, the whole
limit. Where an answer does not say when that is, it is shown for a minute. So nothing here stays low because
nobody asks any more.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakSet

from opentelemetry.metrics import Observation
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.genai import conventions, vocabulary
from otel_prom_bridge.instruments import Metric
from otel_prom_bridge.recording.measurements import Measurements, clean

# https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers, which others have taken over,
# https://docs.anthropic.com/en/api/rate-limits#response-headers; litellm puts a prefix before each
_HEADER = re.compile(
    r"(?:llm_provider-)?(?:x-|anthropic-)?(?P<is_large>ratelimitbysize|ratelimit)"
    r"(?:-(?P<said>limit|remaining|reset))?"
    r"(?:-(?P<kind>requests?|req|tokens?|(?:input|output|project|cached)-tokens))?(?:-(?:minute|second))?"
    r"(?:-(?P<said_last>limit|remaining|reset))?",
    re.IGNORECASE,
)
_KINDS = {"": "requests", "request": "requests", "req": "requests", "token": "tokens"}
_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST_TEXT = 64
_YEAR = 366 * 86400
# Models of which it is known, of all providers. Who knows more begins to forget.
_MOST = 1000
_WITHOUT_RESET = 60.0

_in_use: WeakSet[RateLimits] = WeakSet()
_Key = tuple[tuple[str, AttributeValue], ...]


class SaidLimit(NamedTuple):
    """What an answer said of one limit; ``until`` is when it is renewed, by ``time.time()``."""

    limit: float | None
    remaining: float
    until: float | None
    at: float

    def remaining_at(self, now: float) -> float | None:
        """How much is left; None if nobody knows."""
        if now < (self.at + _WITHOUT_RESET if self.until is None else self.until):
            return self.remaining
        return None if self.until is None else self.limit


class RateLimits:
    """What is left of rate limits, by provider, model and kind of limit."""

    def __init__(self, measurements: Measurements, now: Callable[[], float] = time.time) -> None:
        self._measurements = measurements
        self._now = now
        self._said: dict[_Key, SaidLimit] = {}

    def take(self, headers: Any, labels: Mapping[str, object]) -> None:
        """Take what the headers of an answer say; others than those of limits are passed over."""
        now = self._now()
        for kind, said in parsed(headers, now).items():
            key = tuple(sorted(clean(labels, {vocabulary.RATE_LIMIT_TYPE: kind}).items()))
            self._said.pop(key, None)
            while len(self._said) >= _MOST:
                self._said.pop(next(iter(self._said)), None)
            self._said[key] = said
        if self._said and self not in _in_use:
            _in_use.add(self)
            for metric in (conventions.RATE_LIMIT_REMAINING, conventions.RATE_LIMIT):
                self._measurements.observe(metric, partial(self._observed, metric))

    def _observed(self, metric: Metric) -> list[Observation]:
        """What all recorders of the provider know: the SDK asks the one that was made first."""
        provider = self._measurements.provider
        found: dict[_Key, SaidLimit] = {}
        for each in list(_in_use):
            if each._measurements.provider is provider:
                for key, said in list(each._said.items()):
                    if key not in found or said.at > found[key].at:
                        found[key] = said
        now = self._now()
        is_limit = metric is conventions.RATE_LIMIT
        values = ((key, said.limit if is_limit else said.remaining_at(now)) for key, said in found.items())
        return [Observation(value, dict(key)) for key, value in values if value is not None]


def parsed(headers: Any, now: float) -> dict[str, SaidLimit]:
    """What headers say of each kind of limit: ``requests``, ``tokens``, ``input_tokens``, ….

    >>> parsed({"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59"}, now=0)
    {'requests': SaidLimit(limit=60.0, remaining=59.0, until=None, at=0)}
    """
    found: dict[str, dict[str, float]] = {}
    for name, value in _items(headers):
        matched = _HEADER.fullmatch(name)
        if matched is None or bool(matched["said"]) == bool(matched["said_last"]):
            continue
        said = (matched["said"] or matched["said_last"]).lower()
        number = _until(value, now) if said == "reset" else _number(value)
        if number is None:
            continue
        kind = (matched["kind"] or "").lower().replace("-", "_")
        if matched["is_large"].lower() == "ratelimitbysize":  # Mistral's word for tokens
            kind = kind or "tokens"
        found.setdefault(_KINDS.get(kind, kind), {})[said] = number
    return {
        kind: SaidLimit(said.get("limit"), said["remaining"], said.get("reset"), now)
        for kind, said in found.items()
        if "remaining" in said
    }


def _items(headers: Any) -> Iterable[tuple[str, str]]:
    """Names and values, of a mapping or of pairs, as texts."""
    items = headers.items() if callable(getattr(headers, "items", None)) else headers or ()
    for name, value in items:
        yield _text(name), _text(value)


def _text(value: object) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return text.strip()[: _LONGEST_TEXT + 1]


def _number(text: str) -> float | None:
    """A number of requests or tokens; None for anything else."""
    return float(text) if re.fullmatch(r"\d{1,15}(\.\d{1,6})?", text) else None


def _until(text: str, now: float) -> float | None:
    """When a limit is renewed: ``1s``, ``6m0s``, ``20ms``, seconds from now, a time since 1970, or a date."""
    number = _number(text)
    if number is not None:
        return number if number > _YEAR else now + number
    parts = _PARTS.findall(text)
    if parts and "".join(map("".join, parts)) == text:
        return now + sum(float(amount) * _SECONDS[unit] for amount, unit in parts)
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None
