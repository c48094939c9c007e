"""From ``[dashboard]`` of a profile's file to a dashboard. The error of what cannot work names its key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import get_args

from otel_prom_bridge.dashboards.budgets import with_budgets
from otel_prom_bridge.dashboards.metric_names import is_balanced, with_names_of
from otel_prom_bridge.dashboards.model import (
    Alert,
    AlertSeverity,
    Dashboard,
    Panel,
    PanelQuery,
    PanelType,
    RecordingRule,
    Variable,
)
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.families import is_legacy_label, is_legacy_name
from otel_prom_bridge.profiles import Profile
from otel_prom_bridge.values.checks import BOOLEAN, BOUNDS, FACTOR, STRING, TEXT, Check, one_of, whole
from otel_prom_bridge.values.notation import Read, as_table, called, is_list, tables

_COLUMNS = 24  # Grafana divides the screen into so many
_WIDTHS: dict[str, int] = {"timeseries": 12, "heatmap": 12, "table": 12, "stat": 6, "gauge": 6}


def read_dashboard(profile: Profile) -> Dashboard:
    """The dashboard of a profile, with the names that its families have.

    Raises:
        ConfigurationError: the profile has no dashboard, or one that cannot work.
    """
    where = profile.place("dashboard")
    if not profile.dashboard:
        raise ConfigurationError(where, {}, "a table with 'title' and 'panels'")
    given = {"uid": _uid(profile.name), **profile.dashboard}
    try:
        dashboard = called(Dashboard, given, read=_DASHBOARD)
        dashboard = with_budgets(dashboard, profile.budgets, profile.namespace)
        return with_names_of(profile, dashboard)
    except ConfigurationError as error:
        raise error.renamed(where + error.key) from None


def _uid(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]", "-", name)[:40]


def _text_like(matches: Callable[[str], object], allowed: str) -> Check:
    def check(value: object) -> str:
        if not isinstance(value, str) or not matches(value):
            raise ValueError
        return value

    return Check(allowed=allowed, check=check)


def _labels(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError
    for name, text in value.items():
        if not is_legacy_label(name) or not isinstance(text, str):
            raise ValueError
    return dict(value)


_DURATION = _text_like(re.compile(r"(\d+(ms|[smhdwy]))+").fullmatch, "a duration such as '30s' or '1h'")
_EXPRESSION = _text_like(
    lambda text: text and is_balanced(text), "an expression in which all brackets and quotes are closed"
)
_RUNBOOK = _text_like(
    re.compile(r"[a-z0-9-]*|https?://\S+").fullmatch, "a heading as in a link ('scrapes-are-slow'), or a URL"
)
_LABELS = Check(allowed="a mapping of names of labels to strings", check=_labels)


def _checked(**checks: Check) -> dict[str, Read]:
    return {key: partial(check.value, "") for key, check in checks.items()}


def _table(make: type, read: Mapping[str, Read]) -> Read:
    return lambda value: called(make, as_table(value), read=read)


def _panel(value: object) -> Panel:
    given = as_table(value)
    width = _WIDTHS.get(str(given.get("type")), 0)  # an unknown type is refused below
    panel: Panel = called(Panel, {"width": width or None, **given}, read={**_PANEL, "width": _width})
    return panel


def _width(value: object) -> int:
    width: int = whole(1, _COLUMNS).value("", value)
    return width


def _alert(value: object) -> Alert:
    """An alert. Its key ``for`` is a word of Python's, so the field has another name."""
    given = as_table(value)
    if "hold" in given:
        raise ConfigurationError(".hold", given["hold"], "the key 'for'")
    hold = _DURATION.value(".for", given.pop("for", "0s"))
    alert: Alert = called(Alert, {**given, "hold": hold}, read=_ALERT)
    return alert


def _tags(value: object) -> tuple[str, ...]:
    if not is_list(value):
        raise ConfigurationError("", value, "a list of strings")
    return tuple(TEXT.value("", item) for item in value)


_QUERY = _checked(expr=_EXPRESSION, legend=STRING)
_PANEL = {
    **_checked(
        title=TEXT,
        type=one_of(*get_args(PanelType)),
        row=STRING,
        unit=TEXT,
        description=STRING,
        exemplars=BOOLEAN,
        height=whole(1, 100),
        max=FACTOR,
        thresholds=BOUNDS,
        namespace=STRING,
    ),
    "queries": tables(_table(PanelQuery, _QUERY), name="legend", required=True),
}
_VARIABLE = _checked(
    name=_text_like(is_legacy_label, "the name of a variable"),
    query=_EXPRESSION,
    label=STRING,
    namespace=STRING,
)
_RECORDING_RULE = _checked(
    record=_text_like(is_legacy_name, "a name such as 'service:requests:rate5m'"),
    expr=_EXPRESSION,
    labels=_LABELS,
    namespace=STRING,
)
_ALERT = _checked(
    alert=TEXT,
    expr=_EXPRESSION,
    severity=one_of(*get_args(AlertSeverity)),
    summary=TEXT,
    description=TEXT,
    runbook=_RUNBOOK,
    labels=_LABELS,
    namespace=STRING,
)
_DASHBOARD = {
    **_checked(
        title=TEXT,
        uid=_text_like(
            re.compile("[a-zA-Z0-9_-]{1,40}").fullmatch, "at most 40 letters, digits, '-' and '_'"
        ),
        description=STRING,
        namespace=STRING,
        refresh=_DURATION,
        span=_DURATION,
    ),
    "tags": _tags,
    "variables": tables(_table(Variable, _VARIABLE)),
    "panels": tables(_panel, name="title", required=True),
    "recording_rules": tables(_table(RecordingRule, _RECORDING_RULE), name="record"),
    "alerts": tables(_alert, name="alert"),
}
