"""All checks of a snapshot, together."""

from __future__ import annotations

from typing import NamedTuple

from otel_prom_bridge.audit.bucket_advice import check_buckets
from otel_prom_bridge.audit.collisions import check_names
from otel_prom_bridge.audit.practices import check_conventions
from otel_prom_bridge.families import Exemplar, HistogramPoint, Labels, MetricFamily, identity
from otel_prom_bridge.snapshots import Finding, Snapshot
from otel_prom_bridge.snapshots.findings import MOST, Faults

# What Prometheus reads; of anything else its version 3 fails the scrape, unless it is told a fallback.
# https://prometheus.io/docs/prometheus/latest/migration/#scrape-protocols
_CONTENT_TYPES = ("text/plain", "application/openmetrics-text", "application/vnd.google.protobuf")
# Labels that Prometheus gives to every series of a target. A target's own are renamed.
_OF_THE_TARGET = ("job", "instance")


class Limits(NamedTuple):
    """From where on a metric costs too much: series of a family, and characters of the value of a label."""

    series: int = 1000
    label_value: int = 200


def check(snapshot: Snapshot, limits: Limits | None = None, *, most: int = MOST) -> tuple[Finding, ...]:
    """Everything that is wrong with an exposition or could be better, errors first: ``most`` of each rule."""
    limits = limits or Limits()
    faults = Faults(most=most)
    faults.extend(snapshot.findings)
    _check_content_type(snapshot.content_type, faults)
    check_names(snapshot.families, faults)
    for family in snapshot.families:
        check_conventions(family, faults)
        _check_labels(family, limits, faults)
        _check_exemplars(family, faults)
        check_buckets(family, faults)
    return faults.all()


def _check_content_type(content_type: str, faults: Faults) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in _CONTENT_TYPES:
        message = f"Prometheus 3 does not read {content_type!r}"
        hint = "send text/plain; version=0.0.4, or set fallback_scrape_protocol in the scrape_config"
        faults.error("content-type", "", message, hint=hint)


def _check_labels(family: MetricFamily, limits: Limits, faults: Faults) -> None:
    series = {identity(point.labels) for point in family.points}
    if len(series) > limits.series:
        message = f"{len(series):,} series, which is more than {limits.series:,}"
        hint = f"otel-prom-bridge cardinality … --match {family.name} shows which label makes them"
        faults.warning("cardinality", family.name, message, hint=hint)
    longest = max(((len(value), name) for labels in series for name, value in labels), default=(0, ""))
    if longest[0] > limits.label_value:
        message = f"the label {longest[1]} has a value of {longest[0]:,} characters"
        faults.warning("label-length", family.name, message)
    names = {name for labels in series for name, _ in labels}
    for name in sorted(names):
        if name.startswith("__"):
            faults.error(
                "label", family.name, f"the label {name} is one of those that Prometheus keeps for itself"
            )
        elif name in _OF_THE_TARGET:
            message = f"the label {name} is one that Prometheus gives; it becomes exported_{name}"
            faults.warning("label", family.name, message)
    if any(point.timestamp is not None for point in family.points):
        message = "samples with timestamps: they go stale late, and a scraper may refuse old ones"
        faults.warning("timestamp", family.name, message)


def _check_exemplars(family: MetricFamily, faults: Faults) -> None:
    for point in family.points:
        if isinstance(point, HistogramPoint) and point.exemplars:
            edges = (float("-inf"), *point.bounds, float("inf"))
            for index, item in enumerate(point.exemplars):
                if item is not None and not edges[index] < item.value <= edges[index + 1]:
                    _report_misplaced(family.name, point.labels, item, faults)


def _report_misplaced(name: str, labels: Labels, item: Exemplar, faults: Faults) -> None:
    message = f"an exemplar of {item.value} is not in its bucket, in the series {dict(labels)}"
    faults.warning("exemplar", name, message)
