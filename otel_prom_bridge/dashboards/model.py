"""What is to be seen: panels with their queries, rules, alerts. Read in ``reading.py``, and correct."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

PanelType: TypeAlias = Literal["timeseries", "stat", "heatmap", "gauge", "table"]
Severity: TypeAlias = Literal["critical", "warning", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query of a panel; ``legend`` is Grafana's: ``{{model}}`` is the value of a label."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel. Panels with the same ``row`` that follow each other are below one heading.

    ``unit`` is one of Grafana's (``s``, ``bytes``, ``reqps``, ``percentunit``, ``currencyUSD``). ``width`` is
    in 24ths of the screen. ``max`` is the end of a gauge's scale. Past each of the ``thresholds`` the colour
    is another one, up to red; in a time series they are lines. With ``exemplars`` Grafana asks for them.
    """

    title: str
    type: PanelType
    queries: Sequence[Query]
    row: str = ""
    unit: str = "short"
    description: str = ""
    exemplars: bool = False
    width: int
    height: int = 8
    max: float | None = None
    thresholds: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """What a user chooses above the panels; ``query`` is Grafana's, such as ``label_values(up, job)``."""

    name: str
    query: str
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingRule:
    """A series that Prometheus computes ahead."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert: ``hold`` is how long ``expr`` has to have results (``10m``), ``description`` what to do."""

    alert: str
    expr: str
    hold: str = "0s"
    severity: Severity
    summary: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """All of it. ``namespace`` is the one that the names of metrics in it begin with.

    ``uid`` is what Grafana knows it by, and what its files are called.
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

    def expressions(self) -> Iterator[tuple[str, str]]:
        """Everything that has names of metrics in it, with the key where it stands."""
        for variable in self.variables:
            yield f".variables[{variable.name!r}].query", variable.query
        for panel in self.panels:
            for number, query in enumerate(panel.queries):
                yield f".panels[{panel.title!r}].queries[{number}].expr", query.expr
        for rule in self.recording_rules:
            yield f".recording_rules[{rule.record!r}].expr", rule.expr
        for alert in self.alerts:
            yield f".alerts[{alert.alert!r}].expr", alert.expr

    def renamed(self, rename: Callable[[str], str]) -> Dashboard:
        """The same with other names of metrics: ``rename`` makes an expression of an expression."""
        return replace(
            self,
            variables=tuple(replace(item, query=rename(item.query)) for item in self.variables),
            panels=tuple(
                replace(
                    panel,
                    queries=tuple(replace(query, expr=rename(query.expr)) for query in panel.queries),
                )
                for panel in self.panels
            ),
            recording_rules=tuple(
                replace(rule, record=rename(rule.record), expr=rename(rule.expr))
                for rule in self.recording_rules
            ),
            alerts=tuple(replace(alert, expr=rename(alert.expr)) for alert in self.alerts),
        )
