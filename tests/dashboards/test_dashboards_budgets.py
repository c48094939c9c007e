"""Budgets of a profile: rules, alerts and panels, judged by promtool; and what is said of mistakes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from promtool import approved

from otel_prom_bridge import ConfigurationError
from otel_prom_bridge.dashboards import files_of, read_dashboard
from otel_prom_bridge.dashboards.rules import RUNBOOKS
from otel_prom_bridge.profiles import load_profile

PROFILE = """
namespace = "shop"
[labels.model]
attributes = ["gen_ai.request.model"]
[[families]]
name = "llm_cost_usd_total"
type = "counter"
unit = "{USD}"
help = "Costs"
source = { instrument = "gen_ai.usage.cost" }
labels = ["model"]
[options.context_labels]
team = "app.team"
severity = "app.severity"
[options.common_labels]
service = "service.name"
[dashboard]
title = "Shop"
namespace = "shop"
panels = [{ title = "Costs", type = "stat", queries = [{ expr = "sum(shop_llm_cost_usd_total)" }] }]
"""
SPENT = "budget:shop_llm_cost_usd"
DAY = 'budget = { amount = 288, period = "1d", by = "team" }'
# A day is 288 steps of five minutes.


def written(folder: Path, budget: str) -> Path:
    """The rules of a profile with this budget, as a file."""
    file = folder / "shop.toml"
    file.write_text(budget + "\n" + PROFILE if budget.startswith("budget") else PROFILE + budget)
    rules = folder / "shop.rules.yml"
    rules.write_text(files_of(load_profile(file))[rules.name])
    return rules


def judged(folder: Path, budget: str, series: Mapping[str, str], **cases: list[dict[str, Any]]) -> None:
    """Promtool finds what is expected of these series."""
    rules = written(folder, budget)
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    test = {"interval": "1m", "input_series": inputs, **cases}
    file = folder / "test.yml"
    # Without an order promtool evaluates the groups in any, and an alert sees what was recorded a while ago.
    groups = [group["name"] for group in yaml.safe_load(rules.read_text())["groups"]]
    given = {
        "rule_files": [rules.name],
        "evaluation_interval": "1m",
        "group_eval_order": groups,
        "tests": [test],
    }
    file.write_text(yaml.safe_dump(given))
    approved("test", "rules", file)


def costs(team: str, values: str, model: str = "m") -> dict[str, str]:
    """What a team spent, in promtool's notation: USD per minute."""
    return {f'shop_llm_cost_usd_total{{team="{team}", model="{model}"}}': values}


def alert(name: str, at: str, *expected: dict[str, str], summary: str = "", text: str = "") -> dict[str, Any]:
    """These and no others of an alert fire at a time."""
    url = f"{RUNBOOKS}#models-cost-too-much"
    annotations = {"summary": summary, "description": text, "runbook_url": url}
    found = [{"exp_labels": labels, "exp_annotations": annotations} for labels in expected]
    return {"eval_time": at, "alertname": name, "exp_alerts": found}


def texts(folder: Path) -> dict[str, str]:
    """The descriptions of all alerts by name."""
    return {
        item.alert: item.description for item in read_dashboard(load_profile(folder / "shop.toml")).alerts
    }


pytestmark = [
    pytest.mark.real_server,
    pytest.mark.usefixtures("real_prometheus"),  # promtool comes with it
]


@pytest.mark.parametrize(
    "budget",
    [
        DAY,
        'budget = { amount = 0.5, period = "1h" }',
        """budget = [
            { amount = 1e6, period = "52w", by = ["team", "model"] },
            { name = 'a "b"', amount = 3, period = "30d", where = { team = 'x\\y' } },
        ]""",
    ],
)
def test_prometheus_takes_the_rules(tmp_path: Path, budget: str) -> None:
    """`promtool check rules` finds no fault, whatever the names and the periods are."""
    approved("check", "rules", "--lint=all", "--lint-fatal", written(tmp_path, budget))


