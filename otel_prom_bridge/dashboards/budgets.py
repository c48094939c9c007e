"""Recording rules, alerts and panels of budgets.

A budget is of the last 30 days, say, at any moment, and not of a month of the calendar, as a range in PromQL
has a fixed length. Asking for all samples of 30 days would be too much for Prometheus where there are many
series. So what was spent in each hour is recorded, and the hours are added up: the last one that is over is
the last that counts. The step is an hour for 30 days, and less for less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from otel_prom_bridge.dashboards.model import Alert, Dashboard, Panel, PanelQuery, RecordingRule
from otel_prom_bridge.profiles import Budget

_MINUTE = 60
_STEPS = (300, 900, 3600, 6 * 3600, 86_400)
_MOST_STEPS = 720
# How much of a budget is gone when which alert fires.
_SHARES = (
    ("Half", 0.5, 0.8, "info"),
    ("Nearly", 0.8, 1, "warning"),
    ("", 1, None, "critical"),
)
_SPENT = (
    '"Budgets, spent" says since when, and "Budgets, gone by" how long the rest lasts. What was spent first'
    " in the period leaves it again."
)
_SOON = (
    "It is spent faster than it comes back, so that the rest lasts for less than a quarter of the period."
    " Costs by model say whether it is a dearer model, and calls per execution whether an agent runs in"
    " circles."
)
_RUNBOOK = "models-cost-too-much"
_WIDTH = 12
_ROW = "Budgets"


def with_budgets(dashboard: Dashboard, budgets: Sequence[Budget], namespace: str) -> Dashboard:
    """The dashboard with what these budgets need. Their names are whole, in the namespace of the profile."""
    if not budgets:
        return dashboard
    made = _Made(budgets, namespace)
    return replace(
        dashboard,
        panels=(*dashboard.panels, *made.panels()),
        recording_rules=(*dashboard.recording_rules, *made.rules()),
        alerts=(*dashboard.alerts, *made.alerts()),
    )


class _Made:
    """What is made of all budgets of a profile. Each has the label ``budget`` with its name."""

    def __init__(self, budgets: Sequence[Budget], namespace: str) -> None:
        self._budgets = budgets
        self._namespace = namespace
        self._name = f"budget:{budgets[0].costs.removesuffix('_total')}"
        by = dict.fromkeys(label for budget in budgets for label in budget.by)
        self._whose = "".join(f"{{{{ with $labels.{label} }}}} {{{{ . }}}}{{{{ end }}}}" for label in by)
        self._legend = " ".join(("{{budget}}", *(f"{{{{{label}}}}}" for label in by)))

    def rules(self) -> Iterator[RecordingRule]:
        """What was spent in each step, in the period, of the amount, how fast, and when all is gone."""
        for budget in self._budgets:
            labels, own, step = {"budget": budget.name}, f"{{budget={_quoted(budget.name)}}}", _step(budget)
            by = f"sum by ({', '.join(budget.by)}) " if budget.by else "sum"
            chosen = ", ".join(f"{label}={_quoted(value)}" for label, value in budget.where.items())
            costs = f"{budget.costs}{{{chosen}}}" if chosen else budget.costs
            window = max(3, -(-budget.period // 24 // step)) * step
            pace = budget.period / window / budget.amount
            yield self._rule("increase", f"{by}({_increase(costs, step)})", labels)
            over = f"{by}(sum_over_time({self._name}:increase{own}[%s:{_duration(step)}]))"
            yield self._rule("spent", over % _just_below(budget.period), labels)
            yield self._rule("spent_ratio", f"{self._name}:spent{own} / {budget.amount:.12g}", labels)
            yield self._rule("burn_ratio", f"{over % _just_below(window)} * {pace:.12g}", labels)
            # Where it is spent faster than it comes back: the rest, by the pace of the last window.
            left = f"(1 - ({self._name}:spent_ratio{own} < 1)) / ({self._name}:burn_ratio{own} > 1)"
            yield self._rule("gone_timestamp_seconds", f"time() + round({budget.period} * {left})", labels)

    def _rule(self, name: str, expr: str, labels: dict[str, str]) -> RecordingRule:
        return RecordingRule(
            record=f"{self._name}:{name}", expr=expr, labels=labels, namespace=self._namespace
        )

    def alerts(self) -> Iterator[Alert]:
        """Half of it, most of it or all of it is spent; and at the pace of now it will soon be gone."""
        ratio, whose = f"{self._name}:spent_ratio", f"{{{{ $labels.budget }}}}{self._whose}"
        for what, share, below, severity in _SHARES:
            yield Alert(
                alert=f"Budget{what}Spent",
                expr=f"{ratio} >= {share}" + ("" if below is None else f" < {below}"),
                hold="5m",
                severity=severity,  # type: ignore[arg-type]
                summary=f"Budget {whose}: {{{{ $value | humanizePercentage }}}} is spent",
                description=_SPENT,
                runbook=_RUNBOOK,
                namespace=self._namespace,
            )
        burn, gone = f"{self._name}:burn_ratio", f"{self._name}:gone_timestamp_seconds"
        yield Alert(
            alert="BudgetGoneSoon",
            expr=f"{gone} and (1 - {ratio}) / ({burn} > 1.2) < 0.25",
            hold="15m",
            severity="warning",
            summary=f"Budget {whose}: at this pace, gone by {{{{ $value | humanizeTimestamp }}}}",
            description=_SOON,
            runbook=_RUNBOOK,
            namespace=self._namespace,
        )

    def panels(self) -> Iterator[Panel]:
        """How much is spent, and how long the rest lasts."""
        yield Panel(
            row=_ROW,
            title="Budgets, spent",
            description="Of the amount, in the period up to now: what was spent first leaves it again.",
            type="timeseries",
            unit="percentunit",
            thresholds=(0.5, 0.8, 1),
            width=_WIDTH,
            queries=(PanelQuery(legend=self._legend, expr=f"{self._name}:spent_ratio"),),
            namespace=self._namespace,
        )
        yield Panel(
            row=_ROW,
            title="Budgets, gone by",
            description="When the rest is spent at the pace of now. A budget that comes back as fast as it is"
            " spent is not among them.",
            type="stat",
            unit="dateTimeFromNow",
            width=_WIDTH,
            queries=(PanelQuery(legend=self._legend, expr=f"1000 * {self._name}:gone_timestamp_seconds"),),
            namespace=self._namespace,
        )


def _increase(costs: str, seconds: int) -> str:
    """What was spent in a step, with what a series of this step showed first.

    To `increase()` that is none, so the first call of a team in each process would be free. A series is of
    this step if it was not there at the beginning, while its process was scraped, or if its process is not
    older. Any other one may have been spending for days, unseen: Prometheus was away, or it is a new target.
    A target that got other labels in this step goes on, and so do its costs, in new series.
    """
    step = _duration(seconds)
    relabelled = f"(last_over_time(up[{step}]) unless up offset {step})"
    stays = f"up offset {step} == 1 unless on (job, instance) {relabelled}"
    return (
        f"(last_over_time({costs}[{step}]) unless resets({costs}[{step}]) > 0"
        f" or increase({costs}[{step}]) + min_over_time({costs}[{step}]))"
        f" unless {costs} offset {step}"
        f" and on (job, instance) ({stays} or process_start_time_seconds > time() - {seconds})"
        f" or increase({costs}[{step}])"
    )


def _step(budget: Budget) -> int:
    return next(step for step in _STEPS if budget.period <= _MOST_STEPS * step)


def _duration(seconds: int) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("m", _MINUTE)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _just_below(seconds: int) -> str:
    """A range of whole steps. Prometheus 2 counts both of its ends, and Prometheus 3 the last one only."""
    days, rest = divmod(seconds - 1, 86_400)
    hours, rest = divmod(rest, 3600)
    parts = ((days, "d"), (hours, "h"), (rest // 60, "m"), (rest % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
