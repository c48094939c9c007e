"""Which metrics a request is recorded in: those of the current conventions or those of the latest ones.

It is never recorded in both, because nobody could tell one call under two names from two calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from opentelemetry.context import Context
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.genai import conventions, vocabulary
from otel_prom_bridge.instruments import Metric
from otel_prom_bridge.recording.measurements import Measurements, clean
from otel_prom_bridge.recording.operations import ERROR_TYPE

Emit = Literal["current", "latest"]


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
class LLMRequest:
    """A request to a model: what the attributes of its metrics are made of."""

    model: str | None
    provider: str | None
    operation: str = "chat"
    response_model: str | None = None
    server_address: str | None = None
    server_port: int | None = None
    attributes: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_inference(self) -> bool:
        """Whether the model generates something. The latest conventions have own names for these requests."""
        return self.operation in vocabulary.INFERENCE

    def identity(self) -> dict[str, AttributeValue]:
        """The attributes that cannot change while the request runs, so they are the same at start and end."""
        return clean(
            {
                vocabulary.OPERATION: self.operation,
                vocabulary.PROVIDER: self.provider,
                vocabulary.REQUEST_MODEL: self.model,
            }
        )

    def common(self) -> dict[str, AttributeValue]:
        """The attributes that all of its metrics have, among them the application's own."""
        return clean(
            self.attributes,
            {
                vocabulary.OPERATION: self.operation,
                vocabulary.PROVIDER: self.provider,
                vocabulary.REQUEST_MODEL: self.model,
                vocabulary.RESPONSE_MODEL: self.response_model,
                vocabulary.SERVER_ADDRESS: self.server_address,
                vocabulary.SERVER_PORT: self.server_port,
            },
        )


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

    @property
    def reported(self) -> bool:
        """Whether any tokens were reported, so that a cost can be computed."""
        return self.input is not None or self.output is not None


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
        self._names = GENERATIONS[emit]

    def _names_of(self, request: LLMRequest) -> Names:
        # "gen_ai.client.operation.duration remains for other GenAI client operations and SHOULD NOT be
        # reported for inference" (the conventions' migration guide).
        return self._names if request.is_inference else CURRENT

    def chunk(self, request: LLMRequest, seconds: float, context: Context | None, *, first: bool) -> None:
        """Record a chunk: ``seconds`` since the request for the first one, else since the chunk before."""
        attributes = request.common()
        names = self._names_of(request)
        self._record(names.first_chunk if first else names.per_chunk, seconds, attributes, context)

    def request(
        self,
        request: LLMRequest,
        usage: Usage,
        seconds: float,
        error: str | None,
        context: Context | None,
        *,
        first: float | None = None,
    ) -> None:
        """Record a request that has ended, with its duration and its tokens.

        ``first`` is the time to the first chunk of what was streamed.
        """
        attributes = request.common()
        failed = attributes if error is None else {**attributes, ERROR_TYPE: error}
        names = self._names_of(request)
        self._record(names.duration, seconds, failed, context)
        if names is LATEST:
            self._counters(usage, attributes, failed, context)
        else:
            self._usage(usage, attributes, context)
        self._record(conventions.TIME_PER_OUTPUT_TOKEN, per_token(usage, seconds, first), attributes, context)
        # The current generation has no metrics for these, so those of the latest one are used in both cases.
        counted = {**attributes, vocabulary.TOKEN_MODALITY: "unknown"}
        self._record(conventions.CACHE_READ_TOKENS, usage.cached, counted, context)
        self._record(conventions.CACHE_WRITE_TOKENS, usage.cache_write, counted, context)
        self._record(conventions.REASONING_TOKENS, usage.reasoning, counted, context)

    def _usage(self, usage: Usage, attributes: dict[str, AttributeValue], context: Context | None) -> None:
        for kind, count in zip(vocabulary.TOKEN_TYPES, (usage.input, usage.output), strict=True):
            self._record(conventions.TOKEN_USAGE, count, {**attributes, vocabulary.TOKEN_TYPE: kind}, context)

    def _counters(
        self,
        usage: Usage,
        attributes: dict[str, AttributeValue],
        failed: dict[str, AttributeValue],
        context: Context | None,
    ) -> None:
        # "Instrumentations SHOULD record this metric for each inference operation, including failed ones. The
        # recorded value SHOULD match the token count returned by the provider, or 0 if the response was not
        # received or did not contain token usage. [Then] with gen_ai.token.modality set to unknown."
        counted = {**attributes, vocabulary.TOKEN_MODALITY: "unknown"}
        for counter, distribution, count in (
            (conventions.INPUT_TOKENS, conventions.INPUT_DISTRIBUTION, usage.input),
            (conventions.OUTPUT_TOKENS, conventions.OUTPUT_DISTRIBUTION, usage.output),
        ):
            self._record(counter, count or 0, counted, context)
            self._record(distribution, count or 0, failed, context)
