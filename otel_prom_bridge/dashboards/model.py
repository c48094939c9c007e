"""A dashboard as data: panels with their queries, recording rules, and alerts.

``reading.py`` makes these of what a file says, and checks it before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

PanelType: TypeAlias = Literal["timeseries", "stat", "heatmap", "gauge", "table"]
AlertSeverity: TypeAlias = Literal["critical", "warning", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelQuery:
    """A query of a panel. In ``legend``, which is Grafana's, ``{{model}}`` is the value of a label."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel. Panels with the same ``row`` that follow each other stand below one heading.

    ``unit`` is one of Grafana's (``s``, ``bytes``, ``reqps``, ``percentunit``, ``currencyUSD``). ``width``
    is in 24ths of the screen. ``max`` is the end of a gauge's scale. The colour changes at each of the
    ``thresholds``, up to red; in a time series they are drawn as lines. With ``exemplars`` Grafana asks for
    exemplars, too. ``namespace``, here and below, is that of the names of metrics in it, if it is another one
    than the dashboard's.
    """

    title: str
    type: PanelType
    queries: Sequence[PanelQuery]
    row: str = ""
    unit: str = "short"
    description: str = ""
    exemplars: bool = False
    width: int
    height: int = 8
    max: float | None = None
    thresholds: Sequence[float] = ()
    namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A choice above the panels. ``query`` is in Grafana's language, such as ``label_values(up, job)``."""

    name: str
    query: str
    label: str = ""
    namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingRule:
    """A series that Prometheus computes ahead of queries."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert. ``hold`` is how long ``expr`` must have results (``10m``). ``description`` is what to do.

    ``runbook`` says where there is more: a heading of the runbooks (``scrapes-are-slow``), or a URL.
    """

    alert: str
    expr: str
    hold: str = "0s"
    severity: AlertSeverity
    summary: str
    description: str
    runbook: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """The whole dashboard, with the rules and alerts that belong to it.

    The names of metrics in it begin with ``namespace``. Grafana knows it by its ``uid``, and its files are
    called so.
    """

    title: str
    uid: str
    description: str = ""
    tags: Sequence[str] = ()
    namespace: str = ""
    refresh: str = "30s"
    span: str = "1h"
    variables: Sequence[Variable] = ()
    panels: Sequence[Panel]
    recording_rules: Sequence[RecordingRule] = ()
    alerts: Sequence[Alert] = ()

    def expressions(self) -> Iterator[tuple[str, str, str]]:
        """All expressions with names of metrics: the key where each stands, it, and the names' namespace."""
        for variable in self.variables:
            yield f".variables[{variable.name!r}].query", variable.query, self.namespace_of(variable)
        for panel in self.panels:
            for number, query in enumerate(panel.queries):
                key = f".panels[{panel.title!r}].queries[{number}].expr"
                yield key, query.expr, self.namespace_of(panel)
        for rule in self.recording_rules:
            yield f".recording_rules[{rule.record!r}].expr", rule.expr, self.namespace_of(rule)
        for alert in self.alerts:
            yield f".alerts[{alert.alert!r}].expr", alert.expr, self.namespace_of(alert)

    def namespace_of(self, item: Panel | Variable | RecordingRule | Alert) -> str:
        """With what the names of metrics in a part of the dashboard begin."""
        return self.namespace if item.namespace is None else item.namespace

    def renamed(self, rename: Callable[[str, str], str]) -> Dashboard:
        """The same dashboard with other names. ``rename`` changes one expression, of names of a namespace."""
        own = self.namespace_of
        return replace(
            self,
            variables=tuple(replace(item, query=rename(item.query, own(item))) for item in self.variables),
            panels=tuple(
                replace(
                    panel,
                    queries=tuple(
                        replace(query, expr=rename(query.expr, own(panel))) for query in panel.queries
                    ),
                )
                for panel in self.panels
            ),
            recording_rules=tuple(
                replace(rule, record=rename(rule.record, own(rule)), expr=rename(rule.expr, own(rule)))
                for rule in self.recording_rules
            ),
            alerts=tuple(replace(alert, expr=rename(alert.expr, own(alert))) for alert in self.alerts),
        )