@pytest.mark.slow
def test_what_is_spent_is_known(tmp_path: Path) -> None:
    """By team, of several models, and of the last day only; the pace is that of the last hour.

    Rounded to eighths.
    """
    # Two models for a dollar in five minutes each: twice as fast as the budget allows, for 600 minutes; then
    # nothing for a day. Another team spends half of what it may, all the time.
    series = {
        **costs("search", "0+0.2x600 120x1500"),
        **costs("search", "0+0.2x600 120x1500", model="n"),
        **costs("ads", "0+0.1x2100"),
    }

    def at(minute: int, name: str, **teams: float) -> dict[str, Any]:
        labels = '{budget="by team in 1d", team="%s"}'
        samples = [{"labels": labels % team, "value": value} for team, value in teams.items()]
        return {"expr": f"round({SPENT}:{name}, 0.125)", "eval_time": f"{minute}m", "exp_samples": samples}

    judged(
        tmp_path,
        DAY,
        series,
        promql_expr_test=[
            at(500, "spent", search=200, ads=50),
            at(480, "spent_ratio", search=0.625, ads=0.125),
            at(500, "burn_ratio", search=2, ads=0.5),
            at(700, "burn_ratio", search=0, ads=0.5),
            at(2060, "spent", search=0, ads=144),
        ],
    )


def test_what_a_series_shows_first_is_spent(tmp_path: Path) -> None:
    """By a new team of a process that runs, and by a new process; not what nobody has seen being spent."""

    def of(instance: str, team: str, values: str) -> dict[str, str]:
        labels = f'job="shop", instance="{instance}"'
        return {f'shop_llm_cost_usd_total{{team="{team}", {labels}}}': values}

    def process(instance: str, up: str, start: str) -> dict[str, str]:
        labels = f'{{job="shop", instance="{instance}"}}'
        return {f"up{labels}": up, f"process_start_time_seconds{labels}": start}

    series = {
        # Two teams call for the first time while it runs, one of them once, and the other goes on.
        **process("old:1", "1x400", "-90000x400"),
        **of("old:1", "once", "_x102 5x300"),
        **of("old:1", "often", "_x102 3+1x10 13x289"),
        # A process that begins, spends at once, restarts in place, and spends again.
        **process("new:1", "_x102 1x300", "_x102 6100x50 9180x250"),
        **of("new:1", "new", "_x102 7x50 2x250"),
        # Targets of a Prometheus that is new, or was away: what they spent before was spent at another time.
        **process("unseen:1", "_x102 1x300", "-90000x400"),
        **of("unseen:1", "unseen", "_x102 1000x300"),
        **process("away:1", "1x50 _x90 1x260", "-90000x400"),
        **of("away:1", "away", "100x50 _x90 1000x260"),
        # Scrapes fail at the beginning of a step.
        **process("ill:1", "1x98 0x3 1x300", "-90000x400"),
        **of("ill:1", "ill", "100x98 stale _x2 100x300"),
        # Pushed by something that has another name than the target.
        **{'shop_llm_cost_usd_total{team="pushed"}': "_x102 9x300"},
    }
    expected = {"once": 5, "often": 13, "new": 9, "unseen": 0, "away": 0, "ill": 0, "pushed": 0}
    labels = '{budget="by team in 1d", team="%s"}'
    samples = [{"labels": labels % team, "value": value} for team, value in expected.items()]
    test = {"expr": f"round({SPENT}:spent, 0.5)", "eval_time": "390m", "exp_samples": samples}
    judged(tmp_path, DAY, series, promql_expr_test=[test])


