"""The attributes of the metrics of calls, made once for each set of them.

An application asks few models in few ways, and often. So what the metrics of a call are labelled with is
kept: as many sets as an application can sensibly have. Then all are forgotten, since they can be made anew.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.genai import vocabulary
from otel_prom_bridge.genai.emission import LLMRequest
from otel_prom_bridge.genai.spans.attributes import Attributes, Seen
from otel_prom_bridge.recording.operations import ERROR_TYPE

_MOST = 2000


class Labels:
    """The attributes that the metrics of one kind of call have; nobody changes them."""

    __slots__ = ("common", "counted", "input", "output", "request")

    def __init__(self, request: LLMRequest) -> None:
        self.request = request
        self.common = request.common()
        given, answered = vocabulary.TOKEN_TYPES
        self.input = {**self.common, vocabulary.TOKEN_TYPE: given}
        self.output = {**self.common, vocabulary.TOKEN_TYPE: answered}
        self.counted = {**self.common, vocabulary.TOKEN_MODALITY: "unknown"}

    def failed(self, error: str | None) -> dict[str, AttributeValue]:
        """Those of the duration, with the type of the error."""
        return self.common if error is None else {**self.common, ERROR_TYPE: error}


class LabelSets:
    """All that were needed so far. There is no lock: if two threads make one, either of them is kept."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Labels] = {}

    def of(self, found: Seen, attributes: Attributes) -> Labels:
        """Those of a call."""
        address = _of_type(attributes.get("server.address"), str)
        port = _of_type(attributes.get("server.port"), int)
        key = (found.model, found.provider, found.operation, found.response_model, address, port)
        labels = self._made.get(key)
        if labels is None:
            if len(self._made) >= _MOST:
                self._made = {}
            labels = self._made[key] = Labels(LLMRequest(*key))
        return labels


def _of_type(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) and not isinstance(value, bool) else None
