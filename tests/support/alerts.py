"""Cases of alerts: series that make one fire and series that do not, judged by promtool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from promtool import approved

from otel_prom_bridge.dashboards import Alert, files_of, read_dashboard
from otel_prom_bridge.dashboards.rules import RUNBOOKS
from otel_prom_bridge.profiles import load_profile

SCRAPED = {"job": "app", "instance": "host:9464"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """An alert, series of two hours that make it fire, and others that do not.

    Series are in promtool's notation: ``0+6x120`` begins with 0 and grows by 6 per minute, 120 times.
    """

    profile: str = "llmdevops"
    alert: str
    series: Mapping[str, str]
    quiet: Mapping[str, str]
    labels: Mapping[str, str]
    summary: str
    fires: str = "40m"
    before: str = "4m"  # it has not been so for long enough


def quantile(name: str, labels: str, slow: str) -> dict[str, str]:
    """A histogram all of whose observations are in the bucket of this upper bound."""
    bounds = ["2.56", "5.12", "10.24", "20.48", "40.96", "+Inf"]
    return {
        f'{name}_bucket{{{labels}, le="{le}"}}': "0+60x120" if float(le) >= float(slow) else "0x120"
        for le in bounds
    }


def shares(metric: str, labels: str, label: str, *, good: str, bad: str, failing: int) -> dict[str, str]:
    """A hundred per minute, of which so many fail."""
    return {
        f'{metric}{{{labels}, {label}="{bad}"}}': f"0+{failing}x120",
        f'{metric}{{{labels}, {label}="{good}"}}': f"0+{100 - failing}x120",
    }


def written(profile: str, folder: Path) -> Path:
    """The rules of a profile, as a file."""
    file = folder / f"{profile}.rules.yml"
    file.write_text(_rules(profile))
    return file


@cache
def _rules(profile: str) -> str:
    return files_of(load_profile(profile))[f"{profile}.rules.yml"]


@cache
def _groups(profile: str) -> list[dict[str, Any]]:
    return yaml.safe_load(_rules(profile))["groups"]


@cache
def _alert(profile: str, alert: str) -> Alert:
    (found,) = (item for item in read_dashboard(load_profile(profile)).alerts if item.alert == alert)
    return found


def _written_for(case: Case, folder: Path) -> Path:
    """The rule of an alert and what is recorded for it: promtool evaluates each rule for each minute."""
    rules = [rule for group in _groups(case.profile) for rule in group["rules"]]
    wanted = [rule for rule in rules if rule.get("alert") == case.alert]
    for rule in wanted:  # which grows meanwhile
        wanted += [
            other for other in rules if other.get("record", "?") in rule["expr"] and other not in wanted
        ]
    groups = [
        {**group, "rules": [rule for rule in group["rules"] if rule in wanted]}
        for group in _groups(case.profile)
    ]
    file = folder / f"{case.profile}.rules.yml"
    file.write_text(yaml.safe_dump({"groups": [group for group in groups if group["rules"]]}))
    return file


def judged(case: Case, tmp_path: Path) -> None:
    """After its time the alert is there with labels and texts; before, or with harmless series, it is not."""
    alert = _alert(case.profile, case.alert)
    expected = {
        "exp_labels": dict(case.labels),
        "exp_annotations": {
            "summary": case.summary,
            "description": alert.description.strip(),
            "runbook_url": f"{RUNBOOKS}#{alert.runbook}",
        },
    }
    firing = {"eval_time": case.fires, "alertname": case.alert, "exp_alerts": [expected]}
    waiting = {"eval_time": case.before, "alertname": case.alert}
    tests = [
        {"interval": "1m", "input_series": _inputs(case.series), "alert_rule_test": [waiting, firing]},
        {
            "interval": "1m",
            "input_series": _inputs(case.quiet),
            # Not from the beginning: an overflow is new then.
            "alert_rule_test": [
                {"eval_time": f"{minute}m", "alertname": case.alert} for minute in range(20, 120, 5)
            ],
        },
    ]
    file = tmp_path / "test.yml"
    rules = _written_for(case, tmp_path)
    file.write_text(yaml.safe_dump({"rule_files": [rules.name], "evaluation_interval": "1m", "tests": tests}))
    approved("test", "rules", file)


def _inputs(series: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"series": name, "values": values} for name, values in series.items()]
