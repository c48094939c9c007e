"""From ``[dashboard]`` of a profile to what is to be seen; what cannot work is said with its key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_args

from otel_prom_bridge.checks import BOOLEAN, BOUNDS, FACTOR, STRING, TEXT, Check, whole
from otel_prom_bridge.dashboards.metric_names import with_names_of
from otel_prom_bridge.dashboards.model import (
    Alert,
    Dashboard,
    Panel,
    PanelType,
    Query,
    RecordingRule,
    Severity,
    Variable,
)
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.families import is_legacy_label, is_legacy_name
from otel_prom_bridge.notation import Read, called, is_list, listed, read_at
from otel_prom_bridge.profiles import Profile

_COLUMNS = 24  # that the screen has in Grafana
_WIDTHS: dict[str, int] = {"timeseries": 12, "heatmap": 12, "table": 12, "stat": 6, "gauge": 6}


def read_dashboard(profile: Profile) -> Dashboard:
    """What the profile wants to have seen, with the names that its families have.

    Raises:
        ConfigurationError: the profile has no dashboard, or one that cannot work.
    """
    where = profile.place("dashboard")
    if not profile.dashboard:
        raise ConfigurationError(where, {}, "a table with 'title' and 'panels'")
    given = {"uid": _uid(profile.name), **profile.dashboard}
    try:
        dashboard = called(Dashboard, given, read=_DASHBOARD)
        return with_names_of(profile, dashboard)
    except ConfigurationError as error:
        raise ConfigurationError(where + error.key, error.value, error.expected) from None


def _uid(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]", "-", name)[:40]


def _text_like(matches: Callable[[str], object], allowed: str) -> Check:
    def check(value: object) -> str:
        if not isinstance(value, str) or not matches(value):
            raise ValueError
        return value

    return Check(allowed=allowed, check=check)


def _one_of(*allowed: str) -> Check:
    return Check(allowed=f"one of {listed(allowed)}", check=lambda value: allowed[allowed.index(value)])


def _labels(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError
    for name, text in value.items():
        if not is_legacy_label(name) or not isinstance(text, str):
            raise ValueError
    return dict(value)


_DURATION = _text_like(re.compile(r"(\d+(ms|[smhdwy]))+").fullmatch, "a duration such as '30s' or '1h'")
_LABELS = Check(allowed="a mapping of names of labels to strings", check=_labels)


def _checked(**checks: Check) -> dict[str, Read]:
    return {key: partial(check.value, "") for key, check in checks.items()}


def _tables(read: Read, name: str, *, required: bool = False) -> Read:
    """Reads a list of tables, of which each has a name at the key ``name``, or a number if it has none."""

    def read_all(value: object) -> tuple[Any, ...]:
        if not is_list(value) or (required and not value):
            raise ConfigurationError("", value, "a list of tables")
        found = []
        for number, item in enumerate(value):
            given = item.get(name) if isinstance(item, Mapping) else None
            found.append(read_at(f"[{given or number!r}]", read, item))
        return tuple(found)

    return read_all


def _table(make: type, read: Mapping[str, Read]) -> Read:
    def read_one(value: object) -> Any:
        if not isinstance(value, Mapping):
            raise ConfigurationError("", value, "a table")
        return called(make, value, read=read)

    return read_one


def _panel(value: object) -> Panel:
    if not isinstance(value, Mapping):
        raise ConfigurationError("", value, "a table")
    width = _WIDTHS.get(str(value.get("type")), 0)  # an unknown type is refused below
    panel: Panel = called(Panel, {"width": width or None, **value}, read={**_PANEL, "width": _width})
    return panel


def _width(value: object) -> int:
    width: int = whole(1, _COLUMNS).value("", value)
    return width


def _alert(value: object) -> Alert:
    """``for`` is no name that Python could have for it."""
    if not isinstance(value, Mapping):
        raise ConfigurationError("", value, "a table")
    rest = {key: item for key, item in value.items() if key != "for"}
    if "hold" in rest:
        raise ConfigurationError(".hold", rest["hold"], "the key 'for'")
    hold = _DURATION.value(".for", value.get("for", "0s"))
    alert: Alert = called(Alert, {**rest, "hold": hold}, read=_ALERT)
    return alert


def _tags(value: object) -> tuple[str, ...]:
    if not is_list(value):
        raise ConfigurationError("", value, "a list of strings")
    return tuple(TEXT.value("", item) for item in value)


_QUERY = _checked(expr=TEXT, legend=STRING)
_PANEL = {
    **_checked(
        title=TEXT,
        type=_one_of(*get_args(PanelType)),
        row=STRING,
        unit=TEXT,
        description=STRING,
        exemplars=BOOLEAN,
        height=whole(1, 100),
        max=FACTOR,
        thresholds=BOUNDS,
    ),
    "queries": _tables(_table(Query, _QUERY), "legend", required=True),
}
_VARIABLE = _checked(name=_text_like(is_legacy_label, "the name of a variable"), query=TEXT, label=STRING)
_RECORDING_RULE = _checked(
    record=_text_like(is_legacy_name, "a name such as 'service:requests:rate5m'"),
    expr=TEXT,
    labels=_LABELS,
)
_ALERT = _checked(
    alert=TEXT,
    expr=TEXT,
    severity=_one_of(*get_args(Severity)),
    summary=TEXT,
    description=TEXT,
    labels=_LABELS,
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
    "variables": _tables(_table(Variable, _VARIABLE), "name"),
    "panels": _tables(_panel, "title", required=True),
    "recording_rules": _tables(_table(RecordingRule, _RECORDING_RULE), "record"),
    "alerts": _tables(_alert, "alert"),
}
