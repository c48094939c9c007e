"""Which metrics a request is recorded in: those of the current conventions or those of the latest ones.

It is never recorded in both, because nobody could tell one call under two names from two calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from opentelemetry.context import Context

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.genai import conventions, vocabulary
from otel_prom_bridge.genai.requests import Labels, LLMRequest
from otel_prom_bridge.instruments import Metric
from otel_prom_bridge.prices import KINDS
from otel_prom_bridge.recording.measurements import Measurements
from otel_prom_bridge.recording.reports import report

Emit = Literal["current", "latest"]

# No call has so many tokens, or costs so many USD. One wrong number would be all that a counter says.
IMPOSSIBLE_AMOUNT = 10**15


class Names(NamedTuple):
    """The metrics that have another name in each generation and mean the same."""

    duration: Metric
    first_chunk: Metric
    per_chunk: Metric


CURRENT = Names(
    conventions.OPERATION_DURATION, conventions.TIME_TO_FIRST_CHUNK, conventions.TIME_PER_OUTPUT_CHUNK
)
LATEST = Names(
    conventions.INFERENCE_DURATION, conventions.INFERENCE_FIRST_CHUNK, conventions.INFERENCE_PER_CHUNK
)
GENERATIONS: dict[Emit, Names] = {"current": CURRENT, "latest": LATEST}


@dataclass(slots=True)
class Usage:
    """The tokens of a request. None means that a number was not reported, which is not 0.

    Tokens that were read from a cache or written to one are part of the input. Tokens of reasoning are part
    of the output.
    """

    input: int | None = None
    output: int | None = None
    cached: int | None = None
    reasoning: int | None = None
    cache_write: int | None = None
    cost: float | None = None  # in USD, if the provider says it
    unreadable: frozenset[str] = frozenset()  # which of these were reported, and not as numbers of tokens
    attempts: tuple[Usage, ...] = ()  # of which it is the sum, if it is one: each has a price of its own

    def check(self) -> None:
        """Take what is no number of tokens, or of USD, for not reported. It is logged once."""
        for name in _AMOUNTS:
            value = getattr(self, name)
            if value is not None and not _is_amount(value):
                report(("usage", name), "%s of a request: %r is not recorded", _AMOUNTS[name], value)
                setattr(self, name, None)
                if name != "cost":  # without it that is computed
                    self.unreadable |= {name}

    @property
    def reported(self) -> bool:
        """Whether any tokens were reported, so that a cost can be computed."""
        return self.input is not None or self.output is not None


_AMOUNTS = {kind: f"{kind} tokens" for kind in KINDS} | {"cost": "the cost"}


def _is_amount(value: object) -> bool:
    """Whether it is a number of any library that a call can have; True is 1 and none of tokens."""
    try:
        return not isinstance(value, bool) and bool(0 <= value < IMPOSSIBLE_AMOUNT)  # type: ignore[operator]
    except Exception:  # not comparable, or in a way of its own
        return False


def per_token(usage: Usage, seconds: float, first: float | None) -> float | None:
    """Seconds per output token; None where that cannot be told."""
    if first is None:
        return seconds / usage.output if usage.output and usage.output > 0 else None
    return (seconds - first) / (usage.output - 1) if usage.output and usage.output > 1 else None


class Emission:
    """Records requests and chunks in the metrics of one generation of the conventions."""

    def __init__(self, measurements: Measurements, emit: Emit) -> None:
        if emit not in list(GENERATIONS):  # a list, because the value may be anything and have no hash
            raise ConfigurationError("emit", emit, '"current" or "latest"')
        self._record = measurements.record
        self._provider = measurements.own_provider
        self._names = GENERATIONS[emit]

    @cached_property
    def _unpaid(self) -> Measurements:
        """For tokens whose cost is left to whoever shows them: these are paid for there, and no others."""
        return Measurements(self._provider, scope=conventions.UNPAID_SCOPE, schema_url=conventions.SCHEMA_URL)

    def _names_of(self, request: LLMRequest) -> Names:
        # "gen_ai.client.operation.duration remains for other GenAI client operations and SHOULD NOT be
        # reported for inference" (the conventions' migration guide).
        return self._names if request.operation in vocabulary.INFERENCE else CURRENT

    def chunk(self, labels: Labels, seconds: float, context: Context | None, *, first: bool) -> None:
        """Record a chunk: ``seconds`` since the request for the first one, else since the chunk before."""
        names = self._names_of(labels.request)
        self._record(names.first_chunk if first else names.per_chunk, seconds, labels.common, context)

    def request(
        self,
        labels: Labels,
        usage: Usage,
        seconds: float,
        error: str | None,
        context: Context | None,
        *,
        first: float | None = None,
        unpaid: bool = False,
    ) -> None:
        """Record a request that has ended, with its duration and its tokens.

        ``first`` is the time to the first chunk of what was streamed. What the tokens cost is recorded, too,
        unless they are ``unpaid``.
        """
        names, failed = self._names_of(labels.request), labels.failed(error)
        self._record(names.duration, seconds, failed, context)
        slow = per_token(usage, seconds, first)
        self._record(conventions.TIME_PER_OUTPUT_TOKEN, slow, labels.common, context)
        record = self._unpaid.record if unpaid else self._record
        if names is LATEST:
            # "Instrumentations SHOULD record this metric for each inference operation, including failed ones.
            # The recorded value SHOULD match the token count returned by the provider, or 0 if the response
            # was not received or did not contain token usage. [Then] with gen_ai.token.modality set to
            # unknown."
            for counter, distribution, count in (
                (conventions.INPUT_TOKENS, conventions.INPUT_DISTRIBUTION, usage.input or 0),
                (conventions.OUTPUT_TOKENS, conventions.OUTPUT_DISTRIBUTION, usage.output or 0),
            ):
                record(counter, count, labels.counted, context)
                record(distribution, count, failed, context)
        else:
            record(conventions.TOKEN_USAGE, usage.input, labels.input, context)
            record(conventions.TOKEN_USAGE, usage.output, labels.output, context)
        # The current generation has no metrics for these, so those of the latest one are used in both cases.
        record(conventions.CACHE_READ_TOKENS, usage.cached, labels.counted, context)
        record(conventions.CACHE_WRITE_TOKENS, usage.cache_write, labels.counted, context)
        record(conventions.REASONING_TOKENS, usage.reasoning, labels.counted, context)
