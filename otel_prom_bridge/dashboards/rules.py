"""Recording and alert rules, as a file that Prometheus reads."""

from __future__ import annotations

from typing import Any

import yaml

from otel_prom_bridge.dashboards.model import Alert, Dashboard, RecordingRule

# The page that has the headings which alerts name: `docs/runbooks.md`, where the documentation is published.
RUNBOOKS = "https://otel-prom-bridge.readthedocs.io/en/latest/runbooks/"
_WIDTH = 1000  # so wide that no line is wrapped


class _Dumper(yaml.SafeDumper):
    """Writes YAML as people do: lists are indented, and a text of several lines is a block."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def as_yaml(dashboard: Dashboard, *, runbooks: str = RUNBOOKS) -> str:
    """The text of the file, with a group of recording rules and one of alerts with links to ``runbooks``."""
    recording = [_recording_rule(rule) for rule in dashboard.recording_rules]
    alerts = [_alert(alert, runbooks) for alert in dashboard.alerts]
    named = ((f"{dashboard.uid}-recording", recording), (f"{dashboard.uid}-alerts", alerts))
    groups = [{"name": name, "rules": rules} for name, rules in named if rules]
    text: str = yaml.dump(
        {"groups": groups}, Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True
    )
    return f"# {dashboard.title}: made by `otel-prom-bridge dashboards`. A change here is lost.\n{text}"


def _recording_rule(rule: RecordingRule) -> dict[str, Any]:
    found: dict[str, Any] = {"record": rule.record, "expr": rule.expr.strip()}
    if rule.labels:
        found["labels"] = dict(rule.labels)
    return found


def _alert(alert: Alert, runbooks: str) -> dict[str, Any]:
    annotations = {"summary": alert.summary, "description": alert.description.strip()}
    if alert.runbook:
        is_url = "://" in alert.runbook
        annotations["runbook_url"] = alert.runbook if is_url else f"{runbooks}#{alert.runbook}"
    return {
        "alert": alert.alert,
        "expr": alert.expr.strip(),
        "for": alert.hold,
        "labels": {**alert.labels, "severity": alert.severity},
        "annotations": annotations,
    }
