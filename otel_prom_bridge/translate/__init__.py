"""Says in Prometheus' terms what OpenTelemetry says in its own.

The other modules of this folder are pure functions. :class:`Translation` holds the choices that were made
when the reader was built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TypeAlias

from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_prom_bridge.families import Kind, Labels, is_legacy_name
from otel_prom_bridge.points import WORKER, Stream
from otel_prom_bridge.translate.labels import Layout, label_name, labels, translated
from otel_prom_bridge.translate.names import metric_name
from otel_prom_bridge.translate.strategies import TranslationStrategy

__all__ = ["Attributes", "Translation", "TranslationStrategy"]

Attributes: TypeAlias = tuple[tuple[str, object], ...]

_SCOPE_FIELDS = ("otel_scope_name", "otel_scope_version", "otel_scope_schema_url")
# The bridge writes this label into every bucket itself.
_RESERVED = {Kind.HISTOGRAM: frozenset({"le"})}
# The label that says which worker a gauge is of. An attribute of this name makes way where there is one.
_WORKER = "worker"
_VALUE = itemgetter(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """How one reader translates. The options are those of ``PrometheusMetricReader``.

    ``value_length`` is the number of characters that a label's value may have; 0 stands for any.
    """

    strategy: TranslationStrategy = TranslationStrategy.UNDERSCORE_ESCAPING_WITH_SUFFIXES
    prefix: str = ""
    scope_info_enabled: bool = True
    resource_attribute_filter: Callable[[str], bool] | None = None
    common_labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    value_length: int = 0

    def name(self, stream: Stream, *, counter: bool) -> str:
        """The Prometheus name of the family of a stream. ``counter`` says whether that is a counter."""
        return metric_name(
            stream.name,
            unit=stream.unit,
            counter=counter,
            prefix=self.prefix,
            strategy=self.strategy,
        )

    def given_name(self, name: str) -> str:
        """The name of a family to which a view gives this name.

        It stays as it is, but for characters that the strategy does not allow.
        """
        return name if is_legacy_name(name) else metric_name(name, strategy=self.strategy)

    def scope_attributes(self, scope: InstrumentationScope) -> Attributes:
        """The attributes that every series of a scope gets beside its own."""
        return tuple(_scope_attributes(scope)) if self.scope_info_enabled else ()

    def resource_attributes(self, resource: Mapping[str, object]) -> Attributes:
        """The attributes that every series gets from the resource.

        This calls the filter of the application, which may raise.
        """
        chosen = self.resource_attribute_filter
        return tuple(pair for pair in resource.items() if chosen(pair[0])) if chosen else ()

    def common(self, resource: Mapping[str, object]) -> dict[str, object]:
        """The values of the common labels.

        Each label has the value of the first of its resource attributes that is there, and is empty if there
        is none.
        """
        return {
            label: next((resource[key] for key in keys if resource.get(key) is not None), "")
            for label, keys in self.common_labels.items()
        }

    def layout(
        self,
        kind: Kind,
        keys: Sequence[str],
        scope: Attributes = (),
        resource: Attributes = (),
        *,
        defaults: Labels = (),
    ) -> Layout:
        """What makes the labels of series whose attributes have these keys, whatever their values are.

        Their labels are those of their own attributes, of their scope and of their resource. If an attribute
        and a resource attribute have the same key, the value of the attribute is shown. The rule that values
        are joined is for different keys. Where a worker has its own series, an attribute ``worker`` of the
        application becomes ``exported_worker``. For ``defaults`` see the layout.
        """
        reserved = _RESERVED.get(kind, frozenset())
        if WORKER in keys:
            reserved |= {_WORKER}
        beside = (*scope, *(item for item in resource if item[0] not in keys))
        all_keys = (*keys, *(key for key, _ in beside))
        names = (_WORKER if key == WORKER else self._label_name(key, reserved) for key in all_keys)
        known = map(_VALUE, beside)
        return Layout(all_keys, names, known=known, defaults=defaults, longest=self.value_length)

    def _label_name(self, key: str, reserved: frozenset[str]) -> str:
        return translated(key, reserved, escape=self.strategy.escapes)

    def labels(
        self,
        kind: Kind,
        attributes: Mapping[str, object],
        scope: Attributes = (),
        resource: Attributes = (),
    ) -> Labels:
        """The labels of one series; see :meth:`layout`."""
        return self.layout(kind, [*attributes], scope, resource).labels([*attributes.values()])

    def target_labels(self, resource: Mapping[str, object]) -> Labels:
        """The labels of ``target_info``: the resource attributes and nothing else."""
        return labels(resource.items(), escape=self.strategy.escapes, longest=self.value_length)


def _scope_attributes(scope: InstrumentationScope) -> list[tuple[str, object]]:
    values = (scope.name or "", scope.version or "", scope.schema_url or "")
    result: list[tuple[str, object]] = list(zip(_SCOPE_FIELDS, values, strict=True))
    for key, value in (scope.attributes or {}).items():
        name = f"otel_scope_{key}"
        # "Scope attributes that would conflict with name, version or schema_url MUST be dropped."
        if label_name(name) not in _SCOPE_FIELDS:
            result.append((name, value))
    return result
