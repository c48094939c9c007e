"""Tokens that a library counts in its metrics, and of which only its spans say that they have another price.

They correct what the tokens of the library cost, where a bridge shows that. So they are counted as these are:
in the scope of the library, with the attributes of its own metric of tokens. Otherwise they would belong to
other series, and nothing would be corrected.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.genai import conventions, vocabulary
from otel_prom_bridge.genai.emission import Usage
from otel_prom_bridge.genai.requests import Labels
from otel_prom_bridge.instruments import Metric, Record, recording
from otel_prom_bridge.recording.reports import guarded

_MOST = 300  # instruments, three of a library
_INPUT, _OUTPUT = vocabulary.TOKEN_TYPES
_ANSWERED = {key: key for key in (vocabulary.PROVIDER, vocabulary.RESPONSE_MODEL)}
# What a library's metric of tokens says of a call, by the attribute of the span that says it: for those of
# which it is not what the conventions have.
_SAID: Mapping[str, Mapping[str, str]] = {
    "opentelemetry.instrumentation.openai.v?": {
        **_ANSWERED,
        vocabulary.OPERATION: vocabulary.OPERATION,
        vocabulary.SERVER_ADDRESS: "gen_ai.openai.api_base",
    },
    "opentelemetry.instrumentation.anthropic": _ANSWERED,
    "opentelemetry.instrumentation.langchain": _ANSWERED,
}


class Repriced:
    """Counts these tokens for a provider; None stands for the global one."""

    def __init__(self, provider: MeterProvider | None) -> None:
        self._get_meter = metrics.get_meter if provider is None else provider.get_meter
        self._records: dict[tuple[Any, ...], Record] = {}

    def add(self, span: Any, usage: Usage, labels: Labels, context: Context) -> None:
        """Count those of a call."""
        with guarded("tokens of another price"):
            scope = span.instrumentation_scope
            for metric, among, count in (
                (conventions.REPRICED_CACHE_READ, _INPUT, usage.cached),
                (conventions.REPRICED_CACHE_WRITE, _INPUT, usage.cache_write),
                (conventions.REPRICED_REASONING, _OUTPUT, usage.reasoning),
            ):
                if count:
                    said = {**_said(scope.name, span, labels), vocabulary.TOKEN_TYPE: among}
                    self._record(metric, scope)(count, said, context)

    def _record(self, metric: Metric, scope: Any) -> Record:
        key = (metric.name, scope.name, scope.version, scope.schema_url)
        found = self._records.get(key)
        if found is None:
            meter = self._get_meter(scope.name, scope.version, schema_url=scope.schema_url)
            found = recording(
                meter, metric.instrument, metric.name, unit=metric.unit, description=metric.description
            )
            if len(self._records) < _MOST:
                self._records[key] = found
        return found


def _said(scope: str, span: Any, labels: Labels) -> Mapping[str, AttributeValue]:
    """What the library's metric of tokens says of a call."""
    said = _own(scope)
    if said is None:
        return labels.common
    return {key: span.attributes[name] for key, name in said.items() if name in span.attributes}


@lru_cache(maxsize=1000)
def _own(scope: str) -> Mapping[str, str] | None:
    return next((said for pattern, said in _SAID.items() if fnmatchcase(scope, pattern)), None)
