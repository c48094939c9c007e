"""A dashboard for Grafana, and rules and alerts for Prometheus, from what a profile says of them.

Panels, rules and alerts are data, in ``[dashboard]`` of the profile's file. Here they are read, checked
against the families of the profile, and written. One profile always gives the same files.
"""

from __future__ import annotations

from collections.abc import Mapping

from otel_prom_bridge.dashboards.model import Alert, Dashboard, Panel, PanelQuery, RecordingRule, Variable
from otel_prom_bridge.dashboards.reading import read_dashboard
from otel_prom_bridge.errors import MissingPackageError
from otel_prom_bridge.profiles import Profile

__all__ = [
    "Alert",
    "Dashboard",
    "Panel",
    "PanelQuery",
    "RecordingRule",
    "Variable",
    "files_of",
    "read_dashboard",
]

_NEEDED = ("grafana_foundation_sdk", "yaml")


def files_of(profile: Profile, *, runbooks: str | None = None) -> Mapping[str, str]:
    """The text of each file by its name: ``llmdevops.json`` for Grafana, ``llmdevops.rules.yml`` for rules.

    Alerts link to headings of the page ``runbooks``; None is that of the documentation.

    Raises:
        ConfigurationError: the profile has no dashboard, or one that cannot work, or a package of the extra
            ``dashboards`` is not installed.
    """
    dashboard = read_dashboard(profile)
    try:
        from otel_prom_bridge.dashboards.grafana import as_json
        from otel_prom_bridge.dashboards.rules import RUNBOOKS, as_yaml
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] not in _NEEDED:
            raise
        install = "pip install grafana-foundation-sdk PyYAML"
        raise MissingPackageError("dashboards", error.name.partition(".")[0], install) from None
    rules = as_yaml(dashboard, runbooks=runbooks or RUNBOOKS)
    return {f"{dashboard.uid}.json": as_json(dashboard), f"{dashboard.uid}.rules.yml": rules}
