"""How views, rules and limits are written in TOML and YAML; and what Python may give instead."""

from __future__ import annotations

from collections.abc import Sequence

from otel_prom_bridge.checks import Check
from otel_prom_bridge.exemplars import Exemplars
from otel_prom_bridge.limits import Tenants
from otel_prom_bridge.views import ExportView


def _views(value: object) -> tuple[ExportView, ...]:
    if not isinstance(value, Sequence) or not all(isinstance(item, ExportView) for item in value):
        raise TypeError
    return tuple(value)


def _tenants(value: object) -> Tenants:
    if not isinstance(value, Tenants):
        raise TypeError
    return value


def _exemplars(value: object) -> Exemplars | bool:
    if not isinstance(value, Exemplars | bool):
        raise TypeError
    return value


VIEWS = Check(allowed="a list of ExportView", check=_views, read=str)
TENANTS = Check(allowed="Tenants(…)", check=_tenants, read=str)
EXEMPLARS = Check(allowed="Exemplars(…), or False for none", check=_exemplars, read=str)
