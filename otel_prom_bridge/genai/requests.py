"""Requests to models, and the attributes of their metrics, made once for each set of them.

An application asks few models in few ways, and often. So what the metrics of a request are labelled with is
kept. What an application says in attributes of its own may be another thing each time, and is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from otel_prom_bridge.genai import vocabulary
from otel_prom_bridge.genai.kept_words import Kept, is_short
from otel_prom_bridge.recording.measurements import clean
from otel_prom_bridge.recording.operations import ERROR_TYPE
from otel_prom_bridge.recording.quick import CleanAttributes

_MOST_REASONS = 10  # the conventions have five


class LLMRequest(NamedTuple):
    """A request to a model: what the attributes of its metrics are made of."""

    model: str | None
    provider: str | None
    operation: str = "chat"
    response_model: str | None = None
    server_address: str | None = None
    server_port: int | None = None
    attributes: Mapping[str, object] | None = None


class Labels:
    """The attributes that the metrics of one kind of request have; nobody changes them."""

    __slots__ = ("_answered", "common", "counted", "input", "output", "request")

    def __init__(self, request: LLMRequest) -> None:
        self.request = request
        self.common = clean(
            request.attributes,
            {
                vocabulary.OPERATION: request.operation,
                vocabulary.PROVIDER: request.provider,
                vocabulary.REQUEST_MODEL: request.model,
                vocabulary.RESPONSE_MODEL: request.response_model,
                vocabulary.SERVER_ADDRESS: request.server_address,
                vocabulary.SERVER_PORT: request.server_port,
            },
        )
        given, answered = vocabulary.TOKEN_TYPES
        self.input = self.common.also(vocabulary.TOKEN_TYPE, given)
        self.output = self.common.also(vocabulary.TOKEN_TYPE, answered)
        self.counted = self.common.also(vocabulary.TOKEN_MODALITY, "unknown")
        self._answered: dict[str, CleanAttributes] = {}

    def failed(self, error: str | None) -> CleanAttributes:
        """Those of the duration, with the type of the error."""
        return self.common if error is None else self.common.also(ERROR_TYPE, error)

    def answered(self, reason: object) -> CleanAttributes:
        """Those of an answer that ended because of this."""
        if type(reason) is str:
            found = self._answered.get(reason)
            if found is None:
                found = self.common.also(vocabulary.FINISH_REASON, reason)
                if len(self._answered) < _MOST_REASONS and is_short(reason):
                    self._answered[reason] = found
            return found
        return clean(self.common, {vocabulary.FINISH_REASON: reason})


class LabelSets:
    """All that were needed so far."""

    def __init__(self) -> None:
        self._made: Kept[Labels] = Kept()

    def of(self, request: LLMRequest) -> Labels:
        """Those of a request."""
        return Labels(request) if request.attributes else self._made.of(request[:-1], Labels, request)
