"""What dashboards and rules ask of a target that it does not have: a panel of such a query says "No data"."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from otel_prom_bridge.audit.promql import Selector, asked
from otel_prom_bridge.errors import ConfigurationError, MissingPackageError
from otel_prom_bridge.families import MetricFamily
from otel_prom_bridge.snapshots.findings import Faults
from otel_prom_bridge.snapshots.quantities import quantities

# What Prometheus adds to every target and its series.
_OF_PROMETHEUS = re.compile(r"up|ALERTS(_FOR_STATE)?|scrape_\w+")
_LABELS_OF_PROMETHEUS = frozenset(
    {"job", "instance", "__name__", "alertname", "alertstate", "le", "quantile"}
)


class Expression(NamedTuple):
    """An expression, and where it stands. ``record`` is the name of what a recording rule makes."""

    place: str
    expression: str
    record: str = ""


def queries_of_dashboard(path: str) -> list[Expression]:
    """The queries of a Grafana dashboard: of panels in rows and libraries, and of variables.

    Raises:
        ConfigurationError: the file is no dashboard.
    """
    text = _text("--dashboard", path)
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigurationError("--dashboard", path, f"a Grafana dashboard in JSON ({error})") from None
    if not isinstance(found, dict):
        raise ConfigurationError("--dashboard", path, "a Grafana dashboard, which is an object in JSON")
    return list(_in_dashboard(found, Path(path).name))


def queries_of_rules(path: str) -> list[Expression]:
    """The queries of a file of Prometheus rules.

    Raises:
        ConfigurationError: the file is none.
    """
    try:
        import yaml
    except ImportError:
        raise MissingPackageError("--rules", "yaml", "pip install PyYAML") from None
    try:
        found = yaml.safe_load(_text("--rules", path))
        groups = found["groups"]
        return [
            Expression(_titled(path, rule), str(rule["expr"]), rule.get("record") or "")
            for group in groups
            for rule in group["rules"]
        ]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        raise ConfigurationError("--rules", path, "Prometheus rules: groups with rules, in YAML") from None


def _titled(path: str, rule: dict[str, Any]) -> str:
    return f"{Path(path).name}: {rule.get('record') or rule['alert']}"


def _text(key: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(key, path, f"a file that can be read ({reason})") from None


def _in_dashboard(node: Any, place: str) -> Iterator[Expression]:
    if isinstance(node, list):
        for item in node:
            yield from _in_dashboard(item, place)
    elif isinstance(node, dict):
        title = node.get("title")
        if isinstance(title, str) and "panels" not in node:
            place = f"{place.partition(': ')[0]}: {title}"
        expression = node.get("expr")
        if isinstance(expression, str):
            yield Expression(place, expression)
        query = node.get("query")
        if isinstance(query, str) and query.startswith("label_values("):
            yield from _of_variable(
                query, f"{place.partition(': ')[0]}: variable {node.get('name', '')}".strip()
            )
        for key, item in node.items():
            if key not in ("expr", "query") or not isinstance(item, str):
                yield from _in_dashboard(item, place)


def _of_variable(query: str, place: str) -> Iterator[Expression]:
    # label_values(metric{label="x"}, label) asks for a label of a metric.
    inside = query.removeprefix("label_values(").rstrip().removesuffix(")")
    metric, comma, label = inside.rpartition(",")
    if comma:
        yield Expression(place, f"sum by ({label.strip()}) ({metric.strip()})")


class _Target:
    """What there is: the labels of each name, and their values."""

    def __init__(self, families: Iterable[MetricFamily], recorded: Iterable[str]) -> None:
        self.labels: dict[str, dict[str, set[str]]] = {}
        self.recorded = frozenset(recorded)
        for family in families:
            self.labels.setdefault(family.name, {})
            for item in quantities(family):
                known = self.labels.setdefault(item.name, {})
                for label, value in item.labels:
                    known.setdefault(label, set()).add(value)
            for point in family.points:  # a native histogram is asked for by the name of its family
                for label, value in point.labels:
                    self.labels[family.name].setdefault(label, set()).add(value)


def check_queries(families: Iterable[MetricFamily], queries: Iterable[Expression], faults: Faults) -> None:
    """Report every metric, label and value of a label that a query asks for and the target lacks."""
    queries = list(queries)
    target = _Target(families, (query.record for query in queries))
    for query in queries:
        found = asked(query.expression)
        known: set[str] = set()
        is_known = True
        for selector in found.selectors:
            labels = _check_selector(selector, query, target, faults)
            is_known = is_known and labels is not None
            known |= labels or set()
        missing = found.grouping - known - _LABELS_OF_PROMETHEUS
        if is_known and found.selectors and missing:
            names = ", ".join(selector.name for selector in found.selectors)
            for label in sorted(name for name in missing if not name.startswith("$")):
                message = f"{query.place} groups by {label}, which {names} do not have"
                faults.error("missing-label", "", message, hint=_nearest(label, known))


def _check_selector(
    selector: Selector, query: Expression, target: _Target, faults: Faults
) -> set[str] | None:
    """The labels of a metric; None if they are not known."""
    name = selector.name
    if name in target.recorded or _OF_PROMETHEUS.fullmatch(name) or "$" in name:
        return None
    if name not in target.labels:
        hint = _nearest(name, target.labels)
        faults.error("missing-metric", name, f"{query.place} asks for it, and it is not there", hint=hint)
        return None
    labels = target.labels[name]
    for label, op, value in selector.matchers:
        _check_matcher(name, labels, label, op, value, query, faults)
    return set(labels)


def _check_matcher(
    name: str,
    labels: dict[str, set[str]],
    label: str,
    op: str,
    value: str | None,
    query: Expression,
    faults: Faults,
) -> None:
    if label in _LABELS_OF_PROMETHEUS - {"le", "quantile"} or op in ("!=", "!~") or value == "":
        return
    if label not in labels:
        if not (op == "=~" and (value is None or _matches(value, ""))):
            message = f"{query.place} asks for the label {label}, which it does not have"
            faults.error("missing-label", name, message, hint=_nearest(label, labels))
    elif value is not None and not any(_matches(value, item, op) for item in labels[label]):
        message = f"{query.place} asks for {label}{op}{value!r}, and no series has that now"
        faults.warning("missing-value", name, message, hint=_nearest(value, labels[label]))


def _matches(pattern: str, value: str, op: str = "=~") -> bool:
    if op == "=":
        return pattern == value
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error:  # RE2 has some forms that Python has not
        return True


def _nearest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"the nearest is {' or '.join(near)}" if near else ""
