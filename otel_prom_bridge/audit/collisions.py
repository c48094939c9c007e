"""Names that collide: with each other for scrapers that read only letters, digits and underscores, or with
the samples of another family.
"""

from __future__ import annotations

from collections.abc import Iterable

from otel_prom_bridge.exposition import Escaping
from otel_prom_bridge.exposition.schemes import escaped
from otel_prom_bridge.families import MetricFamily, claimed_names
from otel_prom_bridge.snapshots.findings import Faults


def check_names(families: Iterable[MetricFamily], faults: Faults) -> None:
    """Report names that become one where they are escaped, and families in each other's way."""
    owners: dict[str, MetricFamily] = {}
    for family in families:
        name = escaped(family.name, Escaping.UNDERSCORES)
        for claimed in sorted(claimed_names(name, family.kind)):
            owner = owners.setdefault(claimed, family)
            if owner is not family:
                _report(owner, family, claimed, faults)
                break
        _check_labels(family, faults)


def _report(owner: MetricFamily, family: MetricFamily, claimed: str, faults: Faults) -> None:
    is_escaped = claimed not in claimed_names(family.name, family.kind)
    why = " when names are escaped with underscores" if is_escaped else ""
    message = f"{claimed} belongs to the {owner.kind.value} {owner.name}, too{why}"
    faults.warning("collision", family.name, message)


def _check_labels(family: MetricFamily, faults: Faults) -> None:
    names = {name for point in family.points for name, _ in point.labels}
    shown: dict[str, str] = {}
    for name in sorted(names):
        other = shown.setdefault(escaped(name, Escaping.UNDERSCORES, label=True), name)
        if other != name and any({name, other} <= dict(point.labels).keys() for point in family.points):
            message = f"the labels {other} and {name} become one when names are escaped with underscores"
            faults.warning("collision", family.name, message)
