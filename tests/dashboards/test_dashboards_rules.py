"""Rules of profiles, judged by promtool: their syntax, when each alert fires, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from alerts import Case, judged, written
from alerts_of_models import CASES, LABELS
from promtool import approved

from otel_prom_bridge.profiles import BUILT_IN

pytestmark = [
    pytest.mark.real_server,
    pytest.mark.usefixtures("real_prometheus"),  # promtool comes with it
]


@pytest.mark.parametrize("profile", BUILT_IN)
def test_prometheus_takes_the_rules(profile: str, tmp_path: Path) -> None:
    """`promtool check rules` finds no fault, not even in style."""
    approved("check", "rules", "--lint=all", "--lint-fatal", written(profile, tmp_path))


@pytest.mark.slow  # promtool, for each of them; those of services are tried each time
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_alerts_fire_when_they_should(case: Case, tmp_path: Path) -> None:
    """After its time the alert is there with labels and texts; before, or with harmless series, it is not."""
    judged(case, tmp_path)


def test_recorded_error_ratios_are_zero_without_errors(tmp_path: Path) -> None:
    """A model without errors has the ratio 0, not none: so that a panel of it shows a line."""
    ratio = "service_model:llmdevops_llm_errors:ratio_rate5m"
    series = f'{ratio}{{service="s", model="m"}}'
    test = {
        "interval": "1m",
        "input_series": [
            {"series": f'llmdevops_llm_requests_total{{{LABELS}, status="success"}}', "values": "0+5x20"}
        ],
        "promql_expr_test": [
            {"expr": ratio, "eval_time": "10m", "exp_samples": [{"labels": series, "value": 0}]}
        ],
    }
    file = tmp_path / "test.yml"
    rules = written("llmdevops", tmp_path)
    file.write_text(
        yaml.safe_dump({"rule_files": [rules.name], "evaluation_interval": "1m", "tests": [test]})
    )
    approved("test", "rules", file)