def test_a_target_with_other_labels_has_spent_nothing_anew(tmp_path: Path) -> None:
    """Its series are new, and its process goes on. What one shows first that has gone since does count."""

    def target(team: str, values: str, up: str, *, of: str = "1000", env: str = "") -> dict[str, str]:
        labels = f'job="shop", instance="{team}:1"' + (f', env="{env}"' if env else "")
        return {
            f"up{{{labels}}}": up,
            f"process_start_time_seconds{{{labels}}}": up.replace("1x", "-90000x"),
            f'shop_llm_cost_usd_total{{team="{team}", {labels}}}': values.replace("1x", f"{of}x"),
        }

    until, since, briefly = "1x102 stale", "_x103 1x300", "_x103 1x0 stale"
    series = {
        **target("reloaded", until, until),
        **target("reloaded", since, since, env="prod"),
        # A Prometheus that began anew has not marked the end of the old series.
        **target("restarted", "1x102", "1x102"),
        **target("restarted", since, since, env="prod"),
        # The process ends right after that, as does one that has not got other labels.
        **target("ended", until, until),
        **target("ended", briefly, briefly, env="prod"),
        **target("gone", "_x101 1x2 stale", "1x103 stale", of="5"),
    }
    expected = {"reloaded": 0, "restarted": 0, "ended": 0, "gone": 5}
    labels = '{budget="by team in 1d", team="%s"}'
    samples = [{"labels": labels % team, "value": value} for team, value in expected.items()]
    test = {"expr": f"round({SPENT}:spent, 0.5)", "eval_time": "390m", "exp_samples": samples}
    judged(tmp_path, DAY, series, promql_expr_test=[test])


def test_each_alert_fires_in_its_time(tmp_path: Path) -> None:
    """At half, at most and at all of a budget, one at a time, and of the team that spends."""
    written(tmp_path, DAY)
    said = texts(tmp_path)
    team = {"budget": "by team in 1d", "team": "search"}

    def fires(name: str, at: str, share: str, severity: str) -> dict[str, Any]:
        summary = f"Budget by team in 1d search: {share} is spent"
        return alert(name, at, {**team, "severity": severity}, summary=summary, text=said[name])

    # 0.8 USD per minute: four times as fast as the budget allows. Half is spent after 180 minutes, 80 % after
    # 288, all of it after 360. The other team stays below half.
    series = {**costs("search", "0+0.8x600"), **costs("ads", "0+0.05x600")}
    judged(
        tmp_path,
        DAY,
        series,
        alert_rule_test=[
            alert("BudgetHalfSpent", "175m"),
            fires("BudgetHalfSpent", "200m", "55.56%", "info"),
            alert("BudgetNearlySpent", "280m"),
            alert("BudgetHalfSpent", "300m"),
            fires("BudgetNearlySpent", "300m", "83.33%", "warning"),
            alert("BudgetSpent", "350m"),
            alert("BudgetNearlySpent", "400m"),
            fires("BudgetSpent", "400m", "111.1%", "critical"),
        ],
    )


def test_the_pace_says_when_it_is_gone(tmp_path: Path) -> None:
    """Spending four times as fast as allowed: it fires long before the end, and says when that is."""
    written(tmp_path, DAY)
    text = texts(tmp_path)["BudgetGoneSoon"]
    labels = {"budget": "by team in 1d", "team": "search", "severity": "warning"}
    # At 0.8 USD per minute all is gone after 360 minutes, which is 06:00 of the first day. A step is five
    # minutes, so that at 03:20 it is 200 minutes' worth that are known.
    summary = "Budget by team in 1d search: at this pace, gone by 1970-01-01 06:00:00 +0000 UTC"
    fast, steady = costs("search", "0+0.8x600"), costs("ads", "0+0.22x3000")
    judged(
        tmp_path,
        DAY,
        {**fast, **steady},  # the other one spends a little more than allowed, which is no alarm
        alert_rule_test=[
            alert("BudgetGoneSoon", "60m"),
            alert("BudgetGoneSoon", "200m", labels, summary=summary, text=text),
            alert("BudgetGoneSoon", "420m"),  # it is gone, which is another alert
        ],
        promql_expr_test=[
            {
                "expr": f'{SPENT}:gone_timestamp_seconds{{team="search"}}',
                "eval_time": "200m",
                "exp_samples": [
                    {
                        "labels": f'{SPENT}:gone_timestamp_seconds{{budget="by team in 1d", team="search"}}',
                        "value": 21600,
                    }
                ],
            }
        ],
    )


