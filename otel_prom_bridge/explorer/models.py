"""Calls of models, agents and tools, when there is such data, whatever its families are called.

The families are known by their names: those of the semantic conventions, and those that the profiles have
in common. Where a family of calls is missing, the histogram of their durations has their number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from otel_prom_bridge.explorer.as_json import Json, main_value, number, text
from otel_prom_bridge.explorer.series import distribution
from otel_prom_bridge.families import HistogramPoint, MetricFamily, NativeHistogramPoint, Point

_ROLES: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern)
    for name, pattern in {
        "calls": r"(?:\w+_)?llm_requests_total",
        "duration": r"gen_ai_client_(?:operation|inference)_duration(?:_seconds)?"
        r"|(?:\w+_)?llm_request_duration_seconds",
        "first": r"gen_ai_client_(?:operation|inference)_time_to_first_chunk(?:_seconds)?"
        r"|gen_ai_server_time_to_first_token(?:_seconds)?"
        r"|(?:\w+_)?llm_time_to_first_(?:chunk|token)(?:_seconds)?",
        "tokens": r"gen_ai_client_token_usage(?:_tokens?)?|(?:\w+_)?(?:llm|execution)_tokens_total",
        "input": r"gen_ai_client_inference_usage_input_tokens(?:_total)?",
        "output": r"gen_ai_client_inference_usage_output_tokens(?:_total)?",
        "cost": r"gen_ai_usage_cost(?:_USD)?(?:_total)?|(?:\w+_)?llm_cost(?:_usd)?(?:_total)?",
        "errors": r"(?:\w+_)?llm_errors_total",
        "agents": r"gen_ai_invoke_agent_duration(?:_seconds)?|(?:\w+_)?agent_execution_duration_seconds",
        "executions": r"(?:\w+_)?agent_executions_total",
        "tools": r"gen_ai_execute_tool_duration(?:_seconds)?|(?:\w+_)?tool_call_duration_seconds",
        "tool_calls": r"(?:\w+_)?tool_calls_total",
    }.items()
}
_NAMES: Mapping[str, tuple[str, ...]] = {
    "model": ("gen_ai_request_model", "gen_ai_response_model", "model"),
    "provider": ("gen_ai_provider_name", "gen_ai_system", "provider", "backend"),
    "type": ("gen_ai_token_type", "type", "token_type"),
    "error": ("error_type",),
    "status": ("status", "outcome"),
    "agent": ("gen_ai_agent_name", "agent_type", "agent"),
    "tool": ("gen_ai_tool_name", "tool_name", "tool"),
}
_FAILED = frozenset({"error", "failed", "failure"})
_INPUT, _OUTPUT = frozenset({"input", "prompt"}), frozenset({"output", "completion"})
_ROWS = 200


def _plain(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9]+", "_", name)


class _Labels:
    """The labels of a point by what they mean."""

    def __init__(self, point: Point) -> None:
        self._found = {_plain(name): value for name, value in point.labels}

    def get(self, meaning: str) -> str:
        """The value of the first label of this meaning."""
        return next((self._found[name] for name in _NAMES[meaning] if self._found.get(name)), "")


class _Families:
    """The families that are about models and agents, by their roles."""

    def __init__(self, families: Iterable[MetricFamily]) -> None:
        self.by_role: dict[str, list[MetricFamily]] = {}
        for family in families:
            for role, pattern in _ROLES.items():
                if family.points and pattern.fullmatch(_plain(family.name)):
                    self.by_role.setdefault(role, []).append(family)

    def points(self, *roles: str) -> Iterator[tuple[Point, _Labels]]:
        """The points of the first of these roles that has families."""
        for role in roles:
            found = self.by_role.get(role)
            if found:
                yield from ((point, _Labels(point)) for family in found for point in family.points)
                return


def has_models(families: Iterable[MetricFamily]) -> bool:
    """Whether there is something to say about models and agents."""
    return bool(_Families(families).by_role)


def models_answer(families: Iterable[MetricFamily]) -> Json:
    """Calls, tokens, costs and times by model and provider; agents, tools, and errors by their types."""
    found = _Families(families)
    return {
        "families": {role: [text(family.name) for family in shown] for role, shown in found.by_role.items()},
        "models": _models(found),
        "agents": _named(found, "agent", ("agents",), ("executions", "agents")),
        "tools": _named(found, "tool", ("tools",), ("tool_calls", "tools")),
        "errors": _errors(found),
    }


class _Rows:
    """What is known of each model, by provider and model."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], dict[str, Any]] = {}

    def of(self, points: Iterable[tuple[Point, _Labels]]) -> Iterator[tuple[dict[str, Any], Point, _Labels]]:
        """The points that are of a model, each with the row of that."""
        for point, own in points:
            key = (own.get("provider"), own.get("model"))
            if key[1]:
                new = {"calls": 0, "errors": 0, "input": 0, "output": 0, "cost": None}
                yield self.found.setdefault(key, new), point, own


