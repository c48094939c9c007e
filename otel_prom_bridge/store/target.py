"""The resource, that is what is scraped: a metric of its own, and labels of all others if asked to."""

from __future__ import annotations

from collections.abc import Mapping

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.families import InfoPoint, Kind, MetricFamily
from otel_prom_bridge.translate import Attributes, Translation


class TargetInfo:
    """What the latest resource says.

    ``promoted`` are the resource attributes that every series gets as labels, ``common`` the labels of every
    series that has no value for them, ``families`` the target's info, if it is wanted.
    """

    def __init__(self, translation: Translation, findings: Findings, *, info: bool) -> None:
        self._translation = translation
        self._findings = findings
        self._info = info
        self._resource: Mapping[str, object] = {}
        self.promoted: Attributes = ()
        self.common: Mapping[str, object] = {}
        self.families: tuple[MetricFamily, ...] = ()

    def take(self, resource: Mapping[str, object]) -> None:
        """Describe this resource, if it is not the same as before."""
        if resource is self._resource:
            return
        self._resource = resource
        self.common = self._translation.common(resource)
        try:
            self.promoted = self._translation.resource_attributes(resource)
        except Exception as error:
            self._findings.report(
                "resource", "resource_attribute_filter failed, no label is added: %r", error
            )
        labels = self._translation.target_labels(resource)
        # "resource attributes SHOULD be converted to a target info metric if the resource is not empty"
        if self._info and labels:
            foreign = not self._translation.strategy.escapes
            point = InfoPoint(labels)
            self.families = (
                MetricFamily("target_info", Kind.INFO, "Target metadata", "", (point,), foreign=foreign),
            )