@pytest.mark.slow
def test_several_budgets(tmp_path: Path) -> None:
    """Each counts its own costs: one of everything, one of some series."""
    both = """
[[budget]]
name = "all"
amount = 100
period = "1d"
[[budget]]
name = "ads"
amount = 50
period = "1d"
where = { team = "ads" }
"""
    expected = {"all": 75 / 100, "ads": 25 / 50}
    samples = [{"labels": f'{{budget="{name}"}}', "value": value} for name, value in expected.items()]
    judged(
        tmp_path,
        both,
        {**costs("search", "0+0.1x600"), **costs("ads", "0+0.05x600")},
        promql_expr_test=[
            {"expr": f"round({SPENT}:spent_ratio, 0.125)", "eval_time": "500m", "exp_samples": samples},
        ],
    )


def test_there_is_a_panel(tmp_path: Path) -> None:
    """Grafana gets two in a row of their own, after all others."""
    file = tmp_path / "shop.toml"
    file.write_text(DAY + PROFILE)
    panels = json.loads(files_of(load_profile(file))["shop.json"])["panels"]
    titles = [panel["title"] for panel in panels]
    assert titles == ["Costs", "Budgets", "Budgets, spent", "Budgets, gone by"]
    assert panels[2]["targets"][0]["legendFormat"] == "{{budget}} {{team}}"


def test_a_profile_that_extends_another_has_its_names(tmp_path: Path) -> None:
    """The budget stands in a file of its own, and names what that profile calls costs."""
    for parent, name in (("semconv", "gen_ai_usage_cost_USD"), ("llmdevops", "llmdevops_llm_cost_usd")):
        file = tmp_path / f"{parent}_more.toml"
        file.write_text(f'extends = "{parent}"\nbudget = {{ amount = 5, period = "7d", by = "job" }}')
        rules = files_of(load_profile(file))[f"{parent}_more.rules.yml"]
        assert f"sum by (job) ((last_over_time({name}_total[15m]) unless " in rules


PLAIN = 'amount = 5, period = "1d"'
MISTAKES = [
    ('{ amount = 0, period = "1d" }', ".amount", "above zero"),
    ('{ amount = "much", period = "1d" }', ".amount", "number above zero"),
    ("{ amount = 5 }", "", "'period' is required"),
    ('{ amount = 5, period = "month" }', ".period", "'1h' to '366d'"),
    ('{ amount = 5, period = "20m" }', ".period", "'1h' to '366d'"),
    (f'{{ {PLAIN}, by = "taem" }}', ".by", "did you mean 'team'?"),
    (f"{{ {PLAIN}, by = [1] }}", ".by", "name of a label"),
    (f'{{ {PLAIN}, by = "severity" }}', ".by", "another label"),
    (f'{{ {PLAIN}, where = {{ modle = "x" }} }}', ".where.modle", "did you mean 'model'?"),
    (f"{{ {PLAIN}, where = {{ model = 5 }} }}", ".where.model", "a string"),
    ('{ amuont = 5, period = "1d" }', ".amuont", "did you mean 'amount'?"),
    ("5", "", "a table"),
    (f"[{{ {PLAIN} }}, {{ {PLAIN} }}]", "['in 1d']", "a 'name' of its own"),
]


@pytest.mark.parametrize(("budget", "key", "said"), MISTAKES)
def test_mistakes_are_named(tmp_path: Path, budget: str, key: str, said: str) -> None:
    """The error has the file, the key, the value, what is allowed, and the nearest name."""
    file = tmp_path / "shop.toml"
    file.write_text(f"budget = {budget}\n{PROFILE}")
    with pytest.raises(ConfigurationError) as error:
        load_profile(file)
    assert error.value.key == f"{file}: budget{key}"
    assert said in str(error.value)


def test_a_profile_without_costs_has_none(tmp_path: Path) -> None:
    """There is nothing that could be counted."""
    file = tmp_path / "shop.toml"
    file.write_text('budget = { amount = 5, period = "1d" }')
    with pytest.raises(ConfigurationError, match="a profile with a counter in USD"):
        load_profile(file)
