"""What libraries record as metrics already, by the scopes of their spans.

A span of such a library is not recorded a second time, as far as its metrics say the same. This was observed
with the releases of November 2026; what a library does today, it says best itself:
``SpanMetrics(measured={"its.scope": ["calls", "tokens"]})``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache

from otel_prom_bridge.errors import ConfigurationError

# What can be recorded of a span. "successes" are calls that did not fail, "nameless_tokens" those of which
# the library does not say the model, so that they have no price. "agent_calls" are the calls and steps of an
# agent, and "token_times" the times per output token.
ASPECTS = (
    "calls",
    "successes",
    "tokens",
    "nameless_tokens",
    "chunks",
    "token_times",
    "choices",
    "cost",
    "tools",
    "agents",
    "agent_calls",
    "workflows",
    "steps",
    "mcp",
    "guardrails",
    "retries",
    "rate_limits",
)

_CALLS = ("calls", "tokens", "chunks")
# The first pattern that matches a scope counts. One with `@` is about a release, too: `litellm@` has none.
MEASURED: Mapping[str, tuple[str, ...]] = {
    # OpenTelemetry's own, and the handlers of opentelemetry-util-genai
    "opentelemetry.instrumentation.genai.langchain": (*_CALLS, "tools", "agents", "workflows"),
    "opentelemetry.instrumentation.genai.openai_agents": ("tools", "agents", "workflows"),
    "opentelemetry.instrumentation.genai.smolagents": ("agents",),
    "opentelemetry.instrumentation.genai.*": _CALLS,
    "opentelemetry.util.genai*": (*_CALLS, "tools", "agents", "workflows"),
    "opentelemetry.instrumentation.google_genai": (*_CALLS, "tools"),
    "opentelemetry.instrumentation.openai_v2": ("calls", "tokens"),
    # OpenLLMetry
    "opentelemetry.instrumentation.langchain": ("successes", "tokens"),
    "opentelemetry.instrumentation.openai.v1": (*_CALLS, "choices"),
    "opentelemetry.instrumentation.openai.v0": (*_CALLS, "choices"),
    "opentelemetry.instrumentation.anthropic": (*_CALLS, "choices"),
    # others
    "openlit*": (*_CALLS, "token_times", "cost", "tools", "workflows", "mcp"),
    "litellm@": ("successes", "tokens", "chunks", "token_times", "cost"),  # its default callback
    "litellm": (*_CALLS, "token_times", "cost"),
    "litellm.*": ("successes", "tokens", "chunks", "token_times", "cost"),
    "pydantic-ai": ("tokens", "chunks", "cost"),
    "gcp.vertex.agent": (*_CALLS, "tools", "agents", "agent_calls", "workflows"),
    "agent_framework*": ("calls", "tokens", "tools"),
    "semantic_kernel.functions*": ("tools",),
    "strands*": ("successes", "nameless_tokens", "chunks", "tools", "steps"),
}

# Client libraries that write spans of their own, and the instrumentations of them whose spans are not around
# these. Where one of them is at work, it counts.
TWICE: Mapping[str, tuple[str, ...]] = {
    "com.anthropic.sdk.python": ("opentelemetry.instrumentation.anthropic", "openlit.*", "openlit"),
}


class Measured:
    """Which aspects of its spans a scope records as metrics itself; what is ``given`` comes first."""

    def __init__(self, given: Mapping[str, Iterable[str]] | None = None) -> None:
        own = {} if given is None else given
        if not isinstance(own, Mapping):
            raise ConfigurationError("measured", given, "a mapping of scopes to what they record")
        self._table = {**{scope: _aspects(scope, aspects) for scope, aspects in own.items()}}
        self._table |= {scope: aspects for scope, aspects in MEASURED.items() if scope not in self._table}
        self.by = lru_cache(maxsize=1000)(self._by)
        self.counts_for = lru_cache(maxsize=1000)(_counts_for)

    def _by(self, scope: str, release: str = "") -> frozenset[str]:
        """What this scope of this release records itself."""
        for pattern, aspects in self._table.items():
            if fnmatchcase(f"{scope}@{release}" if "@" in pattern else scope, pattern):
                return frozenset(aspects)
        return frozenset()


def _counts_for(scope: str) -> tuple[str, ...]:
    """The client libraries whose own spans say what those of this scope say."""
    return tuple(
        client
        for client, instrumentations in TWICE.items()
        if any(fnmatchcase(scope, pattern) for pattern in instrumentations)
    )


def _aspects(scope: object, aspects: object) -> tuple[str, ...]:
    key = f"measured[{scope!r}]"
    if not isinstance(scope, str) or isinstance(aspects, str) or not isinstance(aspects, Iterable):
        raise ConfigurationError(key, aspects, f"some of {', '.join(ASPECTS)}")
    found = tuple(aspects)
    for aspect in found:
        if aspect not in ASPECTS:
            raise ConfigurationError(key, aspect, f"one of {', '.join(ASPECTS)}")
    return found