def _models(found: _Families) -> list[Json]:
    rows = _Rows()
    for row, point, own in rows.of(found.points("calls", "duration")):
        _count(row, point, own)
    _add_tokens(found, rows)
    for row, point, _ in rows.of(found.points("cost")):
        row["cost"] = (row["cost"] or 0) + main_value(point)
    for role in ("duration", "first"):
        for row, point, _ in rows.of(found.points(role)):
            row.setdefault(role, []).append(point)
    shown = [_model(key, values) for key, values in rows.found.items()]
    return sorted(shown, key=_calls)[:_ROWS]


def _calls(row: Json) -> float:
    """By this the row with the most calls comes first."""
    return -float(row["calls"])


def _count(row: dict[str, Any], point: Point, own: _Labels) -> None:
    row["calls"] += main_value(point)
    if own.get("error") or own.get("status") in _FAILED:
        row["errors"] += main_value(point)


def _add_tokens(found: _Families, rows: _Rows) -> None:
    """Add tokens up by their type. The counters of each type are the same tokens under other names."""
    roles = ("tokens",) if "tokens" in found.by_role else ("input", "output")
    for role in roles:
        for row, point, own in rows.of(found.points(role)):
            kind = own.get("type") if role == "tokens" else role
            is_histogram = isinstance(point, HistogramPoint | NativeHistogramPoint)
            amount = (point.sum or 0) if is_histogram else main_value(point)  # type: ignore[union-attr]
            if kind in _INPUT | _OUTPUT:
                row["input" if kind in _INPUT else "output"] += amount


def _model(key: tuple[str, str], values: Mapping[str, Any]) -> Json:
    return {
        "provider": text(key[0]),
        "model": text(key[1]),
        "calls": number(values["calls"]),
        "errors": number(values["errors"]),
        "input_tokens": number(values["input"]),
        "output_tokens": number(values["output"]),
        "cost": number(values["cost"]),
        "first": _quantiles(values.get("first", ())),
        "duration": _quantiles(values.get("duration", ())),
    }


def _quantiles(points: Sequence[Point]) -> Json | None:
    found = distribution(points)
    return None if found is None or not found["count"] else found["quantiles"]


def _named(found: _Families, meaning: str, timed: tuple[str, ...], counted: tuple[str, ...]) -> list[Json]:
    rows: dict[str, dict[str, Any]] = {}

    def row(own: _Labels) -> dict[str, Any]:
        return rows.setdefault(own.get(meaning) or "-", {"calls": 0, "errors": 0, "points": []})

    for point, own in found.points(*counted):
        _count(row(own), point, own)
    for point, own in found.points(*timed):
        row(own)["points"].append(point)
    shown = [
        {
            "name": text(name),
            "calls": number(values["calls"]),
            "errors": number(values["errors"]),
            "duration": _quantiles(values["points"]),
        }
        for name, values in rows.items()
    ]
    return sorted(shown, key=_calls)[:_ROWS]


def _errors(found: _Families) -> list[Json]:
    totals: dict[str, float] = {}
    for point, own in found.points("errors", "duration"):
        kind, amount = own.get("error"), main_value(point)
        if kind and amount and math.isfinite(amount):
            totals[kind] = totals.get(kind, 0) + amount
    ordered = sorted(totals.items(), key=lambda item: -item[1])
    return [{"type": text(kind), "calls": number(amount)} for kind, amount in ordered[:_ROWS]]
